"""Sampling speed against loops as peers write them: full forward passes, float64 Gumbel noise at every position, caching of whole batches.

``grid``: sequences decoded on a grid of --grid steps, by the peers' loop (a call is made when any row of the batch has changed), by
ordo's ``ancestral`` and ``first_hitting``, the law of infinitely many steps. ``throughput``: tokens/s one token a call, by batch size and
length, --decode positions of each sequence, the others given; reference: a random position a step. ``cache``: all positions one by one
with the order-causal denoiser, against a bidirectional one of equal size. ``memory``: peak MiB of a process at 64 and at 1024 steps.
CPU seconds of one process, variants taking turns; medians, least and most.
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
from torch import Tensor

from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.progress import track
from ordo.runs.provenance import describe_device
from ordo.samplers import ByOrder, OnGrid, Sampler, sample


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--vocab", type=int, default=27, help="symbols")
    parser.add_argument("--width", type=int, default=128, help="of the network")
    parser.add_argument("--layers", type=int, default=2, help="of the network")
    parser.add_argument("--heads", type=int, default=4, help="of attention")
    parser.add_argument("--grid", type=int, default=1000, help="steps of the peer's sampler")
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 64, 1024], help="sequences at a time"
    )
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[64, 1024], help="tokens a sequence"
    )
    parser.add_argument(
        "--decode",
        type=int,
        default=8,
        help="positions of each sequence that ``throughput`` decodes",
    )
    parser.add_argument(
        "--most",
        type=int,
        default=70_000,
        help="tokens of a batch beyond which ``throughput`` leaves it out",
    )
    parser.add_argument("--rounds", type=int, default=5, help="measurements")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")


def gumbel(logits: Tensor) -> Tensor:
    return (logits.double() - (-torch.rand_like(logits, dtype=torch.float64).log()).log()).argmax(
        -1
    )


@torch.no_grad()
def peer_grid(net: BidirectionalTransformer, n: int, steps: int) -> int:
    """The cached ancestral sampler of published masked diffusion code, linear schedule. Returns the calls made."""
    tokens = torch.full((n, net.length), net.mask_id)
    logits, calls = None, 0
    for k in range(steps, 0, -1):
        if logits is None:
            logits, calls = net(tokens), calls + 1
        unmask = (tokens == net.mask_id) & (torch.rand(tokens.shape) < 1 / k)
        after = torch.where(unmask, gumbel(logits), tokens)
        if not torch.equal(after, tokens):
            logits = None
        tokens = after
    return calls


@torch.no_grad()
def peer_one_by_one(net: BidirectionalTransformer, tokens: Tensor) -> None:
    """A random masked position of every row a step."""
    tokens = tokens.clone()
    while (masked := tokens == net.mask_id).any():
        position = (torch.rand(tokens.shape) * masked).argmax(1, keepdim=True)
        tokens.scatter_(1, position, gumbel(net(tokens)).gather(1, position))


def take_turns(
    variants: dict[str, Callable[[], Any]], rounds: int, units: float = 1.0
) -> dict[str, dict[str, float]]:
    """CPU seconds, or units a CPU second; a first turn warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in track(range(rounds + 1), "rounds"):
        for name, variant in variants.items():
            start = time.process_time()
            variant()
            if turn:
                seconds[name].append(time.process_time() - start)
    out = {
        name: {"seconds": statistics.median(v), "least": min(v), "most": max(v)}
        for name, v in seconds.items()
    }
    for entry in out.values():
        entry["per_second"] = units / entry["seconds"]
    return out


def peak_mib(steps: int, a: argparse.Namespace) -> float:
    torch.set_num_threads(a.threads)
    sample(make(BidirectionalTransformer, 128, a), Sampler(how_many=OnGrid(steps)), 64)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make(kind: Any, length: int, a: argparse.Namespace) -> Any:
    torch.manual_seed(0)
    return (
        kind(a.vocab, length, width=a.width, heads=a.heads, layers=a.layers)
        .eval()
        .requires_grad_(False)
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a = arguments
    if a.device != "cpu":
        raise SystemExit("error: CPU seconds are measured; use --device cpu")
    if a.quick:
        a.grid, a.batches, a.lengths, a.decode, a.rounds = 20, [1, 4], [16], 2, 1
    torch.set_num_threads(a.threads)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        memory = {
            steps: pool.apply(peak_mib, (steps, a))
            for steps in ((64, 1024) if not a.quick else (4, 8))
        }
    net = make(BidirectionalTransformer, 16 if a.quick else 128, a)
    grid: dict[str, Any] = take_turns(
        {
            "peer": lambda: peer_grid(net, 8, a.grid),
            "ancestral": lambda: sample(net, Sampler(how_many=OnGrid(a.grid)), 8),
            "first_hitting": lambda: sample(net, Sampler(), 8),
        },
        a.rounds,
    )
    throughput = {}
    for length in a.lengths:
        net = make(BidirectionalTransformer, length, a)
        for batch in a.batches:
            if batch * length > a.most:
                continue
            given = torch.randint(a.vocab, (batch, length))
            known = torch.rand(batch, length).argsort(1) >= a.decode
            tokens = torch.where(known, given, net.mask_id)
            variants = {
                "peer": lambda net=net, tokens=tokens: peer_one_by_one(net, tokens),
                "ordo": lambda net=net, given=given, known=known: sample(
                    net, Sampler(), given=given, known=known
                ),
            }
            measured: dict[str, Any] = take_turns(variants, a.rounds, batch * a.decode)
            throughput[f"length {length}, batch {batch}"] = measured | {
                "ratio": measured["peer"]["seconds"] / measured["ordo"]["seconds"]
            }
    long = max(a.lengths)
    two, cached = make(BidirectionalTransformer, long, a), make(OrderCausalTransformer, long, a)
    order = torch.randperm(long, generator=torch.Generator().manual_seed(0)).tolist()
    trace = sample(cached, Sampler(ByOrder(order)), 1)
    exact = cached.order_log_prob(trace.tokens, torch.tensor([order]))
    cache: dict[str, Any] = take_turns(
        {
            "bidirectional": lambda: sample(two, Sampler(ByOrder(order)), 1),
            "order_causal": lambda: sample(cached, Sampler(ByOrder(order)), 1),
        },
        min(a.rounds, 2),
        long,
    )
    cache["ratio"] = cache["bidirectional"]["seconds"] / cache["order_causal"]["seconds"]
    cache["largest_error"] = (trace.log_prob.gather(1, trace.order) - exact).abs().max().item()
    return {
        "grid": grid,
        "throughput": throughput,
        "cache": cache,
        "memory_mib": memory,
        "shape": {
            k: getattr(a, k)
            for k in ("vocab", "width", "layers", "heads", "threads", "grid", "decode")
        },
        "torch": torch.__version__,
        "device": describe_device(a.device),
    }
