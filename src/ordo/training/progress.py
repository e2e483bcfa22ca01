"""The progress bar: one line of at most 80 columns that counts optimiser steps."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor

from ordo.progress import EVERY, clock
from ordo.settings import NonNegative, checked

# What is shown, as decimals and the metric's short name.
SHOWN = {
    "train/bits_per_token": ("bits", 3),
    "val/bits_per_token": ("val", 3),
    "train/order_entropy": ("H(order)", 1),
}


@checked
class StepProgress(ProgressBar):
    """``step 120/1000 ━━━━ 0:35 bits 3.512  val 3.601  H(order) 45.9`` on standard error.

    Losses are in bits per token, the entropy in nats. Where standard error is no terminal (a log
    file), there is a line after every validation and every half minute instead, such as
    ``step 120/1000  0:35 left  bits 3.512``.

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
    def numbers(metrics: Mapping[str, Tensor]) -> str:
        """The metrics that have a value, finite or not, by their short names.

        An entropy of NaN is left out: such an entropy is unknown.
        """
        parts = []
        for name, (short, decimals) in SHOWN.items():
            value = float(metrics[name]) if name in metrics else None
            if value is not None and not (short == "H(order)" and math.isnan(value)):
                parts.append(f"{short} {value:.{decimals}f}")
        return "  ".join(parts)

    @staticmethod
    def step(trainer: L.Trainer) -> str:
        return f"step {trainer.global_step:>{len(str(trainer.max_steps))}}/{trainer.max_steps}"

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self._enabled:
            return
        self._console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[numbers]}"),
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
        self._begun = self._line = time.monotonic()
        self._first = trainer.global_step

    def _update(self, trainer: L.Trainer) -> None:
        if self._bar is not None:
            numbers, step = self.numbers(trainer.callback_metrics), self.step(trainer)
            done = trainer.global_step
            self._bar.update(self._task, description=step, completed=done, numbers=numbers)
            self._last = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object
    ) -> None:
        if time.monotonic() - self._last > self.every:
            self._update(trainer)
        if self._bar is not None and self._bar.disable and time.monotonic() - self._line > EVERY:
            self._print(trainer)

    def _print(self, trainer: L.Trainer) -> None:
        self._line = time.monotonic()
        done, to_do = trainer.global_step - self._first, trainer.max_steps - trainer.global_step
        left = ""
        if done > 0 and to_do > 0:
            left = f"{clock((self._line - self._begun) / done * to_do)} left  "
        line = f"{self.step(trainer)}  {left}{self.numbers(trainer.callback_metrics)}"
        self._console.print(line, soft_wrap=True, highlight=False)

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
