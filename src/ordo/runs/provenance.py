"""What a run was: configuration, code, versions, machine."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from ordo import __version__
from ordo.files import write_json, write_whole
from ordo.runs.entry import running

PACKAGES = ("torch", "lightning", "torchdata", "hydra-core", "numpy")
PACKAGES += ("transformers", "datasets")


@functools.cache  # a process goes on with the code that it has loaded
def git_commit() -> str | None:
    """The commit of the code that runs, with "+changes" if the tree differs; None where git does
    not keep this code.
    """
    here = Path(__file__).parent
    kept = ["git", "ls-files", "--error-unmatch", Path(__file__).name]
    try:
        # An installed package may lie below a repository of the user's own.
        subprocess.run(kept, cwd=here, capture_output=True, check=True)
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+changes" if dirty else "")


def describe_device(device: torch.device | str) -> str:
    """The GPU's name, or the number of CPU threads in use."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads of {os.cpu_count()} cores"


@functools.cache
def package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def called() -> list[str]:
    """The command that runs: ``ordo NAME ...``, or a file for Python; nothing in a program or
    notebook of the user's own.
    """
    if not running.called:
        return []
    ordo = running.called[0] == "ordo"
    return [*(running.called if ordo else [Path(sys.argv[0]).name]), *sys.argv[1:]]


def provenance(device: torch.device | str) -> dict[str, Any]:
    """What is told of a run on ``device``, as plain values for JSON."""
    return {
        "command": called(),
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "packages": {"ordo": __version__} | {name: package_version(name) for name in PACKAGES},
        "device": describe_device(device),
    }


def save_run_record(
    folder: Path,
    config: DictConfig,
    data: dict[str, Any],
    device: torch.device | str,
    devices: int = 1,
) -> None:
    """Writes ``config.yaml`` (resolved) and ``provenance.json``. Raises OSError if it cannot."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    plain.pop("hydra", None)
    text = OmegaConf.to_yaml(OmegaConf.create(plain))
    write_whole(folder / "config.yaml", lambda partial: partial.write_text(text, encoding="utf-8"))
    write_json(folder / "provenance.json", provenance(device) | {"devices": devices, "data": data})
