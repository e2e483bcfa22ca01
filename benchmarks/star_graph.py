"""Paths in star graphs: share of exactly right paths and NELBO of left-to-right, random, learned and content-dependent orders.

Models of one size (the law's own networks come on top), trained on graphs drawn afresh, 64 denoiser rows a step; every one decodes the same
held-out graphs one token a call, each token the most probable one, positions by its own law and by adaptive rules. Errors are binomial.
``no_base``: the posterior's networks alone, without the table of positions that they depart from. ``clipped``: with gradients of its law so
short that most steps weigh the same. ``from_left``: a table, by itself or of a posterior whose networks have two layers of attention, that
starts near left to right: the next position is the leftmost one with probability .95.
Settings easy, medium and hard are those of 2505.05755. Published on hard, trained for 80,000 steps of 64 on 50,000 graphs (2602.18695): ARM
24.0%, MDM 25.0%, LO-ARM 30.1%, LoFlexMDM 87.9%: not comparable with these, as paths are written as edges there, and graphs are drawn once.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import QUICK, Run, estimate, progress, run_all, seeds_of
from ordo.data import StarGraph, TaskData
from ordo.runs.stored import load, load_data
from ordo.samplers import ByLaw, ByScore, Sampler, TokenRule, sample_batches
from ordo.schedules import GivenOrder, Linear

SETTINGS = {"easy": "star_graph", "medium": "star_graph_medium", "hard": "star_graph_hard"}
# Networks that look at tokens by attention, twice: a sum over what is revealed cannot say which node is the centre.
LOOKS = [
    "schedule.reverse_network._target_=ordo.schedules.TokenNetwork",
    "+schedule.reverse_network.layers=2",
    "schedule.forward_network.layers=2",
]
KINDS = {
    "left_to_right": ("star_graph_left_to_right", []),
    "right_to_left": ("star_graph_left_to_right", ["schedule.order=right_to_left"]),
    "mdm": ("star_graph_mdm", []),
    "mdm_dense": ("star_graph_left_to_right", ["schedule=linear"]),
    "learned_dense": ("star_graph_learned_order", []),
    "learned_order": (
        "star_graph_mdm",
        ["schedule=power_table", "optimizer.schedule_lr=0.05", "optimizer.schedule_delay=300"],
    ),
    "lomdm": ("star_graph_lomdm", []),
    "order_posterior": ("star_graph_lomdm", ["schedule=order_posterior"]),
    "order_posterior_dense": ("star_graph_order_posterior", []),
    "from_left_dense": (
        "star_graph_learned_order",
        ["schedule.network.init_slope=3.0", "optimizer.schedule_lr=0.01"],
    ),
    "from_left_posterior_dense": (
        "star_graph_order_posterior",
        ["schedule.base.init_slope=3.0", "optimizer.base_lr=0.01", *LOOKS],
    ),
    "clipped_posterior_dense": ("star_graph_order_posterior", ["optimizer.schedule_clip=0.0067"]),
    "no_base_posterior_dense": (
        "star_graph_order_posterior",
        ["schedule.base=null", "optimizer.base_lr=null"],
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--setting",
        default="easy",
        choices=SETTINGS,
        help="easy: all arms begin at the centre; else they cross in it",
    )
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
    parser.add_argument("--steps", type=int, help="not given: the experiments'")
    parser.add_argument(
        "--delay", type=int, help="steps before a learned law moves; not given: the experiments'"
    )
    parser.add_argument(
        "--width", type=int, help="of the denoisers, 32 a head; not given: the experiments'"
    )
    parser.add_argument("--lr", type=float, help="of the denoisers; not given: the experiments'")
    parser.add_argument("--graphs", type=int, default=1000, help="held out")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")


def samplers(schedule: Any, order_causal: bool) -> dict[str, tuple[Sampler, bool]]:
    """Name -> sampler, and whether it decodes by the model's own law."""
    if isinstance(schedule, GivenOrder):
        out = {"own law": (Sampler(ByLaw(0)), True)}
    else:
        out = {"own law": (Sampler(ByLaw()), True)}
        if list(schedule.parameters()):  # learned
            out["mode of own law"] = Sampler(ByLaw(0)), True
    if not order_causal:
        out |= {score: (Sampler(ByScore(score)), False) for score in ("confidence", "margin")}
    return {
        name: (replace(sampler, what=TokenRule(temperature=0)), own)
        for name, (sampler, own) in out.items()
    }


