"""Sampling speed against loops as peers write them.

Such loops make full forward passes, draw float64 Gumbel noise at every position, and cache whole
batches.

``grid``: sequences decoded on a grid of --grid steps, by the peers' loop (which makes a call when
any row of the batch has changed), by ordo's ``ancestral``, and by ``first_hitting``, which draws
from the law of infinitely many steps. ``throughput``: tokens/s one token a call, by batch size and
length; --decode positions of each sequence are decoded, the other positions are given; the
reference decodes a random position a step. ``cache``: all positions one by one with the
order-causal denoiser, against a bidirectional one of equal size. ``memory_mib``: peak of a process
at 64 and at 1024 steps. Figures are CPU seconds of one process in which variants take turns:
medians, least and most.
"""

from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.timing import make_denoiser, median, peaks, sizes, timed_in_turns
from ordo.denoisers import BidirectionalTransformer
from ordo.runs.provenance import describe_device
from ordo.samplers import ByOrder, OnGrid, Sampler, sample

SHAPE = ("vocab", "width", "layers", "heads", "threads", "grid", "decode")
OPTIONS = {
    **sizes(vocab=27, width=128, layers=2, heads=4, rounds=5, threads=1),
    "grid": (1000, "steps of the peer's sampler"),
    "batches": ([1, 64, 1024], "sequences at a time"),
    "lengths": ([64, 1024], "tokens a sequence"),
    "decode": (8, "positions of each sequence that ``throughput`` decodes"),
    "most": (70_000, "``throughput`` leaves out batches of more tokens"),
}


def gumbel(logits: Tensor) -> Tensor:
    noise = -(-torch.rand_like(logits, dtype=torch.float64).log()).log()
    return (logits.double() + noise).argmax(-1)


@torch.no_grad()
def peer_grid(net: BidirectionalTransformer, n: int, steps: int) -> int:
    """The cached ancestral sampler of published masked diffusion code, linear schedule.

    Returns the calls made.
    """
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


def compared(
    variants: Mapping[str, Callable[[], object]], rounds: int, units: float = 1.0
) -> dict[str, Any]:
    """CPU seconds of every variant, and units a CPU second."""
    seconds = timed_in_turns(variants, rounds)
    return {
        name: {"seconds": middle, "least": min(v), "most": max(v), "per_second": units / middle}
        for (name, v), middle in zip(seconds.items(), median(seconds).values(), strict=True)
    }


def make_net(space: str, length: int, a: Namespace) -> Any:
    """A denoiser that is not trained: its speed is all that counts."""
    torch.manual_seed(0)
    a = Namespace(**vars(a) | {"length": length})
    return make_denoiser(space, a).eval().requires_grad_(False)


def decode_on_grid(steps: int, a: Namespace) -> Callable[[], object]:
    return partial(sample, make_net("order", 128, a), Sampler(how_many=OnGrid(steps)), 64)


def throughput(a: Namespace) -> dict[str, Any]:
    out = {}
    for length in a.lengths:
        net = make_net("order", length, a)
        for batch in (batch for batch in a.batches if batch * length <= a.most):
            given = torch.randint(a.vocab, (batch, length))
            known = torch.rand(batch, length).argsort(1) >= a.decode
            tokens = torch.where(known, given, net.mask_id)
            peer = partial(peer_one_by_one, net, tokens)
            ours = partial(sample, net, Sampler(), given=given, known=known)
            found = compared({"peer": peer, "ordo": ours}, a.rounds, batch * a.decode)
            found["ratio"] = found["peer"]["seconds"] / found["ordo"]["seconds"]
            out[f"length {length}, batch {batch}"] = found
    return out


def cache(a: Namespace) -> dict[str, Any]:
    length = max(a.lengths)
    both, cached = make_net("order", length, a), make_net("dense", length, a)
    order = torch.randperm(length, generator=torch.Generator().manual_seed(0)).tolist()
    sampler = Sampler(ByOrder(order))
    trace = sample(cached, sampler, 1)
    exact = cached.order_log_prob(trace.tokens, torch.tensor([order]))
    variants = {
        "bidirectional": partial(sample, both, sampler, 1),
        "order_causal": partial(sample, cached, sampler, 1),
    }
    out = compared(variants, min(a.rounds, 2), length)
    out["ratio"] = out["bidirectional"]["seconds"] / out["order_causal"]["seconds"]
    error = (trace.log_prob.gather(1, trace.order) - exact).abs().max().item()
    return out | {"largest_error": error}


def run(a: Namespace) -> dict[str, Any]:
    if a.device != "cpu":
        raise SystemExit("error: CPU seconds are measured; use --device cpu")
    if a.quick:
        a.grid, a.batches, a.lengths, a.decode, a.rounds = 20, [1, 4], [16], 2, 1
    torch.set_num_threads(a.threads)
    steps = (4, 8) if a.quick else (64, 1024)
    memory = peaks(decode_on_grid, steps, a, times=1, growth=False)
    net = make_net("order", 16 if a.quick else 128, a)
    variants = {
        "peer": partial(peer_grid, net, 8, a.grid),
        "ancestral": partial(sample, net, Sampler(how_many=OnGrid(a.grid)), 8),
        "first_hitting": partial(sample, net, Sampler(), 8),
    }
    return {
        "grid": compared(variants, a.rounds),
        "throughput": throughput(a),
        "cache": cache(a),
        "memory_mib": memory,
        "shape": {name: getattr(a, name) for name in SHAPE},
        "torch": torch.__version__,
        "device": describe_device(a.device),
    }
