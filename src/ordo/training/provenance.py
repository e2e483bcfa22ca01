"""What a run was: configuration, code, versions, machine."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

PACKAGES = ("ordo", "torch", "lightning", "torchdata", "hydra-core", "numpy", "transformers", "datasets")


def git_commit() -> str | None:
    """The commit of the code that runs, with "+changes" if the tree differs from it; None outside git."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
        dirty = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+changes" if dirty else "")


def describe_device(device: torch.device | str) -> str:
    """The GPU's name, or the number of CPU threads in use."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads of {os.cpu_count()} cores"


def package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def provenance(device: torch.device | str) -> dict[str, Any]:
    """Of a run on ``device``; JSON-serialisable."""
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "device": describe_device(device),
    }


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Whole or not at all: ``write`` gets a path beside the target, which is then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def finite(content: Any) -> Any:
    """The same with None for numbers that are not finite."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all; NaN and infinities as null, which JSON has not."""
    write_whole(path, lambda partial: partial.write_text(json.dumps(finite(content), indent=2, allow_nan=False) + "\n", encoding="utf-8"))


def save_run_record(folder: Path, config: DictConfig, data: dict[str, Any], device: torch.device | str, devices: int = 1) -> None:
    """``config.yaml`` (resolved) and ``provenance.json`` in the run folder. Raises OSError if it cannot be written."""
    plain = OmegaConf.to_container(config, resolve=True)
    plain.pop("hydra", None)  # type: ignore[union-attr]
    text = OmegaConf.to_yaml(OmegaConf.create(plain))
    write_whole(folder / "config.yaml", lambda partial: partial.write_text(text, encoding="utf-8"))
    write_json(folder / "provenance.json", provenance(device) | {"devices": devices, "data": data})
