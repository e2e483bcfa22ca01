"""One training run, from a composed configuration to a report."""

from __future__ import annotations

import logging
import os
import signal
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ProgressBar, WeightAveraging
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig, OmegaConf, open_dict

from ordo.data import SequenceData
from ordo.files import write_json
from ordo.likelihood import LikelihoodReport
from ordo.objectives import LawTooSharp
from ordo.objectives.base import is_learned
from ordo.progress import note
from ordo.report import read_record, save_page
from ordo.report.comparison import comparison_page
from ordo.report.page import Link
from ordo.runs.best import check_best, load_best
from ordo.runs.build import ConfigError, best_precision, build, build_data, build_module, first_line
from ordo.runs.checkpoint import (
    CheckpointError,
    WholeFiles,
    check_resume,
    find,
    load_weights,
    read,
    started_before,
    step_of,
)
from ordo.runs.checks import check_metrics, check_settings, rehearse
from ordo.runs.errors import USER_ERRORS
from ordo.runs.evaluation import Evaluation, examine, save_evaluation, save_report_page
from ordo.runs.folder import alone_in, check_free, start_of
from ordo.runs.provenance import save_run_record
from ordo.runs.resume import Resume, make_ready, run_of
from ordo.runs.settings import Train
from ordo.schedules import FeatureHead
from ordo.settings import SettingError
from ordo.training.collapse import CollapseAlarm
from ordo.training.interrupt import Stopped, in_main_thread, number_of
from ordo.training.last import RUN
from ordo.training.loop import FitLoop
from ordo.training.module import OrderDiffusion, TrainingDiverged
from ordo.training.sharding import ShardedStrategy, gathered

PARTNER = "compared_with"  # the folder of a compare partner, within the run's


@dataclass
class Result:
    """What a run leaves in memory: the trained module (after trainer=fsdp on rank 0 alone), its data, what was found on ``report.split``,
    and seconds of fitting.
    """

    module: OrderDiffusion
    data: SequenceData
    evaluation: Evaluation | None
    seconds: float

    @property
    def report(self) -> LikelihoodReport | None:
        return None if self.evaluation is None else self.evaluation.report


def quiet() -> None:
    """Lightning's advertisements and known harmless warnings are no news to a user."""
    for name in (
        "pytorch.utilities.rank_zero",
        "fabric.utilities.seed",
        "pytorch.accelerators.cuda",
        "fabric.utilities.distributed",
    ):
        logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)
    for pattern in (
        ".*does not have many workers.*",
        ".*number of training batches.*",
        ".*set_vital.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*Experiment logs directory .* exists and is not empty.*",
        ".*`weights_only` was not set.*",
        ".*The checkpoint was not created with WeightAveraging.*",  # told by Resume, as is the next one
        r".*Please add the following callbacks: \['EMAWeightAveraging'\].*",
        ".*IterableDataset.*__len__.*",
        ".*WeightAveraging doesn't support sharding.*",  # refused with trainer=fsdp
        ".*FSDP2-wrapped module.*returned a view.*",  # nothing is changed in place
    ):
        warnings.filterwarnings("ignore", pattern)


