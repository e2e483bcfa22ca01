"""What a run leaves behind while it trains: the history of its order law, samples, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from matplotlib.figure import Figure

from ordo import plots
from ordo.data.module import Batch
from ordo.files import write_whole
from ordo.objectives.base import is_learned
from ordo.randomness import seeded_generator
from ordo.report.record import labels_of
from ordo.samplers import Sampler, sample
from ordo.schedules import AveragedSchedule, Schedule, SchedulePart
from ordo.settings import Count, Size, Text, checked
from ordo.training.pictures import (
    log_picture,
    log_samples,
    loss_picture,
    order_picture,
    rank_text,
    schedule_picture,
    shown_part,
)


@checked
class OrderHistory(L.Callback):
    """Expected rank of every position and the order entropy, every ``every`` steps; resumes with the run.

    Where the same positions are given in all validation sequences, ranks, entropy and pictures of the law are of the others. Of a law
    that depends on the tokens these are means over validation sequences.

    Writes ``order_over_training.npz`` to ``folder`` at the end, and two pictures, ``order_over_training.png`` and ``order.png``, to its
    ``pictures``. At every validation draws both, and ``schedule.png`` and ``loss_by_revealed.png`` (of the first validation batch),
    there and to loggers that take pictures; of a schedule that does not learn only the first and the last. pictures: whether to do so.
    """

    def __init__(self, folder: Text, every: Count = 50, pictures: bool = True):
        self.folder, self.every, self.pictures = Path(folder), every, pictures
        self.steps: list[int] = []
        self.ranks: list[list[float]] = []
        self.entropies: list[float] = []
        self._batch: Batch | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "ranks": self.ranks, "entropies": self.entropies}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps, self.ranks, self.entropies = (
            state_dict["steps"],
            state_dict["ranks"],
            state_dict["entropies"],
        )

    @torch.no_grad()
    def _record(self, trainer: L.Trainer, module: Any) -> None:
        step = trainer.global_step
        if self.steps and self.steps[-1] >= step:
            return
        law: Any = _shown(trainer, module)[0].law()
        rank = law.expected_rank().tolist()
        if self.ranks and len(self.ranks[-1]) != len(
            rank
        ):  # of a run from before given positions were left out
            self.steps, self.ranks, self.entropies = [], [], []
        self.steps.append(step)
        self.ranks.append(rank)
        entropy = float("nan")
        if hasattr(law, "entropy"):
            generator = seeded_generator(module.device, module.seed, step, -2)
            entropy = float(law.entropy(samples=256, generator=generator)[0])
            module.log("train/order_entropy", entropy, prog_bar=True)
        self.entropies.append(entropy)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if trainer.global_step % self.every == 0 or trainer.global_step == 1:
            self._record(trainer, pl_module)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == 0:
            self._batch = Batch.of(batch)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        # The end of the epoch, not of validation: averaged weights (EMA) are still in place.
        batch, self._batch = self._batch, None
        if not self.pictures or trainer.sanity_checking or not trainer.is_global_zero:
            return
        schedule, labels = _shown(trainer, pl_module)
        figures = {"order": order_picture(schedule, _order_generator(pl_module), labels)}
        if is_learned(pl_module.schedule):
            figures["schedule"] = schedule_picture(schedule, pl_module.device, labels)
            if self.steps:
                figures["order_over_training"] = self._over_training(labels)
        if batch is not None and not pl_module.sharded:
            figures["loss_by_revealed"] = loss_picture(pl_module, batch)
        for name, figure in figures.items():
            log_picture(
                trainer.loggers,
                name,
                figure,
                trainer.global_step,
                self.folder / "pictures" / f"{name}.png",
            )

    def _over_training(self, labels: list[str] | None) -> Figure:
        ranks, entropies = np.array(self.ranks), np.array(self.entropies)
        known = None if np.isnan(entropies).any() else entropies
        return plots.order_over_training(np.array(self.steps), ranks, known, labels)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero or not self.steps:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        ranks, entropies = np.array(self.ranks), np.array(self.entropies)
        arrays = {"step": np.array(self.steps), "expected_rank": ranks, "entropy": entropies}
        write_whole(self.folder / "order_over_training.npz", lambda path: np.savez(path, **arrays))  # type: ignore[arg-type]
        schedule, labels = _shown(trainer, pl_module)
        plots.save(
            self._over_training(labels), self.folder / "pictures" / "order_over_training.png"
        )
        picture = order_picture(schedule, _order_generator(pl_module), labels)
        plots.save(picture, self.folder / "pictures" / "order.png")


def _shown(
    trainer: L.Trainer, module: Any
) -> tuple[Schedule | AveragedSchedule | SchedulePart, list[str] | None]:
    """Of which one law is shown, see ``pictures.shown_part``, and names of its positions, where they have any."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    part, positions = shown_part(module.schedule, getattr(data, "val_set", None))
    return part, labels_of(
        getattr(data, "labels", None), None if positions is None else positions.tolist()
    )


def _order_generator(module: Any) -> torch.Generator:
    return seeded_generator(module.device, module.seed, 0, -3)


@checked
class SampleWriter(L.Callback):
    """At every validation draws ``n`` sequences in orders of the model's own law, and appends them to ``folder/samples.txt``,
    each with the rank of every token in the order it was decoded in (from 1; a dash: it was given); logs them too.

    Where positions are given, they are those of the first validation sequences. Does nothing where the denoiser is divided among ranks.
    """

    def __init__(self, folder: Text, n: Size = 4):
        self.path, self.n = Path(folder) / "samples.txt", n

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or pl_module.sharded:
            return
        seed, first = pl_module.seed, self.n * trainer.global_step
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
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
