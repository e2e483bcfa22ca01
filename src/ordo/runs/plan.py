"""The settings of ``ordo.fit``: those of ``ordo train``, of the same YAMLs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict

from ordo.data import SequenceData, TableData
from ordo.files import Json
from ordo.parts import OWN, TARGET, describe, told
from ordo.runs.build import shape_of
from ordo.runs.settings import CONFIGS
from ordo.settings import SettingError, check_arguments
from ordo.training import OptimizerSettings


def plan(
    data: SequenceData,
    made: Mapping[str, Any],
    folder: Path,
    steps: int,
    every: int,
    optimizer: Json,
    seed: int,
) -> Json:
    """The settings of a run as in the config.yaml of ``ordo train``, as plain values.

    Args:
        made: denoiser, schedule and objective, as far as they are there already.
        every: steps between validations, and between checkpoints.
        optimizer: settings of ``OptimizerSettings`` that are not left to their defaults.
    Raises SettingError.
    """
    if "total_steps" in optimizer:
        raise SettingError("total_steps", optimizer["total_steps"], "is called steps here")
    table = isinstance(data, TableData)
    choices = [f"experiment={'table_learned_order' if table else 'quickstart'}", "callbacks=ema"]
    if kind := objective_for(made):
        choices.append(f"objective={kind}")
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("train", [*choices, "name=fit", "output=fit"])
    with open_dict(config):
        config.name = config.label = folder.absolute().name
        config.output, config.seed, config.shape = str(folder), seed, shape_of(data)
        config.steps, config.validate_every, config.checkpoint_every = steps, every, every
        config.calls = made["schedule"].calls if "schedule" in made else None
        config.report = config.compare = None
        del config.data
    out: Any = OmegaConf.to_container(config, resolve=True)
    about = describe(data, "data")
    out["data"] = {OWN: type(data).__name__, **data.describe()} if about is None else about
    out |= {k: told(v, "" if k == "objective" else k) for k, v in made.items()}
    # A run of few steps is warm, and learns its order, within a tenth of them.
    options = {name: value for name, value in out["optimizer"].items() if name not in UNUSED}
    options |= {name: min(options[name], steps // 10) for name in DELAYS}
    if "schedule" in made:
        del options["schedule_lr"]  # which is of the schedule of the experiment
    options |= optimizer
    check_arguments(OptimizerSettings, options, skip=("total_steps",))
    settings = OptimizerSettings(steps, **options)
    out["optimizer"] = {**told(settings, ""), TARGET: "ordo.training.OptimizerSettings"}
    out["shape"] = None
    return out


DELAYS, UNUSED = ("warmup_steps", "schedule_delay"), (TARGET, "total_steps")


def objective_for(made: Mapping[str, Any]) -> str | None:
    """The objective that denoiser and schedule can be trained on; None: that of the experiment."""
    denoiser, schedule = made.get("denoiser"), made.get("schedule")
    if denoiser is None or denoiser.order_causal:
        return None
    if schedule is None or schedule.calls is not None or schedule.depends_on_tokens:
        return "order"
    return "order" if hasattr(schedule.law(), "next_log_prob") else "time"


def callbacks_of(callbacks: Json, ema: float | None, patience: int | None, kept: bool) -> Json:
    """Of the callbacks of callbacks=ema those that ``ordo.fit`` has, and two more.

    kept: whether the folder stays.
    """
    names = ["best", "last", "collapse", "progress"]
    names += (["order"] if kept else []) + ([] if ema is None else ["ema"])
    out: Json = {"end": {TARGET: "ordo.training.ValidateLast"}}
    out |= {name: callbacks[name] for name in names}
    if kept:
        out["order"]["pictures"] = False
    if ema is not None:
        out["ema"]["decay"] = ema
    if patience is not None:
        stopping = {TARGET: "lightning.pytorch.callbacks.EarlyStopping", "monitor": "val/nelbo"}
        out["early"] = stopping | {"patience": patience}
    return out


def literal(value: Any) -> Any:
    """Plain values in which no text is taken for an interpolation of OmegaConf's: a column of a
    table may be called ``${oc.env:HOME}``.
    """
    if isinstance(value, str):
        return value.replace("${", "\\${")
    if isinstance(value, Mapping):
        return {literal(key): literal(item) for key, item in value.items()}
    return [literal(item) for item in value] if isinstance(value, list | tuple) else value
