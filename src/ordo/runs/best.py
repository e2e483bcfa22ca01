"""The weights of least validation NELBO: which callback keeps them, whether a validation can choose
them, and the report on them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig

from ordo.errors import ConfigError
from ordo.runs.checkpoint import CheckpointError, load_weights, read
from ordo.training.module import OrderDiffusion


def keeper_of_best(trainer: L.Trainer) -> ModelCheckpoint | None:
    """The callback that keeps the checkpoint of least validation NELBO."""
    kept = (c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint))
    return next((c for c in kept if c.monitor is not None), None)


def check_best(config: DictConfig, trainer: L.Trainer, start: dict[str, Any]) -> None:
    """Raises ConfigError if ``report.weights=best`` is asked for and no validation can choose them.

    start: the checkpoint that the run goes on from; empty if it begins.
    """
    if config.report is None or config.report.get("weights") != "best":
        return
    keeper = keeper_of_best(trainer)
    if keeper is None:
        raise ConfigError(
            "report.weights=best needs callbacks.best, a ModelCheckpoint that monitors a metric of "
            "validation"
        )
    every = trainer.val_check_interval
    steps = trainer.max_steps * trainer.accumulate_grad_batches
    none = None
    if getattr(trainer, "fast_dev_run"):  # noqa: B009  its type does not declare this
        none = "trainer.fast_dev_run keeps no checkpoints: leave it out"
    elif not trainer.limit_val_batches:
        none = "trainer.limit_val_batches=0 leaves validation out: raise it"
    elif trainer.check_val_every_n_epoch is None and isinstance(every, int) and 0 < steps < every:
        none = (
            f"{config.steps} steps end before the first validation: "
            f"set validate_every={config.steps} or less"
        )
    state = start.get("callbacks", {}).get(keeper.state_key, {})
    if none and not state.get("best_model_path"):
        raise ConfigError(
            f"report.weights=best needs a validation. {none}, or set report.weights=last"
        )


def load_best(module: OrderDiffusion, trainer: L.Trainer, folder: Path) -> None:
    """Puts the best weights of the run into the module. Raises CheckpointError if no validation has
    chosen any.
    """
    keeper = keeper_of_best(trainer)
    if keeper is None or not keeper.best_model_path:
        mend = f"resume={folder} report.weights=last makes the report of the last ones"
        raise CheckpointError(
            f"no validation came, so there are no best weights to report on; {mend}"
        )
    load_weights(module, read(keeper.best_model_path)["state_dict"], keeper.best_model_path)
