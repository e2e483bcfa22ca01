"""Paths in star graphs: share of right paths and NELBO of random, given and learned orders.

All models have one size (the networks of a law come on top) and are trained on graphs drawn afresh,
64 denoiser rows a step. Every model decodes the same held-out graphs one token a call, each token
the most probable one, positions by its own law and by adaptive rules. Errors are binomial.

``no_base``: the networks of a posterior alone, without the table of positions that they depart
from. ``clipped``: with gradients of the law so short that most steps weigh the same. ``from_left``:
a table that starts near left to right (the next position is the leftmost one with probability .95),
by itself or as the base of a posterior whose networks have two layers of attention.

Settings easy, medium and hard are those of 2505.05755. Published on hard, trained for 80,000 steps
of 64 on 50,000 graphs (2602.18695): ARM 24.0%, MDM 25.0%, LO-ARM 30.1%, LoFlexMDM 87.9%. These do
not compare with the figures here, as paths are written as edges there, and graphs are drawn once.
"""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import Run, Runs, Study, numbers, words
from benchmarks.solving import solve
from ordo.data import StarGraph, TaskData
from ordo.runs.stored import load, load_data
from ordo.samplers import ByLaw, ByScore, Sampler, TokenRule
from ordo.schedules import GivenOrder

SETTINGS = {"easy": "star_graph", "medium": "star_graph_medium", "hard": "star_graph_hard"}
# Networks with two layers of attention: a sum over revealed tokens cannot say which node is the
# centre.
LOOKS = (
    "schedule.reverse_network._target_=ordo.schedules.TokenNetwork "
    "+schedule.reverse_network.layers=2 schedule.forward_network.layers=2"
)
FROM_LEFT = "schedule.network.init_slope=3.0 optimizer.schedule_lr=0.01"
POSTERIOR_FROM_LEFT = f"schedule.base.init_slope=3.0 optimizer.base_lr=0.01 {LOOKS}"
TABLE = "schedule=power_table optimizer.schedule_lr=0.05 optimizer.schedule_delay=300"
KINDS = {  # experiment, changes
    "left_to_right": ("star_graph_left_to_right", ""),
    "right_to_left": ("star_graph_left_to_right", "schedule.order=right_to_left"),
    "mdm": ("star_graph_mdm", ""),
    "mdm_dense": ("star_graph_left_to_right", "schedule=linear"),
    "learned_dense": ("star_graph_learned_order", ""),
    "learned_order": ("star_graph_mdm", TABLE),
    "lomdm": ("star_graph_lomdm", ""),
    "order_posterior": ("star_graph_lomdm", "schedule=order_posterior"),
    "order_posterior_dense": ("star_graph_order_posterior", ""),
    "from_left_dense": ("star_graph_learned_order", FROM_LEFT),
    "from_left_posterior_dense": ("star_graph_order_posterior", POSTERIOR_FROM_LEFT),
    "clipped_posterior_dense": ("star_graph_order_posterior", "optimizer.schedule_clip=0.0067"),
    "no_base_posterior_dense": (
        "star_graph_order_posterior",
        "schedule.base=null optimizer.base_lr=null",
    ),
}
REPORT = words(
    "report.split=test report.draws=4 report.importance_draws=2 report.exact_sequences=64 "
    "report.orders=0 report.samples=0"
)
OTHERWISE = "; not given: as the experiment has it"
OPTIONS = {
    "setting": ("easy", "easy: arms begin at the centre; else cross there", {"choices": SETTINGS}),
    "delay": (None, f"steps before a learned law moves{OTHERWISE}", {"type": int}),
    "width": (None, f"of the denoisers, 32 a head{OTHERWISE}", {"type": int}),
    "lr": (None, f"of the denoisers{OTHERWISE}", {"type": float}),
    "graphs": (1000, "held out"),
    **numbers(steps=None, seeds=None, jobs=1),
}


def folder(kind: str, seed: int, a: Namespace) -> str:
    return f"star_{a.setting}_{kind}_{seed}"


