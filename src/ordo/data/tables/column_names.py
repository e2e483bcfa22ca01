"""Columns named on a command line: by name, by number, or in a YAML file that maps names to values.

Hydra reads ``{NAME: value}`` with a grammar of its own, in which most names of real tables cannot
be written, and OmegaConf fills in ``${...}``. A column can therefore be named by its number as
well, and a file is read here, not by Hydra: its keys and values are texts, exactly as they stand
there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import yaml

from ordo.data.errors import DataError, MissingDataError
from ordo.files import WithoutAliases

V = TypeVar("V")
Name = str | int | float | bool | None  # as Hydra may read the name of a column
# Text that Hydra's grammar and a shell read as it stands.
PLAIN = re.compile(r"(?!(?:true|false|null|nan|inf)$)[A-Za-z_][A-Za-z0-9_]*", re.IGNORECASE)


def setting(column: object, kind: str, columns: Iterable[object] = ()) -> str:
    """What to add to a command to give a column a kind.

    The column is named by its number if Hydra cannot read its name, and in a file if numbers are
    names of columns too.

    Args:
        column: its name.
        kind: numeric, categorical or drop.
        columns: all columns of the table.
    """
    name, names = str(column), [str(each) for each in columns]
    if PLAIN.fullmatch(name) or name not in names:
        return f"'+data.types={{{name}: {kind}}}'"
    number = names.index(name) + 1
    if str(number) not in names:
        return f"'+data.types={{{number}: {kind}}}'"
    return f"data.types=FILE.yaml, with the line {quoted(name)}: {kind}"


def quoted(text: str) -> str:
    """A text as YAML has it between quotes, on one line."""
    return yaml.dump(text, default_style='"', allow_unicode=True, width=1 << 30).strip()


class _Texts(WithoutAliases, yaml.loader.BaseLoader):
    """YAML in which every key and value is a text, as it stands; a key must not stand twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, object]:
        pairs = [
            (self.construct_object(key, True), self.construct_object(value, True))
            for key, value in node.value
        ]
        for i, (key, _) in enumerate(pairs):
            if any(key == other for other, _ in pairs[:i]):
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} stands there twice", node.start_mark
                )
        if any(not isinstance(key, str) for key, _ in pairs):
            raise yaml.constructor.ConstructorError(
                None, None, "a key is a list or a mapping", node.start_mark
            )
        return dict(pairs)


_Texts.add_constructor("tag:yaml.org,2002:map", _Texts.construct_mapping)


def mapping_file(path: str | Path, key: str) -> dict[str, str]:
    """The lines COLUMN: TEXT of a YAML file.

    key: the setting that named the file, for messages. Raises MissingDataError; DataError for a
    file that is no such mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(
            f"{key}={path}: no such file (working folder {Path.cwd()}); name a YAML file with a "
            "line COLUMN: VALUE for every column"
        )
    try:
        found = yaml.load(
            path.read_text(encoding="utf-8-sig"), _Texts
        )  # it makes texts only, no objects
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            f"{key}={path} is no YAML file ({' '.join(str(error).split())[:200]})"
        ) from None
    if found in (None, ""):
        found = {}
    flat = isinstance(found, dict) and all(
        isinstance(v, str) for pair in found.items() for v in pair
    )
    if not flat:
        raise DataError(
            f"{key}={path} must have a line COLUMN: VALUE for every column, and nothing else"
        )
    return found


def by_column(
    given: Mapping[Name, V] | str | Path | None, columns: Sequence[str], key: str, where: str
) -> dict[str, V | str]:
    """Column -> value.

    Args:
        given: a mapping from names or numbers (from 1) to values, or a YAML file that has one.
        columns: all columns.
        key: the setting, such as data.types, for messages.
        where: what has the columns, for messages.

    Raises DataError for a key that names no column or may name two, and for a column named twice.
    """
    file = isinstance(given, str | Path)
    pairs = mapping_file(given, key) if file else dict(given or {})
    out: dict[str, V | str] = {}
    for name, value in pairs.items():
        column = one_column(name, columns, key, where)
        if column in out:
            raise DataError(
                f"{key} names the column {column!r} twice, by its name and by its number"
            )
        out[column] = value
    return out


def one_column(name: object, columns: Sequence[str], key: str, where: str) -> str:
    """The column of that name, or of that number from 1. Raises DataError."""
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise DataError(
            f"{key}: {name!r} is read as no name; name the column by its number, from 1, or in a "
            f"file, {key}=FILE.yaml, with the name in quotes"
        )
    number = int(name) if isinstance(name, int) or re.fullmatch("[0-9]{1,9}", name) else None
    if str(name) in columns:
        if (
            isinstance(name, int)
            and columns[name - 1 : name] != [str(name)]
            and 1 <= name <= len(columns)
        ):
            raise DataError(
                f"{key}: {name} may be the column of that name or that of that number, "
                f"{columns[name - 1]!r}; use a file, {key}=FILE.yaml, which has names"
            )
        return str(name)
    if number is not None and 1 <= number <= len(columns):
        return columns[number - 1]
    some = ", ".join(map(repr, columns[:20])) + (
        f" and {len(columns) - 20} more" if len(columns) > 20 else ""
    )
    what = f"the number {name}" if number is not None else repr(name)
    raise DataError(f"{key} names {what}, which is no column of {where}; it has {some}")