def check_writable(folder: Path) -> None:
    """Raises OSError with the mend before any long work, and leaves no trace."""
    there = next(
        (path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/")
    )
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        reason = "may not be written to" if there.is_dir() else "is not a folder"
        raise OSError(
            f"cannot write to the output folder {folder}: {there} {reason}; set output=FOLDER to another one"
        )


def set_threads(threads: int | None) -> None:
    """CPU threads of this process; None: torch's choice."""
    if threads is not None:
        torch.set_num_threads(threads)


def build_trainer(config: DictConfig, folder: Path) -> L.Trainer:
    """The Lightning trainer with its callbacks and loggers. Raises ConfigError."""
    callbacks = [
        build(c, f"callbacks.{name}")
        for name, c in (config.callbacks or {}).items()
        if c is not None
    ]
    loggers = [
        build(c, f"logger.{name}") for name, c in (config.logger or {}).items() if c is not None
    ]
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger._wandb_init.pop(
                "anonymous", None
            )  # None is passed on, and W&B warns that the setting has no effect any more
    options: dict[str, Any] = OmegaConf.to_container(config.trainer, resolve=True)  # type: ignore[assignment]
    if isinstance(options.get("strategy"), dict):
        options["strategy"] = build(config.trainer.strategy, "trainer.strategy")
    if isinstance(options.get("strategy"), ShardedStrategy):
        if any(isinstance(c, WeightAveraging) for c in callbacks):
            raise ConfigError(
                "callbacks=ema keeps a whole copy of the weights on every rank, which trainer=fsdp is there to avoid"
            )
        if (
            options["strategy"].sharded_checkpoints
            and config.report is not None
            and config.report.get("weights") == "best"
        ):
            raise ConfigError(
                "report.weights=best needs checkpoints in one file: set trainer.strategy.sharded_checkpoints=false"
            )
    if options.get("accelerator") == "auto":  # Lightning would choose MPS, which has no float64
        options["accelerator"] = "cuda" if torch.cuda.is_available() else "cpu"
    if options.get("precision") == "auto":
        options["precision"] = best_precision(str(options.get("accelerator", "auto")))
    if isinstance(options.get("val_check_interval"), int):  # Lightning counts micro-batches
        options["val_check_interval"] *= options.get("accumulate_grad_batches") or 1
    if config.get("quiet"):
        options["enable_progress_bar"] = False
    if not options.get("enable_progress_bar", True):
        callbacks = [c for c in callbacks if not isinstance(c, ProgressBar)]
    options = {"default_root_dir": str(folder), "use_distributed_sampler": False} | options
    options["plugins"] = [WholeFiles()]
    try:
        trainer = L.Trainer(**options, callbacks=callbacks, logger=loggers or False)
    except (TypeError, ValueError, ImportError, MisconfigurationException) as error:
        raise ConfigError(f"configuration part 'trainer': {first_line(error)}") from error
    loop = FitLoop(trainer, trainer.fit_loop.min_epochs, trainer.fit_loop.max_epochs)
    loop.epoch_loop = trainer.fit_loop.epoch_loop
    trainer.fit_loop = loop
    return trainer


def check_run(config: DictConfig) -> None:
    """Raises SettingError or ConfigError for settings that are wrong in themselves, whatever the data are; reads nothing."""
    check_settings(config, Train)
    if config.report is not None:
        check_metrics(config.report.get("metrics"), "report.metrics")
        if config.report.get("weights") == "best" and (config.callbacks or {}).get("best") is None:
            raise ConfigError("report.weights=best needs callbacks.best, which keeps them")
    if config.compare is not None:
        try:
            check_run(comparison(config))
        except SettingError as error:
            raise SettingError(
                f"compare.changes.{error.setting}", error.value, error.allowed
            ) from None


def never_learned(config: DictConfig, module: OrderDiffusion) -> list[str]:
    """A line, if the order law is to be learned and waits for a step that the run does not have."""
    delay = config.optimizer.get("schedule_delay") or 0
    if not is_learned(module.schedule) or not 0 < config.steps <= delay:
        return []
    steps = f"optimizer.schedule_delay={delay} of {config.steps} steps"
    return [f"{steps}: the order is not learned; give a smaller delay, or more steps"]


def stopped_at(step: int, folder: Path) -> str:
    """What is said when training was stopped, with the step of the checkpoint that has been kept."""
    kept = step_of(folder) if (folder / "checkpoints").exists() else None
    last = (
        "before any checkpoint was written"
        if kept is None
        else f"last checkpoint of step {kept} in {folder}"
    )
    return f"stopped at step {step}, {last}"


def fit(
    config: DictConfig, folder: Path, callbacks: Sequence[L.Callback] = ()
) -> tuple[OrderDiffusion, SequenceData, L.Trainer, float]:
    """Builds everything, checks a ``resume`` path, trains."""
    data = build_data(config)
    rehearse(data, config.report)
    if config.compare is not None and "data" not in config.compare.changes:
        build_module(
            comparison(config)
        )  # what does not fit is told now, not after the first training
    module = build_module(config)
    trainer = build_trainer(config, folder)
    sharded = isinstance(trainer.strategy, ShardedStrategy)
    if sharded and any(isinstance(part, FeatureHead) for part in module.schedule.modules()):
        raise ConfigError(
            "trainer=fsdp divides the denoiser among devices, which then call it together, and a law that reads its features "
            "(schedule=per_context_shared) is asked for by one alone: use schedule=per_context, or trainer=ddp"
        )
    trainer.callbacks[:0] = callbacks  # type: ignore[attr-defined]  # those that write checkpoints come last
    wanted, resume, start = start_of(config, folder), None, {}
    if wanted == "auto":
        wanted = folder if started_before(folder, config) else None
    if wanted is not None:
        resume = check_resume(wanted, module, data, trainer.world_size, sharded)
        start = {
            key: value
            for key, value in read(resume).items()
            if key in ("global_step", "callbacks", RUN, "current_model_state")
        }
        if sharded and "current_model_state" in start:
            raise ConfigError(
                f"trainer=fsdp cannot go on from {resume}, which has averaged weights (callbacks=ema)"
            )
    check_best(config, trainer, start)
    found = resume
    if trainer.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        resume = make_ready(config, folder, trainer, resume, start)
        save_run_record(
            folder, config, data.describe(), trainer.strategy.root_device, trainer.world_size
        )
        for line in getattr(data, "notes", ()):
            note(line)
        if config.trainer.get("enable_progress_bar", True):
            for line in never_learned(config, module):
                note(line)
    going_on = None if resume is None else Resume()
    if going_on is not None:
        trainer.callbacks.insert(0, going_on)  # type: ignore[attr-defined]
        if config.trainer.get("enable_progress_bar", True):
            cut_off = (
                ", with the validation that was cut off"
                if start.get(RUN, {}).get("outstanding")
                else ""
            )
            note(f"going on from step {start['global_step']} of {config.steps}{cut_off}")
    begun, interrupts = time.perf_counter(), signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    except SystemExit as stop:  # how Lightning passes on a KeyboardInterrupt
        asked = isinstance(stop.__context__, KeyboardInterrupt) and not isinstance(
            stop, SIGTERMException
        )
        if not asked and not isinstance(stop, SIGTERMException):
            raise
        number = number_of(stop.__context__) if asked else signal.SIGTERM
        raise Stopped(stopped_at(trainer.global_step, folder), number) from None
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, ValueError):
            module.check_weights()  # an order law refuses weights that are not finite: that is divergence, not a bug
        if going_on is not None and not going_on.began and not isinstance(error, USER_ERRORS):
            what = f"{type(error).__name__}: {first_line(error)}"
            raise CheckpointError(
                f"{found}: training cannot go on from the states that it holds ({what})"
            ) from error
        raise
    finally:
        if in_main_thread():
            signal.signal(signal.SIGINT, interrupts)  # Lightning makes SIGINT do nothing
        if any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
            import wandb

            wandb.finish()
    if module.sharded:
        state = gathered(module)
        module = build_module(config)
        if trainer.is_global_zero:
            load_weights(module, state, folder)
    elif start.get("global_step") == trainer.global_step and any(
        isinstance(c, WeightAveraging) for c in trainer.callbacks
    ):  # type: ignore[attr-defined]
        # Nothing was left to train, so the callback has not put averaged weights (EMA) in place.
        assert resume is not None
        load_weights(module, read(resume)["state_dict"], resume)
    seconds = time.perf_counter() - begun
    module.to(trainer.strategy.root_device)  # Lightning leaves the module on the CPU
    return module, data, trainer, seconds


