"""How a table was read where this is not obvious: a line for each kind of conversion."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import pandas as pd

from ordo.data.tables.frames import is_number
from ordo.data.tables.kinds import Mark, is_code, plain
from ordo.data.tables.number_formats import is_date

NAMED = 8  # columns that a line names at most


def listed(parts: Sequence[str]) -> str:
    """The first few parts, and how many more there are."""
    more = f" and {len(parts) - NAMED} more" if len(parts) > NAMED else ""
    return ", ".join(parts[:NAMED]) + more


def reading_notes(
    raw: pd.DataFrame,
    read: pd.DataFrame,
    kinds: Mapping[str, str],
    missing: Collection[Mark],
    name: str,
) -> list[str]:
    """Lines for a person; none if the table was read as it looks.

    Args:
        raw: the table as it stood in the file.
        read: the same rows after ``typed``.
        kinds: what the user said of columns.
        missing: strings and numbers that mean "no value".
        name: of the table.
    """
    notes = []
    marks = [
        f"{column} ({told})" for column in read.columns if (told := marks_of(raw[column], missing))
    ]
    if marks:
        notes.append(f"{name}: read as missing (data.missing): {listed(marks)}")
    categories = [c for c in read.columns if read[c].dtype == object and c not in kinds]
    reasons: list[tuple[str, Callable[[pd.Series], str | None]]] = [
        ("numbers read as categories", numbers_as_categories),
        ("numbers and text in one column, read as categories", mixed),
        ("dates read as categories", dates),
        ("numbers with text behind them, read as categories", with_text),
    ]
    for words, told in reasons:
        found = [
            f"{column} ({reason})"
            for column in categories
            if (reason := told(distinct(read[column])))
        ]
        if found:
            notes.append(f"{name}: {words} (data.types says otherwise): {listed(found)}")
    dropped = [str(c) for c in raw.columns if c not in read.columns]
    if dropped:
        notes.append(f"{name}: columns left out, as data.types says: {listed(dropped)}")
    return notes


def distinct(values: pd.Series) -> pd.Series:
    return pd.Series(values.dropna().unique(), dtype=object)


def marks_of(values: pd.Series, missing: Collection[Mark]) -> str:
    """Such as ``12 cells 'NA'``; nothing for cells that are empty anyway."""
    if pd.api.types.is_numeric_dtype(values) and not any(
        isinstance(m, int | float) for m in missing
    ):
        return ""
    there = values[values.notna()]
    gone = there[plain(there, missing).isna()].map(str)
    counts = gone[gone.str.strip() != ""].value_counts()
    return ", ".join(f"{n} cell{'s' if n > 1 else ''} {mark!r}" for mark, n in counts.items())


def numbers_as_categories(values: pd.Series) -> str | None:
    if values.map(lambda v: isinstance(v, bool)).any() or not values.map(is_number).all():
        return None
    codes = values[values.map(is_code)]
    return f"codes such as {codes.iloc[0]}" if len(codes) else f"{len(values)} different"


def mixed(values: pd.Series) -> str | None:
    numbers = values.map(lambda v: not isinstance(v, bool) and is_number(v))
    if not numbers.any() or numbers.all():
        return None
    return f"{values[numbers].iloc[0]!s}, {values[~numbers].iloc[0]!s}"


def dates(values: pd.Series) -> str | None:
    found = [v for v in values if isinstance(v, str) and is_date(v)]
    return (
        f"{len(found)} different, such as {found[0]}"
        if found and 2 * len(found) >= len(values)
        else None
    )


def with_text(values: pd.Series) -> str | None:
    """Such as 12 kg or 5A: text that begins with a number, and is no number or date."""
    found = [
        v
        for v in values
        if isinstance(v, str) and v[:1].isdigit() and not is_number(v) and not is_date(v)
    ]
    return f"such as {found[0]}" if 2 * len(found) > len(values) else None
