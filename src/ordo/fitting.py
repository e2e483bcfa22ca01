"""Training in one call, from token ids to a model; ``ordo train`` without a command line."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.seed import isolate_rng
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ordo.data import SequenceData, TaskData
from ordo.data.decoding import KINDS, to_plain
from ordo.data.in_memory import RowsData
from ordo.denoisers import wrap
from ordo.errors import ConfigError
from ordo.files import Json
from ordo.interrupt import Stopped
from ordo.parts import describe
from ordo.progress import show
from ordo.runs.best import load_best
from ordo.runs.build import plain, prepared
from ordo.runs.folder import FITTED, alone_in, check_free, used_by
from ordo.runs.plan import callbacks_of, literal, plan
from ordo.runs.run import check_writable, fit_module
from ordo.runs.settings import Device
from ordo.runs.stored import device_of
from ordo.runs.trainer import quiet
from ordo.saved import OrderedModel
from ordo.settings import Count, Part, Positive, Seed, Size, checked
from ordo.training import TrainingDiverged

BATCH_SIZE = 64
VALIDATIONS = 10  # of a training, where nobody says how often


@dataclass(frozen=True)
class Fitted:
    """What is known of the training of a model.

    Args:
        data: with the validation sequences.
        folder: what the training left; None: nothing.
        config: all settings, as plain values.
        steps: optimiser steps taken, fewer than asked for after an early stop.
    """

    data: SequenceData
    folder: Path | None
    config: Json
    seconds: float
    steps: int

    def about(self) -> Json:
        """What a report tells of the training."""
        return {"fit_seconds": self.seconds, "steps": self.steps, "trained_with": self.config}


@checked
def fit(
    data: Any,
    *,
    denoiser: nn.Module | None = None,
    schedule: nn.Module | None = None,
    objective: Any = None,
    steps: Count = 1000,
    lr: Positive = 2e-3,
    schedule_lr: Positive | None = None,
    batch_size: Size | None = None,
    val: Any = None,
    vocab_size: Size | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: Device = "auto",
    seed: Seed = 0,
    ema: Part | None = None,
    patience: Count | None = None,
    validate_every: Count | None = None,
    progress: bool = True,
    **optimizer: Any,
) -> OrderedModel:
    """Trains a denoiser and its schedule, and returns them with the weights of least validation
    NELBO, in evaluation mode.

    Args:
        data: token ids, (n, length): an integer tensor or array, a list of rows, a torch Dataset,
            or a DataLoader, see ``SequenceData.of``; or a ``SequenceData``.
        denoiser: None: an ``OrderCausalTransformer``. It is trained in place. A network that is no
            denoiser is wrapped, see ``ordo.denoisers.wrap``.
        schedule: None: ``Power``, the paper's, of a ``PositionNetwork``; of a table of a
            ``FreeTable``. It is trained in place.
        objective: None: ``Dense`` for an order-causal denoiser. For another one ``OrderSpace``, or
            ``TimeSpace`` where the next choice of the law is not known in closed form.
        steps: optimiser steps.
        lr, schedule_lr: learning rates of denoiser and schedule. schedule_lr None: 1.0 for the
            default schedule, of a table 0.3, and 0.05 for a schedule of yours.
        batch_size: training sequences a step; None: 64. A SequenceData and a DataLoader have a
            batch size of their own.
        val: validation sequences, as ``data``; None: 5% of the rows are set aside.
        vocab_size: V; None: the denoiser's, or else the largest id, and 1.
        folder: for checkpoints, metrics and the model, see docs/files.md; ``ordo.load(folder)``
            gives the model again. None: nothing is left on disk.
        resume: go on with the training in ``folder`` that was stopped, to the numbers that it would
            have come to; begin where there is none. The other arguments have to be the same.
        overwrite: delete what an earlier training left in ``folder``.
        device: "auto", "cpu" or "cuda".
        seed: of initial weights, batches, orders. The caller's random numbers are left alone.
        ema: decay of an exponential moving average of the weights, such as 0.999: the averages are
            validated and returned. None: no averages.
        patience: stop after so many validations without a lower NELBO. None: never.
        validate_every: steps between validations; None: a tenth of ``steps``. The last step is
            always validated.
        progress: show a bar on a terminal, else a line now and then, on standard error.
        optimizer: more settings of ``OptimizerSettings``. Of warmup_steps and schedule_delay the
            default is a tenth of ``steps``, 100 at most; of a table's schedule_delay 300.

    Raises SettingError or ConfigError for arguments that do not fit, DataError for the data,
    CheckpointError for a folder from which training cannot go on, TrainingDiverged for a loss that
    is NaN or infinite.
    """
    if folder is None and (resume or overwrite):
        raise ConfigError("resume and overwrite need folder, where the earlier training is")
    if resume and overwrite:
        raise ConfigError("resume goes on with a training, overwrite deletes it: give one of them")
    quiet()
    rows = sequences(data, val, vocab_size, batch_size, seed, denoiser)
    made = {"denoiser": denoiser, "schedule": schedule, "objective": objective}
    made = {name: part for name, part in made.items() if part is not None}
    if schedule is not None and not hasattr(schedule, "depends_on_tokens"):
        raise ConfigError(
            f"{type(schedule).__name__} is no schedule: subclass ordo.schedules.Schedule"
        )
    if denoiser is not None:
        if not hasattr(denoiser, "order_causal"):
            made["denoiser"] = wrap(denoiser, rows.vocab_size, rows.length)
        check_sizes(made["denoiser"], rows)
    rates: Json = {"lr": lr}
    if schedule_lr is not None:
        rates["schedule_lr"] = schedule_lr
    with place(folder) as where:
        every = validate_every or -(-steps // VALIDATIONS)
        config = plan(rows, made, where, steps, every, rates | optimizer, seed)
        config["resume"] = "auto" if resume else None
        config["overwrite"], config["quiet"] = overwrite, not progress
        config["trainer"]["accelerator"] = device_of(device)
        kept = folder is not None
        config["callbacks"] = callbacks_of(config["callbacks"], ema, patience, kept)
        config["logger"] = config["logger"] if kept else None
        settings: Any = OmegaConf.create(literal(config))
        return trained(settings, rows, made, where, kept)


def sequences(
    data: Any, val: Any, vocab_size: int | None, batch_size: int | None, seed: int, denoiser: Any
) -> SequenceData:
    """Data of whatever kind, prepared. Raises ConfigError or DataError."""
    if not isinstance(data, SequenceData):
        if vocab_size is None and hasattr(denoiser, "order_causal"):
            vocab_size = denoiser.vocab_size
        size = BATCH_SIZE if batch_size is None else batch_size
        rows = SequenceData.of(data, val, vocab_size=vocab_size, batch_size=size, seed=seed)
        if rows.loader is not None and batch_size is not None:
            raise ConfigError("a DataLoader has a batch_size of its own: leave batch_size out")
        return rows
    for name, value in (("val", val), ("vocab_size", vocab_size), ("batch_size", batch_size)):
        if value is not None:
            raise ConfigError(f"{type(data).__name__} has {name} of its own: leave {name} out")
    return data if isinstance(data, RowsData) else prepared(data)


def check_sizes(denoiser: Any, data: SequenceData) -> None:
    """Raises ConfigError for a denoiser of another length or vocabulary than the data."""
    for name, words in (("length", "positions"), ("vocab_size", "tokens")):
        has, wants = getattr(denoiser, name), getattr(data, name)
        if has != wants:
            raise ConfigError(f"the denoiser is for {has} {words}, the data have {wants}: {name}")


@contextmanager
def place(folder: str | Path | None) -> Iterator[Path]:
    """The folder, or one that vanishes at the end."""
    if folder is not None:
        check_writable(Path(folder))
    temporary = tempfile.TemporaryDirectory(prefix="ordo-") if folder is None else None
    with temporary or nullcontext(str(folder)) as name:
        yield Path(name)


def trained(
    config: DictConfig, data: SequenceData, made: Mapping[str, Any], folder: Path, kept: bool
) -> OrderedModel:
    """Trains in the folder; kept: the folder stays, and gets the model."""
    sign = used_by(folder)
    if sign is not None and config.resume is None and not config.overwrite:
        raise ConfigError(
            f"{folder} holds a training already ({sign}): resume=True goes on with it, "
            "overwrite=True deletes what it left, folder= names another folder"
        )
    shown = show(not config.quiet)
    try:
        with alone_in(folder), isolate_rng():
            check_free(folder, config)
            module, _, trainer, seconds = fit_module(config, (), data, made)
            load_best(module, trainer, folder)
            model = OrderedModel(module.denoiser, module.schedule, meaning(data)).eval()
            if kept:
                fresh = folder / f".partial-{FITTED}"
                shutil.rmtree(fresh, ignore_errors=True)
                model.save(fresh)
                shutil.rmtree(folder / FITTED, ignore_errors=True)
                fresh.rename(folder / FITTED)
    except Stopped as stop:
        if kept:
            raise
        what = str(stop).partition(",")[0]
        raise Stopped(f"{what}; nothing is kept without folder=", stop.number) from None
    except TrainingDiverged as error:
        what, last = str(error).partition(";")[0], folder / "checkpoints" / "last.ckpt"
        where = f"; the last good checkpoint is in {last}" if kept and last.is_file() else ""
        raise TrainingDiverged(f"{what}: lower lr or schedule_lr, or bound log w{where}") from error
    finally:
        show(shown)
    steps, data.trainer = trainer.global_step, None
    settings = plain(config)
    model.fitted = Fitted(data, folder if kept else None, settings, seconds, steps)
    return model


def meaning(data: SequenceData) -> Json:
    """What the tokens of data mean, for ``OrderedModel``."""
    if type(data) in KINDS:
        return {"states": to_plain({type(data).__qualname__: data.state_dict()})}
    task = describe(data, "data") if isinstance(data, TaskData) else None
    return {} if task is None else {"task": task["task"]}
