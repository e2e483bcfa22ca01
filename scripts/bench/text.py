"""Does it find the reading order? text8 pieces, bits/char of random, learned and left-to-right orders at equal denoiser rows.

The same transformer size (4 layers of width 128) and the same 64 denoiser rows a step everywhere. Laws: ``fixed`` (uniformly random
orders), ``table`` (a free log w per position), ``network`` (log w from position features), ``l2r``. Test split of a local text8 file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import run_all

ROWS = 64
LAWS = {"fixed": ["schedule=linear"], "table": ["schedule=power_table"], "network": [], "l2r": ["schedule=left_to_right"]}
OBJECTIVES = {"time": ["objective=time", "denoiser=bidirectional"], "order": ["objective=order", "denoiser=bidirectional"], "dense": []}
# A step of Adam moves every table entry by itself, so a table wants the smaller rate that also serves the NAE task.
RATES = {"table": "optimizer.schedule_lr=0.05"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--text8", default="data/text8/text8", help="text8 or its first megabytes")
    parser.add_argument("--length", type=int, default=32, help="characters per sequence")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds of every run")
    parser.add_argument("--first-seed", type=int, default=0, help="seeds first, first + 1, ...; to run a benchmark in parts")
    parser.add_argument(
        "--runs", nargs="+", default=[f"{law}_{objective}" for law in LAWS for objective in OBJECTIVES if law != "l2r"] + ["l2r_dense"]
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")


def rank_correlation(folder: Path) -> float:
    """Spearman correlation of the last expected rank with the position, from the run's order history."""
    rank = np.load(folder / "order_over_training.npz")["expected_rank"][-1]
    return float(np.corrcoef(rank.argsort().argsort(), np.arange(len(rank)))[0, 1])


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    steps = 20 if arguments.quick else arguments.steps
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    common = [f"data.path={Path(arguments.text8).resolve()}", f"data.length={arguments.length}", f"steps={steps}"]
    common += [
        "validate_every=${steps}",
        "checkpoint_every=600",
        "report.split=test",
        "report.sequences=2048",
        "report.exact_sequences=512",
    ]
    common += [f"trainer.accelerator={arguments.device.replace('cuda', 'gpu')}"]
    runs = {}
    for name in arguments.runs:
        law, _, objective = name.partition("_")
        if law not in LAWS or objective not in OBJECTIVES:
            raise SystemExit(
                f"error: run {name!r} is not LAW_OBJECTIVE with LAW in {', '.join(LAWS)} and OBJECTIVE in {', '.join(OBJECTIVES)}"
            )
        draws = 2 if law in ("table", "network") and objective != "dense" else 1
        changes = [*LAWS[law], *OBJECTIVES[objective], f"objective.draws={draws}", f"data.batch_size={ROWS // draws}"]
        changes += [RATES[law]] if law in RATES else []
        for seed in seeds:
            runs[f"{name}_{arguments.length}_{seed}"] = ("text8_learned_order_cpu", [*changes, f"seed={seed}", *common])
    reports = run_all(runs, arguments.work, arguments.jobs)
    out: dict[str, Any] = {}
    for name in arguments.runs:
        mine = [f"{name}_{arguments.length}_{seed}" for seed in seeds]
        out[name] = {
            key: [reports[run]["estimates"][estimate]["bits_per_token"] for run in mine]
            for key, estimate in (("own", "own_nelbo"), ("uniform", "uniform_nelbo"), ("exact", "mode_exact"), ("importance", "importance"))
        }
        out[name]["seconds"] = [reports[run]["fit_seconds"] for run in mine]
        if name.startswith(("table", "network")):
            out[name]["rank_correlation"] = [rank_correlation(Path(arguments.work) / run) for run in mine]
    if {"fixed_dense", "l2r_dense", "network_dense"} <= set(out):
        # Two readings of where fixed random orders stand: their NELBO, and the exact score along one order (their mode: left to right).
        bottom = np.mean(out["l2r_dense"]["exact"])
        for key, top in (("gap_closed", np.mean(out["fixed_dense"]["own"])), ("gap_closed_exact", np.mean(out["fixed_dense"]["exact"]))):
            out[key] = [float((top - value) / (top - bottom)) for value in out["network_dense"]["exact"]]
    return out
