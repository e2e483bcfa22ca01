"""Checkpoints: found, checked and loaded without executing code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from ordo.training.build import build_module
from ordo.training.module import OrderDiffusion


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, foreign, or does not fit."""


def find(path: str | Path) -> Path:
    """The file itself, or ``checkpoints/last.ckpt`` of a run folder. Raises CheckpointError naming what was looked for."""
    path = Path(path)
    candidates = [path / "checkpoints" / "last.ckpt", path / "last.ckpt"] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise CheckpointError(f"no checkpoint at {' or '.join(map(str, candidates))}; name a .ckpt file or the folder of a run")


def read(path: str | Path) -> dict[str, Any]:
    """The whole checkpoint on the CPU, with ``weights_only=True``. Raises CheckpointError."""
    path = find(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} cannot be read as a checkpoint, it is truncated or damaged ({reason}); use an earlier one") from error
    if not isinstance(checkpoint, dict) or checkpoint.get("ordo", {}).get("format") != 1:
        raise CheckpointError(f"{path} was not written by ordo (no 'ordo' entry of format 1)")
    return checkpoint


def load_weights(module: OrderDiffusion, state: dict[str, torch.Tensor], path: str | Path) -> None:
    """Strictly. Raises CheckpointError naming the first tensor that differs."""
    own = module.state_dict()
    for name in sorted(own.keys() | state.keys()):
        if name not in state or name not in own:
            raise CheckpointError(f"{path}: tensor {name} is {'missing from the checkpoint' if name not in state else 'unknown to the model'}; "
                                  "the checkpoint is of another model")  # fmt: skip
        if state[name].shape != own[name].shape:
            raise CheckpointError(
                f"{path}: tensor {name} has shape {tuple(state[name].shape)}, the model wants {tuple(own[name].shape)}; "
                "use the configuration the checkpoint was trained with"
            )
    module.load_state_dict(state)


def load(path: str | Path) -> tuple[OrderDiffusion, DictConfig]:
    """The model of a checkpoint in evaluation mode, and the configuration it was trained with. Raises CheckpointError, ConfigError."""
    checkpoint = read(path)
    config = OmegaConf.create(checkpoint["ordo"]["config"])
    config.compile = False
    module = build_module(config)
    load_weights(module, checkpoint["state_dict"], find(path))
    return module.eval().requires_grad_(False), config


def check_resume(path: str | Path, module: OrderDiffusion) -> Path:
    """The file to resume from, after checking that it fits the model about to be trained. Raises CheckpointError."""
    checkpoint = read(path)
    state = checkpoint.get("current_model_state", checkpoint["state_dict"])
    load_weights(module, state, find(path))
    return find(path)
