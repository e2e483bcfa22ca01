"""Time and memory of training steps: variants take turns in one process, medians are reported.

Whatever else the machine does is then the same for all variants. Peak memory is that of a process
of its own.
"""

import multiprocessing
import resource
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch

from benchmarks.common import Options
from ordo import objectives
from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.objectives import Objective
from ordo.progress import track
from ordo.randomness import StepRandom
from ordo.runs.provenance import describe_device

K = TypeVar("K", str, int)
Make = Callable[[K, Namespace], Callable[[], object]]  # (variant, options) -> a step of it
SIZES = {
    "rows": "denoiser rows a step",
    "length": "tokens a sequence",
    "vocab": "symbols",
    "width": "of the network",
    "layers": "of the network",
    "heads": "of attention",
    "rounds": "turns of every variant; medians are reported",
    "steps": "steps a turn",
    "threads": "of the CPU",
}
SHAPE = ("rows", "length", "vocab", "width", "layers", "heads", "threads")
SPACES: dict[str, Any] = {
    "order": objectives.OrderSpace,
    "time": objectives.TimeSpace,
    "dense": objectives.Dense,
}


def sizes(**defaults: int) -> Options:
    return {name: (default, SIZES[name]) for name, default in defaults.items()}


def start(a: Namespace) -> None:
    """Sets the threads; ``--quick`` makes all sizes small."""
    if a.quick:
        a.rounds, a.steps, a.rows, a.length = 2, 1, 4, 16
    torch.set_num_threads(a.threads)


def about(a: Namespace, *more: str) -> dict[str, Any]:
    """Shape of the work, version and device, for the JSON."""
    shape = {name: getattr(a, name) for name in (*SHAPE, *more)}
    return {"shape": shape, "torch": torch.__version__, "device": describe_device(a.device)}


def clock(device: str, wall: bool = False) -> float:
    """CPU seconds of the process, or seconds if ``wall`` or once a GPU has done its work."""
    if device == "cpu":
        return time.perf_counter() if wall else time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def timed_in_turns(
    variants: Mapping[str, Callable[[], object]],
    rounds: int,
    steps: int = 1,
    device: str = "cpu",
    wall: bool = False,
) -> dict[str, list[float]]:
    """Seconds a step of every variant by turn; a first turn warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in track(range(rounds + 1), "rounds"):
        for name, step in variants.items():
            begun = clock(device, wall)
            for _ in range(steps):
                step()
            if turn:
                seconds[name].append((clock(device, wall) - begun) / steps)
    return seconds


def median(seconds: Mapping[str, list[float]], of: float | None = None) -> dict[str, float]:
    """Median of every variant; with ``of`` units a step the median rate, units a second."""
    found = {name: statistics.median(values) for name, values in seconds.items()}
    return found if of is None else {name: of / value for name, value in found.items()}


def peak_mib(make: Make[K], name: K, a: Namespace, times: int, growth: bool) -> float:
    """Peak memory of this process after ``times`` steps, MiB; on a GPU the peak allocated.

    ``growth``: less what the process had before its first step.
    """
    torch.set_num_threads(a.threads)
    torch.mm(torch.randn(64, 64), torch.randn(64, 64))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if growth else 0
    step = make(name, a)
    for _ in range(times):
        step()
    if a.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def peaks(
    make: Make[K], names: Iterable[K], a: Namespace, times: int = 3, growth: bool = True
) -> dict[K, float]:
    """``peak_mib`` of every variant, each in a fresh process.

    Call this first, while the caller is small: the peak of a child starts from its parent's size.
    """
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return {name: pool.apply(peak_mib, (make, name, a, times, growth)) for name in names}


def make_denoiser(space: str, a: Namespace, **options: Any) -> Any:
    """The denoiser of a space, with the sizes of the command, on its device."""
    kind = OrderCausalTransformer if space == "dense" else BidirectionalTransformer
    sizes = {"width": a.width, "heads": a.heads, "layers": a.layers}
    return kind(a.vocab, a.length, **sizes, **options).to(a.device)


def adamw(net: torch.nn.Module, schedule: torch.nn.Module) -> torch.optim.Optimizer:
    parameters = [*net.parameters(), *schedule.parameters()]
    return torch.optim.AdamW(parameters, lr=3e-4, fused=True)


def training_step(
    net: Any,
    schedule: Any,
    objective: Objective,
    tokens: torch.Tensor,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Callable[[], None]:
    """A whole training step: loss, backward pass, optimizer."""
    optimizer = adamw(net, schedule)
    count = iter(range(10**9))

    def step() -> None:
        optimizer.zero_grad()
        with autocast():
            loss = objective(net, schedule, tokens, StepRandom(0, next(count))).loss
        loss.backward()
        optimizer.step()

    return step
