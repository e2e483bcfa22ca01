"""Going on with a run, in its own folder or in a new one, with all that it had found so far."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from ordo.files import read_yaml, whole_folder, write_whole
from ordo.progress import note
from ordo.runs.checkpoint import CheckpointError, find, read
from ordo.runs.folder import ENDS, clear, numbered, used_by
from ordo.runs.trainer import averages
from ordo.training.last import RUN, patience_of
from ordo.training.loop import FitLoop
from ordo.training.rows import restore_rows
from ordo.training.trainer import callbacks_of

BEST, LAST, SAMPLES = "best.ckpt", "last.ckpt", "samples.txt"


def run_of(checkpoint: Path) -> Path:
    """The folder of the run that wrote a checkpoint."""
    parent = checkpoint.absolute().parent
    return parent.parent if parent.name == "checkpoints" else parent


def take_over(checkpoint: Path, run: dict[str, Any], folder: Path) -> Path:
    """Puts into ``folder`` what a run goes on from: best.ckpt, samples up to the checkpoint,
    pictures, and last of all last.ckpt, which is returned. run: what the checkpoint knows, see
    ``LastCheckpoint``.

    So the folder holds a whole run from the start, and a kill before its next checkpoint loses
    nothing. In the folder of the run itself only what is later than the checkpoint goes.
    """
    own, old = folder / "checkpoints", checkpoint.parent
    best, samples = old / BEST, run_of(checkpoint) / SAMPLES
    if best.is_file() and not same(best, own / BEST):
        write_whole(own / BEST, lambda path: shutil.copyfile(best, path), sync=True)
    if samples.is_file():
        text = samples.read_text(encoding="utf-8")
        kept = "".join(line for line in text.splitlines(keepends=True) if was_drawn(line, run))
        if not (same(samples, folder / SAMPLES) and kept == text):
            write_whole(folder / SAMPLES, lambda path: path.write_text(kept, encoding="utf-8"))
    if not same(samples.parent, folder):  # of the last validation; the next one draws them anew
        for picture in (samples.parent / "pictures").glob("*.png"):
            write_whole(
                folder / "pictures" / picture.name,
                lambda path, old=picture: shutil.copyfile(old, path),
            )
    target = own / LAST
    if not same(checkpoint, target):
        if checkpoint.is_dir():
            copy_folder(checkpoint, target)
        else:
            write_whole(target, lambda path: shutil.copyfile(checkpoint, path), sync=True)
    return target


def same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def copy_folder(source: Path, target: Path) -> None:
    """A checkpoint in parts."""
    with whole_folder(target) as partial:
        shutil.copytree(source, partial)
        if target.is_dir():
            shutil.rmtree(target)


def was_drawn(line: str, run: dict[str, Any]) -> bool:
    """Whether a line of samples.txt is of a validation that the checkpoint knows of."""
    step = line.removeprefix("step ").partition("\t")[0]
    return "validated" not in run or not step.isdigit() or int(step) <= run["validated"]


def make_ready(
    config: DictConfig, folder: Path, trainer: L.Trainer, resume: Path | None, start: dict[str, Any]
) -> Path | None:
    """Clears the folder of another run, and returns the checkpoint to go on from, which is now in
    the folder.

    resume: that checkpoint, wherever it is; None: the run begins. start: what the checkpoint says.
    """
    if resume is None or not resume.absolute().is_relative_to(folder.absolute()):
        if used_by(folder):
            clear(folder)
    elif not 0 < trainer.max_steps <= start["global_step"] or reports_otherwise(folder, config):
        keep_old(trainer, folder, start.get(RUN, {}).get("rows") is not None)
    return None if resume is None else take_over(resume, start.get(RUN, {}), folder)


def keep_old(trainer: L.Trainer, folder: Path, rows: bool) -> None:
    """Gives the reports of a run that now trains further names with a number.

    rows: whether the checkpoint has the rows of metrics.csv. If not, that file gets a number too:
    Lightning's CSVLogger would delete the file.
    """
    loggers = [logger for logger in trainer.loggers if isinstance(logger, CSVLogger)]
    logs = [Path(logger.log_dir) / "metrics.csv" for logger in loggers]
    ends = [folder / name for name in ENDS]
    for old in (*([] if rows else logs), *ends):
        if old.is_file():
            old.rename(old.with_name(f"{old.stem}_{max(numbered(old), default=0) + 1}{old.suffix}"))


def reports_otherwise(folder: Path, config: DictConfig) -> bool:
    """Whether the run in the folder had other settings of its report."""
    record = folder / "config.yaml"
    old: Any = read_yaml(record) if record.is_file() else {}
    own: Any = OmegaConf.to_container(config, resolve=True)
    return isinstance(old, dict) and "report" in old and old["report"] != own["report"]


class Resume(L.Callback):
    """Beside the other callbacks of a run that goes on: puts in order what Lightning would restore
    wrongly or not at all. began: whether everything has been restored.
    """

    began, step = False, 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step != self.step:
            raise ValueError(f"its loops are at step {trainer.global_step}, not {self.step}")
        for optimizer in trainer.optimizers:
            for weights, state in optimizer.state.items():
                sizes = [v.shape for v in state.values() if isinstance(v, torch.Tensor) and v.dim()]
                if any(size != weights.shape for size in sizes):
                    raise ValueError("a state of the optimiser has another shape than its weights")
        self.began = True

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        run, step = checkpoint.get(RUN, {}), checkpoint["global_step"]
        self.step = step
        averaged = averages(callbacks_of(trainer))
        if "current_model_state" in checkpoint and not averaged:
            # "state_dict" has the averages, which belong to no state of the optimiser.
            pl_module.load_state_dict(checkpoint["current_model_state"])
            tell(f"the weights that were averaged up to step {step} (callbacks=ema) are left; "
                 "training goes on, without averages, from the weights themselves")  # fmt: skip
        if averaged and "current_model_state" not in checkpoint:
            tell(f"up to step {step} no averages of weights were kept; "
                 "the averages of callbacks=ema begin here")  # fmt: skip
        for callback in trainer.checkpoint_callbacks:
            if (
                isinstance(callback, ModelCheckpoint)
                and callback.state_key in checkpoint["callbacks"]
            ):
                state = checkpoint["callbacks"][callback.state_key]
                self._move(callback, state, step)
        for callback in callbacks_of(trainer):
            state = checkpoint["callbacks"].get(callback.state_key)
            if isinstance(callback, EarlyStopping) and state is not None:
                state["patience"] = callback.patience  # today's counts
        restore_rows(trainer, run.get("rows"))
        if isinstance(trainer.fit_loop, FitLoop):
            trainer.fit_loop.outstanding = bool(run.get("outstanding"))
        if run.get("stopped") and run["stopped"] == patience_of(trainer):
            trainer.should_stop = True
            tell(f"early stopping had ended the run at step {step}; without it, or with more "
                 "patience, the run would train on")  # fmt: skip

    def _move(self, callback: ModelCheckpoint, state: dict[str, Any], step: int) -> None:
        """Lightning forgets what was best if the folder's name has changed. So the state gets the
        folder's name of today, and forgets what is not there.
        """
        new = str(callback.dirpath)
        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        paths = {name: moved(state.get(name, ""), new) for name in names}
        before = state["best_k_models"]
        kept = {moved(p, new): score for p, score in before.items()}
        kept = {
            path: score
            for path, score in kept.items()
            if path and is_of(path, score, callback.state_key)
        }
        lost = len(kept) < len(before)
        state.update(paths, dirpath=callback.dirpath, best_k_models=kept)
        if not lost:
            return
        if not all(map(os.path.exists, (moved(path, new) for path in before))):
            tell(f"the best checkpoint up to step {step} is not beside the one to go on from; "
                 "the best one from here on will be kept")  # fmt: skip
        worst, best = (max, min) if callback.mode == "min" else (min, max)
        full = kept and len(kept) == callback.save_top_k
        none = torch.tensor(math.inf if callback.mode == "min" else -math.inf)
        state["kth_best_model_path"] = worst(kept, key=kept.__getitem__) if full else ""
        state["kth_value"] = kept[state["kth_best_model_path"]] if full else none
        state["best_model_path"] = best(kept, key=kept.__getitem__) if kept else ""
        state["best_model_score"] = kept[state["best_model_path"]] if kept else None


def moved(path: str, new: str) -> str:
    """A file of the same name in the folder ``new``, or "", which names no file, if the name is not
    that of a checkpoint that is kept for its score. Lightning deletes what is named here for a
    better checkpoint, so whatever a checkpoint names, such as "..", only such a file may be named.
    """
    name = Path(path).name
    return str(Path(new) / name) if name.endswith(".ckpt") and name != LAST else ""


def is_of(path: str, score: torch.Tensor, key: str) -> bool:
    """Whether the file is the checkpoint of this score. A run that was killed after it had written
    a better one, and goes on from before, finds another one.
    """
    try:
        state = read(find(path))["callbacks"][key]
    except (CheckpointError, KeyError):
        return False
    return bool(torch.as_tensor(state["current_score"]).cpu() == torch.as_tensor(score).cpu())


def tell(line: str) -> None:
    if rank_zero_only.rank == 0:
        note(line)
