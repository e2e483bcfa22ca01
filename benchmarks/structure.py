"""Does a learned order follow the arrows of a Bayesian network? Nats above the exact entropy.

Seed s is random network s of 12 columns (``data.task.design_seed``) and the seed of the run. Every
run has 256 denoiser rows a step, 3000 steps, and 2 layers of width 64. ``fixed`` trains on
uniformly random orders, ``learned`` on a free table of log w. ``topological`` and ``reverse`` are
given orders that decode every parent before, or after, its children: they show what there is to
gain. Further ``learned`` runs of network 0 say how stable the order is.
"""

import math
from argparse import Namespace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import (
    Run,
    Runs,
    Study,
    compose_experiment,
    numbers,
    objective,
    run_all,
    words,
)
from ordo.data import BayesNet, TaskData
from ordo.metrics import edges_kept, kendall_tau, precedence_accuracy
from ordo.order import PlackettLuce, uniform_law
from ordo.randomness import seeded_generator
from ordo.runs.build import build
from ordo.runs.stored import load, load_data
from ordo.settings import Whole, argument

ONE_ORDER = f"{objective('dense')} data.batch_size=256"
KINDS = {
    "fixed": f"{ONE_ORDER} schedule=linear",
    "learned": "",
    "topological": f"{ONE_ORDER} schedule=left_to_right",
    "reverse": f"{ONE_ORDER} schedule=left_to_right",
}
NULL_ORDERS = 10_000
LIKELIHOODS = {"own": "own_nelbo", "mode": "mode_exact"}
# The importance bound is not reported here.
REPORT = words(
    "report.split=test report.sequences=null report.importance_draws=1 validate_every=1500 "
    "checkpoint_every=1500"
)
AGAIN = "further learned runs of network 0, with run seeds 1, 2, ..."
OPTIONS = {"repeats": (1, AGAIN, {"type": argument(Whole)}), **numbers(seeds=None, jobs=2)}


def network(design_seed: int) -> BayesNet:
    """The law that a run with this design seed learns."""
    changes = ["data=bayes_net", f"data.task.design_seed={design_seed}"]
    return build(compose_experiment("nae_learned_order", changes).data.task, "data.task")


def folder(kind: str, seed: int, a: Namespace) -> str:
    return f"structure_{kind}_{seed}"


def define(kind: str, design_seed: int, a: Namespace) -> Run:
    changes = f"data=bayes_net data.task.design_seed={design_seed} data.eval_size=4096 "
    changes = [*changes.split(), *KINDS[kind].split(), *REPORT]
    if kind in ("topological", "reverse"):
        order = network(design_seed).columns.tolist()
        order = order if kind == "topological" else order[::-1]
        changes.append(f"schedule.order={order}".replace(" ", ""))
    return "nae_learned_order", changes


def above_law(folder: Path) -> dict[str, tuple[float, float]]:
    """Likelihood -> mean and standard error of it minus the exact -log p of a test sequence, nats.

    The expectation is the value above the entropy. The spread lacks that of the law's own -log p.
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
        error = difference.std(ddof=1) / math.sqrt(len(difference))
        out[name] = float(difference.mean()), float(error)
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
    mean = sum(taus) / len(taus) if taus else None
    return {"runs": len(modes), "kendall_tau": taus, "mean_kendall_tau": mean}


def repeats(a: Namespace) -> list[Path]:
    """Trains the further runs of network 0. Returns the folders of those that did not diverge."""
    experiment, changes = STUDY.define_run("learned", 0, a)
    seeds = {f"structure_learned_0_run_{seed}": seed for seed in range(1, a.repeats + 1)}
    runs = {name: (experiment, [*changes, f"seed={seed}"]) for name, seed in seeds.items()}
    reports = run_all(runs, a.work, a.jobs)
    return [Path(a.work) / name for name in runs if reports[name]["estimates"]]


def summary(found: dict[str, Runs], a: Namespace) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for kind, runs in found.items():
        out[kind] = runs.estimates("nats_above_entropy", **LIKELIHOODS)
        exact = runs.each(above_law)
        for key, name in LIKELIHOODS.items():
            out[kind][f"{key}_above_law"] = [e and e[name][0] for e in exact]
            out[kind][f"{key}_above_law_standard_error"] = [e and e[name][1] for e in exact]
        out[kind]["seconds"] = runs.listed("fit_seconds")
    if "learned" in found:
        learned = found["learned"]
        laws = enumerate(learned.each(order_law))
        followed = [{} if law is None else direction(law, seed) for seed, law in laws]
        for key in next((each for each in followed if each), {}):
            out["learned"][key] = [each.get(key) for each in followed]
        first = learned.folders[:1] if learned.reports[0]["estimates"] else []
        folders = [*first, *repeats(a)]
        out["stability"] = stability([order_law(folder).mode() for folder in folders])
        exact = [above_law(folder)["mode_exact"] for folder in folders]
        out["stability"] |= {
            "mode_above_law": [value for value, _ in exact],
            "mode_above_law_standard_error": [error for _, error in exact],
        }
    most = max(len(runs.folders) for runs in found.values())
    return out | {"entropy": [network(seed).entropy for seed in range(most)]}


STUDY = Study(folder, KINDS, define, summary, OPTIONS, seeds=dict.fromkeys(KINDS, 5))
