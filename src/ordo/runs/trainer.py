"""Lightning's Trainer as a configuration describes it, and what Lightning's types leave open."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ProgressBar, WeightAveraging
from lightning.pytorch.loggers import Logger, WandbLogger
from omegaconf import DictConfig, OmegaConf

from ordo.errors import ConfigError, first_line
from ordo.runs.build import best_precision, build
from ordo.runs.checkpoint import WholeFiles
from ordo.training.loop import FitLoop
from ordo.training.sharding import ShardedStrategy

LOUD = (
    "pytorch.utilities.rank_zero",
    "fabric.utilities.seed",
    "pytorch.accelerators.cuda",
    "fabric.utilities.distributed",
)
HARMLESS = (
    ".*does not have many workers.*",
    ".*number of training batches.*",
    ".*set_vital.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*Experiment logs directory .* exists and is not empty.*",
    ".*`weights_only` was not set.*",
    ".*The checkpoint was not created with WeightAveraging.*",  # ``Resume`` tells of it
    r".*Please add the following callbacks: \['EMAWeightAveraging'\].*",  # so does ``Resume``
    ".*IterableDataset.*__len__.*",
    ".*WeightAveraging doesn't support sharding.*",  # refused with trainer=fsdp
    ".*FSDP2-wrapped module.*returned a view.*",  # nothing is changed in place
)


def quiet() -> None:
    """Silences Lightning's advertisements, and warnings that are known to be harmless."""
    for name in LOUD:
        logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)
    for pattern in HARMLESS:
        warnings.filterwarnings("ignore", pattern)


def averages(callbacks: list[L.Callback]) -> bool:
    """Whether averages of the weights are kept."""
    return any(isinstance(each, WeightAveraging) for each in callbacks)


def parts(section: DictConfig | None, name: str) -> list[Any]:
    """What a section of the configuration makes, but for what is null."""
    there = {key: node for key, node in (section or {}).items() if node is not None}
    return [build(node, f"{name}.{key}") for key, node in there.items()]


def check_sharded(
    config: DictConfig, strategy: ShardedStrategy, callbacks: list[L.Callback]
) -> None:
    """Raises ConfigError for what ``trainer=fsdp`` cannot do."""
    if averages(callbacks):
        raise ConfigError(
            "callbacks=ema keeps a whole copy of the weights on every rank, "
            "which trainer=fsdp is there to avoid"
        )
    best = config.report is not None and config.report.get("weights") == "best"
    if strategy.sharded_checkpoints and best:
        raise ConfigError(
            "report.weights=best needs checkpoints in one file: "
            "set trainer.strategy.sharded_checkpoints=false"
        )


def build_trainer(config: DictConfig, folder: Path) -> L.Trainer:
    """The Lightning trainer with its callbacks and loggers. Raises ConfigError."""
    callbacks: list[L.Callback] = parts(config.callbacks, "callbacks")
    loggers: list[Logger] = parts(config.logger, "logger")
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            # None is passed on, and W&B warns that the setting has no effect any more.
            logger._wandb_init.pop("anonymous", None)
    options: Any = OmegaConf.to_container(config.trainer, resolve=True)
    if isinstance(options.get("strategy"), dict):
        options["strategy"] = build(config.trainer.strategy, "trainer.strategy")
    if isinstance(options.get("strategy"), ShardedStrategy):
        check_sharded(config, options["strategy"], callbacks)
    if options.get("accelerator") == "auto":  # Lightning would choose MPS, which has no float64
        options["accelerator"] = "cuda" if torch.cuda.is_available() else "cpu"
    if options.get("precision") == "auto":
        options["precision"] = best_precision(str(options.get("accelerator", "auto")))
    if isinstance(options.get("val_check_interval"), int):  # Lightning counts micro-batches
        options["val_check_interval"] *= options.get("accumulate_grad_batches") or 1
    if config.get("quiet"):
        options["enable_progress_bar"] = False
    if not options.get("enable_progress_bar", True):
        callbacks = [each for each in callbacks if not isinstance(each, ProgressBar)]
    options = {"default_root_dir": str(folder), "use_distributed_sampler": False} | options
    options |= {"plugins": [WholeFiles()], "callbacks": callbacks, "logger": loggers or False}
    try:
        trainer = L.Trainer(**options)
    except (TypeError, ValueError, ImportError, MisconfigurationException) as error:
        raise ConfigError(f"configuration part 'trainer': {first_line(error)}") from error
    loop = FitLoop(trainer, trainer.fit_loop.min_epochs, trainer.fit_loop.max_epochs)
    loop.epoch_loop = trainer.fit_loop.epoch_loop
    trainer.fit_loop = loop
    return trainer
