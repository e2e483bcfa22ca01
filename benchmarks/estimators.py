"""Which estimator of a law's gradient: total variance of every one, on every kind of law, at equal denoiser rows, as training goes on.

For each data set and law a small denoiser is trained under its own law (order space; dense for the order-causal one), and kept before the
first step (``untrained``), after half of the steps and after all of them. Then the gradient of the NELBO (nats per sequence) in all of the
law's parameters is estimated many times, each time from ``--rows`` denoiser rows on the same fresh sequences, and the variances of its
entries are added up. ``signal`` is the norm of the mean gradient, less what noise adds to its square; ``entropy_share`` is what is left of
the order law's entropy. Estimators: objective, options, draws of each sequence. Laws: ``position`` (a table of log w), ``vocabulary``,
``context``, ``posterior``, and ``dense`` (a table, order-causal denoiser).
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import compose_experiment
from ordo.files import write_json
from ordo.objectives import (
    ContentOrderSpace,
    ContentTimeSpace,
    Dense,
    LawTooSharp,
    OrderSpace,
    ScoreFunction,
    TimeSpace,
)
from ordo.progress import note, track
from ordo.randomness import StepRandom
from ordo.runs.build import build_data, build_module
from ordo.runs.entry import existing
from ordo.schedules import AveragedSchedule, ContentSchedule
from ordo.training.plain import train_steps

PHASES = ("untrained", "half", "trained")
WARM = 30  # estimates that only fit running means and regressions
SMALL = ["denoiser.width=48", "denoiser.layers=2"]
DATA = {
    "nae": ["data=nae", *SMALL, "denoiser.positions=learned"],
    "adult": ["data=table", "data.name=adult", *SMALL, "denoiser.waves=8"],
    "text8": ["data=text8", "data.length=32", *SMALL, "denoiser.positions=both"],
}
LAWS = {
    "position": ["schedule=power_table", "objective=order", "optimizer.schedule_lr=0.05"],
    "vocabulary": [
        "schedule=per_vocabulary",
        "objective=content_order",
        "optimizer.schedule_lr=0.02",
    ],
    "context": ["schedule=per_context", "objective=content_order", "optimizer.schedule_lr=2e-3"],
    "posterior": [
        "schedule=order_posterior",
        "objective=content_order",
        "optimizer.schedule_lr=2e-3",
    ],
    "dense": ["schedule=power_table", "objective=dense_rloo", "optimizer.schedule_lr=0.05"],
}
SCORES = {  # name: draws, options of the score function
    "rloo 2": (2, {}),
    "rloo 4": (4, {}),
    "mirror rloo 4": (4, {"antithetic": "mirror"}),
    "ema 1": (1, {"baseline": "ema"}),
    "mirror ema 2": (2, {"antithetic": "mirror", "baseline": "ema"}),
    "learned 1": (1, {"baseline": "learned"}),
    "learned unigram 1": (1, {"baseline": "learned", "unigram": True}),
}
RELAX = {
    "relax rloo 2": (2, {"control": "relax"}),
    "relax learned unigram 1": (1, {"control": "relax", "baseline": "learned", "unigram": True}),
}
DISARM = {"disarm 2": (2, {"antithetic": "disarm"})}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--text8", type=existing, default=None, help="text8 or its first megabytes")
    parser.add_argument(
        "--adult",
        type=existing,
        default=None,
        metavar="FOLDER",
        help="the folder of the Adult table",
    )
    parser.add_argument(
        "--laws", nargs="+", default=list(LAWS), choices=list(LAWS), help="whose gradients"
    )
    parser.add_argument("--steps", type=int, default=600, help="of training")
    parser.add_argument("--rows", type=int, default=64, help="denoiser rows a gradient estimate")
    parser.add_argument("--repeats", type=int, default=60, help="gradient estimates a figure")
    parser.add_argument("--seed", type=int, default=0, help="of models, data and estimates")
    parser.add_argument(
        "--table", default=None, metavar="FILE", help="write the compact table there too, Markdown"
    )


def objectives_of(law: str, length: int, vocab_size: int) -> dict[str, Any]:
    """All estimators that fit a law, by name."""
    sizes: dict[str, Any] = {"length": length, "vocab_size": vocab_size}
    if law == "dense":
        return {
            "dense ema 1": Dense(length, 1, "ema", control=False),
            "dense ema control 1": Dense(length, 1, "ema"),
            "dense ema control unigram 1": Dense(
                length, 1, "ema", unigram=True, vocab_size=vocab_size
            ),
            "dense rloo 2": Dense(length, 2, "rloo", control=False),
            "dense rloo control 2": Dense(length, 2, "rloo"),
        }
    order: Callable[..., Any] = OrderSpace if law == "position" else ContentOrderSpace
    timed: Callable[..., Any] = TimeSpace if law == "position" else ContentTimeSpace
    out = {
        f"order {name}": order(draws, score=ScoreFunction(**options, **sizes))
        for name, (draws, options) in (SCORES | RELAX).items()
    }
    out |= {
        f"time {name}": timed(draws, score=ScoreFunction(**options, **sizes))
        for name, (draws, options) in (SCORES | DISARM).items()
    }
    if law != "position":
        out |= {
            f"order rate {name}": ContentOrderSpace(SCORES[name][0], "rate")
            for name in ("rloo 2", "rloo 4")
        }
    return out


def configuration(data: str, law: str, a: argparse.Namespace) -> Any:
    where = {"nae": [], "adult": [f"data.path={a.adult}"], "text8": [f"data.path={a.text8}"]}[data]
    kind = (
        ("table_causal" if law == "dense" else "table")
        if data == "adult"
        else ("order_causal" if law == "dense" else "bidirectional")
    )
    changes = [
        *DATA[data],
        *LAWS[law],
        f"denoiser={kind}",
        *where,
        f"seed={a.seed}",
        f"steps={a.steps}",
        f"data.batch_size={a.rows // 2}",
    ]
    changes += [] if law == "dense" else ["objective.draws=2", "objective.score.baseline=rloo"]
    return compose_experiment("custom", changes)


def trained(config: Any, steps: int) -> tuple[Any, Any, dict[str, Any]]:
    """Data, module, and the module's weights in every phase."""
    data = build_data(config)
    module = build_module(config)
    weights = {"untrained": copy.deepcopy(module.state_dict())}
    begun = time.perf_counter()
    for step, _ in train_steps(
        module.denoiser,
        module.schedule,
        module.objective,
        data.train_dataloader(),
        module.settings,
        config.seed,
    ):
        if step in (steps // 2, steps):
            weights["half" if step == steps // 2 else "trained"] = copy.deepcopy(
                module.state_dict()
            )
    note(f"trained in {time.perf_counter() - begun:.0f} s")
    return data, module, weights


def measure(
    objective: Any, module: Any, batches: list[torch.Tensor], repeats: int, rows: int, warm: int
) -> dict[str, float | None]:
    """Total variance of d NELBO / d (parameters of the law), its standard error over estimates, and the norm of the mean gradient."""
    parameters = [p for p in module.schedule.parameters() if p.requires_grad]
    gradients = []
    first = (
        0 if list(objective.buffers()) else warm
    )  # what is measured is measured on the same batches
    begun = time.perf_counter()
    try:
        for step in range(first, warm + repeats):
            begun = time.perf_counter() if step == warm else begun
            tokens = batches[step][: rows // objective.draws]
            out = objective(module.denoiser, module.schedule, tokens, StepRandom(1, step))
            if step >= warm:
                found = torch.autograd.grad(out.loss * tokens.shape[1], parameters)
                gradients.append(torch.cat([g.flatten().double() for g in found]))
    except LawTooSharp:
        return {"variance": None, "standard_error": None, "signal": None, "milliseconds": None}
    stacked = torch.stack(gradients)
    squares = (stacked - stacked.mean(0)).square().sum(-1) * repeats / (repeats - 1)
    return {
        "variance": squares.mean().item(),
        "standard_error": (squares.std() / repeats**0.5).item(),
        "signal": (stacked.mean(0).square().sum() - squares.mean() / repeats)
        .clamp(min=0.0)
        .sqrt()
        .item(),
        "milliseconds": 1000
        * (time.perf_counter() - begun)
        / repeats,  # of the law's gradient alone: the denoiser is frozen
    }


def endless(data: Any) -> Iterator[torch.Tensor]:
    while True:
        yield from (getattr(batch, "tokens", batch) for batch in data.train_dataloader())


def one(data_name: str, law: str, a: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The figures of one data set and law; kept below the folder, so that a benchmark that was killed goes on."""
    kept = folder / f"{data_name}_{law}.json"
    warm = 2 if a.quick else WARM
    path = {"adult": a.adult, "text8": a.text8}.get(data_name)
    identity = {
        "path": None if path is None else str(path),
        "steps": a.steps,
        "rows": a.rows,
        "repeats": a.repeats,
        "seed": a.seed,
        "quick": a.quick,
    }
    if kept.exists() and (old := json.loads(kept.read_text()))["identity"] == identity:
        return old["results"]
    config = configuration(data_name, law, a)
    data, module, weights = trained(config, a.steps)
    config.data.seed, config.data.batch_size = (
        a.seed + 1,
        a.rows,
    )  # not the batches it was trained on
    batches = list(itertools.islice(endless(build_data(config)), warm + a.repeats))
    results = []
    for phase in track(PHASES, f"{data_name}, {law}"):
        module.load_state_dict(weights[phase])
        module.eval()
        module.denoiser.requires_grad_(False)
        schedule = module.schedule
        law_now: Any = (
            AveragedSchedule(schedule, batches[0])
            if isinstance(schedule, ContentSchedule)
            else schedule
        ).law()
        entropy = float(law_now.entropy(512)[0]) / math.lgamma(data.length + 1)
        for name, objective in objectives_of(law, data.length, data.vocab_size).items():
            figures = measure(objective, module, batches, a.repeats, a.rows, warm)
            results.append(
                {
                    "data": data_name,
                    "law": law,
                    "phase": phase,
                    "entropy_share": entropy,
                    "estimator": name,
                }
                | figures
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(kept, {"identity": identity, "results": results})
    return results


def compact(results: list[dict[str, Any]], laws: list[str]) -> str:
    """Markdown: for each law a table, estimators by data and phase, variance relative to leave-one-out at two draws of the same law."""
    lines = []
    for law in laws:
        mine = [r for r in results if r["law"] == law]
        columns = list(dict.fromkeys((r["data"], r["phase"]) for r in mine))
        base = "dense rloo 2" if law == "dense" else "order rloo 2"
        cells = {(r["data"], r["phase"], r["estimator"]): r["variance"] for r in mine}
        lines += [
            f"| {law} | " + " | ".join(f"{data}, {phase}" for data, phase in columns) + " |",
            "|---" * (1 + len(columns)) + "|",
        ]
        for estimator in dict.fromkeys(r["estimator"] for r in mine):
            row = []
            for at in columns:
                value, unit = cells[*at, estimator], cells[*at, base]
                row.append("too sharp" if value is None else f"{value / unit:.2f}" if unit else "-")
            lines.append(f"| {estimator} | " + " | ".join(row) + " |")
        lines.append("")
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a = arguments
    torch.set_num_threads(1)
    if a.quick:
        a.steps, a.repeats, a.rows = 4, 3, 8
    wanted = ["nae", *(["adult"] if a.adult else []), *(["text8"] if a.text8 else [])]
    a.text8, a.adult = (
        None if path is None else Path(path).resolve() for path in (a.text8, a.adult)
    )
    folder = Path(a.work) / "estimators"
    results = [result for data in wanted for law in a.laws for result in one(data, law, a, folder)]
    table = compact(results, a.laws)
    note(table)
    if a.table:
        Path(a.table).write_text(table)
    return {
        "rows": a.rows,
        "steps": a.steps,
        "repeats": a.repeats,
        "seed": a.seed,
        "torch": torch.__version__,
        "results": results,
    }
