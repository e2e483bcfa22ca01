"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import ArrayLike
from yaml.composer import ComposerError

from ordo.errors import FileError, first_line

MARK = ".partial-"
Json = dict[str, Any]  # an object of a JSON or YAML file: text, numbers, lists, and objects


def partial_of(path: Path) -> Path:
    """Where this process writes what will become ``path``.

    The place is beside ``path``. Its name holds the host and the number of the process, so that no
    other process writes there, and ``remove_partials`` knows what a dead process has left.
    """
    return path.with_name(f"{MARK}{platform.node()}-{os.getpid()}-{path.name}")


def write_whole(path: Path, write: Callable[[Path], object], sync: bool = False) -> None:
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


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields where to make a new folder, which is renamed to ``path`` at the end, or removed."""
    partial = partial_of(path)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_yaml(path: Path) -> Json:
    """The settings in a YAML file, as plain values; no interpolation is resolved.

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
    """For a loader of YAML, to refuse aliases.

    Ten lines of names that stand for one another make more values than any memory has.
    """

    def compose_node(self, parent: object, index: object) -> Any:
        loader: Any = self  # the mixin stands before a loader, which has these methods
        if loader.check_event(yaml.events.AliasEvent):
            mark = loader.peek_event().start_mark
            raise ComposerError(None, None, "aliases (*NAME) are not allowed", mark)
        above: Any = super()
        return above.compose_node(parent, index)


class _Plain(WithoutAliases, yaml.SafeLoader):
    pass


def _not_plain(value: object) -> str | None:
    """The type of the first value that JSON does not have, also within lists and mappings."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        return next((found for found in map(_not_plain, value) if found is not None), None)
    plain = value is None or isinstance(value, bool | int | float | str)
    return None if plain else type(value).__name__


def read_json(path: Path) -> Json:
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
    """Removes, at any depth, what processes of this host were writing when they were killed."""
    for path in folder.rglob(f"{MARK}{platform.node()}-*"):
        number = path.name.removeprefix(f"{MARK}{platform.node()}-").partition("-")[0]
        if number.isdigit() and not alive(int(number)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def finite(content: object) -> object:
    """The content with None for numbers that are not finite."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_json(path: Path, content: object) -> None:
    """A JSON file, whole or not at all; NaN and infinities become null."""
    text = json.dumps(finite(content), indent=2, allow_nan=False) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_arrays(path: Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Arrays as an .npz file, whole or not at all."""
    named: dict[str, Any] = {name: np.asarray(values) for name, values in arrays.items()}
    write_whole(path, lambda partial: np.savez(partial, **named))
