"""Training tokens/s and peak memory of ordo's steps against the MDLM step as published (``benchmarks.mdlm``), at equal layers, width and batch.

All variants take turns in one process; memory is the growth of the peak of a process of its own over what it had before its first step
(parameters and optimizer state come with the step). ``order``: order space on random orders, bidirectional; ``time``: the same by Eq. 8;
``dense``: whole random orders, order-causal; ``*_learned``: the same with a learned table of log w. Rows are denoiser rows.

Of ordo's variants also where a step's time goes, the arithmetic it does (matrix products, recomputed ones included) and the share of the
rate at which the device multiplies large matrices.
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

from benchmarks import mdlm
from benchmarks.breakdown import breakdown, flops, peak_flops
from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.objectives import Dense, OrderSpace, TimeSpace
from ordo.progress import track
from ordo.randomness import StepRandom
from ordo.runs.provenance import describe_device
from ordo.schedules import FreeTable, Linear, Power

ORDO = ("time", "order", "dense", "time_learned", "order_learned", "dense_learned")
NAMES = ("mdlm", "mdlm_without_ema", *ORDO)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=16, help="denoiser rows a step")
    parser.add_argument("--length", type=int, default=128, help="tokens a sequence")
    parser.add_argument("--vocab", type=int, default=27, help="symbols")
    parser.add_argument("--width", type=int, default=128, help="of the network")
    parser.add_argument("--layers", type=int, default=2, help="of the network")
    parser.add_argument("--heads", type=int, default=4, help="of attention")
    parser.add_argument(
        "--rounds", type=int, default=5, help="turns of every variant; medians are reported"
    )
    parser.add_argument("--steps", type=int, default=3, help="steps a turn")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument(
        "--precision",
        default="float32",
        choices=["float32", "bf16"],
        help="bf16: autocast, all variants",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="torch.compile: the reference's denoiser, ordo's whole step",
    )
    parser.add_argument(
        "--variants", nargs="+", default=list(NAMES), choices=NAMES, help="training steps to time"
    )


def autocast(a: argparse.Namespace) -> Any:
    """A context, new at each call."""
    return torch.autocast(a.device, dtype=torch.bfloat16, enabled=a.precision == "bf16")


def make_parts(name: str, a: argparse.Namespace) -> tuple[Any, Any, Any, Any, int]:
    """Denoiser, schedule, objective, optimizer and sequences a step of a variant of ordo."""
    torch.manual_seed(0)
    kind, _, mode = name.partition("_")
    transformer = OrderCausalTransformer if kind == "dense" else BidirectionalTransformer
    net = transformer(
        a.vocab, a.length, width=a.width, heads=a.heads, layers=a.layers, positions="rotary"
    ).to(a.device)
    draws = 2 if mode and kind != "dense" else 1
    objective: Any = (
        Dense(a.length)
        if kind == "dense"
        else {"time": TimeSpace, "order": OrderSpace}[kind](draws=draws)
    )
    objective = objective.to(a.device)
    schedule = (Power(a.length, FreeTable(a.length)) if mode else Linear(a.length)).to(a.device)
    if a.compile:
        objective.estimate = torch.compile(objective.estimate, dynamic=False)
    optimizer = torch.optim.AdamW([*net.parameters(), *schedule.parameters()], lr=3e-4, fused=True)
    return net, schedule, objective, optimizer, a.rows // draws


def make_step(name: str, a: argparse.Namespace) -> Callable[[], None]:
    """One whole training step of a variant."""
    torch.manual_seed(0)
    tokens = torch.randint(a.vocab, (a.rows, a.length), device=a.device)
    if name.startswith("mdlm"):
        return mdlm.make_step(
            tokens,
            a.vocab,
            a.width,
            a.heads,
            a.layers,
            name == "mdlm",
            lambda: autocast(a),
            a.compile,
        )
    net, schedule, objective, optimizer, batch = make_parts(name, a)
    x, count = tokens[:batch], iter(range(10**9))

    def step() -> None:
        optimizer.zero_grad()
        with autocast(a):
            loss = objective(net, schedule, x, StepRandom(0, next(count))).loss
        loss.backward()
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
    tokens = a.rows * a.length
    rate = {name: tokens / statistics.median(v) for name, v in seconds.items()}
    out: dict[str, Any] = {
        "tokens_per_second": rate,
        "spread": {name: [tokens / max(v), tokens / min(v)] for name, v in seconds.items()},
        "clock": "CPU seconds of the process" if cpu else "seconds",
        "peak_mib": peak,
        "shape": {
            k: getattr(a, k)
            for k in (
                "rows",
                "length",
                "vocab",
                "width",
                "layers",
                "heads",
                "threads",
                "precision",
                "compile",
            )
        },
        "torch": torch.__version__,
        "device": describe_device(a.device),
    }
    peak_rate = peak_flops(a.device, torch.float32 if a.precision == "float32" else torch.bfloat16)
    out |= {"peak_flops": peak_rate, "flops_a_step": {}, "utilisation": {}, "parts": {}}
    eager = argparse.Namespace(
        **vars(a) | {"compile": False}
    )  # a graph that is compiled has no parts to be told apart
    for name in (name for name in a.variants if not name.startswith("mdlm")):
        net, schedule, objective, optimizer, batch = make_parts(name, eager)
        shape = (batch, a.length, a.vocab)
        out["parts"][name] = breakdown(
            net,
            schedule,
            objective,
            optimizer,
            shape,
            a.device,
            a.rounds * a.steps,
            lambda: autocast(a),
        )
        out["flops_a_step"][name] = flops(make_step(name, eager))
        out["utilisation"][name] = (
            out["flops_a_step"][name] / statistics.median(seconds[name]) / peak_rate
        )
    if "mdlm" in rate:
        out["ratio"] = {name: rate[name] / rate["mdlm"] for name in a.variants}
        out["memory_ratio"] = {name: peak[name] / peak["mdlm"] for name in a.variants}
    return out
