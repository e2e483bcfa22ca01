"""Where half of the sequences want one order and half another: nats above the exact entropy of static laws and of laws of the tokens.

A flag column says which half it is. How much of the gap that static laws leave do laws that depend on the tokens close? Tasks: two_orders,
constraints between columns; two_ways, steps that are easy in one direction only.

Equal denoiser rows, steps and size, 2 layers of width 64 (a content law's own networks come on top). ``random`` runs have uniformly random
orders, ``table`` and ``network`` a static law learned in order space (bidirectional denoiser) or dense (order-causal). ``hasty`` is a law
that does not wait for the denoiser, and moves faster. ``per_context_dense`` is slow: its reverse network sees every prefix by itself.
Static laws are judged by the exact score of their mode order or by the importance bound, whichever is lower, laws that depend on the tokens
by the importance bound on -log p, on the same 512 test sequences. The gap is that of the best static run of any kind and seed, which is the
hardest to close.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import QUICK, Run, estimate, run_all, seeds_of
from ordo.data import TaskData, TwoWays
from ordo.runs.stored import load, load_data
from ordo.samplers import Sampler, TokenRule, sample

SPACE = {
    "order": ["objective=order", "denoiser=bidirectional"],
    "dense": ["objective=dense", "denoiser=order_causal"],
}
STATIC = {
    "random_order": ["schedule=linear", *SPACE["order"]],
    "random_dense": ["schedule=linear", *SPACE["dense"]],
    "table_order": ["schedule=power_table", *SPACE["order"], "optimizer.schedule_lr=0.05"],
    "table_dense": ["schedule=power_table", *SPACE["dense"], "optimizer.schedule_lr=0.05"],
    "network_order": ["schedule=power_network", *SPACE["order"], "optimizer.schedule_lr=0.1"],
    "network_dense": ["schedule=power_network", *SPACE["dense"], "optimizer.schedule_lr=1.0"],
}
DENSE = ["objective=content_dense", "denoiser=order_causal"]
CONTENT = {
    "per_context": ["schedule=per_context", "objective=content_order", "denoiser=bidirectional"],
    "order_posterior": [
        "schedule=order_posterior",
        "objective=content_order",
        "denoiser=bidirectional",
    ],
    "per_context_dense": ["schedule=per_context", *DENSE],
    "order_posterior_dense": ["schedule=order_posterior", *DENSE],
    "hasty_posterior_dense": [
        "schedule=order_posterior",
        *DENSE,
        "optimizer.schedule_delay=300",
        "optimizer.schedule_lr=5e-3",
    ],
}
KINDS = STATIC | CONTENT
TASKS = {
    "two_orders": "nae_mixture_lomdm",
    "two_ways": "two_ways_posterior",
}  # and the experiment that the runs are changes of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", default="two_orders", choices=TASKS, help="see above")
    parser.add_argument("--n-half", type=int, default=8, help="columns of each half, of two_orders")
    parser.add_argument(
        "--seeds", type=int, help="seeds 0, 1, ... of every kind that names no number of its own"
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        default=list(KINDS),
        metavar="KIND[=SEEDS]",
        help=f"of {', '.join(KINDS)}",
    )
    parser.add_argument("--steps", type=int, default=4000, help="of training")
    parser.add_argument("--rows", type=int, default=128, help="denoiser rows a step")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")


def define(kind: str, a: argparse.Namespace, seed: int) -> Run:
    """The run of one kind and seed."""
    draws = 2 if kind in CONTENT and kind.endswith("dense") else 1
    changes = [*KINDS[kind], f"objective.draws={draws}", f"data.batch_size={a.rows // draws}"]
    changes += [f"data.task.n_half={a.n_half}"] if a.task == "two_orders" else []
    changes += [f"seed={seed}", f"steps={a.steps}", "report.split=test", "report.orders=0"]
    changes += [
        "report.exact_sequences=512",
        "report.importance_draws=16",
        "report.samples=0",
        f"validate_every={max(1, a.steps // 2)}",
    ]
    changes += [
        f"checkpoint_every={max(1, a.steps // 2)}",
        f"trainer.accelerator={a.device.replace('cuda', 'gpu')}",
    ]
    return TASKS[a.task], [*changes, *(QUICK if a.quick else [])]


def gap_closed(value: float, error: float, static: float, static_error: float) -> dict[str, float]:
    """1 - value / static, both nats above the entropy, and its standard error, as if the two were independent."""
    return {
        "share": 1 - value / static,
        "standard_error": ((error / static) ** 2 + (value * static_error / static**2) ** 2) ** 0.5,
    }


def orders_drawn(folder: Path, n: int = 512) -> dict[str, Any]:
    """Of a trained model of two_ways, most probable tokens in orders of its own law: the share of paths that are right, and the commonest
    orders of the path's states, numbered from 1 along the path, in the direction of each flag, with how often they came.
    """
    module, config = load(folder)
    data = load_data(config, folder, as_trained=True)
    assert isinstance(data, TaskData)
    assert isinstance(data.task, TwoWays)
    steps, tokens, known = data.task.steps, data.test_set.tokens[:n], data.test_set.known
    assert known is not None
    sampler = Sampler(what=TokenRule(temperature=0))
    trace = sample(
        module.denoiser,
        sampler,
        len(tokens),
        schedule=module.schedule,
        seed=0,
        given=tokens,
        known=known[:n],
    )
    out: dict[str, Any] = {"right": (trace.tokens == tokens).all(1).double().mean().item()}
    position = trace.rank[:, -steps:].argsort(1)
    for flag in (0, 1):
        rows = position[tokens[:, -steps - 2] == flag]
        states = (rows if flag == 0 else steps - 1 - rows) + 1
        out[f"flag_{flag}"] = Counter(
            " ".join(map(str, row)) for row in states.tolist()
        ).most_common(2)
    return out


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a = arguments
    seeds = seeds_of(a.kinds, KINDS, a.seeds, {})
    task = f"two_orders_{a.n_half}" if a.task == "two_orders" else a.task
    names = {kind: [f"{task}_{kind}_{seed}" for seed in range(seeds[kind])] for kind in seeds}
    runs = {name: define(kind, a, seed) for kind in seeds for seed, name in enumerate(names[kind])}
    reports = run_all(runs, a.work, a.jobs)
    out: dict[str, Any] = {
        "task": task,
        "steps": a.steps,
        "rows": a.rows,
        "torch": torch.__version__,
        "kinds": {},
    }
    for kind in seeds:
        mine = [reports[name] for name in names[kind]]
        result: dict[str, Any] = {
            "seconds": [r["fit_seconds"] for r in mine],
            "collapsed": [r.get("collapsed") for r in mine],
        }
        for key, name in (
            ("own", "own_nelbo"),
            ("importance", "importance"),
            ("mode", "mode_exact"),
        ):
            result[key] = [estimate(r, name, "nats_above_entropy") for r in mine]
            result[f"{key}_standard_error"] = [estimate(r, name, "standard_error") for r in mine]
        if a.task == "two_ways" and kind in CONTENT:
            result["orders"] = [
                orders_drawn(Path(a.work) / name)
                for name in names[kind]
                if reports[name]["estimates"]
            ]
        out["kinds"][kind] = result
    static = [
        pair
        for kind in seeds
        if kind in STATIC
        for key in ("mode", "importance")
        for pair in zip(
            out["kinds"][kind][key], out["kinds"][kind][f"{key}_standard_error"], strict=True
        )
        if None not in pair
    ]
    if static:
        out["best_static"] = min(static)
        for kind in seeds:
            if kind in CONTENT:
                rows = zip(
                    out["kinds"][kind]["importance"],
                    out["kinds"][kind]["importance_standard_error"],
                    strict=True,
                )
                out["kinds"][kind]["gap_closed"] = [
                    None if None in row else gap_closed(*row, *out["best_static"]) for row in rows
                ]
    return out
