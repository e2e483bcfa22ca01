"""Evaluating a trained model: likelihoods, many orders, samples and how they came about; and the
report of all these.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from rich.console import Group
from rich.table import Table

from ordo.data import SequenceData, SudokuData, TableData
from ordo.data.module import Batch, Rows
from ordo.errors import first_line
from ordo.files import write_json, write_whole
from ordo.likelihood import Effort, LikelihoodReport, ManyOrders, likelihood_report, many_orders
from ordo.progress import SamplingMeter, track
from ordo.report import LABELS, Record, cell, read_record, run_page, save_page, unit_of
from ordo.report.cost import passes
from ordo.report.numbers import in_unit, unit_name
from ordo.report.order import law_arrays
from ordo.report.page import Link
from ordo.report.paired import mean_difference
from ordo.runs.build import build
from ordo.runs.shown import SHOWN_TRACES, sample_pictures, save_samples, trace_html
from ordo.samplers import Sampler, Trace, sample_batches
from ordo.training.module import OrderDiffusion
from ordo.training.pictures import plotted_part, plotted_schedule

# Budget of the picture of many orders: (orders per law, sequences) for order-causal (True) and
# bidirectional (False) denoisers, which need ``length`` rows for one order and sequence.
MANY = {True: (64, 100), False: (16, 8)}
# The most tokens of denoiser input that the picture may cost, reached at length 320 or 122.
MANY_TOKENS, FEWEST_ORDERS, FEWEST_SEQUENCES = 1 << 22, 4, 2


@dataclass(frozen=True)
class Evaluation:
    """What was found of one model on one split.

    Args:
        scored: checksum of the sequences whose likelihoods were taken, with what is given and
            padded.
        orders: None where many orders were not asked for.
        trace: of the samples, on the CPU, with the history of the first rows; None: no samples.
        table: the samples of a table, whose numbers are drawn from their bins.
        quality: metric -> name -> value.
        seconds: of every part.
        formats: of the pictures beside the page: png, svg, pdf.
    """

    split: str
    scored: str
    report: LikelihoodReport
    orders: ManyOrders | None
    order_sequences: int
    trace: Trace | None
    table: pd.DataFrame | None = None
    quality: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    formats: tuple[str, ...] = ("png",)


def many_size(order_causal: bool, length: int, orders: int | None = None) -> tuple[int, int]:
    """Orders per law and sequences of the picture of many orders, which scores 2 orders + 3 orders
    for each sequence.

    The picture costs at most ``MANY_TOKENS`` tokens of denoiser input, rows times length. To keep
    within that, there are first fewer sequences, down to two, then half as many orders, down to
    four, and then none: (0, 0).

    orders: as many as are asked for, whatever they cost; sequences are then at least one.
    """
    most, sequences = MANY[order_causal]
    each = length if order_causal else length**2  # of one order and sequence
    if orders is not None:
        return orders, max(1, min(sequences, MANY_TOKENS // ((2 * orders + 3) * each)))
    while most >= FEWEST_ORDERS:
        affordable = MANY_TOKENS // ((2 * most + 3) * each)
        if affordable >= FEWEST_SEQUENCES:
            return most, min(sequences, affordable)
        most //= 2
    return 0, 0


def split_of(data: SequenceData, settings: DictConfig) -> Rows:
    """All rows of the split that is reported on, also where ranks share the loader."""
    return data.val_set if settings.split == "val" else data.test_set


def evenly(rows: Rows, n: int | None) -> Batch:
    """n rows, evenly spaced; None: all."""
    n = len(rows) if n is None else min(n, len(rows))
    return rows.batch(torch.linspace(0, len(rows) - 1, n, dtype=torch.float64).round().long())


def evaluate(
    module: OrderDiffusion, data: SequenceData, settings: DictConfig, progress: bool = True
) -> LikelihoodReport:
    """The likelihood report of a module on ``settings.split`` of its data."""
    batch = evenly(split_of(data, settings), settings.sequences)
    module.eval()
    return likelihood_report(
        module.denoiser,
        module.schedule,
        batch.to(module.device),
        Effort(**{field.name: settings[field.name] for field in fields(Effort)}),
        unit=data.unit,
        entropy=data.entropy,
        calls=module.calls,
        progress=track if progress else None,
    )


def examine(
    module: OrderDiffusion, data: SequenceData, settings: DictConfig, progress: bool = True
) -> Evaluation:
    """Likelihoods, the same sequences in many orders, samples and their metrics.

    Raises ConfigError.
    """
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        result = work()
        seconds[name] = time.perf_counter() - begun
        return result

    scored = hashlib.md5(
        b"".join(
            x.numpy().tobytes()
            for x in evenly(split_of(data, settings), settings.sequences)
            if x is not None
        )
    )
    report = timed("likelihoods", lambda: evaluate(module, data, settings, progress))
    rows, device = split_of(data, settings), module.device
    orders, sequences = many_size(module.denoiser.order_causal, data.length, settings.get("orders"))
    batch = evenly(rows, min(sequences, settings.sequences or sequences))
    many = None
    if orders and data.length > 1:
        batch, size = batch.to(device), settings.batch_size
        watch = track if progress else None
        law: Any = plotted_schedule(module.schedule, rows).law()
        many = timed(
            "scoring many orders",
            lambda: many_orders(module.denoiser, batch, law, orders, settings.seed, size, watch),
        )
    trace, table, quality = None, None, {}
    if settings.get("samples"):
        trace = timed("sampling", lambda: draw(module, rows, settings))
        table = (
            data.codec.decode(trace.tokens, seed=settings.seed)
            if isinstance(data, TableData)
            else None
        )
        metrics = {
            name: build(node, f"metrics.{name}")
            for name, node in (settings.get("metrics") or {}).items()
            if node is not None
        }
        quality = timed(
            "metrics",
            lambda: {
                name: measured(name, metric, trace, rows, data) for name, metric in metrics.items()
            },
        )
    return Evaluation(
        settings.split,
        scored.hexdigest(),
        report,
        many,
        len(batch.tokens),
        trace,
        table,
        quality,
        seconds,
        tuple(settings.get("picture_formats") or ("png",)),
    )


def measured(
    name: str, metric: Callable[..., Any], trace: Trace, rows: Rows, data: SequenceData
) -> dict[str, float]:
    """What a metric says of the samples. Where the metric fails, a line on standard error and an
    empty result: the likelihoods, which are there by then, are kept.
    """
    try:
        return dict(metric(trace, rows, data))
    except Exception as error:
        print(
            f"metrics.{name} failed: {type(error).__name__}: {first_line(error)}", file=sys.stderr
        )
        return {}


def draw(module: OrderDiffusion, rows: Rows, settings: DictConfig) -> Trace:
    """``settings.samples`` sequences in orders of the model's own law, one token a call, given what
    the first rows are given, in turn.
    """
    n = settings.samples
    with SamplingMeter("sampling") as meter:
        own: dict[str, Any] = {"schedule": module.schedule, "seed": settings.seed}
        own |= {"history": SHOWN_TRACES, "on_step": meter.step} | rows.given(n, module.device)
        size = settings.batch_size
        return sample_batches(module.denoiser, Sampler(), n, size, meter.batches, **own)


def save_evaluation(
    done: Evaluation, module: OrderDiffusion, data: SequenceData, folder: Path, **extra: Any
) -> None:
    """Writes ``report.json``, ``report_values.npz`` (values per sequence, and all that pictures are
    drawn from) and the samples, those of a table as CSV.

    extra: more entries of report.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    schedule, decoded = plotted_part(module.schedule, data.val_set)
    positions = list(range(data.length)) if decoded is None else decoded.tolist()
    arrays = {name: value.numpy() for name, value in done.report.arrays().items()} | law_arrays(
        schedule
    )
    out: dict[str, Any] = done.report.as_dict() | {
        "split": done.split,
        "scored": done.scored,
        "labels": data.labels,
        "decoded": None if decoded is None else positions,  # of which the law is shown; None: all
        "precedence": data.precedence,
        "law_learned": next(module.schedule.parameters(), None) is not None,
        "passes": passes(
            done.report.settings,
            data.length,
            done.report.length,
            module.denoiser.order_causal,
            module.schedule.depends_on_tokens,
        ),
    }
    if isinstance(data, SudokuData):
        out["board"] = {"columns": data.box**2, "box": data.box}
    if data.precedence and "precedence" in arrays:
        place = {position: i for i, position in enumerate(positions)}
        kept = [
            arrays["precedence"][place[i], place[j]]
            for i, j in data.precedence
            if i in place and j in place
        ]
        out |= {"precedence_kept": float(np.mean(kept))} if kept else {}
    if done.orders is not None:
        arrays |= {
            "order_nll_uniform": done.orders.uniform.numpy(),
            "order_nll_own": done.orders.own.numpy(),
        }
        out["order_nll"] = {"marks": done.orders.marks(), "sequences": done.order_sequences}
    if done.trace is not None:
        out |= save_samples(done, data, folder)
    out |= extra | {"seconds": done.seconds}
    saved: dict[str, Any] = arrays
    write_whole(folder / "report_values.npz", lambda path: np.savez_compressed(path, **saved))
    write_json(folder / "report.json", out)


