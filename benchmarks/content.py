"""Bits/char of laws of positions and of laws that depend on the tokens, on text8.

Every run has the same transformer size, data and denoiser rows. There are two families, as a
denoiser is of one kind: ``_order`` runs have a bidirectional denoiser and order space (only they
can have per-vocabulary rates), ``_dense`` runs have an order-causal denoiser. The figures are those
of the test split of a local text8 file.
"""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
    LIKELIHOODS,
    NO_PAGE,
    TEXT8,
    Run,
    Runs,
    Study,
    numbers,
    objective,
    words,
)
from benchmarks.text import scored

# ..._base: networks that depart from a law of positions, which moves as fast as positions_dense.
BASE = (
    "schedule.base={_target_:ordo.schedules.PositionNetwork,length:'${data.length}'} "
    "optimizer.base_lr=1.0"
)
SCHEDULES = {
    "fixed": "schedule=linear",
    "positions": "schedule=power_network",
    "l2r": "schedule=left_to_right",
    "per_vocabulary": "schedule=per_vocabulary",
    "per_context": "schedule=per_context",
    "posterior": "schedule=order_posterior",
    "per_context_base": f"schedule=per_context_pooled {BASE}",
    "posterior_base": f"schedule=order_posterior {BASE}",
}
RATES = {  # learning rates of the laws that depend on the tokens
    "per_vocabulary": 0.02,
    "per_context": 2e-3,
    "posterior": 2e-3,
    "per_context_base": 2e-3,
    "posterior_base": 2e-3,
}
RUNS = words(
    "fixed_order positions_order per_vocabulary_order per_context_order posterior_order "
    "fixed_dense positions_dense posterior_dense l2r_dense per_context_base_dense "
    "posterior_base_dense"
)
OPTIONS = {"text8": TEXT8, **numbers(length=32, steps=1000, rows=64, seeds=3, jobs=2)}


def folder(name: str, seed: int, a: Namespace) -> str:
    return f"content_{name}_{a.length}_{seed}"


def define(name: str, seed: int, a: Namespace) -> Run:
    """The run LAW_OBJECTIVE of one seed, with one draw a sequence: all runs see as many of them."""
    law, _, space = name.rpartition("_")
    of_tokens, dense = law in RATES, space == "dense"
    changes = f"{SCHEDULES[law]} denoiser={'order_causal' if dense else 'bidirectional'} "
    changes += f"{objective(space, of_tokens)} objective.draws=1"
    changes += " objective.score.unigram=true" if not dense and law != "fixed" else ""
    changes += " objective.baseline=learned objective.unigram=true" if dense and of_tokens else ""
    changes += f" optimizer.schedule_lr={RATES[law]}" if of_tokens else ""
    # As in the study ``text``: gradients of order space are noisier than dense ones.
    changes += " optimizer.schedule_lr=0.1" if name == "positions_order" else ""
    changes += f" data.batch_size={a.rows} data.length={a.length} steps={a.steps}"
    changes += " validate_every=${steps} checkpoint_every=600 "
    # A bidirectional denoiser needs ``length`` calls for one order.
    changes += scored(a.length, *((16384, 16) if dense else (4096, 4)))
    path = f"data.path={Path(a.text8).resolve()}"
    return "text8_learned_order_cpu", [*changes.split(), *NO_PAGE, path]


def entropy(folder: Path) -> float:
    """Order entropy at the end, nats; given the sequence for laws that depend on the tokens."""
    return float(np.load(folder / "order_over_training.npz")["entropy"][-1])


def summary(found: dict[str, Runs], a: Namespace) -> dict[str, Any]:
    names = {"mode" if key == "exact" else key: name for key, name in LIKELIHOODS.items()}
    return {
        name: runs.estimates("bits_per_token", **names)
        | {
            "seconds": runs.listed("fit_seconds"),
            "collapsed": runs.listed("collapsed"),
            "order_entropy": runs.each(entropy),
        }
        for name, runs in found.items()
    }


STUDY = Study(folder, RUNS, define, summary, OPTIONS, flag="runs")
