"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Whole or not at all: ``write`` gets a path beside the target, which is then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file, as plain values: no interpolation is resolved, nothing is called.

    Raises ValueError for what is no YAML, or no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no YAML file: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no settings: a line of a YAML file is KEY: VALUE")
    return content


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
