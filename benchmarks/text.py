"""Does training find the reading order? Bits/char of random, learned and given orders on text8.

Every run has the same transformer size (4 layers of width 128) and the same number of denoiser rows
a step. Laws: ``fixed`` (uniformly random orders), ``table`` (a free log w per position),
``network`` (log w from position features), ``l2r`` (left to right). The figures are those of the
test split of a local text8 file.
"""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import TEXT8, Run, Runs, Study, numbers, objective

LAWS = {
    "fixed": "schedule=linear",
    "table": "schedule=power_table",
    "network": "",
    "l2r": "schedule=left_to_right",
}
OBJECTIVES = {
    "time": f"{objective('time')} denoiser=bidirectional",
    "order": f"{objective('order')} denoiser=bidirectional objective.score.baseline=rloo",
    "dense": "",
}
LEARNED = ("table", "network")
RUNS = [f"{law}_{objective}" for law in ("fixed", *LEARNED) for objective in OBJECTIVES]
RUNS += ["l2r_dense"]
# Smaller steps of the law for two reasons: Adam moves every table entry by itself, and gradients of
# time and order space are noisier.
RATES = dict.fromkeys(["table_time", "table_order", "table_dense", "network_time"], 0.05)
RATES["network_order"] = 0.1
OPTIONS = {"text8": TEXT8, **numbers(length=32, steps=2400, rows=64, seeds=None, jobs=2)}


def scored(length: int, exact: int, orders: int) -> str:
    """Overrides of the report: it scores as many characters at every length."""
    return (
        f"report.split=test report.sequences={32768 // length} "
        f"report.exact_sequences={exact // length} report.importance_draws={orders}"
    )


def folder(name: str, seed: int, a: Namespace) -> str:
    return f"text_{name}_{a.length}_{seed}"


def define(name: str, seed: int, a: Namespace) -> Run:
    """The run LAW_OBJECTIVE of one seed."""
    law, _, space = name.partition("_")
    draws = 2 if law in LEARNED and space != "dense" else 1
    changes = f"{LAWS[law]} {OBJECTIVES[space]} objective.draws={draws}"
    changes += f" optimizer.schedule_lr={RATES[name]}" if name in RATES else ""
    changes += " schedule.bound=4" if space == "time" and law in LEARNED else ""
    changes += f" data.batch_size={a.rows // draws} data.length={a.length} steps={a.steps}"
    changes += " validate_every=${steps} checkpoint_every=600 "
    # A bidirectional denoiser needs ``length`` calls for one order.
    changes += scored(a.length, *((16384, 16) if space == "dense" else (8192, 4)))
    path = f"data.path={Path(a.text8).resolve()}"
    return "text8_learned_order_cpu", [*changes.split(), path]


def rank_correlation(folder: Path) -> float:
    """Spearman correlation of the last expected rank with the position."""
    rank = np.load(folder / "order_over_training.npz")["expected_rank"][-1]
    return float(np.corrcoef(rank.argsort().argsort(), np.arange(len(rank)))[0, 1])


def summary(found: dict[str, Runs], a: Namespace) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, runs in found.items():
        out[name] = runs.estimates("bits_per_token") | {"seconds": runs.listed("fit_seconds")}
        if name.startswith(LEARNED):
            out[name]["rank_correlation"] = runs.each(rank_correlation)
    needed = ("fixed_dense", "l2r_dense", "network_dense")
    if set(needed) <= set(out) and not any(None in out[name]["exact"] for name in needed):
        # Fixed random orders have two readings: their NELBO, and the exact score along one order.
        bottom = np.mean(out["l2r_dense"]["exact"])
        for key, reading in (("gap_closed", "own"), ("gap_closed_exact", "exact")):
            top = np.mean(out["fixed_dense"][reading])
            values = out["network_dense"]["exact"]
            out[key] = [float((top - value) / (top - bottom)) for value in values]
    return out


STUDY = Study(folder, RUNS, define, summary, OPTIONS, seeds={"network_dense": 5}, flag="runs")
