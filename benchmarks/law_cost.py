"""What a law of orders costs a training step: time and peak memory, relative to random orders.

All variants have the same denoiser rows and take turns in one process. Memory is the growth of the
peak of a process of its own over what it had before its first step; on a GPU it is the peak
allocated. Variants are LAW_OBJECTIVE: ``_order`` and ``_time`` with a bidirectional denoiser,
``_dense`` with an order-causal one; laws and schedule networks are those of configs/schedule. Every
row has one draw, with a running regression (dense: a running mean) as its baseline; ``_rloo`` has
RLOO over two draws of half as many sequences.
"""

from __future__ import annotations

import statistics
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.timing import (
    SPACES,
    about,
    add_sizes,
    make_denoiser,
    median,
    peaks,
    start,
    timed_in_turns,
    training_step,
)
from ordo.objectives import ScoreFunction
from ordo.schedules import (
    FeatureHead,
    Linear,
    OrderPosterior,
    PerContext,
    PerVocabulary,
    PooledNetwork,
    PositionNetwork,
    Power,
    TokenNetwork,
    attach_features,
)

LAWS = ("positions", "per_vocabulary", "per_context", "per_context_shared", "posterior")
VARIANTS = ["fixed_order", *(f"{law}_order" for law in LAWS), "per_context_order_rloo"]
VARIANTS += ["fixed_time", *(f"{law}_time" for law in LAWS)]
VARIANTS += ["fixed_dense", "positions_dense", "posterior_dense"]


def add_arguments(parser: ArgumentParser) -> None:
    add_sizes(parser, rows=64, length=32, vocab=27, width=128, layers=4, heads=4)
    add_sizes(parser, rounds=7, steps=3, threads=1)
    timed = {"choices": VARIANTS, "help": "training steps to time"}
    parser.add_argument("--variants", nargs="+", default=VARIANTS, **timed)


def make_schedule(law: str, a: Namespace, denoiser: Any) -> Any:
    if law == "fixed":
        return Linear(a.length)
    if law == "positions":
        return Power(a.length, PositionNetwork(a.length))
    if law == "per_vocabulary":
        return PerVocabulary(a.length, a.vocab)
    forward = TokenNetwork(a.vocab, a.length)
    if law == "per_context":
        return PerContext(a.length, forward, TokenNetwork(a.vocab, a.length))
    if law == "per_context_shared":
        shared = PerContext(a.length, FeatureHead(a.width), FeatureHead(a.width))
        attach_features(shared, denoiser)
        return shared
    return OrderPosterior(a.length, forward, PooledNetwork(a.vocab, a.length))


def parts(name: str) -> tuple[str, str, bool]:
    """Law and space of a variant, and whether it has two draws."""
    law, _, space = name.removesuffix("_rloo").rpartition("_")
    return law, space, name.endswith("_rloo")


def make_step(name: str, a: Namespace) -> Callable[[], None]:
    """One whole training step of a variant."""
    torch.manual_seed(0)
    law, space, two_draws = parts(name)
    of_tokens, draws = law not in ("fixed", "positions"), 2 if two_draws else 1
    kind = SPACES[space][of_tokens]
    if space == "dense":
        objective = kind(a.length, 1, "ema") if of_tokens else kind(a.length)
    elif two_draws or law == "fixed":
        objective = kind(draws=draws, score=ScoreFunction())
    else:
        sizes = {"length": a.length, "vocab_size": a.vocab}
        objective = kind(draws=draws, score=ScoreFunction("learned", unigram=True, **sizes))
    net = make_denoiser(space, a)
    schedule = make_schedule(law, a, net).to(a.device)
    tokens = torch.randint(a.vocab, (a.rows // draws, a.length), device=a.device)
    return training_step(net, schedule, objective.to(a.device), tokens)


def run(a: Namespace) -> dict[str, Any]:
    start(a)
    peak = peaks(make_step, a.variants, a)
    steps = {name: make_step(name, a) for name in a.variants}
    seconds = timed_in_turns(steps, a.rounds, a.steps, a.device)
    out: dict[str, Any] = {
        "milliseconds": {name: 1e3 * value for name, value in median(seconds).items()},
        "spread": {name: [1e3 * min(v), 1e3 * max(v)] for name, v in seconds.items()},
        "clock": "CPU time of the process" if a.device == "cpu" else "time",
        "peak_mib": peak,
        "relative_time": {},
        "relative_memory": {},
        **about(a),
    }
    for name in a.variants:
        base = f"fixed_{parts(name)[1]}"
        if base in a.variants:
            # Turns next to each other are compared: the machine does the same for both.
            ratios = [x / y for x, y in zip(seconds[name], seconds[base], strict=True)]
            out["relative_time"][name] = [statistics.median(ratios), min(ratios), max(ratios)]
            out["relative_memory"][name] = peak[name] / peak[base]
    return out
