"""Where the time of a training step goes, and how much of the device's arithmetic it uses."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchdata.stateful_dataloader import StatefulDataLoader

from benchmarks.timing import adamw, clock
from ordo.data import StepBatchSampler
from ordo.data.text.sequences import PackedRows
from ordo.data.text.token_cache import open_or_build
from ordo.objectives import Objective
from ordo.randomness import StepRandom


def batches_from(folder: str, shape: tuple[int, int, int], device: str) -> Iterator[Tensor]:
    """Endless batches of random tokens, read from a memory-mapped token cache below ``folder``."""
    batch, length, vocab = shape
    rows = max(64, 4 * batch)
    ids = np.random.default_rng(0).integers(vocab, size=rows * length).astype(np.uint32)
    cache = open_or_build(Path(folder) / "c", vocab, [(ids, np.array([len(ids)]))], {})
    table = PackedRows(cache, length)
    sampler = StepBatchSampler(len(table), batch, 0)
    options: dict[str, Any] = {"batch_sampler": sampler, "pin_memory": device != "cpu"}
    loader = StatefulDataLoader(table, collate_fn=lambda x: x, **options)
    while True:
        yield from loader


def breakdown(
    net: nn.Module,
    schedule: nn.Module,
    objective: Objective,
    shape: tuple[int, int, int],
    device: str,
    steps: int,
    autocast: Callable[[], AbstractContextManager[object]],
) -> dict[str, float]:
    """Seconds a step of the parts of a training step, mean over steps. Each part is waited for.

    The part ``loader`` reads a batch and copies it to the device. The part ``objective`` is what
    the loss takes besides the denoiser's forward pass.

    Args:
        shape: batch, length, vocabulary.
        autocast: makes the context in which the loss is computed.
    """
    names = ["loader", "forward", "objective", "backward", "optimizer"]
    seconds = dict.fromkeys(names, 0.0)
    optimizer = adamw(net, schedule)
    begun, inside = 0.0, 0.0

    def enter(*_: Any) -> None:
        nonlocal begun
        begun = clock(device)

    def leave(*_: Any) -> None:
        nonlocal inside
        inside += clock(device) - begun

    hooks = [net.register_forward_pre_hook(enter), net.register_forward_hook(leave)]
    with tempfile.TemporaryDirectory() as folder:
        batches = batches_from(folder, shape, device)
        for step in range(-1, steps):  # the first warms up
            at = [clock(device)]
            tokens = next(batches).to(device, non_blocking=True)
            at.append(clock(device))
            inside = 0.0
            with autocast():
                loss = objective(net, schedule, tokens, StepRandom(0, step + 1)).loss
            at.append(clock(device))
            loss.backward()
            at.append(clock(device))
            optimizer.step()
            optimizer.zero_grad()
            at.append(clock(device))
            loader, whole, backward, update = (after - before for before, after in pairwise(at))
            parts = loader, inside, whole - inside, backward, update
            if step >= 0:
                for name, value in zip(seconds, parts, strict=True):
                    seconds[name] += value / steps
    for hook in hooks:
        hook.remove()
    return seconds


def flops(step: Callable[[], object]) -> int:
    """Operations of matrix products and attention in one call, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def peak_flops(device: str, dtype: torch.dtype) -> float:
    """Operations a second of large square matrix products: the best of five turns."""
    n, turns = (1024, 4) if device == "cpu" else (8192, 20)
    a = torch.randn(n, n, device=device, dtype=dtype)
    best = 0.0
    for _ in range(6):
        start = clock(device)
        for _ in range(turns):
            torch.mm(a, a)
        best = max(best, 2 * n**3 * turns / (clock(device) - start))
    return best
