"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError

from ordo.errors import FileError, first_line

MARK = ".partial-"
Json = dict[str, Any]  # an object of a JSON or YAML file: text, numbers, lists, and objects


def partial_of(path: Path) -> Path:
    """Where this process writes what will be ``path``: beside it, under a name with the host and
    the number of the process, so that no other process writes there and a dead one's is known.
    """
    return path.with_name(f"{MARK}{platform.node()}-{os.getpid()}-{path.name}")


def write_whole(path: Path, write: Callable[[Path], Any], sync: bool = False) -> None:
    """Whole or not at all: ``write`` gets a path beside the target, which is then renamed.

    sync: waits until the disk has the content, so that not even a power cut leaves an empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(path)
    try:
        write(partial)
        if sync:
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file, as plain values: no interpolation is resolved, nothing is called.

    Raises FileError for what is no YAML, or no mapping of plain values.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Plain)  # a SafeLoader: no objects
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise FileError(f"{path} is no YAML file: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(content, dict):
        raise FileError(f"{path} holds no settings: a line of a YAML file is KEY: VALUE")
    if (strange := _not_plain(content)) is not None:
        raise FileError(f"{path} holds a {strange}, which is no plain value")
    return content


class WithoutAliases:
    """For a loader of YAML: ten lines of names that stand for one another make more values than any
    memory has.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):  # type: ignore[attr-defined]
            mark = self.peek_event().start_mark  # type: ignore[attr-defined]
            raise ComposerError(None, None, "aliases (*NAME) are not allowed", mark)
        return super().compose_node(parent, index)  # type: ignore[misc]


class _Plain(WithoutAliases, yaml.SafeLoader):
    pass


def _not_plain(value: Any) -> str | None:
    """The type of a value that JSON has not, within other values too."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        return next((found for found in map(_not_plain, value) if found is not None), None)
    plain = value is None or isinstance(value, bool | int | float | str)
    return None if plain else type(value).__name__


def read_json(path: Path) -> dict[str, Any]:
    """What ``write_json`` wrote. Raises FileError for what is no JSON, or no mapping."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is no JSON file: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise FileError(f"{path} holds something else than a JSON object")
    return content


def alive(process: int) -> bool:
    """Whether a process of this number runs on this host."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def remove_partials(folder: Path) -> None:
    """Takes away, at any depth, what processes of this host were writing when they were killed."""
    for path in folder.rglob(f"{MARK}{platform.node()}-*"):
        number = path.name.removeprefix(f"{MARK}{platform.node()}-").partition("-")[0]
        if number.isdigit() and not alive(int(number)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def finite(content: Any) -> Any:
    """The same with None for numbers that are not finite."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all; NaN and infinities as null, which JSON has not."""
    write_whole(
        path,
        lambda partial: partial.write_text(
            json.dumps(finite(content), indent=2, allow_nan=False) + "\n", encoding="utf-8"
        ),
    )
