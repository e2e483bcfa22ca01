"""Runs side by side: settings in which they differ, likelihoods with paired differences, curves, schedules, orders, samples."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ordo import plots
from ordo.report.numbers import LABELS, MEANINGS, cell, unit_name
from ordo.report.order import in_words
from ordo.report.page import Block, Grid, Lines, Link, Picture, Section, Terms, Text, render
from ordo.report.paired import gain, not_comparable, paired, unit_among
from ordo.report.record import Record, curve
from ordo.report.run_page import WORDS
from ordo.report.settings import differing, flat, shown

__all__ = ["comparison_page", "labels", "paired"]
MOST_DRAWN = (
    8  # runs with schedules, orders and samples of their own: more are not read side by side
)
LABEL_CHARACTERS = 48


def labels(records: list[Record]) -> list[str]:
    """A short name for every run, no two alike: the settings in which they differ, or else their folders."""
    settings = [flat(record.config, str(record.config.get("output", ""))) for record in records]
    names = [
        ", ".join(
            f"{key.removesuffix('._target_').rpartition('.')[2]} {shown(key, s.get(key))}"
            for key in differing(settings)
        )
        for s in settings
    ]
    folders = [str(record.folder) for record in records]
    if len(set(names)) < len(names) or max(map(len, names)) > LABEL_CHARACTERS or "" in names:
        parts = [folder.split("/") for folder in folders]
        same = 0
        while len({tuple(p[: same + 1]) for p in parts}) == 1 and all(
            len(p) > same + 1 for p in parts
        ):
            same += 1
        names = ["/".join(p[same:]) for p in parts]
    return names if len(set(names)) == len(names) else folders


def likelihoods(runs: Mapping[str, Record]) -> list[Block]:
    """The likelihoods of every run in its unit, and by how much the run is better than the first."""
    first, *rest = runs
    units = {name: unit_among(r, runs.values()) for name, r in runs.items()}
    words = {name: unit_name(units[name], r.report["unit"]) for name, r in runs.items()}
    rows = [
        [
            name,
            words[name],
            *(cell(r.report, key, units[name]) for key in LABELS),
            *(
                f"{r.report[k]:,}" if r.report.get(k) is not None else "-"
                for k in ("parameters", "steps")
            ),
            f"{r.report['fit_seconds']:.0f}" if "fit_seconds" in r.report else "-",
        ]
        for name, r in runs.items()
    ]
    columns = ["run", "unit", *LABELS.values(), "parameters", "steps", "seconds of training"]
    blocks: list[Block] = [
        Grid(columns, rows, "Mean ± standard error over sequences; lower is better.")
    ]
    gains = [
        [n, words[n], *(gain(runs[first], runs[n], key, units[n]) for key in LABELS)] for n in rest
    ]
    if gains:
        note = f"By how much a run is better than {first}, sequence by sequence: above 0 is better, below 0 worse. The error is that of "
        note += "the paired difference, usually far smaller than those above. A dash: scored on other sequences."
        blocks.append(Grid([f"gain over {first}", "unit", *LABELS.values()], gains, note))
    blocks.append(Terms({LABELS[key]: meaning for key, meaning in MEANINGS.items()}))
    return blocks


def curves(runs: Mapping[str, Record]) -> list[Picture]:
    """Validation against training and loss against number revealed, all runs in each."""
    out = []
    series = {name: curve(r.metrics, "val/bits_per_token") for name, r in runs.items()}
    series = {name: pair for name, pair in series.items() if len(pair[0])}
    if series:
        figure = plots.training_curves(
            series, "optimiser steps", "validation NELBO, own law (bits per token)"
        )
        out.append(
            Picture(
                "validation",
                figure,
                "Validation during training, every run under its own order law.",
            )
        )
    pairs = {name: r.report["loss_by_revealed"]["own"] for name, r in runs.items()}
    figure = plots.loss_by_revealed(
        {name: (c["nats"], c["standard_error"]) for name, c in pairs.items()}
    )
    out.append(
        Picture(
            "loss_by_revealed",
            figure,
            "Loss of the next token by the number that stand already, in every run's own orders.",
        )
    )
    return out


def comparison_page(
    runs: Mapping[str, Record], links: Mapping[str, str] | None = None
) -> tuple[str, list[Picture]]:
    """The page and its pictures. runs: label -> record, the first being the baseline of the others; see ``labels``. links: label ->
    where the run's own report is.

    Raises ValueError for fewer than two runs.
    """
    if len(runs) < 2:
        raise ValueError("a comparison needs at least two runs")
    settings = [flat(r.config, str(r.config.get("output", ""))) for r in runs.values()]
    names = differing(settings)
    rows = [
        [label, *(shown(n, s.get(n)) for n in names), str(r.folder)]
        for (label, r), s in zip(runs.items(), settings, strict=True)
    ]
    drawn = dict(list(runs.items())[:MOST_DRAWN])
    pictures: list[Block] = []
    words = [line[0].upper() + line[1:] + "."] if (line := not_comparable(runs)) else []
    for i, (label, r) in enumerate(drawn.items()):
        unit = unit_among(r, runs.values())
        words.append(
            f"{label}: {LABELS['own_nelbo']} {cell(r.report, 'own_nelbo', unit)} {unit_name(unit, r.report['unit'])}."
        )
        if "expected_rank" in r.values:
            entropy = float(r.values.get("order_entropy", math.nan))
            words[-1] += " " + in_words(
                r.values["expected_rank"], entropy, r.order_labels, r.report["unit"] == "column"
            )
        if "alpha" in r.values:
            figure = plots.schedule_curves(r.values["t"], r.values["alpha"], r.order_labels)
            words_on_it = "The uppermost curve is decoded first; if all coincide, every order is equally probable."
            pictures.append(
                Picture(f"schedule_{i}", figure, f"{label}: noise schedules. {words_on_it}")
            )
        if "orders" in r.values:
            figure = plots.order_heatmap(plots.rank_probability(r.values["orders"]), r.order_labels)
            pictures.append(
                Picture(
                    f"order_{i}", figure, f"{label}: probability of every rank for every position."
                )
            )
    samples: list[Block] = []
    for label, r in drawn.items():
        if r.report.get("samples"):
            samples += [Text(label), Lines(r.report["samples"][:4])]
        if r.report.get("sample_rows"):
            samples += [Text(label), Grid(r.report["sample_columns"], r.report["sample_rows"][:4])]
    note = (
        f"Pictures of the first {MOST_DRAWN} of {len(runs)} runs." if len(runs) > MOST_DRAWN else ""
    )
    own = [Link(f"The report on {label}", to) for label, to in (links or {}).items()]
    parts = [
        Section(
            "Settings that differ",
            [Grid(["run", *(n.removesuffix("._target_") for n in names), "folder"], rows), *own],
        ),
        Section("Likelihoods", likelihoods(runs)),
        Section("Curves", list(curves(drawn))),
        Section("Schedules and orders", [*([Text(note)] if note else []), *pictures]),
        Section("Samples", samples),
        Section("Words", [Terms(WORDS)]),
    ]
    found = [block for part in parts for block in part.blocks if isinstance(block, Picture)]
    title = f"{len(runs)} runs side by side"
    return render(
        title, "Masked diffusion models: likelihoods, curves, orders of decoding.", words, parts
    ), found
