"""From a composed configuration to the objects of a run. Parts get plain arguments; none sees the whole."""

from __future__ import annotations

from pydoc import locate
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationResolutionError

from ordo.data import SequenceData
from ordo.randomness import StepRandom
from ordo.settings import SettingError, Unknown, check_node
from ordo.training.module import OrderDiffusion
from ordo.training.optimisation import OptimizerSettings


class ConfigError(ValueError):
    """The configuration names something that does not exist or does not fit."""


def first_line(error: BaseException) -> str:
    """Of an error's message, or its type if it has none."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def find(target: str) -> Any:
    """The class or function of a ``_target_``. Raises ImportError."""
    found = locate(target)
    if found is None:
        raise ImportError("there is none of that name")
    return found


def plain(value: Any) -> Any:
    """A part of a configuration as plain dicts and lists; what refers to ``shape`` before the data are read is ``Unknown``."""
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


def build(node: DictConfig, name: str, **kwargs: Any) -> Any:
    """Instantiates one part of the configuration. Raises ConfigError, one line that says which part or setting is wrong."""
    try:
        check_node(plain(node) | kwargs, name, find)
        return instantiate(node, _convert_="all", **kwargs)
    except SettingError as error:
        raise ConfigError(str(error)) from None
    except Exception as error:
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ConfigError(f"configuration part '{name}' ({node.get('_target_')}): {first_line(cause)}") from error


def build_data(config: DictConfig) -> SequenceData:
    """The data module, prepared; fills ``shape`` of the configuration, to which the other parts refer, with what it says of its tokens."""
    data = build(config.data, "data")
    data.prepare_data()
    data.setup("fit")
    with open_dict(config):
        config.shape = {name: getattr(data, name) for name in ("length", "vocab_size", "vocab_sizes", "ordered", "coordinates", "given")}
    return data


def self_contained(part: Any, node: dict[str, Any]) -> dict[str, Any]:
    """The node itself or, of a part made from what lies elsewhere, such as a model of the hub, one that needs it no more.

    Such a part has ``arguments``, plain values, from which and a state dict its class makes it again.
    """
    if not hasattr(part, "arguments"):
        return node
    kind = type(part)
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", "_convert_": "all", **part.arguments}


def build_module(config: DictConfig) -> OrderDiffusion:
    """Denoiser, schedule, objective and optimiser settings in one LightningModule; initial weights are a function of ``config.seed``.

    Raises ConfigError naming the part that does not fit.
    """
    L.seed_everything(config.seed, verbose=False)
    denoiser = build(config.denoiser, "denoiser")
    sizes = config.shape.get("vocab_sizes") if config.shape else None
    if sizes and min(sizes) < max(sizes) and not hasattr(denoiser, "vocab_sizes"):
        raise ConfigError(
            "the columns of the data differ in their vocabularies: use denoiser=table_causal (objective dense) or denoiser=table"
        )
    schedule = build(config.schedule, "schedule")
    objective = build(config.objective, "objective")
    settings = build(config.optimizer, "optimizer")
    if not isinstance(settings, OptimizerSettings):
        raise ConfigError("configuration part 'optimizer' must make an ordo.training.OptimizerSettings")
    if schedule.length != denoiser.length:
        raise ConfigError(f"the schedule has {schedule.length} positions, the denoiser {denoiser.length}")
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    plain.pop("hydra", None)  # type: ignore[union-attr]
    plain["denoiser"] = self_contained(denoiser, plain["denoiser"])  # type: ignore[index,call-overload]
    try:
        module = OrderDiffusion(denoiser, schedule, objective, settings, config.seed, config.validation_draws, plain)  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(str(error)) from error
    check_objective(module)
    if config.compile and hasattr(objective, "estimate"):
        objective.estimate = torch.compile(objective.estimate, dynamic=False)  # the denoiser's forward is part of its graph
    elif config.compile:
        denoiser.compile()
    return module


@torch.no_grad()
def check_objective(module: OrderDiffusion) -> None:
    """Two rows through the objective, so that parts that do not fit are found before training. Raises ConfigError."""
    tokens = torch.zeros(2, module.denoiser.length, dtype=torch.long)
    with torch.random.fork_rng(devices=[]):
        module.eval()  # running statistics stay as they are
        try:
            module.objective(module.denoiser, module.schedule, tokens, StepRandom())
        except (ValueError, TypeError) as error:
            raise ConfigError(f"objective, denoiser and schedule do not fit: {first_line(error)}") from error
        finally:
            module.train()


def best_precision(accelerator: str) -> str:
    """bf16 where the device has it, float32 elsewhere."""
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"