def define(kind: str, seed: int, a: Namespace) -> Run:
    experiment, changes = KINDS[kind]
    changes += f" data={SETTINGS[a.setting]} data.eval_size={a.graphs}"
    changes += f" steps={a.steps}" if a.steps else ""
    changes += f" optimizer.schedule_delay={a.delay}" if a.delay is not None else ""
    heads = max(1, (a.width or 0) // 32)
    changes += f" denoiser.width={a.width} denoiser.heads={heads}" if a.width else ""
    changes += f" optimizer.lr={a.lr}" if a.lr else ""
    return experiment, [*changes.split(), *REPORT]


def samplers(schedule: Any, order_causal: bool) -> dict[str, tuple[Sampler, bool]]:
    """Name -> sampler, and whether it decodes by the model's own law."""
    if isinstance(schedule, GivenOrder):
        out = {"own law": (ByLaw(0), True)}
    else:
        out = {"own law": (ByLaw(), True)}
        if list(schedule.parameters()):  # learned
            out["mode of own law"] = ByLaw(0), True
    if not order_causal:
        out |= {score: (ByScore(score), False) for score in ("confidence", "margin")}
    best = TokenRule(temperature=0)
    return {name: (replace(Sampler(where), what=best), own) for name, (where, own) in out.items()}


def order_found(law: StarGraph, tokens: Tensor, rank: Tensor) -> tuple[float, float]:
    """How far paths are decoded from the goal back.

    Args:
        tokens: the graphs, (n, length).
        rank: decoding ranks of the paths, (n, path_length).

    Returns the mean Spearman correlation with right to left over the nodes of a path, and the share
    of pairs of its nodes that are decoded towards the centre from the end that they are on (right
    to left where arms begin at the centre).
    """
    leaving = tokens[:, : 2 * law.n_edges : 2]
    one_hot = torch.nn.functional.one_hot(leaving, law.n_nodes + 1)
    centres = one_hot[..., : law.n_nodes].sum(1).argmax(1)
    correlations, kept, pairs = [], 0, 0
    for path, order, centre in zip(tokens[:, -law.path_length :], rank, centres, strict=True):
        n = int((path < law.n_nodes).sum())
        place = order[:n].argsort().argsort()
        both = torch.stack([place, torch.arange(n).flip(0)]).double()
        correlations.append(torch.corrcoef(both)[0, 1])
        at = int((path == centre).nonzero()[0])
        first = place[:, None] < place
        before = first[:at, :at].triu(1), first[at + 1 :, at + 1 :].tril(-1)
        kept += sum(int(x.sum()) for x in before)
        pairs += sum(len(x) * (len(x) - 1) // 2 for x in before)
    return float(torch.stack(correlations).mean()), kept / pairs


def solved(folder: Path, device: str) -> dict[str, Any]:
    """Accuracy of every sampler with one trained model, and the order that it decoded in."""
    module, config = load(folder)
    data = load_data(config, folder, as_trained=True)
    assert isinstance(data, TaskData)
    assert isinstance(data.task, StarGraph)
    tokens, known = data.test_set.tokens, data.test_set.known
    assert known is not None
    module = module.to(device)
    chosen = samplers(module.schedule, module.denoiser.order_causal)
    out: dict[str, Any] = {}
    for name, found in solve(module, chosen, (tokens, known), 0, folder.name):
        rank = found.trace.rank[:, -data.task.path_length :]
        correlation, towards = order_found(data.task, tokens, rank)
        out[name] = {
            "accuracy": found.rate,
            "standard_error": found.error,
            "tokens_right": found.tokens_right,
            "right_to_left": correlation,
            "towards_centre": towards,
            "seconds": found.seconds,
        }
    return out


def size(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def summary(found: dict[str, Runs], a: Namespace) -> dict[str, Any]:
    out: dict[str, Any] = {"setting": a.setting, "graphs": a.graphs, "torch": torch.__version__}
    for kind, runs in found.items():
        own = runs.estimates("nats", own="own_nelbo")
        models = [model for model in runs.each(load) if model is not None]
        out[kind] = {
            "samplers": runs.each(lambda folder: solved(folder, a.device), {}),
            "own_nelbo": own["own"],
            "own_standard_error": own["own_standard_error"],
            "seconds": runs.listed("fit_seconds"),
            "collapsed": runs.listed("collapsed"),
            "steps": [config["steps"] for _, config in models],
            "parameters": [size(module.denoiser) for module, _ in models],
            "schedule_parameters": [size(module.schedule) for module, _ in models],
        }
    return out


STUDY = Study(folder, KINDS, define, summary, OPTIONS, quick="data.eval_size=20")
