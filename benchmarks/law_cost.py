"""What a law of orders costs a training step: seconds and peak memory relative to uniformly random orders, at equal denoiser rows.

All variants take turns in one process; memory is the growth of the peak of a process of its own over what it had before its first step, on
a GPU the peak allocated. LAW_OBJECTIVE: ``_order`` and ``_time`` with a bidirectional denoiser, ``_dense`` with an order-causal one; laws
and schedule networks as configs/schedule has them. One draw of every row, a running regression (dense: a running mean) as its baseline,
or RLOO over two draws of half as many sequences (``_rloo``).
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.objectives import (
    ContentDense,
    ContentOrderSpace,
    ContentTimeSpace,
    Dense,
    OrderSpace,
    ScoreFunction,
    TimeSpace,
)
from ordo.progress import track
from ordo.randomness import StepRandom
from ordo.runs.provenance import describe_device
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
VARIANTS += [
    "fixed_time",
    *(f"{law}_time" for law in LAWS),
    "fixed_dense",
    "positions_dense",
    "posterior_dense",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=64, help="denoiser rows a step")
    parser.add_argument("--length", type=int, default=32, help="tokens a sequence")
    parser.add_argument("--vocab", type=int, default=27, help="symbols")
    parser.add_argument("--width", type=int, default=128, help="of the denoiser")
    parser.add_argument("--layers", type=int, default=4, help="of the denoiser")
    parser.add_argument("--heads", type=int, default=4, help="of its attention")
    parser.add_argument(
        "--rounds", type=int, default=7, help="turns of every variant; medians are reported"
    )
    parser.add_argument("--steps", type=int, default=3, help="steps a turn")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument(
        "--variants", nargs="+", default=VARIANTS, choices=VARIANTS, help="training steps to time"
    )


def make_schedule(law: str, a: argparse.Namespace, denoiser: Any) -> Any:
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


def make_step(name: str, a: argparse.Namespace) -> Callable[[], None]:
    """One whole training step of a variant."""
    torch.manual_seed(0)
    law, _, rest = name.removesuffix("_rloo").rpartition("_")
    content, draws = law not in ("fixed", "positions"), 2 if name.endswith("_rloo") else 1
    score = (
        ScoreFunction()
        if draws == 2 or law == "fixed"
        else ScoreFunction("learned", unigram=True, length=a.length, vocab_size=a.vocab)
    )
    objective: Any
    if rest == "dense":
        objective = ContentDense(a.length, 1, "ema") if content else Dense(a.length)
    else:
        kinds: Any = {
            "order": (OrderSpace, ContentOrderSpace),
            "time": (TimeSpace, ContentTimeSpace),
        }
        objective = kinds[rest][content](draws=draws, score=score)
    transformer = OrderCausalTransformer if rest == "dense" else BidirectionalTransformer
    net = transformer(a.vocab, a.length, width=a.width, heads=a.heads, layers=a.layers).to(a.device)
    schedule, objective = make_schedule(law, a, net).to(a.device), objective.to(a.device)
    optimizer = torch.optim.AdamW([*net.parameters(), *schedule.parameters()], lr=3e-4, fused=True)
    tokens = torch.randint(a.vocab, (a.rows // draws, a.length), device=a.device)
    count = iter(range(10**9))

    def step() -> None:
        optimizer.zero_grad()
        objective(net, schedule, tokens, StepRandom(0, next(count))).loss.backward()
        optimizer.step()

    return step


def peak_mib(name: str, a: argparse.Namespace) -> float:
    """Growth of the peak memory of a process by three steps, MiB; on a GPU the peak allocated."""
    torch.set_num_threads(a.threads)
    torch.mm(torch.randn(64, 64), torch.randn(64, 64))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = make_step(name, a)
    for _ in range(3):
        step()
    if a.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a = arguments
    if a.quick:
        a.rounds, a.steps, a.rows, a.length = 2, 1, 4, 16
    torch.set_num_threads(a.threads)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        peak = {name: pool.apply(peak_mib, (name, a)) for name in a.variants}
    steps = {name: make_step(name, a) for name in a.variants}
    cpu = a.device == "cpu"
    clock = time.process_time if cpu else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in a.variants}
    for turn in track(range(a.rounds + 1), "rounds"):  # the first turn warms up
        for name, step in steps.items():
            if not cpu:
                torch.cuda.synchronize()
            start = clock()
            for _ in range(a.steps):
                step()
            if not cpu:
                torch.cuda.synchronize()
            if turn:
                seconds[name].append((clock() - start) / a.steps)
    out: dict[str, Any] = {
        "milliseconds": {name: 1e3 * statistics.median(v) for name, v in seconds.items()},
        "spread": {name: [1e3 * min(v), 1e3 * max(v)] for name, v in seconds.items()},
        "clock": "CPU time of the process" if cpu else "time",
        "peak_mib": peak,
        "relative_time": {},
        "relative_memory": {},
        "shape": {
            k: getattr(a, k)
            for k in ("rows", "length", "vocab", "width", "layers", "heads", "threads")
        },
        "torch": torch.__version__,
        "device": describe_device(a.device),
    }
    for name in a.variants:
        base = f"fixed_{name.removesuffix('_rloo').rpartition('_')[2]}"
        if base in a.variants:
            # Of turns next to each other: whatever else the machine does is the same for both.
            ratios = [x / y for x, y in zip(seconds[name], seconds[base], strict=True)]
            out["relative_time"][name] = [statistics.median(ratios), min(ratios), max(ratios)]
            out["relative_memory"][name] = peak[name] / peak[base]
    return out
