"""The settings of ``ordo.fit`` as those of ``ordo train``: defaults of src/ordo/configs/ in Python.

``tests/training/test_fitting.py`` holds them to the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ordo.data import SequenceData, TableData
from ordo.files import Json
from ordo.parts import OWN, TARGET, describe, told
from ordo.settings import SettingError, check_arguments
from ordo.training import OptimizerSettings


def plan(
    data: SequenceData,
    made: Mapping[str, Any],
    folder: Path,
    steps: int,
    optimizer: Json,
    seed: int,
) -> Json:
    """The settings of a run but for trainer and callbacks, as in the config.yaml of ``ordo train``.

    Args:
        made: denoiser, schedule and objective, as far as they are there already.
        optimizer: settings of ``OptimizerSettings`` that are not left to their defaults.
    Raises SettingError.
    """
    if "total_steps" in optimizer:
        raise SettingError("total_steps", optimizer["total_steps"], "is called steps here")
    about = describe(data, "data")
    table = isinstance(data, TableData)
    parts = {name: told(part, name) for name, part in made.items() if name != "objective"}
    parts = default_parts(data) | parts
    if "objective" in made:
        parts["objective"] = told(made["objective"], "")
    else:
        parts["objective"] = default_objective(data, made)
    delay, rate = (300, 0.3) if table else (100, 1.0)
    own_schedule = {} if "schedule" in made else {"schedule_lr": rate}
    options: Json = {"warmup_steps": min(100, steps // 10)}
    options |= {"schedule_delay": min(delay, steps // 10), **own_schedule, **optimizer}
    check_arguments(OptimizerSettings, options, skip=("total_steps",))
    settings = OptimizerSettings(steps, **options)
    return {
        "name": folder.absolute().name, "label": folder.absolute().name, "seed": seed,
        "steps": steps, "validation_draws": 2, "compile": False, "threads": None,
        "output": str(folder), "shape": None, "report": None, "compare": None, "logger": None,
        "data": {OWN: type(data).__name__, **data.describe()} if about is None else about,
        **parts,
        "optimizer": {**told(settings, ""), TARGET: "ordo.training.OptimizerSettings"},
    }  # fmt: skip


def default_parts(data: SequenceData) -> dict[str, Json]:
    """Denoiser and schedule of experiment=quickstart, of a table those of table_learned_order."""
    length = data.length
    power = {TARGET: "ordo.schedules.Power", "length": length, "bound": None, "floor": 0.0}
    if isinstance(data, TableData):
        return {
            "denoiser": {
                TARGET: "ordo.denoisers.OrderCausalTableTransformer",
                "vocab_sizes": data.vocab_sizes, "ordered": data.ordered,
                "waves": 8, "width": 48, "heads": 4, "layers": 2, "dropout": 0.0,
            },
            "schedule": power | {
                "network": {
                    TARGET: "ordo.schedules.FreeTable",
                    "length": length, "init_std": 0.0, "init_slope": 0.0,
                }
            },
        }  # fmt: skip
    return {
        "denoiser": {
            TARGET: "ordo.denoisers.OrderCausalTransformer",
            "vocab_size": data.vocab_size, "length": length, "width": 96, "heads": 4, "layers": 2,
            "dropout": 0.0, "positions": "rotary", "recompute": False, "given": data.given,
        },
        "schedule": power | {
            "network": {
                TARGET: "ordo.schedules.PositionNetwork",
                "length": length, "cosines": 8, "decay": 2.0, "init_std": 0.05,
            }
        },
    }  # fmt: skip


def default_objective(data: SequenceData, made: Mapping[str, Any]) -> Json:
    """An objective that denoiser and schedule can be trained on."""
    size = {"length": data.length, "vocab_size": data.vocab_size}
    if "denoiser" not in made or made["denoiser"].order_causal:
        rloo = isinstance(data, TableData)
        noise = {"draws": 2, "baseline": "rloo"} if rloo else {"draws": 1, "baseline": "learned"}
        return {
            TARGET: "ordo.objectives.Dense", **size, **noise, "unigram": False, "bound": "jump",
        }  # fmt: skip
    schedule = made.get("schedule")
    if schedule is None or schedule.depends_on_tokens or hasattr(schedule.law(), "next_log_prob"):
        noise = {"baseline": "learned", "relax": False}
        kind = {TARGET: "ordo.objectives.OrderSpace", "draws": 1, "bound": "jump"}
    else:
        noise = {"baseline": "ema", "antithetic": "mirror"}
        kind = {TARGET: "ordo.objectives.TimeSpace", "draws": 2, "t_min": 1e-3}
        kind["reconstruction"] = "sampled"
    score = {TARGET: "ordo.objectives.ScoreFunction", **size, **noise, "unigram": False}
    return {**kind, "score": score}


def trainer_of(config: Json, device: str) -> Json:
    """The arguments of Lightning's Trainer, as src/ordo/configs/trainer/default.yaml."""
    return {
        "max_steps": config["steps"], "max_epochs": -1, "accelerator": device, "devices": 1,
        "precision": "auto", "accumulate_grad_batches": 1,
        "val_check_interval": config["validate_every"], "check_val_every_n_epoch": None,
        "num_sanity_val_steps": 0, "limit_val_batches": 8, "log_every_n_steps": 50,
        "enable_progress_bar": True, "enable_model_summary": False,
    }  # fmt: skip


def callbacks_of(
    config: Json, folder: Path, ema: float | None, patience: int | None, kept: bool
) -> Json:
    """Callbacks as src/ordo/configs/callbacks/default.yaml, without pictures.

    kept: whether the folder stays.
    """
    lightning, own = "lightning.pytorch.callbacks", "ordo.training"
    checkpoints = str(folder / "checkpoints")
    out: Json = {
        "end": {TARGET: f"{own}.ValidateLast"},
        "best": {
            TARGET: f"{lightning}.ModelCheckpoint", "dirpath": checkpoints, "filename": "best",
            "monitor": "val/nelbo", "enable_version_counter": False,
            "save_on_train_epoch_end": False,
        },
        "last": {
            TARGET: f"{own}.LastCheckpoint", "folder": checkpoints,
            "every": config["checkpoint_every"],
        },
        "collapse": {TARGET: f"{own}.CollapseAlarm"},
        "progress": {TARGET: f"{own}.StepProgress"},
    }  # fmt: skip
    if kept:
        out["order"] = {TARGET: f"{own}.OrderHistory", "folder": str(folder), "every": 25}
        out["order"]["pictures"] = False
    if ema is not None:
        average = {TARGET: f"{lightning}.EMAWeightAveraging", "decay": ema, "use_buffers": False}
        out["ema"] = average
    if patience is not None:
        stopping = {TARGET: f"{lightning}.EarlyStopping", "monitor": "val/nelbo"}
        out["early"] = stopping | {"patience": patience}
    return out


def loggers_of(folder: Path) -> Json:
    """As src/ordo/configs/logger/csv.yaml."""
    kind = "lightning.pytorch.loggers.CSVLogger"
    return {"csv": {TARGET: kind, "save_dir": str(folder), "name": "", "version": "csv"}}