def order_found(law: StarGraph, tokens: Tensor, rank: Tensor) -> tuple[float, float]:
    """Of decoding ranks of paths, (n, path_length): mean Spearman correlation with right to left over the nodes of a path, and share of
    pairs of its nodes that are decoded towards the centre from the end that they are on (right to left where arms begin at the centre).
    """
    leaving = tokens[:, : 2 * law.n_edges : 2]
    centres = (
        torch.nn.functional.one_hot(leaving, law.n_nodes + 1)[..., : law.n_nodes].sum(1).argmax(1)
    )
    correlations, kept, pairs = [], 0, 0
    for path, order, centre in zip(tokens[:, -law.path_length :], rank, centres, strict=True):
        n = int((path < law.n_nodes).sum())
        place = order[:n].argsort().argsort()
        correlations.append(
            torch.corrcoef(torch.stack([place, torch.arange(n).flip(0)]).double())[0, 1]
        )
        at = int((path == centre).nonzero()[0])
        first = place[:, None] < place
        before = first[:at, :at].triu(1), first[at + 1 :, at + 1 :].tril(-1)
        kept += sum(int(x.sum()) for x in before)
        pairs += sum(len(x) * (len(x) - 1) // 2 for x in before)
    return float(torch.stack(correlations).mean()), kept / pairs


def solve(folder: Path, a: argparse.Namespace) -> dict[str, Any]:
    """Of one trained model: accuracy of every sampler, its standard error, and the order that it decoded in."""
    module, config = load(folder)
    data = load_data(config, folder, as_trained=True)
    assert isinstance(data, TaskData)
    assert isinstance(data.task, StarGraph)
    tokens, known = data.test_set.tokens, data.test_set.known
    assert known is not None
    denoiser = module.to("cuda" if a.device == "cuda" else "cpu").denoiser
    out: dict[str, Any] = {}
    for name, (sampler, own) in progress(
        samplers(module.schedule, denoiser.order_causal), folder.name
    ):
        begun = time.perf_counter()
        schedule = module.schedule if own else Linear(data.length).to(denoiser.device)
        trace = sample_batches(
            denoiser,
            sampler,
            len(tokens),
            250,
            schedule=schedule,
            seed=0,
            given=tokens,
            known=known,
        )
        right = trace.tokens == tokens
        rate = right.all(1).double().mean().item()
        correlation, towards = order_found(
            data.task, tokens, trace.rank[:, -data.task.path_length :]
        )
        out[name] = {
            "accuracy": rate,
            "standard_error": (rate * (1 - rate) / len(tokens)) ** 0.5,
            "tokens_right": right[~known].double().mean().item(),
            "right_to_left": correlation,
            "towards_centre": towards,
            "seconds": time.perf_counter() - begun,
        }
    return out


def define(kind: str, a: argparse.Namespace, seed: int) -> Run:
    """The run of one kind and seed."""
    experiment, changes = KINDS[kind]
    changes = [
        *changes,
        f"data={SETTINGS[a.setting]}",
        f"data.eval_size={a.graphs}",
        f"seed={seed}",
        "report.split=test",
    ]
    changes += [
        "report.draws=4",
        "report.importance_draws=2",
        "report.exact_sequences=64",
        "report.orders=0",
        "report.samples=0",
    ]
    changes += [
        f"trainer.accelerator={a.device.replace('cuda', 'gpu')}",
        *([f"steps={a.steps}"] if a.steps else []),
    ]
    changes += [f"optimizer.schedule_delay={a.delay}"] if a.delay is not None else []
    changes += (
        [f"denoiser.width={a.width}", f"denoiser.heads={max(1, a.width // 32)}"] if a.width else []
    )
    changes += [f"optimizer.lr={a.lr}"] if a.lr else []
    return experiment, [*changes, *([*QUICK, "data.eval_size=20"] if a.quick else [])]


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a = arguments
    seeds = seeds_of(a.kinds, KINDS, a.seeds, {})
    names = {
        kind: [f"star_{a.setting}_{kind}_{seed}" for seed in range(seeds[kind])] for kind in seeds
    }
    runs = {name: define(kind, a, seed) for kind in seeds for seed, name in enumerate(names[kind])}
    reports = run_all(runs, a.work, a.jobs)
    out: dict[str, Any] = {"setting": a.setting, "graphs": a.graphs, "torch": torch.__version__}
    for kind in seeds:
        models = [load(Path(a.work) / name) for name in names[kind] if reports[name]["estimates"]]
        out[kind] = {
            "samplers": [
                solve(Path(a.work) / name, a) if reports[name]["estimates"] else {}
                for name in names[kind]
            ],
            "own_nelbo": [estimate(reports[name], "own_nelbo", "nats") for name in names[kind]],
            "own_standard_error": [
                estimate(reports[name], "own_nelbo", "standard_error") for name in names[kind]
            ],
            "seconds": [reports[name]["fit_seconds"] for name in names[kind]],
            "collapsed": [reports[name].get("collapsed") for name in names[kind]],
            "steps": [config["steps"] for _, config in models],
            "parameters": [
                sum(p.numel() for p in module.denoiser.parameters()) for module, _ in models
            ],
            "schedule_parameters": [
                sum(p.numel() for p in module.schedule.parameters()) for module, _ in models
            ],
        }
    return out
