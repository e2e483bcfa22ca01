"""One batch again and again, see ``debug=overfit``."""

from __future__ import annotations

from typing import Any

import lightning as L


class RepeatBatch(L.Callback):
    """Trains on the first batch of the run in every step.

    A run that goes on repeats the first batch that it then gets, which is another one.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        step: Any = pl_module.training_step
        first: list[Any] = []

        def on_first(batch: Any, *others: Any) -> Any:
            if not first:
                first.append(batch)
            return step(first[0], *others)

        pl_module.training_step = on_first

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        vars(pl_module).pop("training_step", None)  # the method of the class is seen again

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self.on_train_end(trainer, pl_module)
