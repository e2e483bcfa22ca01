"""Lightning's loop over steps, which first makes up for a validation that a kill cut off."""

from __future__ import annotations

from lightning.pytorch.loops.fit_loop import _FitLoop

from ordo.training.last import LastCheckpoint
from ordo.training.trainer import callbacks_of


class FitLoop(_FitLoop):
    """outstanding: the checkpoint that was loaded is from between a step and its validation."""

    outstanding = False

    def run(self) -> None:
        if self.outstanding:
            self.outstanding = False
            self._make_up()
        super().run()

    def _make_up(self) -> None:
        """Does what ``_TrainingEpochLoop`` does between the hooks of a step and the step's end.

        Afterwards the loops are as if resumed from a checkpoint written at the end of validation.
        """
        loop, trainer = self.epoch_loop, self.trainer
        for callback in callbacks_of(trainer):
            if isinstance(callback, LastCheckpoint):
                callback.watch(trainer)
        loop.batch_progress.increment_completed()
        loop.val_loop.restarting = False
        trainer.validating = True
        loop.val_loop.run()
        trainer.training = True
        trainer._logger_connector._first_loop_iter = None
        loop.val_loop._has_run = False
        loop.val_loop.restarting = True
