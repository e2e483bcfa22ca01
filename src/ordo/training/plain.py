"""The training loop without Lightning, for notebooks and small experiments.

One process, no checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from ordo.batch import Batch
from ordo.objectives import ObjectiveOutput
from ordo.progress import note
from ordo.randomness import StepRandom
from ordo.schedules import Schedule, attach_features
from ordo.training.module import TrainingDiverged
from ordo.training.optimisation import (
    OptimizerSettings,
    build_optimizer,
    check_law,
    clip_gradients,
    with_entropy_bonus,
)


class TrainSteps:
    """Optimiser steps to be taken, see ``train_steps``: an iterator, of which each item is one step
    that has been taken.
    """

    def __init__(self, steps: Iterator[tuple[int, ObjectiveOutput]]):
        self._steps, self._asked = steps, False

    def __iter__(self) -> TrainSteps:
        return self

    def __next__(self) -> tuple[int, ObjectiveOutput]:
        self._asked = True
        return next(self._steps)

    def run(self) -> ObjectiveOutput:
        """Takes all steps that are left, and returns what the objective said of the last one.

        Raises ValueError where no step is left.
        """
        out = None
        for step in self:
            out = step[1]
        if out is None:
            raise ValueError("no step is left: call train_steps again for more")
        return out

    def __del__(self) -> None:
        if not self._asked:
            note(
                "train_steps was called and nothing was trained: iterate over what it returns, "
                "as in `for step, out in train_steps(...)`, or call train_steps(...).run()"
            )


def train_steps(
    denoiser: nn.Module,
    schedule: Schedule,
    objective: Any,
    batches: Iterable[Any],
    settings: OptimizerSettings,
    seed: int = 0,
) -> TrainSteps:
    """Optimiser steps, ``settings.total_steps`` of them, that train in place while somebody
    iterates: ``for step, out in train_steps(...)`` or ``train_steps(...).run()``. After each step
    come the number of steps taken and what the objective returned.

    The same steps as ``OrderDiffusion`` in one process. batches: tokens (batch, length) int64, or
    ``Batch``, on the denoiser's device, such as a ``train_dataloader()``; iterated again where they
    end. What is never iterated trains nothing, and a line on standard error says so.

    Raises ValueError where batches run out, and, in the call itself, where settings are not for
    such a law; TrainingDiverged for a loss that is NaN or infinite.
    """
    check_law(schedule, settings)
    attach_features(schedule, denoiser)
    denoiser.train()
    made = build_optimizer(denoiser, schedule, settings)
    return TrainSteps(_steps(denoiser, schedule, objective, batches, settings, seed, *made))


def _steps(
    denoiser: nn.Module,
    schedule: Schedule,
    objective: Any,
    batches: Iterable[Any],
    settings: OptimizerSettings,
    seed: int,
    optimizer: torch.optim.Optimizer,
    rates: torch.optim.lr_scheduler.LambdaLR,
) -> Iterator[tuple[int, ObjectiveOutput]]:
    step = 0
    while step < settings.total_steps:
        before = step
        for batch in batches:
            batch = Batch.of(batch)
            out = objective(denoiser, schedule, batch, StepRandom(seed, step))
            loss = with_entropy_bonus(out.loss, schedule, settings, seed, step, batch)
            if not torch.isfinite(loss):
                raise TrainingDiverged(
                    f"the loss became NaN or infinite in step {step}; lower lr or schedule_lr (and "
                    "base_lr), or bound log w"
                )
            optimizer.zero_grad()
            loss.backward()
            clip_gradients(denoiser, schedule, settings)
            optimizer.step()
            rates.step()
            step += 1
            yield step, out
            if step == settings.total_steps:
                return
        if step == before:
            raise ValueError(
                f"no batches after step {step}: give a list, a data loader or an endless iterator"
            )
