"""Every sampler with an exact denoiser: what decoding several positions at once costs, by calls.

The law is a Markov chain of 64 bits with flip 0.1, or a hidden Markov model of 32 symbols; the
denoiser knows its posteriors exactly.

``kl``: KL(law || sampler) in nats, E_law[log p(x) - log q(x)], exact in q for deterministic rules;
for orders drawn at random the mean over orders of the KL given the order, an upper bound.
``excess``: E_q[-log p(x)] - entropy over drawn sequences, which is defined for every sampler and
below 0 where samples are too probable. ``calls``: mean denoiser calls a sequence. ``profile``: KL
of random orders predicted by the information profile against measured, for uniform, cosine and best
step sizes. ``orders``: KL of random orders in as many steps as bisection, of equal and of
bisection's sizes, with the standard deviation between orders.
"""

import math
from argparse import Namespace
from typing import Any

import torch
from torch import Tensor

from ordo.denoisers import ChainOracle
from ordo.likelihood import sampler_log_prob
from ordo.progress import track
from ordo.samplers import (
    All,
    ByGroups,
    ByLaw,
    ByOrder,
    ByScore,
    EntropyBounded,
    Factor,
    ForwardBackward,
    InSteps,
    NonInfluence,
    OnGrid,
    PathPlanning,
    ReMDM,
    Sampler,
    Settled,
    Stable,
    Threshold,
    best_sizes,
    factorisation_kl,
    sample,
)

OPTIONS = {
    "law": ("chain", "that the samplers draw from", {"choices": ["chain", "hidden"]}),
    "rows": (2000, "sequences for each figure"),
    "orders": (50, "random orders, each for rows/orders sequences"),
    "calls": ([2, 4, 7, 16, 32, 64], "denoiser calls a sequence"),
    "seed": (0, "of the draws"),
}


def make_oracle(law: str) -> ChainOracle:
    if law == "chain":
        return ChainOracle.of_chain(64, 2, 0.1)
    random = torch.Generator().manual_seed(0)
    shapes = ((4,), (4, 4), (4, 8))
    parts = [torch.rand(*shape, generator=random, dtype=torch.float64) ** 4 for shape in shapes]
    return ChainOracle(32, *[part / part.sum(-1, keepdim=True) for part in parts])


