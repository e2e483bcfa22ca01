"""Does a learned order follow the direction of a Bayesian network? Random networks of 12 columns, nats above the exact entropy.

Seed s is network s (``data.task.design_seed``) and the seed of the run. Equal denoiser rows: 256 a step, 3000 steps, 2 layers of width 64.
``fixed`` trains on uniformly random orders, ``learned`` on a free table of log w; ``topological`` and ``reverse`` are given orders that
decode every parent before its children, and after them: what there is to gain. More ``learned`` runs of network 0 say how stable the
order is.
"""

from __future__ import annotations

import argparse
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import QUICK, Run, compose_experiment, estimate, run_all, seeds_of
from ordo.data import BayesNet, TaskData
from ordo.metrics import edges_kept, kendall_tau, precedence_accuracy
from ordo.order import PlackettLuce, uniform_law
from ordo.randomness import seeded_generator
from ordo.runs.build import build
from ordo.runs.stored import load, load_data
from ordo.settings import Whole, argument

ONE_ORDER = ["objective=dense", "data.batch_size=256"]
KINDS = {
    "fixed": [*ONE_ORDER, "schedule=linear"],
    "learned": [],
    "topological": [*ONE_ORDER, "schedule=left_to_right"],
    "reverse": [*ONE_ORDER, "schedule=left_to_right"],
}
NULL_ORDERS = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds",
        type=int,
        help="networks 0, 1, ... of every kind that names no number of its own; 5 if not given",
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        default=list(KINDS),
        metavar="KIND[=SEEDS]",
        help=f"of {', '.join(KINDS)}",
    )
    parser.add_argument(
        "--repeats",
        type=argument(Whole),
        default=1,
        help="further learned runs of network 0, with run seeds 1, 2, ...",
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")


def network(design_seed: int) -> BayesNet:
    """The law that a run with this design seed learns."""
    config = compose_experiment(
        "nae_learned_order", ["data=bayes_net", f"data.task.design_seed={design_seed}"]
    )
    return build(config.data.task, "data.task")


def define(kind: str, design_seed: int, seed: int, device: str, quick: bool) -> Run:
    """The run of one kind, network and run seed."""
    changes = [
        "data=bayes_net",
        f"data.task.design_seed={design_seed}",
        "data.eval_size=4096",
        f"seed={seed}",
        *KINDS[kind],
    ]
    if kind in ("topological", "reverse"):
        order = network(design_seed).columns.tolist()
        changes.append(
            f"schedule.order={order if kind == 'topological' else order[::-1]}".replace(" ", "")
        )
    changes += [
        "report.split=test",
        "report.sequences=null",
        "report.importance_draws=1",
    ]  # the importance bound is not reported here
    changes += [
        "validate_every=1500",
        "checkpoint_every=1500",
        f"trainer.accelerator={device.replace('cuda', 'gpu')}",
    ]
    return "nae_learned_order", [*changes, *(QUICK if quick else [])]


def above_law(folder: Path) -> dict[str, tuple[float, float]]:
    """Mean and standard error of NELBO, or -log p, minus the exact -log p of the same test sequence, nats: by likelihood of the report.

    Its expectation is the value above the entropy; its spread is without that of the law's own -log p.
    """
    values = np.load(folder / "report_values.npz")
    data = load_data(load(folder)[1], folder, as_trained=True)
    assert isinstance(data, TaskData)
    tokens = data.test_set.tokens
    scored = tokens[torch.linspace(0, len(tokens) - 1, len(values["own_nelbo"])).round().long()]
    log_p = data.task.log_prob(scored).numpy()
    out = {}
    for name, rows in (("own_nelbo", slice(None)), ("mode_exact", values["exact_rows"])):
        difference = values[name] + log_p[rows]
        out[name] = (
            float(difference.mean()),
            float(difference.std(ddof=1) / math.sqrt(len(difference))),
        )
    return out


def order_law(folder: Path) -> PlackettLuce:
    """The learned law of a finished run."""
    law = load(folder)[0].schedule.law()
    assert isinstance(law, PlackettLuce)
    return law


def null(length: int, edges: list[tuple[int, int]], seed: int) -> tuple[float, float]:
    """Mean and standard deviation of the share of edges kept, over uniformly random orders."""
    orders = uniform_law(length).sample(NULL_ORDERS, seeded_generator("cpu", seed, NULL_ORDERS))
    kept = torch.tensor([edges_kept(order, edges) for order in orders], dtype=torch.float64)
    return kept.mean().item(), kept.std().item()


def direction(law: PlackettLuce, seed: int) -> dict[str, Any]:
    """How far a learned law follows the edges of network ``seed``."""
    edges = network(seed).precedence
    kept, (mean, sd) = edges_kept(law.mode(), edges), null(law.length, edges, seed)
    entropy = float(law.entropy()[0])
    return {
        "edges": len(edges),
        "precedence_accuracy": precedence_accuracy(law.log_w, edges),
        "edges_kept": kept,
        "null_edges_kept": mean,
        "null_sd": sd,
        "z": (kept - mean) / sd,
        "order_entropy": entropy,
        "order_entropy_share": entropy / math.lgamma(law.length + 1),
        "mode_order": law.mode().tolist(),
    }


def stability(modes: list[Tensor]) -> dict[str, Any]:
    """Kendall's tau between every two mode orders learned on one network."""
    taus = [kendall_tau(a, b) for a, b in combinations(modes, 2)]
    return {
        "runs": len(modes),
        "kendall_tau": taus,
        "mean_kendall_tau": sum(taus) / len(taus) if taus else None,
    }


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a, work = arguments, Path(arguments.work)
    seeds = seeds_of(a.kinds, KINDS, a.seeds, dict.fromkeys(KINDS, 5))
    names = {kind: [f"structure_{kind}_{seed}" for seed in range(seeds[kind])] for kind in seeds}
    runs = {
        name: define(kind, seed, seed, a.device, a.quick)
        for kind in seeds
        for seed, name in enumerate(names[kind])
    }
    again = (
        [f"structure_learned_0_run_{seed}" for seed in range(1, a.repeats + 1)]
        if "learned" in seeds
        else []
    )
    runs |= {
        name: define("learned", 0, seed, a.device, a.quick) for seed, name in enumerate(again, 1)
    }
    reports = run_all(runs, a.work, a.jobs)
    out: dict[str, Any] = {}
    for kind in seeds:
        mine = [reports[name] for name in names[kind]]
        exact = [
            above_law(work / name) if reports[name]["estimates"] else None for name in names[kind]
        ]
        out[kind] = {}
        for key, estimated in (("own", "own_nelbo"), ("mode", "mode_exact")):
            out[kind] |= {
                key: [estimate(r, estimated, "nats_above_entropy") for r in mine],
                f"{key}_standard_error": [estimate(r, estimated, "standard_error") for r in mine],
                f"{key}_above_law": [e and e[estimated][0] for e in exact],
                f"{key}_above_law_standard_error": [e and e[estimated][1] for e in exact],
            }
        out[kind]["seconds"] = [r["fit_seconds"] for r in mine]
    if "learned" in seeds:
        found = [
            direction(order_law(work / n), seed) if reports[n]["estimates"] else {}
            for seed, n in enumerate(names["learned"])
        ]
        out["learned"] |= {
            key: [each.get(key) for each in found]
            for key in next((each for each in found if each), {})
        }
        finished = [name for name in (names["learned"][0], *again) if reports[name]["estimates"]]
        out["stability"] = stability([order_law(work / name).mode() for name in finished])
        exact = [above_law(work / name)["mode_exact"] for name in finished]
        out["stability"] |= {
            "mode_above_law": [e[0] for e in exact],
            "mode_above_law_standard_error": [e[1] for e in exact],
        }
    out["entropy"] = [network(seed).entropy for seed in range(max(seeds.values()))]
    return out
