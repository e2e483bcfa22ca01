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


def train_steps(
    denoiser: nn.Module,
    schedule: Schedule,
    objective: Any,
    batches: Iterable[Any],
    settings: OptimizerSettings,
    seed: int = 0,
) -> Iterator[tuple[int, ObjectiveOutput]]:
    """Takes ``settings.total_steps`` optimiser steps in place; after each yields how many there
    have been and what the objective returned.

    The same steps as ``OrderDiffusion`` in one process. batches: tokens (batch, length) int64, or
    ``Batch``, on the denoiser's device, such as a ``train_dataloader()``; iterated again where they
    end. It is a generator: nothing is trained unless the result is iterated.

    Raises ValueError where batches run out or settings are not for such a law, TrainingDiverged for
    a loss that is NaN or infinite.
    """
    check_law(schedule, settings)
    attach_features(schedule, denoiser)
    denoiser.train()
    optimizer, rates = build_optimizer(denoiser, schedule, settings)
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
