"""CSV files as they stand: rows of texts, or one line on what is wrong with the file."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ordo.data.errors import DataError

DELIMITERS = (",", ";", "\t", "|", " ")  # delimiters that a file may have
SHOWN = {"\t": "'\\t'"}
LOOKED_AT = 1000  # lines that are split to see whether another delimiter fits
# First bytes of files that are no text, and the mend.
FOREIGN = {
    b"PK\x03\x04": "is a spreadsheet or a zip archive: save it as CSV, or unpack it",
    b"PAR1": "is a Parquet file: give it a name in .parquet",
    b"\xff\xfe": "is UTF-16 text: convert it (iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "is UTF-16 text: convert it (iconv -f UTF-16 -t UTF-8)",
    b"\xd0\xcf\x11\xe0": "is an old spreadsheet: save it as CSV",
    b"BZh": "is packed: unpack it",
    b"\xfd7zXZ": "is packed: unpack it",
    b"%PDF": "is a PDF: save its table as CSV",
}


def shown(delimiter: str) -> str:
    """A delimiter as a command has it."""
    return SHOWN.get(delimiter, f"'{delimiter}'")


def argument(key: str, delimiter: str) -> str:
    """What to add to a command, with quotes for the shell and for Hydra."""
    return f'"{key}={shown(delimiter)}"'


def unescaped(delimiter: str, key: str) -> str:
    r"""A delimiter as a shell hands it over, ``\t`` for a tabulator.

    Raises DataError for anything that is no delimiter.
    """
    delimiter = {"\\t": "\t"}.get(str(delimiter), str(delimiter))
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise DataError(
            f"{key}={delimiter!r}: must be one character, such as ';' or '\\t', and no quote or "
            "line end"
        )
    return delimiter


def unreadable(name: object, reason: str) -> DataError:
    return DataError(f"{name} cannot be read as CSV ({reason})")


def read_text(path: Path) -> str:
    """A UTF-8 text without its byte-order mark; gzip is unpacked. Raises DataError."""
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError) as error:
            raise unreadable(path, f"it is packed, and damaged: {error}") from None
    what = next((what for first, what in FOREIGN.items() if raw.startswith(first)), None)
    if what is not None:
        raise unreadable(path, f"it {what}")
    if b"\0" in raw:
        line = raw[: raw.index(b"\0")].count(b"\n") + 1
        raise unreadable(
            path, f"it has a null byte in line {line}: it is damaged, or no UTF-8 text"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        byte = f"byte {raw[error.start]:#04x} in line {line}"
        raise unreadable(
            path, f"it is not UTF-8: {byte}; convert it, such as by: iconv -f latin1 -t UTF-8"
        ) from None


def split(text: str, delimiter: str, name: str) -> tuple[list[list[str]], list[int]]:
    """Rows of cells without blanks around them, and the line in which each row ends.

    An empty line is an empty row. Raises DataError for quotes that do not fit.
    """
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        skipinitialspace=delimiter != "\t",
        strict=True,
    )
    rows, lines = [], []
    try:
        for row in reader:
            rows.append([cell.strip() for cell in row])
            lines.append(reader.line_num)
    except csv.Error as error:
        reason = (
            "a quote that is opened there, or before, is not closed"
            if "unexpected end" in str(error)
            else str(error)
        )
        raise unreadable(name, f"line {reader.line_num}: {reason}") from None
    return rows, lines


def even(text: str, delimiter: str) -> int:
    """The number of cells in every line, if all lines have equally many; else 0."""
    try:
        rows = [row for row in split(text, delimiter, "")[0] if row and row != [""]]
    except DataError:
        return 0
    sizes = {len(row) for row in rows}
    return sizes.pop() if len(sizes) == 1 else 0


def head(text: str) -> str:
    """The first lines."""
    return "".join(itertools.islice(io.StringIO(text, newline=""), LOOKED_AT))


def _is_number(cell: str) -> bool:
    return bool(pd.notna(pd.to_numeric(cell, errors="coerce")))


def _columns_of_numbers(text: str, delimiter: str, decimal_comma: bool = False) -> bool:
    """Whether a column, without its first row, holds nothing but numbers."""
    rows = [row for row in split(text, delimiter, "")[0] if row and row != [""]][1:]
    point = (lambda cell: cell.replace(",", ".", 1)) if decimal_comma else (lambda cell: cell)
    fits: list[list[bool]] = [
        [_is_number(point(cell)) and (not decimal_comma or "," in cell) for cell in row]
        for row in rows
    ]
    return bool(fits) and any(all(column) for column in zip(*fits, strict=True))


def other_delimiter(text: str, delimiter: str) -> tuple[str, int] | None:
    """Another delimiter that splits every line into equally many cells, and their number.

    None: there is no such delimiter. A blank counts only if it makes a column of numbers, because
    names have blanks too.
    """
    text = head(text)
    for other in DELIMITERS:
        cells = 0 if other == delimiter else even(text, other)
        if cells > 1 and (other != " " or _columns_of_numbers(text, other)):
            return other, cells
    return None


def check_delimiter(text: str, delimiter: str, columns: int, name: str, key: str) -> None:
    """Raises DataError if the file probably has another delimiter. columns: how many were read."""
    other = other_delimiter(text, delimiter)
    if columns == 1 and other is not None:
        raise DataError(
            f"{name} has one column with {key}={shown(delimiter)}, but every line splits into "
            f"{other[1]} with {key}={shown(other[0])}: add {argument(key, other[0])}, or put the "
            "cells between quotes if it is one column"
        )
    if columns > 1 and delimiter == ",":
        first = head(text)
        for semi in (";", "\t", "|"):
            if even(first, semi) > 1 and _columns_of_numbers(first, semi, decimal_comma=True):
                raise DataError(
                    f"{name} may have commas within its numbers and {key}={shown(semi)}: every "
                    "line splits evenly either way;"
                    f" write numbers with a point, and add {argument(key, semi)}"
                )


def read_cells(text: str, delimiter: str, name: str, key: str) -> list[list[str]]:
    """Rows of equally many cells.

    Empty lines are skipped; within a single column they are missing values.

    key: the setting of the delimiter, for messages. Raises DataError.
    """
    rows, lines = split(text, delimiter, name)
    width = max(map(len, rows), default=0)
    if width <= 1:
        while rows and not rows[-1]:
            rows.pop()
        rows = [row or [""] for row in rows]
        while rows and rows[0] == [""]:
            rows, lines = rows[1:], lines[1:]
    if not rows or not width or all(cell == "" for row in rows for cell in row):
        raise unreadable(name, "it is empty")
    kept = [
        (row, line)
        for row, line in zip(rows, lines, strict=False)
        if width <= 1 or (row and row != [""])
    ]
    check_sizes(kept, text, delimiter, name, key)
    check_delimiter(text, delimiter, len(kept[0][0]), name, key)
    return [row for row, _ in kept]


def check_sizes(
    rows: Sequence[tuple[list[str], int]], text: str, delimiter: str, name: str, key: str
) -> None:
    """Raises DataError, with the line, for a row of more or fewer cells than the first row."""
    size = len(rows[0][0])
    wrong = next(((len(row), line) for row, line in rows if len(row) != size), None)
    if wrong is None:
        return
    other = other_delimiter(text, delimiter)
    mend = "mend it, or put cells that have the delimiter between quotes"
    if other is not None:
        add = argument(key, other[0])
        mend = (
            f"with {key}={shown(other[0])} every line has {other[1]}: add {add}, or mend the line"
        )
    if wrong[0] < size:
        raise DataError(
            f"{name}: line {wrong[1]} has fewer values than others, {wrong[0]} of {size}; {mend}"
        )
    raise unreadable(name, f"line {wrong[1]} has {wrong[0]} values, the first line {size}; {mend}")
