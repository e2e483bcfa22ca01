"""The settings of ``ordo train``, ``ordo eval``, ``ordo sample`` and ``ordo export``.

Defaults stand in src/ordo/configs/*.yaml, types and ranges here; those of a part are in its class.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from ordo.settings import (
    Character,
    Count,
    Group,
    PositiveShare,
    Seed,
    Size,
    Text,
    Threads,
    Whole,
    between,
    matching,
)

CONFIGS = Path(__file__).resolve().parents[1] / "configs"  # the YAMLs

Node = object  # a part, with a _target_
Device = Literal["auto", "cpu", "cuda"]
Trust = Text | tuple[Text, ...]  # packages whose classes a file may name


@dataclass(kw_only=True)
class Measures(Group):
    """What is measured of a model, and on how much."""

    split: Literal["val", "test"]
    sequences: Size | None
    draws: Size
    importance_draws: Size
    exact_sequences: Size | None
    batch_size: Size
    seed: Seed
    orders: Annotated[int, between(0, 10**6)] | None = None
    samples: Annotated[int, between(0, 10**6)] = 0
    metrics: Any = None
    picture_formats: tuple[Literal["png", "svg", "pdf"], ...] = ("png",)


@dataclass(kw_only=True)
class Report(Measures):
    """``report``."""

    weights: Literal["last", "best"] = "last"
    page: bool = True


@dataclass(kw_only=True)
class Compare(Group):
    """``compare``."""

    label: Text
    changes: Any
    own_label: Text


@dataclass(kw_only=True)
class Trainer(Group):
    """``trainer``: the arguments of Lightning's Trainer that keep their usual effect.

    ``REFUSED`` says why the others do not.
    """

    max_steps: Count | Literal[-1]
    max_epochs: Count | Literal[-1] | None = None
    min_steps: Whole | None = None
    min_epochs: Whole | None = None
    max_time: Annotated[str, matching(r"\d\d:\d\d:\d\d:\d\d"), "a time as DD:HH:MM:SS"] | None = (
        None
    )
    accelerator: Literal["auto", "cpu", "gpu", "cuda"] = "auto"
    devices: Count | Literal[-1, "auto"] | tuple[Whole, ...] = "auto"
    num_nodes: Size = 1
    strategy: Text | Node = "auto"
    precision: Literal[
        "auto",
        "32-true",
        "32",
        32,
        "64-true",
        "64",
        64,
        "16-mixed",
        "16-true",
        "16",
        16,
        "bf16-mixed",
        "bf16-true",
        "bf16",
    ] = "auto"
    accumulate_grad_batches: Size = 1
    limit_train_batches: Count | PositiveShare | None = None
    limit_val_batches: Whole | PositiveShare | None = None
    val_check_interval: Count | PositiveShare | None = None
    check_val_every_n_epoch: Count | None = None
    num_sanity_val_steps: Whole | Literal[-1] = 0
    log_every_n_steps: Whole = 50
    enable_progress_bar: bool = True
    enable_model_summary: bool = False
    enable_checkpointing: bool | None = None
    fast_dev_run: Size | bool = False
    deterministic: Literal["warn"] | bool | None = None
    benchmark: bool | None = None
    inference_mode: bool = True
    detect_anomaly: bool = False
    sync_batchnorm: bool = False
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    default_root_dir: Text | None = None


REFUSED = {
    "gradient_clip_val": "set optimizer.clip and optimizer.schedule_clip",
    "gradient_clip_algorithm": "set optimizer.clip and optimizer.schedule_clip",
    "overfit_batches": "training batches do not repeat; for few data give a small file",
    "limit_test_batches": "the report uses report.sequences",
    "limit_predict_batches": "nothing is predicted; ordo sample draws n sequences",
    "use_distributed_sampler": "the data share out their rows among the processes themselves",
    "reload_dataloaders_every_n_epochs": "a new loader would go on with the next batch",
    "barebones": "set logger.csv=null, or callbacks.NAME=null",
    "logger": "choose logger=csv, wandb or tensorboard",
    "callbacks": "add +callbacks.NAME._target_=CLASS",
    "plugins": "a checkpoint is written whole by a plugin of ordo's own",
    "model_registry": "checkpoints are files in the output folder",
    "enable_autolog_hparams": "the configuration is in config.yaml and in every checkpoint",
}


@dataclass(kw_only=True)
class Train(Group):
    """src/ordo/configs/train.yaml."""

    name: Text
    label: Text
    seed: Seed
    steps: Count
    validate_every: Count
    checkpoint_every: Count
    calls: Size | None
    validation_draws: Size
    resume: Text | None
    overwrite: bool
    compile: bool
    threads: Threads | None
    quiet: bool
    output: Text
    shape: Any
    report: Report | None
    compare: Compare | None
    data: Node
    denoiser: Node
    schedule: Node
    objective: Node
    optimizer: Node
    trainer: Trainer
    callbacks: Any = None
    logger: Any = None


@dataclass(kw_only=True)
class Eval(Measures):
    """src/ordo/configs/eval.yaml."""

    checkpoint: Text
    device: Device
    threads: Threads | None
    output: Text | None
    data: dict[str, Text | None]
    trust: Trust
    quiet: bool


@dataclass(kw_only=True)
class Sample(Group):
    """src/ordo/configs/sample.yaml."""

    sampler: Node
    checkpoint: Text
    out: Text
    n: Count | None
    given: Any
    impute: Text | None
    delimiter: Text | None
    template: Text | None
    blank: Character
    length: Size | None
    trace: Text | None
    tokenizer: Text | None
    trust: Trust
    log_prob: bool
    batch_size: Size
    seed: Seed
    device: Device
    threads: Threads | None
    quiet: bool


@dataclass(kw_only=True)
class Export(Group):
    """src/ordo/configs/export.yaml."""

    checkpoint: Text
    out: Text
    values: Literal["rows", "edges"]
    weights: Literal["float32", "float16"]
    trust: Trust
    quiet: bool
