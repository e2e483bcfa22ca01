"""What a run leaves behind while it trains: the history of its order law, samples, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from matplotlib.figure import Figure

from ordo import plots
from ordo.data.module import Batch
from ordo.files import write_arrays
from ordo.objectives.base import is_learned
from ordo.randomness import seeded_generator
from ordo.report.order import HasEntropy, RankedLaw
from ordo.report.record import labels_of
from ordo.samplers import Sampler, sample
from ordo.schedules import AveragedSchedule, Schedule, SchedulePart
from ordo.settings import Count, Size, Text, checked
from ordo.training.module import OrderDiffusion
from ordo.training.pictures import (
    log_picture,
    log_samples,
    loss_picture,
    order_picture,
    plotted_part,
    rank_text,
    schedule_picture,
)
from ordo.training.trainer import data_of


@checked
class OrderHistory(L.Callback):
    """Expected rank of every position and the order entropy; the history resumes with the run.

    Where the same positions are given in all validation sequences, ranks, entropy and pictures are
    those of the decoded positions. For token-dependent laws they are averages over validation
    sequences.

    At the end the callback writes ``order_over_training.npz`` to ``folder``, and the pictures
    ``order_over_training.png`` and ``order.png`` to ``folder/pictures``. At every validation the
    callback draws these two, ``schedule.png``, and ``loss_by_revealed.png`` (of the first
    validation batch), to the same folder and to loggers that take pictures. Of a schedule that does
    not learn only ``order.png`` and ``loss_by_revealed.png`` are drawn.

    Args:
        every: optimiser steps between entries.
        pictures: draw at validations.
    """

    def __init__(self, folder: Text, every: Count = 50, pictures: bool = True):
        self.folder, self.every, self.pictures = Path(folder), every, pictures
        self.steps: list[int] = []
        self.ranks: list[list[float]] = []
        self.entropies: list[float] = []
        self._batch: Batch | None = None

    def state_dict(self) -> dict[str, object]:
        return {"steps": self.steps, "ranks": self.ranks, "entropies": self.entropies}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps, self.ranks = state_dict["steps"], state_dict["ranks"]
        self.entropies = state_dict["entropies"]

    @torch.no_grad()
    def _record(self, trainer: L.Trainer, module: OrderDiffusion) -> None:
        step = trainer.global_step
        if self.steps and self.steps[-1] >= step:
            return
        law = cast(RankedLaw, _plotted(trainer, module)[0].law())
        rank = law.expected_rank().tolist()
        # A checkpoint may be older than the rule that given positions are left out.
        if self.ranks and len(self.ranks[-1]) != len(rank):
            self.steps, self.ranks, self.entropies = [], [], []
        self.steps.append(step)
        self.ranks.append(rank)
        entropy = float("nan")
        if isinstance(law, HasEntropy):
            generator = seeded_generator(module.device, module.seed, step, -2)
            entropy = float(law.entropy(samples=256, generator=generator)[0])
            module.log("train/order_entropy", entropy, prog_bar=True)
        self.entropies.append(entropy)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: OrderDiffusion, *_: object) -> None:
        if trainer.global_step % self.every == 0 or trainer.global_step == 1:
            self._record(trainer, pl_module)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: OrderDiffusion,
        outputs: object,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == 0:
            self._batch = Batch.of(batch)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: OrderDiffusion) -> None:
        # Not at the end of validation: here averaged weights (EMA) are still in place.
        batch, self._batch = self._batch, None
        if not self.pictures or trainer.sanity_checking or not trainer.is_global_zero:
            return
        schedule, labels = _plotted(trainer, pl_module)
        figures = {"order": order_picture(schedule, _order_generator(pl_module), labels)}
        if is_learned(pl_module.schedule):
            figures["schedule"] = schedule_picture(schedule, pl_module.device, labels)
            if self.steps:
                figures["order_over_training"] = self._over_training(labels)
        if batch is not None and not pl_module.sharded:
            figures["loss_by_revealed"] = loss_picture(pl_module, batch)
        for name, figure in figures.items():
            file = self.folder / "pictures" / f"{name}.png"
            log_picture(trainer.loggers, name, figure, trainer.global_step, file)

    def _over_training(self, labels: list[str] | None) -> Figure:
        ranks, entropies = np.array(self.ranks), np.array(self.entropies)
        known = None if np.isnan(entropies).any() else entropies
        return plots.order_over_training(np.array(self.steps), ranks, known, labels)

    def on_fit_end(self, trainer: L.Trainer, pl_module: OrderDiffusion) -> None:
        if not trainer.is_global_zero or not self.steps:
            return
        columns = {"step": self.steps, "expected_rank": self.ranks, "entropy": self.entropies}
        write_arrays(self.folder / "order_over_training.npz", columns)
        schedule, labels = _plotted(trainer, pl_module)
        pictures = self.folder / "pictures"
        plots.save(self._over_training(labels), pictures / "order_over_training.png")
        picture = order_picture(schedule, _order_generator(pl_module), labels)
        plots.save(picture, pictures / "order.png")


def _plotted(
    trainer: L.Trainer, module: OrderDiffusion
) -> tuple[Schedule | AveragedSchedule | SchedulePart, list[str] | None]:
    """The schedule to plot, see ``pictures.plotted_part``, and names of its positions, if any."""
    data = data_of(trainer)
    part, positions = plotted_part(module.schedule, getattr(data, "val_set", None))
    numbers = None if positions is None else positions.tolist()
    return part, labels_of(getattr(data, "labels", None), numbers)


def _order_generator(module: OrderDiffusion) -> torch.Generator:
    return seeded_generator(module.device, module.seed, 0, -3)


@checked
class SampleWriter(L.Callback):
    """At every validation draws ``n`` sequences in orders of the model's own law.

    The sequences go to ``folder/samples.txt`` and to loggers that take text. Beside each stands the
    rank of every token in the decoding order: from 1, or a dash where the token was given.

    Where positions are given, the given tokens are those of the first validation sequences. The
    callback does nothing where the denoiser is divided among ranks.
    """

    def __init__(self, folder: Text, n: Size = 4):
        self.path, self.n = Path(folder) / "samples.txt", n

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: OrderDiffusion) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or pl_module.sharded:
            return
        seed, first = pl_module.seed, self.n * trainer.global_step
        data = data_of(trainer)
        given = data.val_set.given(self.n, pl_module.device)
        drawn = sample(
            pl_module.denoiser,
            Sampler(),
            self.n,
            schedule=pl_module.schedule,
            seed=seed,
            first_row=first,
            **given,
        )
        texts = data.decode(drawn.tokens.cpu())
        ranks = [rank_text(rank) for rank in drawn.rank]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.writelines(
                f"step {trainer.global_step}\t{text!r}\trank {rank}\n"
                for text, rank in zip(texts, ranks, strict=True)
            )
        log_samples(trainer.loggers, "samples", texts, ranks, trainer.global_step)
