"""How far a long piece of work is, and when it will be done.

On a terminal there is a bar, in a log file a line every half minute. All goes to standard error;
``show(False)`` silences everything (``quiet=true``).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")
EVERY = 30.0  # seconds between lines where standard error is no terminal
_shown = True


def show(shown: bool) -> bool:
    """Whether progress is shown in this process from now on; returns whether it was."""
    global _shown
    before, _shown = _shown, shown
    return before


def note(line: str) -> None:
    """A line on how the work goes on, to standard error, unless progress is silenced."""
    if _shown:
        print(line, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """``0:07``, ``12:30``, ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Meter:
    """Follows one piece of work, of which a share from 0 to 1 is done.

    A meter is a context; the bar vanishes at the end of the context.

    Args:
        description: of the work, in a word or two.
        every: seconds between lines where there is no terminal. Work that is done sooner says
            nothing.
    """

    def __init__(self, description: str, every: float | None = None):
        self.description, self.every = description, EVERY if every is None else every
        self.share = 0.0
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        self._begun = self._told = time.monotonic()
        console = Console(stderr=True)
        self._lines = _shown and not console.is_terminal
        if _shown and console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=console, transient=True)
            self._task = self._bar.add_task(self.description, total=1.0)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, share: float) -> None:
        """share: what is done, 0 to 1; a smaller share than before counts as the largest so far."""
        self.share = max(self.share, min(share, 1.0))
        if self._bar is not None:
            self._bar.update(self._task, completed=self.share)
        now = time.monotonic()
        if self._lines and now - self._told >= self.every and 0 < self.share < 1:
            self._told = now
            left = clock((now - self._begun) * (1 - self.share) / self.share)
            line = f"{self.description}: {100 * self.share:.0f}%, {left} left"
            print(line, file=sys.stderr, flush=True)


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """The items, with a ``Meter`` that counts the items that are done.

    Args:
        total: number of items, where the iterable does not know it.
    """
    if total is None:
        items = items if isinstance(items, Sized) else list(items)
        total = len(items)
    with Meter(description) as meter:
        for i, item in enumerate(items, 1):
            yield item
            meter.update(i / total if total else 1.0)


class SamplingMeter(Meter):
    """A meter for ``sample_batches(..., progress=meter.batches, on_step=meter.step)``."""

    number, at = 1, 0

    def batches(self, starts: Iterable[T]) -> Iterator[T]:
        """The starts of the batches, counted."""
        every = list(starts)
        self.number = max(1, len(every))
        for self.at, start in enumerate(every):
            yield start

    def step(self, share: float) -> None:
        """share: the part of the batch at hand that is done, 0 to 1."""
        self.update((self.at + share) / self.number)