def sample_texts(done: Evaluation, data: SequenceData, n: int) -> list[str]:
    """The first n samples, one string each; none where none were drawn."""
    if done.table is not None:
        return [
            ", ".join(f"{name}={value}" for name, value in row.items())
            for row in done.table.head(n).to_dict("records")
        ]
    return [] if done.trace is None else data.decode(done.trace.tokens[:n])


class Beside(TypedDict, total=False):
    """What a page has of other models, and links to their pages."""

    others: Mapping[str, Record] | None
    own_label: str
    links: Sequence[Link]
    title: str | None


def save_report_page(
    done: Evaluation,
    data: SequenceData,
    folder: Path,
    run: Path | None = None,
    **beside: Unpack[Beside],
) -> None:
    """Writes ``report.html`` of what ``save_evaluation`` has written.

    Args:
        run: the folder of the training run, if that is another one.
        beside: as of ``ordo.report.run_page``.
    """
    record = read_record(folder, run)
    trace = (
        None
        if done.trace is None
        else trace_html(done.trace, done.table, data, record.report["settings"]["seed"])
    )
    page, parts = run_page(record, more=sample_pictures(done, data), trace=trace, **beside)
    save_page(page, parts, folder, formats=done.formats)


def report_table(
    reports: Mapping[str, LikelihoodReport], title: str, paired: bool = False
) -> Group:
    """A row per likelihood, a column per model: mean +- standard error.

    paired: there are two models, a baseline first, scored on the same sequences. One more column
    says how much better the second model is.
    """
    shown = {name: report.as_dict() for name, report in reports.items()}
    unit = unit_of(list(shown.values()))
    table = Table()
    table.add_column(unit_name(unit, next(iter(reports.values())).unit))
    for name in shown:
        table.add_column(name, justify="right")
    if paired:
        table.add_column("gain", justify="right")
    for key, label in LABELS.items():
        cells = [cell(report, key, unit) for report in shown.values()]
        if paired:
            baseline, model = (report.values[key].numpy() for report in reports.values())
            cells.append(
                in_unit(list(shown.values())[1], key, mean_difference(model, baseline), unit)
            )
        table.add_row(label, *cells)
    title += next(iter(reports.values())).told_calls
    return Group(title, table)  # a title of the table itself would be wrapped to the table's width


def result_line(reports: Mapping[str, LikelihoodReport], title: str, where: str | Path) -> str:
    """The NELBO under the own law of every model, in the unit of ``report_table``, and a folder."""
    shown = {name: report.as_dict() for name, report in reports.items()}
    unit = unit_of(list(shown.values()))
    words = unit_name(unit, next(iter(reports.values())).unit)
    parts = ", ".join(
        f"{name} {cell(report, 'own_nelbo', unit)} {words}" for name, report in shown.items()
    )
    told = next(iter(reports.values())).told_calls
    return f"{title}, NELBO under the own law{told}: {parts} ({where})"
