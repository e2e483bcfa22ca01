"""What a training step costs: tokens a second, and the peak of the memory in use."""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor

from ordo.batch import Batch

GIB = 1 << 30


class Speed:
    """Tokens a second of one process, without the time that validations take.

    Counting never waits for the device.
    """

    def __init__(self) -> None:
        self.tokens: Tensor | int = 0
        self._begun = time.monotonic()
        self._paused: float | None = None

    def count(self, batch: Batch) -> None:
        """Adds the tokens of a batch: padding does not count, given tokens do."""
        lengths = batch.lengths
        self.tokens = self.tokens + (batch.tokens.numel() if lengths is None else lengths.sum())

    def pause(self) -> None:
        """The time from here to ``go_on`` does not count."""
        self._paused = time.monotonic()

    def go_on(self) -> None:
        if self._paused is not None:
            self._begun += time.monotonic() - self._paused
            self._paused = None

    def rate(self) -> float:
        """Tokens a second since the last call, or since the beginning."""
        tokens, now = float(self.tokens), time.monotonic()  # in this order: float() may wait
        seconds, self.tokens, self._begun = now - self._begun, 0, now
        return tokens / max(seconds, 1e-9)


def peak_memory(device: torch.device) -> float:
    """The most memory that this process has had in use, in GiB.

    On a CUDA device this is the memory of tensors on the device, elsewhere the memory of the whole
    process (NaN where the system does not tell).
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    try:
        import resource  # not on Windows
    except ImportError:
        return float("nan")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / GIB if sys.platform == "darwin" else most * 1024 / GIB
