"""The folder of a run: one run at a time, and no remains of another one."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from omegaconf import DictConfig

from ordo.errors import ConfigError
from ordo.files import alive, remove_partials, write_json
from ordo.runs.checkpoint import find

# By these a folder is known as a run's, and by these alone.
SIGNS = ("config.yaml", "provenance.json", "report.json", "diverged.json")
SIGNS += tuple(f"checkpoints/{name}" for name in ("last.ckpt", "best.ckpt", ".last.old"))
# All that a run leaves, see docs/files.md, and of ENDS the numbered copies that ``keep_old`` makes.
FITTED = "fitted"  # the model of ``ordo.fit``, with the weights that it returned
FOLDERS = (FITTED, "checkpoints", "csv", "pictures", "tables", "compared_with")
FOLDERS += ("tensorboard", "wandb")
FILES = (
    "config.yaml",
    "provenance.json",
    "report.html",
    "report.json",
    "report_values.npz",
    "compare.html",
)
FILES += ("diverged.json", "order_over_training.npz", "gradient_signal.npz", "samples.txt")
FILES += ("drawn.txt", "drawn.csv")
ENDS = ("report.json", "report.html", "compare.html", "diverged.json")  # how a run ended
REQUEUED = "hpc_ckpt.ckpt"  # numbered by Lightning, when a job goes back into the queue of Slurm
RUNNING, LOCK = ".running.json", ".running.lock"


def used_by(folder: Path) -> str | None:
    """A file of a run that has been in the folder before; None: there was none."""
    return next((name for name in SIGNS if (folder / name).exists()), None)


def clear(folder: Path) -> None:
    """Deletes what a run left in the folder. Files of other names stay."""
    for name in FOLDERS:
        if (folder / name).is_symlink():
            (folder / name).unlink()
        else:
            shutil.rmtree(folder / name, ignore_errors=True)
    files = [folder / name for name in FILES]
    files += [path for name in (*ENDS, REQUEUED) for path in numbered(folder / name).values()]
    for path in files:
        path.unlink(missing_ok=True)


def numbered(path: Path) -> dict[int, Path]:
    """Copies of a file that are there under names with a number behind, such as report_1.json."""
    found = path.parent.glob(f"{path.stem}_*{path.suffix}")
    numbers = {old.stem.removeprefix(f"{path.stem}_"): old for old in found}
    return {int(n): old for n, old in numbers.items() if re.fullmatch("[1-9][0-9]*", n)}


def check_free(folder: Path, config: DictConfig) -> None:
    """Raises ConfigError if a run has been in the folder and the command line does not say what
    becomes of it, or NoCheckpoint if there is nothing where ``resume`` points.
    """
    resume, overwrite = start_of(config, folder), bool(config.get("overwrite"))
    if resume == "auto":
        if overwrite:
            raise ConfigError(
                "resume=auto goes on with a run, overwrite=true deletes it: give one of them"
            )
        return  # whether the settings are those of the run is seen once the data are there
    within = resume is not None and find(resume).absolute().is_relative_to(folder.absolute())
    if within and overwrite:
        raise ConfigError(
            f"overwrite=true would delete the checkpoint that resume={resume} names: "
            "give one of them"
        )
    sign = used_by(folder)
    if sign is None or within or overwrite:
        return
    raise ConfigError(
        f"{folder} holds a run already ({sign}): resume={folder} goes on with it, "
        "overwrite=true deletes what it left and begins anew, output=FOLDER names another folder"
    )


def start_of(config: DictConfig, folder: Path) -> Path | str | None:
    """What a run goes on from: what ``resume`` says, or the checkpoint of a job that Lightning put
    back into the queue of Slurm, where ``overwrite`` does not want it deleted.
    """
    return config.resume or (None if config.get("overwrite") else requeued(folder))


def requeued(folder: Path) -> Path | None:
    """The checkpoint that Lightning left when it put this job back into the queue of Slurm."""
    if not SLURMEnvironment.detect() or os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        return None
    found = numbered(folder / REQUEUED)
    return found[max(found)] if found else None


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keeps the folder for this process. Raises ConfigError if another one is at work in it.

    A file names host and process for as long as the run lives. The lock of a process that was
    killed on this host is no hindrance. The lock of another host can be one: from here nobody sees
    whether that process lives.
    """
    parents = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / RUNNING
    try:
        lock = _take(folder / LOCK, record)
        try:
            remove_partials(folder)
            yield
        finally:
            record.unlink(missing_ok=True)
            (folder / LOCK).unlink(missing_ok=True)  # while it is held
            lock.release()
    finally:
        for path in parents:  # innermost first
            if path.exists() and not any(path.iterdir()):
                path.rmdir()


def _take(path: Path, record: Path) -> FileLock:
    own = {"host": platform.node(), "process": os.getpid(), "job": os.environ.get("SLURM_JOB_ID")}
    try:
        held = json.loads(record.read_text(encoding="utf-8"))
        host, process, job = held["host"], int(held["process"]), held.get("job")
    except (OSError, ValueError, KeyError, TypeError):
        host, process, job = own["host"], 0, None
    again = job is not None and job == own["job"]  # a job of Slurm runs once at a time
    if host != own["host"] and not again:
        raise ConfigError(
            f"process {process} of the host {host} is at work in {record.parent}, or was killed "
            f"there: name another output=FOLDER, or delete {record} if that process is gone"
        )
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        if host == own["host"] and (process == 0 or alive(process)):
            raise ConfigError(
                f"process {process or 'unknown'} is at work in {record.parent}: wait for its end, "
                "or name another output=FOLDER"
            ) from None
        # Processes that the killed one had started still hold the lock: they leave soon.
        path.unlink(missing_ok=True)
        lock = FileLock(path, timeout=0)
        lock.acquire()
    write_json(record, own)
    return lock
