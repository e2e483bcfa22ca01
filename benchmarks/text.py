"""Does it find the reading order? text8 pieces, bits/char of random, learned and left-to-right orders at equal denoiser rows.

The same transformer size (4 layers of width 128) and the same number of denoiser rows a step everywhere. Laws: ``fixed`` (uniformly
random orders), ``table`` (a free log w per position), ``network`` (log w from position features), ``l2r``. Test split of a local text8
file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import QUICK, Run, estimate, run_all, seeds_of
from ordo.runs.entry import existing

LAWS = {
    "fixed": ["schedule=linear"],
    "table": ["schedule=power_table"],
    "network": [],
    "l2r": ["schedule=left_to_right"],
}
OBJECTIVES = {
    "time": ["objective=time", "denoiser=bidirectional"],
    "order": ["objective=order", "denoiser=bidirectional"],
    "dense": [],
}
RUNS = [
    *(f"{law}_{objective}" for law in ("fixed", "table", "network") for objective in OBJECTIVES),
    "l2r_dense",
]
# A step of Adam moves every table entry by itself, and the gradients of time and order space are noisier: smaller steps for the law.
RATES = {
    "table_time": 0.05,
    "table_order": 0.05,
    "table_dense": 0.05,
    "network_time": 0.05,
    "network_order": 0.1,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--text8", type=existing, default="data/text8", help="text8 or its first megabytes"
    )
    parser.add_argument("--length", type=int, default=32, help="characters per sequence")
    parser.add_argument("--steps", type=int, default=2400, help="of training")
    parser.add_argument("--rows", type=int, default=64, help="denoiser rows a step")
    parser.add_argument(
        "--seeds", type=int, help="seeds 0, 1, ... of every run that names no number of its own"
    )
    parser.add_argument(
        "--runs", nargs="+", default=RUNS, metavar="RUN[=SEEDS]", help=f"of {', '.join(RUNS)}"
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")


def rank_correlation(folder: Path) -> float:
    """Spearman correlation of the last expected rank with the position, from the run's order history."""
    rank = np.load(folder / "order_over_training.npz")["expected_rank"][-1]
    return float(np.corrcoef(rank.argsort().argsort(), np.arange(len(rank)))[0, 1])


def define(
    name: str,
    seed: int,
    text8: str,
    device: str,
    quick: bool,
    length: int = 32,
    steps: int = 2400,
    rows: int = 64,
) -> Run:
    """The run LAW_OBJECTIVE of one seed."""
    law, _, objective = name.partition("_")
    draws = 2 if law in ("table", "network") and objective != "dense" else 1
    changes = [
        *LAWS[law],
        *OBJECTIVES[objective],
        f"objective.draws={draws}",
        f"data.batch_size={rows // draws}",
    ]
    changes += [f"optimizer.schedule_lr={RATES[name]}"] if name in RATES else []
    changes += ["objective.score.baseline=rloo"] if objective == "order" else []
    changes += ["schedule.bound=4"] if objective == "time" and law in ("table", "network") else []
    changes += [f"data.path={Path(text8).resolve()}", f"data.length={length}", f"seed={seed}"]
    changes += [f"steps={steps}", "validate_every=${steps}", "checkpoint_every=600"]
    changes += ["report.split=test", f"trainer.accelerator={device.replace('cuda', 'gpu')}"]
    changes += [f"report.sequences={32768 // length}"]  # as many characters at every length
    # A bidirectional denoiser needs ``length`` calls for one order.
    exact, draws = (16384, 16) if objective == "dense" else (8192, 4)
    changes += [f"report.exact_sequences={exact // length}", f"report.importance_draws={draws}"]
    return "text8_learned_order_cpu", [*changes, *(QUICK if quick else [])]


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a = arguments
    seeds = seeds_of(a.runs, RUNS, a.seeds, {"network_dense": 5})
    folders = {
        name: [f"text_{name}_{a.length}_{seed}" for seed in range(seeds[name])] for name in seeds
    }
    runs = {
        folder: define(name, seed, a.text8, a.device, a.quick, a.length, a.steps, a.rows)
        for name in seeds
        for seed, folder in enumerate(folders[name])
    }
    reports = run_all(runs, arguments.work, arguments.jobs)
    out: dict[str, Any] = {}
    for name, mine in folders.items():
        out[name] = {
            key: [estimate(reports[run], kind) for run in mine]
            for key, kind in (
                ("own", "own_nelbo"),
                ("uniform", "uniform_nelbo"),
                ("exact", "mode_exact"),
                ("importance", "importance"),
            )
        }
        out[name]["exact_standard_error"] = [
            estimate(reports[run], "mode_exact", "bits_per_token_standard_error") for run in mine
        ]
        out[name]["seconds"] = [reports[run]["fit_seconds"] for run in mine]
        if name.startswith(("table", "network")):
            out[name]["rank_correlation"] = [
                rank_correlation(Path(arguments.work) / run) if reports[run]["estimates"] else None
                for run in mine
            ]
    needed = ("fixed_dense", "l2r_dense", "network_dense")
    if set(needed) <= set(out) and not any(None in out[name]["exact"] for name in needed):
        # Two readings of where fixed random orders stand: their NELBO, and the exact score along one order (their mode: left to right).
        bottom = np.mean(out["l2r_dense"]["exact"])
        for key, top in (
            ("gap_closed", np.mean(out["fixed_dense"]["own"])),
            ("gap_closed_exact", np.mean(out["fixed_dense"]["exact"])),
        ):
            out[key] = [
                float((top - value) / (top - bottom)) for value in out["network_dense"]["exact"]
            ]
    return out
