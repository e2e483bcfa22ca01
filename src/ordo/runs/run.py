"""One training run, from a composed configuration to a report."""

from __future__ import annotations

import inspect
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig

from ordo.data import SequenceData
from ordo.errors import ConfigError, first_line
from ordo.files import write_json
from ordo.interrupt import Stopped, in_main_thread, number_of
from ordo.likelihood import LikelihoodReport
from ordo.objectives import LawTooSharp
from ordo.objectives.base import is_learned
from ordo.parts import named
from ordo.progress import note
from ordo.runs.best import check_best, load_best
from ordo.runs.build import build_data, build_module
from ordo.runs.checkpoint import (
    CheckpointError,
    check_resume,
    load_weights,
    read,
    started_before,
    step_of,
)
from ordo.runs.checks import check_metrics, check_settings, rehearse
from ordo.runs.compare import comparison
from ordo.runs.entry import USER_ERRORS
from ordo.runs.evaluation import Evaluation, examine, save_evaluation, save_report_page
from ordo.runs.folder import alone_in, check_free, clear, start_of, used_by
from ordo.runs.provenance import save_run_record
from ordo.runs.resume import Resume, make_ready
from ordo.runs.settings import Train
from ordo.runs.trainer import averages, build_trainer, quiet
from ordo.schedules import FeatureHead
from ordo.settings import SettingError
from ordo.training.collapse import CollapseAlarm
from ordo.training.last import RUN
from ordo.training.module import OrderDiffusion, TrainingDiverged
from ordo.training.sharding import ShardedStrategy, gathered
from ordo.training.trainer import callbacks_of

KEPT = ("global_step", "callbacks", RUN, "current_model_state")  # read of a checkpoint here


@dataclass
class Result:
    """What a run leaves in memory.

    module: the trained module; after trainer=fsdp on rank 0 alone. evaluation: what was found on
    ``report.split``; None without a report. seconds: of fitting.
    """

    module: OrderDiffusion
    data: SequenceData
    evaluation: Evaluation | None
    seconds: float

    @property
    def report(self) -> LikelihoodReport | None:
        return None if self.evaluation is None else self.evaluation.report