def train(config: DictConfig, callbacks: Sequence[L.Callback] = ()) -> Result:
    """The whole main job of one model, into ``config.output``. Prints nothing but progress; ``train.py`` shows the tables.

    callbacks: beside those of the configuration. Raises what ``ordo.runs.errors.USER_ERRORS`` lists, and ``Stopped``.
    """
    quiet()
    check_run(config)
    folder = Path(config.output)
    check_writable(folder)
    set_threads(config.threads)
    if rank_zero_only.rank:
        return _train(config, folder, callbacks)
    with alone_in(folder):
        check_free(folder, config)
        return _train(config, folder, callbacks)


def _train(config: DictConfig, folder: Path, callbacks: Sequence[L.Callback]) -> Result:
    try:
        module, data, trainer, seconds = fit(config, folder, callbacks)
    except (TrainingDiverged, LawTooSharp) as error:
        if rank_zero_only.rank == 0:
            write_json(folder / "diverged.json", {"error": first_line(error)})
        raise
    done = None
    if config.report is not None and config.report.get("weights") == "best":
        load_best(module, trainer, folder)
    if config.report is not None and trainer.is_global_zero:
        done = examine(
            module,
            data,
            config.report,
            progress=bool(config.trainer.get("enable_progress_bar", True)),
        )
        size = sum(p.numel() for p in module.parameters())
        collapsed = next(
            (c.collapsed for c in trainer.callbacks if isinstance(c, CollapseAlarm)), None
        )  # type: ignore[attr-defined]
        extra = {
            "fit_seconds": seconds,
            "parameters": size,
            "steps": trainer.global_step,
            "collapsed": collapsed,
        }
        save_evaluation(done, module, data, folder, **extra)
        if config.report.get("page", True):
            save_report_page(done, data, folder)
    return Result(module, data, done, seconds)


