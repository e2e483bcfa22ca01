"""Laws of positions and of tokens where half of the sequences want one order and half another.

The figures are nats above the exact entropy. A flag column says which half a sequence is of.
``gap_closed`` is how much of the gap that static laws leave is closed by laws that depend on the
tokens. Tasks: two_orders (constraints between columns), two_ways (steps that are easy in one
direction only).

Every run has the same denoiser rows, steps and size: 2 layers of width 64, and the networks of a
law of tokens on top. ``random`` runs have uniformly random orders, ``table`` and ``network`` a
static law learned in order space (bidirectional denoiser) or dense (order-causal). ``hasty`` is a
law that does not wait for the denoiser, and moves faster. ``per_context_dense`` is slow, as its
reverse network sees every prefix by itself.

A static law is judged by the exact score of its mode order or by the importance bound, whichever is
lower; a law that depends on the tokens by the importance bound on -log p. All are judged on the
same 512 test sequences. The gap is that of the best static run of any kind and seed, which is the
hardest to close.
"""

from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import Run, Runs, Study, numbers, objective
from ordo.data import TaskData, TwoWays
from ordo.runs.stored import load, load_data
from ordo.samplers import Sampler, TokenRule, sample

DENOISERS = {"order": "denoiser=bidirectional", "dense": "denoiser=order_causal"}
STATIC_SCHEDULES = {
    "random_order": "schedule=linear",
    "random_dense": "schedule=linear",
    "table_order": "schedule=power_table optimizer.schedule_lr=0.05",
    "table_dense": "schedule=power_table optimizer.schedule_lr=0.05",
    "network_order": "schedule=power_network optimizer.schedule_lr=0.1",
    "network_dense": "schedule=power_network optimizer.schedule_lr=1.0",
}
TOKEN_SCHEDULES = {
    "per_context": "schedule=per_context",
    "order_posterior": "schedule=order_posterior",
    "per_context_dense": "schedule=per_context",
    "order_posterior_dense": "schedule=order_posterior",
    "hasty_posterior_dense": "schedule=order_posterior optimizer.schedule_delay=300 "
    "optimizer.schedule_lr=5e-3",
}
KINDS = STATIC_SCHEDULES | TOKEN_SCHEDULES
TASKS = {"two_orders": "nae_mixture_lomdm", "two_ways": "two_ways_posterior"}  # task: experiment
OPTIONS = {
    "task": ("two_orders", "see above", {"choices": TASKS}),
    "n-half": (8, "columns of each half, of two_orders"),
    **numbers(steps=4000, rows=128, seeds=None, jobs=2),
}


def task_of(a: Namespace) -> str:
    return f"two_orders_{a.n_half}" if a.task == "two_orders" else a.task


def folder(kind: str, seed: int, a: Namespace) -> str:
    return f"{task_of(a)}_{kind}_{seed}"


def define(kind: str, seed: int, a: Namespace) -> Run:
    space, of_tokens = "dense" if kind.endswith("dense") else "order", kind in TOKEN_SCHEDULES
    draws = 2 if of_tokens and space == "dense" else 1
    changes = f"{KINDS[kind]} {objective(space, of_tokens)} {DENOISERS[space]}"
    changes += f" objective.draws={draws} data.batch_size={a.rows // draws} steps={a.steps}"
    changes += f" data.task.n_half={a.n_half}" if a.task == "two_orders" else ""
    changes += " report.split=test report.orders=0 report.exact_sequences=512"
    changes += " report.importance_draws=16 report.samples=0"
    half = max(1, a.steps // 2)
    return TASKS[a.task], f"{changes} validate_every={half} checkpoint_every={half}".split()


def gap_closed(value: float, error: float, static: float, static_error: float) -> dict[str, float]:
    """1 - value / static, nats above the entropy, and its error, as if both were independent."""
    return {
        "share": 1 - value / static,
        "standard_error": ((error / static) ** 2 + (value * static_error / static**2) ** 2) ** 0.5,
    }


def orders_drawn(folder: Path) -> dict[str, Any]:
    """How a trained model of two_ways decodes 512 test sequences: most probable tokens, own law.

    Returns the share of paths that are right, and for each flag the two commonest orders of the
    path's states with their counts. States are numbered from 1 in the direction of the flag.
    """
    module, config = load(folder)
    data = load_data(config, folder, as_trained=True)
    assert isinstance(data, TaskData)
    assert isinstance(data.task, TwoWays)
    assert data.test_set.known is not None
    steps, tokens, known = data.task.steps, data.test_set.tokens[:512], data.test_set.known[:512]
    sampler = Sampler(what=TokenRule(temperature=0))
    given = {"schedule": module.schedule, "seed": 0, "given": tokens, "known": known}
    trace = sample(module.denoiser, sampler, len(tokens), **given)
    out: dict[str, Any] = {"right": (trace.tokens == tokens).all(1).double().mean().item()}
    position = trace.rank[:, -steps:].argsort(1)
    for flag in (0, 1):
        rows = position[tokens[:, -steps - 2] == flag]
        states = (rows if flag == 0 else steps - 1 - rows) + 1
        orders = Counter(" ".join(map(str, row)) for row in states.tolist())
        out[f"flag_{flag}"] = orders.most_common(2)
    return out


def summary(found: dict[str, Runs], a: Namespace) -> dict[str, Any]:
    kinds: dict[str, Any] = {}
    names = {"own": "own_nelbo", "importance": "importance", "mode": "mode_exact"}
    for kind, runs in found.items():
        about = {"seconds": runs.listed("fit_seconds"), "collapsed": runs.listed("collapsed")}
        kinds[kind] = about | runs.estimates("nats_above_entropy", **names)
        if a.task == "two_ways" and kind in TOKEN_SCHEDULES:
            drawn = runs.each(orders_drawn)
            kinds[kind]["orders"] = [orders for orders in drawn if orders is not None]

    def bounds(kind: str, key: str) -> list[tuple[Any, Any]]:
        entry = kinds[kind]
        return list(zip(entry[key], entry[f"{key}_standard_error"], strict=True))

    static_kinds = [kind for kind in kinds if kind in STATIC_SCHEDULES]
    every = [p for kind in static_kinds for k in ("mode", "importance") for p in bounds(kind, k)]
    static = [pair for pair in every if None not in pair]
    out = {"task": task_of(a), "steps": a.steps, "rows": a.rows, "torch": torch.__version__}
    out["kinds"] = kinds
    if static:
        best = out["best_static"] = min(static)
        for kind in kinds:
            if kind in TOKEN_SCHEDULES:
                pairs = bounds(kind, "importance")
                kinds[kind]["gap_closed"] = [
                    None if None in pair else gap_closed(*pair, *best) for pair in pairs
                ]
    return out


STUDY = Study(folder, KINDS, define, summary, OPTIONS)
