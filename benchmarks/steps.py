"""Tokens/s and peak memory of ordo's training steps against the MDLM step as published.

The MDLM step is that of ``benchmarks.mdlm``. All variants have the same layers, width and batch,
and take turns in one process. Memory is the growth of the peak of a process of its own over what it
had before its first step (parameters and optimizer state come with the step). ``order``: order
space on random orders, bidirectional; ``time``: the same by Eq. 8; ``dense``: whole random orders,
order-causal; ``*_learned``: the same with a learned table of log w. Rows are denoiser rows.

For the variants of ordo the JSON also says where a step's time goes, which arithmetic it does
(matrix products, recomputed ones included), and what share that is of the rate at which the device
multiplies large matrices.
"""

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks import mdlm, timing
from benchmarks.breakdown import breakdown, flops, peak_flops
from benchmarks.timing import SPACES, make_denoiser, training_step
from ordo.schedules import FreeTable, Linear, Power

ORDO = ("time", "order", "dense", "time_learned", "order_learned", "dense_learned")
NAMES = ("mdlm", "mdlm_without_ema", *ORDO)
OPTIONS = {
    **timing.sizes(rows=16, length=128, vocab=27, width=128, layers=2, heads=4),
    **timing.sizes(rounds=5, steps=3, threads=1),
    "precision": ("float32", "bf16: autocast, all variants", {"choices": ["float32", "bf16"]}),
    "compile": (False, "torch.compile: the reference's denoiser, ordo's whole step"),
    "variants": (list(NAMES), "training steps to time", {"choices": NAMES}),
}


def autocast(a: Namespace) -> torch.autocast:
    """A context, new at each call."""
    return torch.autocast(a.device, dtype=torch.bfloat16, enabled=a.precision == "bf16")


def make_parts(name: str, a: Namespace) -> tuple[Any, Any, Any, int]:
    """Denoiser, schedule, objective and sequences a step of a variant of ordo."""
    torch.manual_seed(0)
    space, _, mode = name.partition("_")
    net = make_denoiser(space, a, positions="rotary")
    draws = 2 if mode and space != "dense" else 1
    kind = SPACES[space]
    objective = (kind(a.length) if space == "dense" else kind(draws=draws)).to(a.device)
    schedule = Power(a.length, FreeTable(a.length)) if mode else Linear(a.length)
    if a.compile:
        objective.estimate = torch.compile(objective.estimate, dynamic=False)
    return net, schedule.to(a.device), objective, a.rows // draws


def make_step(name: str, a: Namespace) -> Callable[[], None]:
    """One whole training step of a variant."""
    torch.manual_seed(0)
    tokens = torch.randint(a.vocab, (a.rows, a.length), device=a.device)
    context = partial(autocast, a)
    if name.startswith("mdlm"):
        net = mdlm.MDLM(a.vocab, a.length, a.width, a.heads, a.layers).to(a.device)
        if a.compile:  # which the published code leaves to the user
            net.compile()
        return mdlm.make_step(net, tokens, name == "mdlm", context)
    net, schedule, objective, batch = make_parts(name, a)
    return training_step(net, schedule, objective, tokens[:batch], context)


def run(a: Namespace) -> dict[str, Any]:
    timing.start(a)
    peak = timing.peaks(make_step, a.variants, a)
    steps = {name: make_step(name, a) for name in a.variants}
    seconds = timing.timed_in_turns(steps, a.rounds, a.steps, a.device)
    tokens = a.rows * a.length
    rate = timing.median(seconds, tokens)
    dtype = torch.float32 if a.precision == "float32" else torch.bfloat16
    out: dict[str, Any] = {
        "tokens_per_second": rate,
        "spread": {name: [tokens / max(v), tokens / min(v)] for name, v in seconds.items()},
        "clock": "CPU seconds of the process" if a.device == "cpu" else "seconds",
        "peak_mib": peak,
        **timing.about(a, "precision", "compile"),
        "peak_flops": peak_flops(a.device, dtype),
        "flops_a_step": {},
        "utilisation": {},
        "parts": {},
    }
    # A compiled graph has no parts to be told apart.
    eager = Namespace(**vars(a) | {"compile": False})
    for name in (name for name in a.variants if not name.startswith("mdlm")):
        net, schedule, objective, batch = make_parts(name, eager)
        model = net, schedule, objective
        shape, context = (batch, a.length, a.vocab), partial(autocast, a)
        out["parts"][name] = breakdown(*model, shape, a.device, a.rounds * a.steps, context)
        done = out["flops_a_step"][name] = flops(make_step(name, eager))
        out["utilisation"][name] = done / timing.median(seconds)[name] / out["peak_flops"]
    if "mdlm" in rate:
        out["ratio"] = {name: rate[name] / rate["mdlm"] for name in a.variants}
        out["memory_ratio"] = {name: peak[name] / peak["mdlm"] for name in a.variants}
    return out
