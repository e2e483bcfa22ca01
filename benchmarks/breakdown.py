"""Where the time of a training step goes, and how much of the device's arithmetic it uses."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchdata.stateful_dataloader import StatefulDataLoader

from ordo.data import StepBatchSampler
from ordo.data.text.sequences import PackedRows
from ordo.data.text.token_cache import open_or_build
from ordo.objectives import Objective
from ordo.randomness import StepRandom

PARTS = ("loader", "forward", "objective", "backward", "optimizer")


def clock(device: str) -> float:
    """CPU seconds of the process, or on a GPU seconds once it has done what it was given."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def breakdown(
    net: nn.Module,
    schedule: nn.Module,
    objective: Objective,
    optimizer: Any,
    shape: tuple[int, int, int],
    device: str,
    steps: int,
    autocast: Callable[[], Any],
) -> dict[str, float]:
    """Seconds a step of its parts, mean over steps. shape: batch, length, vocabulary. The loader reads a memory-mapped token cache and
    copies to the device; ``objective`` is what the loss takes besides the denoiser's forward. Each part is waited for.
    """
    batch, length, vocab = shape
    seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    inside = {"begun": 0.0, "sum": 0.0}

    def enter(*_: Any) -> None:
        inside["begun"] = clock(device)

    def leave(*_: Any) -> None:
        inside["sum"] += clock(device) - inside["begun"]

    hooks = [net.register_forward_pre_hook(enter), net.register_forward_hook(leave)]
    with tempfile.TemporaryDirectory() as folder:
        rows = max(64, 4 * batch)
        ids = np.random.default_rng(0).integers(vocab, size=rows * length).astype(np.uint32)
        table = PackedRows(
            open_or_build(Path(folder) / "c", vocab, [(ids, np.array([len(ids)]))], {}), length
        )
        sampler = StepBatchSampler(len(table), batch, 0)
        loader = StatefulDataLoader(
            table, batch_sampler=sampler, collate_fn=lambda x: x, pin_memory=device != "cpu"
        )
        batches = iter(loader)
        for step in range(-1, steps):  # the first warms up
            at = [clock(device)]
            tokens = next(batches, None)
            if tokens is None:
                batches = iter(loader)
                tokens = next(batches)
            tokens = tokens.to(device, non_blocking=True)
            at.append(clock(device))
            inside["sum"] = 0.0
            with autocast():
                loss = objective(net, schedule, tokens, StepRandom(0, step + 1)).loss
            at.append(clock(device))
            loss.backward()
            at.append(clock(device))
            optimizer.step()
            optimizer.zero_grad()
            at.append(clock(device))
            if step >= 0:
                parts = (
                    at[1] - at[0],
                    inside["sum"],
                    at[2] - at[1] - inside["sum"],
                    at[3] - at[2],
                    at[4] - at[3],
                )
                for name, value in zip(PARTS, parts, strict=True):
                    seconds[name] += value / steps
    for hook in hooks:
        hook.remove()
    return seconds


def flops(step: Callable[[], None]) -> int:
    """Of matrix products and attention in one call, backward included, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def peak_flops(device: str, dtype: torch.dtype) -> float:
    """Per second, best of five turns of square matrix products: what there is to be had."""
    n, turns = (1024, 4) if device == "cpu" else (8192, 20)
    a = torch.randn(n, n, device=device, dtype=dtype)
    best = 0.0
    for _ in range(6):
        start = clock(device)
        for _ in range(turns):
            torch.mm(a, a)
        best = max(best, 2 * n**3 * turns / (clock(device) - start))
    return best
