"""The progress bar: one line of at most 80 columns that counts optimiser steps."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from torch import Tensor

from ordo.progress import EVERY, clock
from ordo.report.numbers import NATS, unit_name
from ordo.settings import NonNegative, checked
from ordo.training.trainer import data_of

WINDOW = 60.0  # seconds over which the pace is measured


class Pace:
    """How fast steps have been done of late: in the last minute, or since the start.

    The time of validations counts, so that the time left is right.
    """

    def __init__(self, step: int):
        self.seen = deque([(time.monotonic(), step)])

    def add(self, step: int) -> None:
        """step: number of steps that are done now."""
        now = time.monotonic()
        self.seen.append((now, step))
        while self.seen[1][0] <= now - WINDOW:
            self.seen.popleft()

    def words(self, total: int) -> list[str]:
        """Such as ``["0:35 left", "12.3 steps/s"]``; nothing before a step is done.

        Args:
            total: number of steps that there will be.
        """
        (begun, first), (now, last) = self.seen[0], self.seen[-1]
        if last <= first or now <= begun:
            return []
        speed = (last - first) / (now - begun)
        left = [f"{clock((total - last) / speed)} left"] if total > last else []
        if speed < 1:
            return [*left, f"{1 / speed:.1f} s/step"]
        return [*left, f"{speed:.{max(0, 2 - int(math.log10(speed)))}f} steps/s"]


@checked
class StepProgress(ProgressBar):
    """``120/1000 ━━━━━━ 0:35 left 12.3 steps/s train 3.512, val 3.601 bits/char, H 45.9``.

    The line is on standard error. There are the time left, the pace of the last minute, and the
    NELBO of the last batch and of the last validation: in bits per token, or in nats per sequence
    for tables and molecules, by the names that the data have for these. The entropy H of the order
    law, in nats, is there where the line has room.

    Where standard error is no terminal (a log file), there is a line after every validation and
    every half minute instead, such as ``step 120/1000  0:35 left  12.3 steps/s  train 3.512
    bits/char``.

    Args:
        every: seconds between updates. To read a metric off a GPU waits for the GPU.
    """

    def __init__(self, every: NonNegative = 0.25):
        super().__init__()
        self.every, self._enabled, self._last = every, True, 0.0
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:  # Lightning calls it on all ranks but the first
        self._enabled = False

    @staticmethod
    def numbers(metrics: Mapping[str, Tensor], token: str = "token", room: float = math.inf) -> str:
        """The metrics that have a value, finite or not, with their units.

        An entropy of NaN is left out: such an entropy is unknown.

        Args:
            token: the word for a token of the data, such as "char".
            room: characters; the entropy is left out where there are too few.
        """
        key, unit = ("nelbo", "nats") if token in NATS else ("bits_per_token", "bits_per_token")
        found = [
            f"{part} {float(metrics[name]):.3f}"
            for part in ("train", "val")
            if (name := f"{part}/{key}") in metrics
        ]
        line = f"{', '.join(found)} {unit_name(unit, token).replace(' per ', '/')}" if found else ""
        entropy = float(metrics.get("train/order_entropy", math.nan))
        if math.isnan(entropy):
            return line
        forms = (f"H(order) {entropy:.1f} nats", f"H {entropy:.1f}")
        whole = [", ".join(part for part in (line, form) if part) for form in forms]
        return next((text for text in whole if len(text) <= room), line)

    @staticmethod
    def step(trainer: L.Trainer) -> str:
        return f"{trainer.global_step:>{len(str(trainer.max_steps))}}/{trainer.max_steps}"

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self._enabled:
            return
        self._console = Console(stderr=True)
        self._token = str(getattr(data_of(trainer), "unit", "token"))
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=6),
            TextColumn("{task.fields[numbers]}", markup=False),
        )
        self._bar = Progress(
            *columns,
            console=self._console,
            refresh_per_second=4,
            disable=not self._console.is_terminal,
            transient=True,
        )
        done, total = trainer.global_step, trainer.max_steps
        self._task = self._bar.add_task(self.step(trainer), total=total, completed=done, numbers="")
        self._bar.start()
        self._line = time.monotonic()
        self._pace = Pace(done)

    def _update(self, trainer: L.Trainer) -> None:
        if self._bar is None:
            return
        self._last = time.monotonic()
        self._pace.add(trainer.global_step)
        if not self._bar.disable:
            step, pace = self.step(trainer), " ".join(self._pace.words(trainer.max_steps))
            room = self._console.width - len(f"{step} ━━━━━━ {pace} ")
            numbers = self.numbers(trainer.callback_metrics, self._token, room)
            words, done = f"{pace} {numbers}".strip(), trainer.global_step
            self._bar.update(self._task, description=step, completed=done, numbers=words)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object
    ) -> None:
        if time.monotonic() - self._last > self.every:
            self._update(trainer)
        if self._bar is not None and self._bar.disable and time.monotonic() - self._line > EVERY:
            self._print(trainer)

    def _print(self, trainer: L.Trainer) -> None:
        self._line = time.monotonic()
        pace = self._pace.words(trainer.max_steps)
        numbers = self.numbers(trainer.callback_metrics, self._token)
        line = "  ".join([f"step {self.step(trainer)}", *pace, numbers])
        self._console.print(line.rstrip(), soft_wrap=True, highlight=False, markup=False)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._update(trainer)
        if self._bar is not None and self._bar.disable:
            self._print(trainer)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self._stop()