def samplers(length: int, calls: list[int]) -> dict[str, Sampler]:
    bisection, dilated, by_entropy = ByOrder("bisection"), ByOrder("dilated"), ByScore("entropy")
    out = {
        "bisection": Sampler(bisection, ByGroups(bisection)),
        "dilated": Sampler(dilated, ByGroups(dilated)),
        "punt": Sampler(ByScore(), NonInfluence(0.01)),
        "klass": Sampler(Stable(confidence=0.9, kl=0.01, history=1), Settled()),
    }
    out |= {f"threshold {c}": Sampler(ByScore(), Threshold(c)) for c in (0.6, 0.8, 0.9, 0.99)}
    out |= {f"factor {f}": Sampler(ByScore(), Factor(f)) for f in (0.25, 0.5, 1.0)}
    for gamma in (0.01, 0.1, 0.5, 2.0):
        out[f"entropy_bounded {gamma}"] = Sampler(by_entropy, EntropyBounded(gamma))
    for k in (k for k in calls if k <= length):
        out[f"contiguous {k}"] = Sampler(ByOrder(), InSteps(k))
        for score in ("confidence", "margin", "entropy"):
            out[f"{score} {k}"] = Sampler(ByScore(score), InSteps(k))
        out[f"drawn {k}"] = Sampler(ByScore(score_on="drawn"), InSteps(k))
        out[f"random {k}"] = Sampler(ByLaw(), InSteps(k))
        out[f"ancestral {k}"] = Sampler(how_many=OnGrid(k))
        out[f"remdm {k}"] = Sampler(how_many=OnGrid(k), revise=ReMDM("rescale", 0.5))
        out[f"path_planning {k}"] = Sampler(how_many=All(), revise=PathPlanning(k))
        if k > 1:
            grid, revise = OnGrid(k // 2), ForwardBackward(1)
            out[f"forward_backward {k // 2}"] = Sampler(how_many=grid, revise=revise)
    return out


def given_orders(
    oracle: ChainOracle, rows: Tensor, sizes: list[int], orders: int, seed: int
) -> Tensor:
    """log q(x | order) of rows (n, length) in steps of these sizes, (n,).

    The rows are split among ``orders`` random orders.
    """
    out = []
    for i, some in enumerate(rows.chunk(orders)):
        random = torch.Generator().manual_seed(seed * 10_000 + i)
        order = torch.randperm(oracle.length, generator=random).tolist()
        sampler = Sampler(ByOrder(order), InSteps(shape=sizes))
        out.append(sampler_log_prob(oracle, sampler, some).total_log_prob)
    return torch.cat(out)


def information_profile(oracle: ChainOracle, rows: Tensor, seed: int) -> Tensor:
    """Mean entropy of a masked position given n random other positions, nats, by n: (length,).

    It averages over every masked position, which has less noise than one position's loss.
    """
    order = torch.rand(rows.shape, generator=torch.Generator().manual_seed(seed)).argsort(1)
    out = []
    for n in range(oracle.length):
        log_p = oracle.conditionals(rows, order, torch.full((len(rows),), n))
        entropy = -torch.where(log_p > -torch.inf, log_p.exp() * log_p, 0.0).sum(-1)
        out.append(entropy[order.argsort(1) >= n].mean())
    return torch.stack(out)


def mean_and_error(values: Tensor) -> dict[str, float]:
    error = values.std().item() / math.sqrt(len(values))
    return {"mean": values.mean().item(), "standard_error": error}


def run(a: Namespace) -> dict[str, Any]:
    if a.quick:
        a.rows, a.orders, a.calls = 40, 4, [4]
    oracle = make_oracle(a.law)
    length = oracle.length
    rows = sample(oracle, Sampler(ByOrder()), a.rows, seed=a.seed).tokens  # its own conditionals
    log_p = oracle.log_law(rows)

    def given_order_kl(sizes: list[int]) -> Tensor:
        return log_p - given_orders(oracle, rows, sizes, a.orders, a.seed)

    out: dict[str, Any] = {}
    for name, sampler in track(samplers(length, a.calls).items(), a.law):
        trace = sample(oracle, sampler, a.rows, seed=a.seed + 1)
        entry: dict[str, Any] = {"calls": trace.calls.double().mean().item()}
        entry["excess"] = mean_and_error(-oracle.log_law(trace.tokens) + log_p)
        if sampler.deterministic:
            log_q = sampler_log_prob(oracle, sampler, rows).total_log_prob
            entry["kl"] = mean_and_error(log_p - log_q)
        elif name.startswith("random"):
            assert isinstance(sampler.how_many, InSteps)
            sizes = sampler.how_many.sizes(length)
            entry["kl_given_order"] = mean_and_error(given_order_kl(sizes))
        out[name] = entry
    profile, predicted = information_profile(oracle, rows[:500], a.seed), {}
    for calls in (calls for calls in a.calls if calls <= length):
        shapes = {shape: InSteps(calls, shape).sizes(length) for shape in ("uniform", "cosine")}
        shapes["best"] = best_sizes(profile, calls)
        predicted[calls] = {
            shape: {"predicted": factorisation_kl(profile, sizes)}
            | mean_and_error(given_order_kl(sizes))
            for shape, sizes in shapes.items()
        }
    groups = [len(group) for group in ByOrder("bisection").groups(length)]
    spread = {}
    for shape, sizes in (
        ("uniform", InSteps(len(groups)).sizes(length)),
        ("bisection", groups),
    ):
        values = given_order_kl(sizes)
        between = torch.stack([part.mean() for part in values.chunk(a.orders)]).std().item()
        spread[shape] = mean_and_error(values) | {"sizes": sizes, "between_orders": between}
    return {
        "orders": spread,
        "law": a.law,
        "entropy": -log_p.mean().item(),
        "samplers": out,
        "profile": predicted,
        "rows": a.rows,
        "seed": a.seed,
    }
