"""Checkpoints: written whole or not at all; found, checked and loaded without executing code."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from omegaconf import DictConfig, OmegaConf

from ordo.data import DataError, SequenceData
from ordo.errors import ConfigError, FileError, UserError, first_line
from ordo.files import read_yaml, write_whole
from ordo.interrupt import postponed
from ordo.runs import checksum
from ordo.training.module import OrderDiffusion
from ordo.training.older import renewed

# The second is there where a kill hit the moment at which one folder takes another's place.
LAST = ("last.ckpt", ".last.old")
# Lightning's, in the folder of a checkpoint in parts: all but weights and optimiser state.
PARTS_FILE = "meta.pt"
IN_PARTS = (
    "{} is in parts, from which only trainer=fsdp can go on; "
    "with trainer.strategy.sharded_checkpoints=false it then makes one file"
)
# Settings ignored when deciding whether two configurations are the same run.
HOW = ("resume", "overwrite", "quiet", "label")


UNREADABLE = (AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError)
UNREADABLE += (MemoryError,)


class CheckpointError(UserError, ValueError):
    """A checkpoint is missing, damaged, foreign, or does not fit."""


class NoCheckpoint(CheckpointError, ConfigError):
    """There is none where the command line says: the command line is wrong, not the checkpoint."""


class WholeFiles(TorchCheckpointIO):
    """Writes beside the old checkpoint, then renames: a kill at any moment leaves one that can be
    read.

    Lightning writes to the system's temporary folder and moves the file. Across disks that is a
    copy, which a kill cuts short.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        with postponed():
            write_whole(Path(path), lambda partial: checksum.save(checkpoint, partial), sync=True)


@contextmanager
def reading(path: str | Path, what: str) -> Iterator[None]:
    """Around the reading of plain values from a file: values of another form become one line."""
    try:
        yield
    except (DataError, ConfigError, CheckpointError, FileError):
        raise  # they say what is wrong
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path}: {what} cannot be read ({type(error).__name__}: {first_line(error)})"
        ) from error


def find(path: str | Path) -> Path:
    """The file itself, or ``checkpoints/last.ckpt`` of a run folder. A checkpoint in parts (FSDP)
    is a folder. Raises NoCheckpoint naming what was looked for.
    """
    if not str(path):  # which Path would take for the working folder
        raise NoCheckpoint(
            "the name of the checkpoint is empty; name a .ckpt file or the folder of a run"
        )
    path = Path(path)
    if (path / PARTS_FILE).is_file():
        return path
    candidates = (
        [part / name for name in LAST for part in (path / "checkpoints", path)]
        if path.is_dir()
        else [path]
    )
    for candidate in candidates:
        if candidate.is_file() or (candidate / PARTS_FILE).is_file():
            return candidate
    mend = "name a .ckpt file or the folder of a run"
    if (path / "config.json").is_file():
        raise NoCheckpoint(
            f"{path} is a saved model, not a run: ordo sample reads it, and in Python "
            "ordo.load(folder).likelihood(tokens) and .report(folder, tokens)"
        )
    if (path / "config.yaml").is_file():
        mend = (
            f"the run in {path} was stopped before its first checkpoint: "
            "begin it again with overwrite=true"
        )
    raise NoCheckpoint(f"no checkpoint at {' or '.join(map(str, candidates[:2]))}; {mend}")


def read(path: str | Path) -> dict[str, Any]:
    """The whole checkpoint on the CPU, with ``weights_only=True``. Raises CheckpointError."""
    path = find(path)
    file = path / PARTS_FILE if path.is_dir() else path
    if (wrong := checksum.damage(file)) is not None:
        raise CheckpointError(f"{path} is damaged ({wrong}); use another checkpoint")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on the pickle protocol of a foreign file
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is no checkpoint of ordo: it is damaged, or holds other objects than tensors "
            "and plain values; nothing in it was executed"
        ) from error
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read: it is truncated or damaged ({reason}); use another checkpoint"
        ) from error
    check_shape(checkpoint, path)
    return checkpoint


def check_shape(checkpoint: Any, path: Path) -> None:
    """Raises CheckpointError unless a checkpoint has what ordo writes, each of its own type."""
    entry = checkpoint.get("ordo") if isinstance(checkpoint, dict) else None
    if not isinstance(entry, dict) or entry.get("format") != 1:
        raise CheckpointError(f"{path} was not written by ordo (no 'ordo' entry of format 1)")
    if not isinstance(entry.get("config", {}), dict):
        raise CheckpointError(f"{path} is damaged: its 'ordo.config' is no mapping")
    for name in ("state_dict", "current_model_state"):
        state = checkpoint.get(name, {})
        whole = isinstance(state, dict) and all(
            isinstance(key, str) and _is_array(value) for key, value in state.items()
        )
        if not whole:
            raise CheckpointError(
                f"{path} is damaged: its '{name}' is no mapping of names to tensors"
            )
    if type(step := checkpoint.get("global_step")) is not int or not 0 <= step < 2**63:
        raise CheckpointError(f"{path} is damaged: its 'global_step' is no whole number from 0")
    callbacks, run = checkpoint.get("callbacks") or {}, checkpoint.get("run", {})
    whole = isinstance(callbacks, dict) and all(isinstance(s, dict) for s in callbacks.values())
    if not whole:
        raise CheckpointError(f"{path} is damaged: its 'callbacks' maps no names to states")
    if not isinstance(run, dict):
        raise CheckpointError(f"{path} is damaged: its 'run' is no mapping")
    held, rows = run.get("held") or {}, run.get("rows") or []
    whole = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    whole = whole and all(_is_cell(*pair) for row in rows for pair in row.items())
    whole &= isinstance(held, dict) and all(_is_cell(*pair, text=False) for pair in held.items())
    if not whole or type(run.get("validated", 0)) is not int:
        raise CheckpointError(
            f"{path} is damaged: its 'run' has no whole record of what was logged"
        )


