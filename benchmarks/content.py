"""Laws of positions against laws that depend on the tokens: text8 pieces, the same transformer size, data and denoiser rows.

Two families, as a denoiser is of one kind: ``_order`` runs have a bidirectional denoiser and order space (per-vocabulary rates are for
these alone), ``_dense`` runs an order-causal one. Test split of a local text8 file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import QUICK, Run, estimate, run_all, seeds_of
from ordo.runs.entry import existing

BIDIRECTIONAL, CAUSAL = ["denoiser=bidirectional"], ["denoiser=order_causal"]
RATE = 2e-3
# ..._base: networks that depart from a law of positions, that of positions_dense, which moves as fast as there.
BASE = [
    "schedule.base={_target_: ordo.schedules.PositionNetwork, length: '${data.length}'}",
    "optimizer.base_lr=1.0",
]
CONTENT = {"per_vocabulary": 0.02} | dict.fromkeys(
    ["per_context", "posterior", "per_context_base", "posterior_base"], RATE
)  # and the rate
# One draw a sequence, so that every run sees as many sequences.
SCORE = ["objective.score.unigram=true"]
SCHEDULES = {
    "fixed": ["schedule=linear"],
    "positions": ["schedule=power_network"],
    "l2r": ["schedule=left_to_right"],
    "per_vocabulary": ["schedule=per_vocabulary"],
    "per_context": ["schedule=per_context"],
    "posterior": ["schedule=order_posterior"],
    "per_context_base": ["schedule=per_context_pooled", *BASE],
    "posterior_base": ["schedule=order_posterior", *BASE],
}
RUNS = [
    "fixed_order",
    "positions_order",
    "per_vocabulary_order",
    "per_context_order",
    "posterior_order",
]
RUNS += [
    "fixed_dense",
    "positions_dense",
    "posterior_dense",
    "l2r_dense",
    "per_context_base_dense",
    "posterior_base_dense",
]
ESTIMATES = (
    ("own", "own_nelbo"),
    ("uniform", "uniform_nelbo"),
    ("mode", "mode_exact"),
    ("importance", "importance"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--text8", type=existing, default="data/text8", help="text8 or its first megabytes"
    )
    parser.add_argument("--length", type=int, default=32, help="characters per sequence")
    parser.add_argument("--steps", type=int, default=1000, help="of training")
    parser.add_argument("--rows", type=int, default=64, help="denoiser rows a step")
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        help="seeds 0, 1, ... of every run that names no number of its own",
    )
    parser.add_argument(
        "--runs", nargs="+", default=RUNS, metavar="RUN[=SEEDS]", help=f"of {', '.join(RUNS)}"
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")


def define(
    name: str,
    seed: int,
    text8: str,
    device: str,
    quick: bool,
    length: int = 32,
    steps: int = 1000,
    rows: int = 64,
) -> Run:
    """The run LAW_OBJECTIVE of one seed."""
    law, _, objective = name.rpartition("_")
    content = law in CONTENT
    changes = [*SCHEDULES[law], *(BIDIRECTIONAL if objective == "order" else CAUSAL)]
    changes += [
        f"objective={'content_' if content else ''}{objective}",
        "objective.draws=1",
        f"data.batch_size={rows}",
    ]
    changes += SCORE if objective == "order" and law != "fixed" else []
    changes += (
        ["objective.baseline=ema", "objective.unigram=true"]
        if content and objective == "dense"
        else []
    )
    changes += [f"optimizer.schedule_lr={CONTENT[law]}"] if content else []
    changes += (
        ["optimizer.schedule_lr=0.1"] if name == "positions_order" else []
    )  # as in the benchmark text: the gradients are noisier
    changes += [f"data.path={Path(text8).resolve()}", f"data.length={length}", f"seed={seed}"]
    changes += [
        f"steps={steps}",
        "validate_every=${steps}",
        "checkpoint_every=600",
        "report.split=test",
    ]
    changes += [
        f"trainer.accelerator={device.replace('cuda', 'gpu')}",
        "report.page=false",
        "report.orders=0",
        "report.samples=0",
    ]
    exact, orders = (
        (16384, 16) if objective == "dense" else (4096, 4)
    )  # a bidirectional denoiser needs ``length`` calls an order
    changes += [
        f"report.sequences={32768 // length}",
        f"report.exact_sequences={exact // length}",
        f"report.importance_draws={orders}",
    ]
    return "text8_learned_order_cpu", [*changes, *(QUICK if quick else [])]


def entropy(folder: Path) -> float:
    """Order entropy at the end, nats; of laws that depend on the tokens given the sequence."""
    return float(np.load(folder / "order_over_training.npz")["entropy"][-1])


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a = arguments
    seeds = seeds_of(a.runs, RUNS, a.seeds, {})
    pairs = [
        (name, seed) for seed in range(max(seeds.values())) for name in seeds if seed < seeds[name]
    ]
    place = {(name, seed): f"content_{name}_{a.length}_{seed}" for name, seed in pairs}
    runs = {
        folder: define(name, seed, a.text8, a.device, a.quick, a.length, a.steps, a.rows)
        for (name, seed), folder in place.items()
    }
    reports = run_all(runs, a.work, a.jobs)
    out: dict[str, Any] = {}
    for name in seeds:
        mine = [place[name, seed] for seed in range(seeds[name])]
        out[name] = {key: [estimate(reports[run], kind) for run in mine] for key, kind in ESTIMATES}
        out[name] |= {
            f"{key}_standard_error": [
                estimate(reports[run], kind, "bits_per_token_standard_error") for run in mine
            ]
            for key, kind in ESTIMATES
        }
        out[name]["seconds"] = [reports[run]["fit_seconds"] for run in mine]
        out[name]["collapsed"] = [reports[run].get("collapsed") for run in mine]
        out[name]["order_entropy"] = [
            entropy(Path(a.work) / run) if reports[run]["estimates"] else None for run in mine
        ]
    return out
