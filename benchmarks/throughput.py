"""Training tokens/s and peak memory of each objective, against the same step written with a plain torch.nn.TransformerEncoder.

``ordo`` and its ratio to the reference are of the time-space step with the reference's learned positions (variant time_plain); every
other variant has ordo's default positions, rotary and learned, which the reference has not.

All variants take turns within one process, so that ratios hold whatever else the machine does; peak memory is that of a process of
its own. ``overhead`` is the share of a learned-schedule step that is not denoiser forward, backward and optimizer: 1 - bare step / whole
step, where the bare step feeds the denoiser the same kind of input with fixed masks or orders and sums the cross-entropies.
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
import torch.nn.functional as F
from torch import nn

from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.objectives import Dense, OrderSpace, TimeSpace
from ordo.progress import track
from ordo.randomness import StepRandom
from ordo.runs.provenance import describe_device
from ordo.schedules import FreeTable, Linear, Power


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=32, help="denoiser rows a step")
    parser.add_argument("--length", type=int, default=128, help="tokens a sequence")
    parser.add_argument("--vocab", type=int, default=27, help="symbols")
    parser.add_argument("--width", type=int, default=128, help="of the network")
    parser.add_argument("--layers", type=int, default=4, help="of the network")
    parser.add_argument("--heads", type=int, default=4, help="of attention")
    parser.add_argument(
        "--rounds", type=int, default=7, help="turns of every variant; medians are reported"
    )
    parser.add_argument("--steps", type=int, default=5, help="steps a turn")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument(
        "--compile", action="store_true", help="also every objective with torch.compile"
    )


class Reference(nn.Module):
    """A masked diffusion denoiser as a first course would write it: TransformerEncoder, learned positions, logits at every position."""

    def __init__(self, vocab: int, length: int, width: int, heads: int, layers: int):
        super().__init__()
        self.token, self.position = nn.Embedding(vocab + 1, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.head = nn.Linear(width, vocab)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.token(z) + self.position.weight))


def make_step(name: str, a: argparse.Namespace) -> Callable[[], None]:
    """One whole training step of a variant: data on the device, loss, backward, AdamW."""
    torch.manual_seed(0)
    size = {"width": a.width, "heads": a.heads, "layers": a.layers}
    tokens = torch.randint(a.vocab, (a.rows, a.length), device=a.device)
    kind, _, mode = name.partition("_")
    if kind == "reference":
        net: nn.Module = Reference(a.vocab, a.length, **size).to(a.device)

        def loss() -> torch.Tensor:
            t = torch.rand(a.rows, 1, device=a.device).clamp(min=1e-3)
            masked = torch.rand(tokens.shape, device=a.device) < t
            cost = F.cross_entropy(
                net(tokens.masked_fill(masked, a.vocab)).transpose(1, 2), tokens, reduction="none"
            )
            return (cost * masked / t).sum() / tokens.numel()

        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    else:
        transformer = OrderCausalTransformer if kind == "dense" else BidirectionalTransformer
        net = transformer(
            a.vocab, a.length, **size, positions="learned" if mode == "plain" else "both"
        ).to(a.device)
        fixed = mode in ("fixed", "plain")
        draws = 1 if fixed or kind == "dense" else 2
        x = tokens[: a.rows // draws]
        objective = (
            {"time": TimeSpace, "order": OrderSpace}[kind](draws=draws)
            if kind != "dense"
            else Dense(a.length, draws=1, baseline="ema")
        )
        schedule = (Linear(a.length) if fixed else Power(a.length, FreeTable(a.length))).to(
            a.device
        )
        objective = objective.to(a.device)
        parameters = [*net.parameters(), *schedule.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=1e-3)
        if "compile" in mode:  # as compile=true does it
            objective.estimate = torch.compile(objective.estimate, dynamic=False)
        counter = iter(range(10**9))
        order = torch.rand(tokens.shape, device=a.device).argsort(-1)
        fraction = torch.arange(a.rows, device=a.device)[:, None] / a.rows
        masked = torch.rand(tokens.shape, device=a.device) < fraction

        def loss() -> torch.Tensor:
            if "bare" not in mode:
                return objective(net, schedule, x, StepRandom(0, next(counter))).loss
            if kind == "dense":
                return F.cross_entropy(
                    net(tokens, order).flatten(0, 1), tokens.gather(1, order).flatten()
                )
            return F.cross_entropy(
                net(tokens.masked_fill(masked, a.vocab), where=masked), tokens[masked]
            )

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def peak_mib(name: str, a: argparse.Namespace) -> float:
    """Peak resident memory of a process that makes three steps, MiB; on a GPU the peak allocated."""
    torch.set_num_threads(a.threads)
    step = make_step(name, a)
    for _ in range(3):
        step()
    if a.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a = arguments
    if a.quick:
        a.rounds, a.steps, a.rows, a.length = 2, 1, 4, 16
    torch.set_num_threads(a.threads)
    # First, while this process is small: a child's peak starts from its parent's size.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        peak = {
            name: pool.apply(peak_mib, (name, a))
            for name in ("reference", "time_plain", "time", "order", "dense")
        }
    names = [
        "reference",
        "time_plain",
        *(kind + mode for mode in ("_fixed", "", "_bare") for kind in ("time", "order", "dense")),
    ]
    names += ["time_compile", "order_compile", "dense_compile"] if a.compile else []
    steps = {name: make_step(name, a) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in track(range(a.rounds + 1), "rounds"):  # the first turn warms up
        for name, step in steps.items():
            if a.device == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(a.steps):
                step()
            if a.device == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[name].append((time.perf_counter() - start) / a.steps)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    tokens = a.rows * a.length
    return {
        "ordo": tokens / median["time_plain"],
        "reference": tokens / median["reference"],
        "ratio": median["reference"] / median["time_plain"],
        "tokens_per_second": {name: tokens / value for name, value in median.items()},
        "spread": {name: [tokens / max(v), tokens / min(v)] for name, v in seconds.items()},
        "overhead": {
            kind: 1 - median[f"{kind}_bare"] / median[kind] for kind in ("time", "order", "dense")
        },
        "peak_mib": peak,
        "shape": {
            k: getattr(a, k)
            for k in ("rows", "length", "vocab", "width", "layers", "heads", "threads")
        },
        "torch": torch.__version__,
        "device": describe_device(a.device),
    }