def comparison(config: DictConfig) -> DictConfig:
    """The configuration of the run's ``compare`` partner: the same with ``compare.changes`` merged over it, in a folder of its own."""
    other = config.copy()
    with open_dict(other):
        for key, change in config.compare.changes.items():
            # A part that names its own _target_ replaces; settings merge.
            merges = (
                isinstance(change, DictConfig)
                and "_target_" not in change
                and isinstance(other.get(key), DictConfig)
            )
            other[key] = OmegaConf.merge(other[key], change) if merges else change
        other.compare = None
        other.output = str(Path(config.output) / PARTNER)
        other.resume = config.resume
        if (
            config.resume and config.resume != "auto"
        ):  # the partner of the run that goes on, if that had come so far
            partner = run_of(find(config.resume)) / PARTNER
            other.resume = str(partner) if step_of(partner) is not None else None
        other.overwrite = (
            other.resume is None
        )  # what a run left there has been cleared, or never had a checkpoint
    return other


def report_both(config: DictConfig, result: Result, own: str, other: Result) -> None:
    """The reports of a run and of its ``compare`` partner once more, now that both are there, and ``compare.html``, which sets them side by
    side. own: what the run is called.
    """
    folder, label = Path(config.output), str(config.compare.label)
    partner = folder / PARTNER
    assert result.evaluation is not None
    assert other.evaluation is not None
    records = {label: read_record(partner), own: read_record(folder)}  # the baseline first
    page, _ = comparison_page(records, {label: "compared_with/report.html", own: "report.html"})
    save_page(page, [], folder, "compare.html")
    links = [Link("Both models side by side: curves, schedules, orders, samples", "compare.html")]
    links.append(Link(f"The report on {label} alone", "compared_with/report.html"))
    others = {label: records[label]}
    save_report_page(
        result.evaluation,
        result.data,
        folder,
        others=others,
        own_label=own,
        links=links,
        title=f"{config.name}, {own}",
    )
    back = [
        Link(f"The report on {own}", "../report.html"),
        Link("Both side by side", "../compare.html"),
    ]
    save_report_page(
        other.evaluation,
        other.data,
        partner,
        own_label=label,
        links=back,
        title=f"{config.name}, {label}",
    )
