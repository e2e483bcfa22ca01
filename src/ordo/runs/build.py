"""From a composed configuration to the objects of a run. A part gets plain arguments, and never the
whole configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from ordo.data import SequenceData
from ordo.errors import ConfigError, first_line
from ordo.parts import check_lengths, make, self_contained
from ordo.randomness import StepRandom
from ordo.settings import Unknown
from ordo.training.module import OrderDiffusion
from ordo.training.optimisation import OptimizerSettings


def plain(value: Any) -> Any:
    """A part of a configuration as plain dicts and lists. What refers to ``shape`` before the data
    are read is ``Unknown``.
    """
    if isinstance(value, DictConfig):
        return None if value._is_none() else {key: plain(known(value, key)) for key in value}
    if isinstance(value, ListConfig):
        return None if value._is_none() else [plain(known(value, i)) for i in range(len(value))]
    return value


def known(parent: Any, key: Any) -> Any:
    """What stands in a configuration, or ``Unknown``."""
    try:
        return parent[key]
    except InterpolationResolutionError as error:
        if OmegaConf.select(parent._get_root(), "shape") is None and "shape" in str(error):
            return Unknown()
        raise


def build(node: Any, name: str, **more: Any) -> Any:
    """One part of the composed configuration, see ``ordo.parts.make``. Raises ConfigError that says
    which part or setting is wrong.
    """
    try:
        values = plain(node)
    except OmegaConfBaseException as error:
        raise ConfigError(f"configuration part '{name}': {first_line(error)}") from error
    return make(values, name, **more)


def prepared(data: SequenceData) -> SequenceData:
    """The same data, fetched where that is needed, and read."""
    data.prepare_data()
    data.setup("fit")
    return data


def build_data(config: DictConfig, data: SequenceData | None = None) -> SequenceData:
    """The data module, prepared. Fills ``shape`` of the configuration, to which other parts refer,
    with what the data say of their tokens.

    data: where they are there and prepared already.
    """
    data = prepared(build(config.data, "data")) if data is None else data
    with open_dict(config):
        config.shape = shape_of(data)
    return data


def shape_of(data: SequenceData) -> dict[str, Any]:
    """``shape`` of a configuration: what data say of their tokens."""
    names = ("length", "vocab_size", "vocab_sizes", "ordered", "coordinates", "given")
    return {name: getattr(data, name) for name in names}


def build_module(config: DictConfig, made: Mapping[str, Any] | None = None) -> OrderDiffusion:
    """Denoiser, schedule, objective and optimiser settings in one LightningModule. Initial weights
    are a function of ``config.seed``.

    Args:
        made: parts that are there already, by name; the configuration tells of them, see
            ``ordo.parts.told``.

    Raises ConfigError naming the part that does not fit.
    """

    def part(name: str, **more: Any) -> Any:
        return made[name] if made and name in made else build(config[name], name, **more)

    L.seed_everything(config.seed, verbose=False)
    denoiser = part("denoiser")
    sizes = config.shape.get("vocab_sizes") if config.shape else None
    if sizes and min(sizes) < max(sizes) and not hasattr(denoiser, "vocab_sizes"):
        raise ConfigError(
            "the columns of the data differ in their vocabularies: "
            "use denoiser=table_causal (objective dense) or denoiser=table"
        )
    schedule, objective = part("schedule"), part("objective", **in_calls(config))
    settings = build(config.optimizer, "optimizer")
    if not isinstance(settings, OptimizerSettings):
        raise ConfigError(
            "configuration part 'optimizer' must make an ordo.training.OptimizerSettings"
        )
    check_lengths(denoiser, schedule)
    values = plain(config)
    values.pop("hydra", None)
    values["denoiser"] = self_contained(denoiser, values["denoiser"])
    try:
        module = OrderDiffusion(
            denoiser, schedule, objective, settings, config.seed, config.validation_draws, values
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    check_objective(module)
    if config.compile and hasattr(objective, "estimate"):
        objective.estimate = torch.compile(
            objective.estimate, dynamic=False
        )  # the denoiser's forward is part of its graph
    elif config.compile:
        denoiser.compile()
    return module


def in_calls(config: DictConfig) -> dict[str, int]:
    """What the objective of a model for K denoiser calls is told. It is no key of the objective's
    YAML: Hydra cannot delete a key that is null, for an objective of one's own.
    """
    return {} if config.get("calls") is None else {"calls": config.calls}


@torch.no_grad()
def check_objective(module: OrderDiffusion) -> None:
    """Puts two rows through the objective, so that parts that do not fit are found before training.
    Raises ConfigError.
    """
    tokens = torch.zeros(2, module.denoiser.length, dtype=torch.long)
    with torch.random.fork_rng(devices=[]):
        module.eval()  # running statistics stay as they are
        try:
            module.objective(module.denoiser, module.schedule, tokens, StepRandom())
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"objective, denoiser and schedule do not fit: {first_line(error)}"
            ) from error
        finally:
            module.train()


def best_precision(accelerator: str) -> str:
    """bf16 where the device has it, float32 elsewhere."""
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"
