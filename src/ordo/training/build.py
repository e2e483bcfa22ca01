"""From a composed configuration to the objects of a run. The only place of the package that reads whole configurations."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from ordo.data import SequenceData
from ordo.training.module import OrderDiffusion
from ordo.training.optimisation import OptimizerSettings


class ConfigError(ValueError):
    """The configuration names something that does not exist or does not fit."""


def build(node: DictConfig, name: str, **kwargs: Any) -> Any:
    """Instantiates one part of the configuration; an unknown name or argument becomes one line that says which part."""
    try:
        return instantiate(node, **kwargs)
    except Exception as error:
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        message = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise ConfigError(f"configuration part '{name}' ({node.get('_target_')}): {message}") from error


def build_data(config: DictConfig) -> SequenceData:
    """The data module, prepared; fills ``shape.length`` and ``shape.vocab_size`` of the configuration for the other parts to refer to."""
    data = build(config.data, "data")
    data.prepare_data()
    data.setup("fit")
    with open_dict(config):
        config.shape = {"length": data.length, "vocab_size": data.vocab_size}
    return data


def build_module(config: DictConfig) -> OrderDiffusion:
    """Denoiser, schedule, objective and optimiser settings in one LightningModule; initial weights are a function of ``config.seed``.

    Raises ConfigError naming the part that does not fit.
    """
    L.seed_everything(config.seed, verbose=False)
    denoiser = build(config.denoiser, "denoiser")
    schedule = build(config.schedule, "schedule")
    objective = build(config.objective, "objective")
    settings = build(config.optimizer, "optimizer")
    if not isinstance(settings, OptimizerSettings):
        raise ConfigError("configuration part 'optimizer' must make an ordo.training.OptimizerSettings")
    if schedule.length != denoiser.length:
        raise ConfigError(f"the schedule has {schedule.length} positions, the denoiser {denoiser.length}")
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    plain.pop("hydra", None)  # type: ignore[union-attr]
    try:
        module = OrderDiffusion(denoiser, schedule, objective, settings, config.seed, config.validation_draws, plain)  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if config.compile:
        denoiser.compile()
    return module


def best_precision(accelerator: str) -> str:
    """bf16 where the device has it, float32 elsewhere."""
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"
