"""What a law of orders costs a training step: time and peak memory, relative to random orders.

All variants have the same denoiser rows and take turns in one process. Memory is the growth of the
peak of a process of its own over what it had before its first step; on a GPU it is the peak
allocated. Variants are LAW_OBJECTIVE: ``_order`` and ``_time`` with a bidirectional denoiser,
``_dense`` with an order-causal one; laws and schedule networks are those of
src/ordo/configs/schedule. Every row has one draw, with a running regression (dense: a running mean)
as its baseline; ``_rloo`` has RLOO over two draws of half as many sequences.
"""

import statistics
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import torch

from benchmarks import timing
from benchmarks.timing import SPACES, make_denoiser, training_step
from ordo import schedules
from ordo.objectives import ScoreFunction

LAWS = ("positions", "per_vocabulary", "per_context", "per_context_shared", "posterior")
VARIANTS = ["fixed_order", *(f"{law}_order" for law in LAWS), "per_context_order_rloo"]
VARIANTS += ["fixed_time", *(f"{law}_time" for law in LAWS)]
VARIANTS += ["fixed_dense", "positions_dense", "posterior_dense"]
OPTIONS = {
    **timing.sizes(rows=64, length=32, vocab=27, width=128, layers=4, heads=4),
    **timing.sizes(rounds=7, steps=3, threads=1),
    "variants": (VARIANTS, "training steps to time", {"choices": VARIANTS}),
}


def make_schedule(law: str, a: Namespace, denoiser: Any) -> Any:
    def tokens() -> schedules.TokenNetwork:
        return schedules.TokenNetwork(a.vocab, a.length)

    if law == "fixed":
        return schedules.Linear(a.length)
    if law == "positions":
        return schedules.Power(a.length, schedules.PositionNetwork(a.length))
    if law == "per_vocabulary":
        return schedules.PerVocabulary(a.length, a.vocab)
    if law == "per_context":
        return schedules.PerContext(a.length, tokens(), tokens())
    if law == "per_context_shared":
        heads = schedules.FeatureHead(a.width), schedules.FeatureHead(a.width)
        shared = schedules.PerContext(a.length, *heads)
        schedules.attach_features(shared, denoiser)
        return shared
    pooled = schedules.PooledNetwork(a.vocab, a.length)
    return schedules.PerContext(a.length, tokens(), pooled, schedules.LogBound())


def parts(name: str) -> tuple[str, str, bool]:
    """Law and space of a variant, and whether it has two draws."""
    law, _, space = name.removesuffix("_rloo").rpartition("_")
    return law, space, name.endswith("_rloo")


def make_step(name: str, a: Namespace) -> Callable[[], None]:
    """One whole training step of a variant."""
    torch.manual_seed(0)
    law, space, two_draws = parts(name)
    draws = 2 if two_draws else 1
    kind = SPACES[space]
    if space == "dense":
        objective = kind(a.length)
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
    timing.start(a)
    peak = timing.peaks(make_step, a.variants, a)
    steps = {name: make_step(name, a) for name in a.variants}
    seconds = timing.timed_in_turns(steps, a.rounds, a.steps, a.device)
    out: dict[str, Any] = {
        "milliseconds": {name: 1e3 * value for name, value in timing.median(seconds).items()},
        "spread": {name: [1e3 * min(v), 1e3 * max(v)] for name, v in seconds.items()},
        "clock": "CPU time of the process" if a.device == "cpu" else "time",
        "peak_mib": peak,
        "relative_time": {},
        "relative_memory": {},
        **timing.about(a),
    }
    for name in a.variants:
        base = f"fixed_{parts(name)[1]}"
        if base in a.variants:
            # Turns next to each other are compared: the machine does the same for both.
            ratios = [x / y for x, y in zip(seconds[name], seconds[base], strict=True)]
            out["relative_time"][name] = [statistics.median(ratios), min(ratios), max(ratios)]
            out["relative_memory"][name] = peak[name] / peak[base]
    return out
