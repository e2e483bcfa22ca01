"""The last checkpoint, from which a run goes on after a kill, and the log that it carries."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping

from ordo.files import partial_of
from ordo.interrupt import StopSignals
from ordo.settings import Count, Text, checked
from ordo.training.rows import held, logged_rows
from ordo.training.trainer import callbacks_of

RUN = "run"  # the entry of a checkpoint that ``LastCheckpoint`` writes


def _remove(path: Path) -> None:
    """A file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def will_validate(trainer: L.Trainer) -> bool:
    """Whether a validation follows the training step that has just ended."""
    loop = trainer.fit_loop
    fetcher = loop._data_fetcher
    return fetcher is not None and loop.epoch_loop._should_check_val_fx(fetcher)


def patience_of(trainer: L.Trainer) -> dict[str, int]:
    """How long every EarlyStopping waits: tells whether one that ended a run would end it again."""
    stopping = (c for c in callbacks_of(trainer) if isinstance(c, EarlyStopping))
    return {c.state_key: c.patience for c in stopping}


def write_last(trainer: L.Trainer, path: Path) -> None:
    """Writes the checkpoint as a file, or as the folder that a strategy makes of a checkpoint."""
    in_parts = getattr(trainer.strategy, "sharded_checkpoints", False)
    if not in_parts and not path.is_dir():
        trainer.save_checkpoint(path, weights_only=False)  # whole or not at all, see WholeFiles
        return
    # All ranks write into one folder, under the name that rank 0 gives.
    new, old = trainer.strategy.broadcast(partial_of(path)), path.with_name(".last.old")
    if trainer.is_global_zero:
        _remove(new)  # a folder that could not be written to its end
    trainer.strategy.barrier()
    trainer.save_checkpoint(new, weights_only=False)
    trainer.strategy.barrier()
    if trainer.is_global_zero:
        # No folder takes another's place in one go. One of the two is always there, see
        # ``checkpoint.LAST``.
        if path.exists():
            _remove(old)
            path.rename(old)
        new.rename(path)
        _remove(old)
    trainer.strategy.barrier()


class ValidateLast(L.Callback):
    """Has the last step validated, also where ``val_check_interval`` does not divide the steps: the
    best weights are then the best of all.
    """

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object
    ) -> None:
        if trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True  # which Lightning takes for a reason to validate


@checked
class LastCheckpoint(Checkpoint):
    """``folder/last.ckpt``, from which a killed run goes on.

    The checkpoint is written every ``every`` optimiser steps, before every validation, and at the
    end. A checkpoint from before a validation says that the validation is outstanding, and
    ``FitLoop`` makes up for the validation. So nothing of a step is lost, whatever moment a kill
    hits.

    Ctrl-C and SIGTERM end training after the step at hand, or after the batch of a validation at
    hand, with a checkpoint; several processes agree on the step.

    Lightning's ModelCheckpoint writes no last step that is not a multiple of ``every``, and on the
    first micro-batch after a resume writes again, in the middle of gradient accumulation, a
    checkpoint from which no exact resume is possible.
    """

    def __init__(self, folder: Text, every: Count):
        self.dirpath, self.every = folder, every
        self.validated = 0  # the step of the last validation that came to its end
        self._step = 0  # the last step seen
        self._saved: int | None = None  # the step of the last checkpoint written
        # True only while a checkpoint is written, see ``_save``.
        self._outstanding = self._between = False
        self._held: dict[str, float] = {}  # what is to be logged once more, after a resume
        self._signals = StopSignals()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        # Every rank has a name of its own for a folder that is named by the time of day.
        self.dirpath = trainer.strategy.broadcast(self.dirpath)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        stopped = trainer.should_stop and not self._ended(trainer)
        checkpoint[RUN] = {
            "validated": self.validated,
            "outstanding": self._outstanding,
            "stopped": patience_of(trainer) if stopped else None,
            "rows": logged_rows(trainer, self._between),
            "held": self._held or held(trainer),
        }

    @staticmethod
    def _ended(trainer: L.Trainer) -> bool:
        """Whether all steps are taken."""
        return 0 < trainer.max_steps <= trainer.global_step

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        run = checkpoint.get(RUN, {})
        self.validated, self._held = run.get("validated", 0), dict(run.get("held", {}))

    def _save(self, trainer: L.Trainer, outstanding: bool = False, between: bool = False) -> None:
        """Writes the checkpoint.

        Args:
            outstanding: a validation of this step follows.
            between: the step is done, and Lightning has not logged the step's metrics yet.
        """
        self._outstanding, self._between = outstanding, between
        try:
            write_last(trainer, Path(self.dirpath) / "last.ckpt")
        finally:
            self._outstanding = self._between = False
        self._saved = trainer.global_step

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = trainer.global_step
        self.watch(trainer)

    def watch(self, trainer: L.Trainer) -> None:
        """From now on Ctrl-C and SIGTERM wait for the end of a step."""
        self._signals.watch(trainer._signal_connector._original_handlers, trainer.world_size > 1)

    def _asked(self, trainer: L.Trainer) -> bool:
        asked = bool(self._signals.asked)
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        return asked

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object
    ) -> None:
        for name, value in self._held.items():
            pl_module.log(name, value)
        self._held = {}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object
    ) -> None:
        step = trainer.global_step
        if step == self._step:  # gradients are being accumulated
            return
        self._step = step
        asked, validates = self._asked(trainer), will_validate(trainer)
        last = self._ended(trainer)
        if step % self.every == 0 or last or trainer.should_stop or asked or validates:
            self._save(trainer, outstanding=validates, between=True)
        if asked:
            self._signals.act(trainer.world_size > 1)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object
    ) -> None:
        if trainer.world_size == 1 and self._signals.asked and self._saved == trainer.global_step:
            self._signals.act()  # the checkpoint from before this validation is there

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.validated = trainer.global_step

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking or trainer.fit_loop._should_accumulate():
            return
        if trainer.should_stop or self._ended(trainer):
            self._save(trainer)  # a kill in the report need not validate again

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._signals.release()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self._signals.release()