def check_writable(folder: Path) -> None:
    """Raises OSError with the mend before any long work, and leaves no trace."""
    there = next(
        (path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/")
    )
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        reason = "may not be written to" if there.is_dir() else "is not a folder"
        raise OSError(
            f"cannot write to the output folder {folder}: {there} {reason}; "
            "set output=FOLDER to another one"
        )


def set_threads(threads: int | None) -> None:
    """Sets the CPU threads of this process; None leaves torch's choice."""
    if threads is not None:
        torch.set_num_threads(threads)


def check_run(config: DictConfig) -> None:
    """Raises SettingError or ConfigError for settings that are wrong whatever the data are. Reads
    nothing.
    """
    schedule = config.get("schedule")
    if isinstance(schedule, DictConfig) and "calls" in schedule and config.calls is None:
        raise ConfigError("the schedule is made for K denoiser calls: say how many, calls=K")
    check_settings(config, Train)
    kind = named(config.objective["_target_"])
    if config.calls is not None and "calls" not in inspect.signature(kind).parameters:
        raise ConfigError(
            f"calls={config.calls} needs objective=order or objective=dense, which train for so "
            "many denoiser calls"
        )
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


def never_warm(config: DictConfig) -> list[str]:
    """A line, if the run ends before its learning rate has risen to ``optimizer.lr``."""
    warmup = config.optimizer.get("warmup_steps") or 0
    if not 0 < config.steps < warmup:
        return []
    steps = f"optimizer.warmup_steps={warmup} of {config.steps} steps"
    return [f"{steps}: the rate never reaches optimizer.lr; give a shorter warm-up, or more steps"]


def stopped_at(step: int, folder: Path) -> str:
    """What is said when training was stopped, with the step of the checkpoint that was kept."""
    kept = step_of(folder) if (folder / "checkpoints").exists() else None
    if kept is None:
        return f"stopped at step {step}, before any checkpoint was written"
    return f"stopped at step {step}, last checkpoint of step {kept} in {folder}"


@dataclass
class Start:
    """What a run goes on from. found: the checkpoint where it lies; None: the run begins. path: the
    checkpoint in the run's own folder. state: what the checkpoint says, without its weights.
    """

    found: Path | None = None
    path: Path | None = None
    state: dict[str, Any] = field(default_factory=dict)


def find_start(
    config: DictConfig, trainer: L.Trainer, module: OrderDiffusion, data: SequenceData
) -> Start:
    """Where the run goes on, after checking that the checkpoint fits. Raises CheckpointError,
    DataError or ConfigError.
    """
    folder = Path(config.output)
    wanted = start_of(config, folder)
    if wanted == "auto":
        wanted = folder if started_before(folder, config) else None
    if wanted is None:
        return Start()
    sharded = isinstance(trainer.strategy, ShardedStrategy)
    found, checkpoint = check_resume(wanted, module, data, trainer.world_size, sharded)
    state = {key: checkpoint[key] for key in KEPT if key in checkpoint}
    if sharded and "current_model_state" in state:
        raise ConfigError(
            f"trainer=fsdp cannot go on from {found}, which has averaged weights (callbacks=ema)"
        )
    return Start(found, found, state)


def prepare(config: DictConfig, trainer: L.Trainer, data: SequenceData, start: Start) -> None:
    """Makes the folder ready on the first rank, and writes into it what the run is."""
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    start.path = make_ready(config, folder, trainer, start.found, start.state)
    device = trainer.strategy.root_device
    save_run_record(folder, config, data.describe(), device, trainer.world_size)


def tell_of_start(
    config: DictConfig, module: OrderDiffusion, data: SequenceData, start: Start
) -> None:
    """What a user is told before the first step."""
    for line in getattr(data, "notes", ()):
        note(line)
    if not config.trainer.get("enable_progress_bar", True):
        return
    for line in (*never_learned(config, module), *never_warm(config)):
        note(line)
    if start.path is not None:
        outstanding = start.state.get(RUN, {}).get("outstanding")
        cut_off = ", with the validation that was cut off" if outstanding else ""
        note(f"going on from step {start.state['global_step']} of {config.steps}{cut_off}")


@contextmanager
def watched(
    trainer: L.Trainer, module: OrderDiffusion, folder: Path, going_on: Resume | None, start: Start
) -> Iterator[None]:
    """Around the training: raises ``Stopped`` for a signal, and CheckpointError for a checkpoint
    whose states cannot be restored, of which nothing is left in a folder that was new.
    """
    interrupts = signal.getsignal(signal.SIGINT)
    try:
        yield
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
            # An order law refuses weights that are not finite: that is divergence, not a bug.
            module.check_weights()
        if going_on is not None and not going_on.began and not isinstance(error, USER_ERRORS):
            what = f"{type(error).__name__}: {first_line(error)}"
            raise CheckpointError(
                f"{start.found}: training cannot go on from the states that it holds ({what})"
            ) from error
        raise
    finally:
        if in_main_thread():
            signal.signal(signal.SIGINT, interrupts)  # Lightning makes SIGINT do nothing
        if any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
            import wandb

            wandb.finish()


def finish(
    config: DictConfig, trainer: L.Trainer, module: OrderDiffusion, start: Start
) -> OrderDiffusion:
    """The trained module, whole and with the weights that count, on the device of training."""
    if module.sharded:
        state = gathered(module)
        module = build_module(config)
        if trainer.is_global_zero:
            load_weights(module, state, config.output)
    elif start.state.get("global_step") == trainer.global_step and averages(callbacks_of(trainer)):
        # Nothing was left to train, so the callback has not put averaged weights (EMA) in place.
        assert start.path is not None
        load_weights(module, read(start.path)["state_dict"], start.path)
    return module.to(trainer.strategy.root_device)  # Lightning leaves the module on the CPU


def fit_module(
    config: DictConfig,
    callbacks: Sequence[L.Callback] = (),
    data: SequenceData | None = None,
    made: Mapping[str, Any] | None = None,
) -> tuple[OrderDiffusion, SequenceData, L.Trainer, float]:
    """Builds everything, checks what the run goes on from, trains. The last value: seconds.

    Args:
        callbacks: beside those of the configuration.
        data, made: what is there already, see ``build_data`` and ``build_module``.
    """
    folder = Path(config.output)
    data = build_data(config, data)
    rehearse(data, config.report)
    if config.compare is not None and "data" not in config.compare.changes:
        # What does not fit is told now, not after the first training.
        build_module(comparison(config))
    module = build_module(config, made)
    trainer = build_trainer(config, folder)
    heads = any(isinstance(part, FeatureHead) for part in module.schedule.modules())
    if heads and isinstance(trainer.strategy, ShardedStrategy):
        raise ConfigError(
            "trainer=fsdp divides the denoiser among devices, which then call it together, and a "
            "law that reads its features (schedule=per_context_shared) is asked for by one alone: "
            "use schedule=per_context, or trainer=ddp"
        )
    callbacks_of(trainer)[:0] = callbacks  # those that write checkpoints come last
    start = find_start(config, trainer, module, data)
    check_best(config, trainer, start.state)
    new = used_by(folder) is None
    if trainer.is_global_zero:
        prepare(config, trainer, data, start)
        tell_of_start(config, module, data, start)
    going_on = None if start.path is None else Resume()
    if going_on is not None:
        callbacks_of(trainer).insert(0, going_on)
    begun = time.perf_counter()
    try:
        with watched(trainer, module, folder, going_on, start):
            trainer.fit(module, datamodule=data, ckpt_path=start.path, weights_only=True)
    except CheckpointError:
        if new and trainer.is_global_zero and going_on is not None and not going_on.began:
            clear(folder)  # of a run that never was
        raise
    module = finish(config, trainer, module, start)
    return module, data, trainer, time.perf_counter() - begun


def train(config: DictConfig, callbacks: Sequence[L.Callback] = ()) -> Result:
    """The whole main job of one model, into ``config.output``. Prints nothing but progress;
    ``ordo train`` shows the tables.

    callbacks: beside those of the configuration. Raises what ``ordo.runs.entry.USER_ERRORS``
    lists, and ``Stopped``.
    """
    quiet()
    check_run(config)
    folder = Path(config.output)
    check_writable(folder)
    set_threads(config.threads)
    if rank_zero_only.rank:
        return _train(config, callbacks)
    with alone_in(folder):
        check_free(folder, config)
        return _train(config, callbacks)


def _train(config: DictConfig, callbacks: Sequence[L.Callback]) -> Result:
    folder, report = Path(config.output), config.report
    try:
        module, data, trainer, seconds = fit_module(config, callbacks)
    except (TrainingDiverged, LawTooSharp) as error:
        if rank_zero_only.rank == 0:
            write_json(folder / "diverged.json", {"error": first_line(error)})
        raise
    done = None
    if report is not None and report.get("weights") == "best":
        load_best(module, trainer, folder)
    if report is not None and trainer.is_global_zero:
        shows = bool(config.trainer.get("enable_progress_bar", True))
        done = examine(module, data, report, progress=shows)
        alarms = [each for each in callbacks_of(trainer) if isinstance(each, CollapseAlarm)]
        extra = {
            "fit_seconds": seconds,
            "parameters": sum(p.numel() for p in module.parameters()),
            "steps": trainer.global_step,
            "collapsed": alarms[0].collapsed if alarms else None,
        }
        save_evaluation(done, module, data, folder, **extra)
        if report.get("page", True):
            save_report_page(done, data, folder)
    return Result(module, data, done, seconds)