def _is_array(value: Any) -> bool:
    """Whether the value is a tensor with a number at every place: dense, on the CPU."""
    dense = isinstance(value, torch.Tensor) and value.layout is torch.strided
    return dense and value.device.type == "cpu" and not value.is_quantized


def _is_cell(name: Any, value: Any, text: bool = True) -> bool:
    kinds = (str, int, float) if text else (int, float)
    return isinstance(name, str) and isinstance(value, kinds)


def step_of(path: str | Path) -> int | None:
    """How many steps the run of a checkpoint had taken; None if that cannot be read. Reads no
    weights.
    """
    try:
        path = find(path)
        mapped = {} if path.is_dir() else {"mmap": True}
        checkpoint = torch.load(
            path / PARTS_FILE if path.is_dir() else path,
            map_location="cpu",
            weights_only=True,
            **mapped,
        )
        return int(checkpoint["global_step"])
    except Exception:
        return None


SAME = "use the configuration the checkpoint was trained with"


def load_weights(module: OrderDiffusion, state: dict[str, torch.Tensor], path: str | Path) -> None:
    """Strictly. Raises CheckpointError naming the first tensor that differs."""
    own = module.state_dict()
    state = renewed(state, own)
    for name in sorted(own.keys() | state.keys()):
        if name not in state or name not in own:
            problem = "missing from the checkpoint" if name not in state else "unknown to the model"
            raise CheckpointError(f"{path}: tensor {name} is {problem}; {SAME}")
        if state[name].shape != own[name].shape:
            has, wants = tuple(state[name].shape), tuple(own[name].shape)
            raise CheckpointError(
                f"{path}: tensor {name} has shape {has}, the model wants {wants}; {SAME}"
            )
        if _kind(state[name]) != _kind(own[name]):
            kinds = f"{state[name].dtype}, the model wants {own[name].dtype}"
            raise CheckpointError(f"{path}: tensor {name} has numbers of {kinds}")
    module.load_state_dict(state)


def _kind(tensor: torch.Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()


def check_data(
    checkpoint: Mapping[str, Any], path: Path, module: OrderDiffusion, data: SequenceData
) -> None:
    """Raises CheckpointError or DataError if token ids or positions of the data are not those that
    the checkpoint was trained with. path: where the checkpoint was found.
    """
    saved = checkpoint.get(type(data).__qualname__)  # where Lightning keeps the data module's state
    if saved is not None:
        with reading(path, "what it says of its data"):
            data.load_state_dict(saved)
    length, symbols = module.denoiser.length, module.denoiser.vocab_size
    if (data.length, data.vocab_size) != (length, symbols):
        raise CheckpointError(
            f"{path}: the model has length {length} and {symbols} symbols, the data have "
            f"length {data.length} and {data.vocab_size}; use data of the same alphabet"
        )


def started_before(folder: Path, config: DictConfig) -> bool:
    """Whether ``folder`` has a checkpoint to go on from, of a run of these settings.

    Raises CheckpointError if a run of other settings was there.
    """
    record = folder / "config.yaml"
    there = any((folder / "checkpoints" / name).exists() for name in LAST)
    if not there and not record.is_file():
        return False
    old: Any = read_yaml(record) if record.is_file() else {}
    settings: Any = OmegaConf.to_container(config, resolve=True)
    settings.pop("hydra", None)
    if old | dict.fromkeys(HOW) != settings | dict.fromkeys(HOW):
        raise CheckpointError(
            f"{folder} holds a run of other settings; choose another output folder, "
            "or delete that one"
        )
    return there


def check_resume(
    path: str | Path,
    module: OrderDiffusion,
    data: SequenceData,
    world_size: int,
    sharded: bool,
) -> tuple[Path, dict[str, Any]]:
    """The file to resume from and what it holds, after checking that the file fits the model, the
    data and the batches of the run about to begin. Raises CheckpointError, DataError.
    """
    path = find(path)
    checkpoint = read(path)
    # First, because the data know better than the tensors' shapes what is wrong.
    check_data(checkpoint, path, module, data)
    if "state_dict" in checkpoint:
        load_weights(module, checkpoint.get("current_model_state", checkpoint["state_dict"]), path)
    elif not sharded:  # else it is for torch.distributed.checkpoint to say what does not fit
        raise CheckpointError(IN_PARTS.format(path))
    identity = checkpoint["ordo"].get("batches")
    if identity is not None:
        with reading(path, "what it says of its batches"):
            data.train_sampler(0, world_size).load_state_dict(
                {"step": 0, "taken": 0, "identity": identity}
            )
    return path, checkpoint
