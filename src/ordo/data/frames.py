"""Reading tables: a CSV or Parquet file becomes a DataFrame whose columns are numbers (float64) or categories (object)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ordo.data.errors import DataError, MissingDataError

MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "NULL", "null")
KINDS = ("numeric", "categorical", "drop")
FEW = 10  # a column of so few whole numbers is read as categories
MANY = 1000  # a column of more categories is refused: it is an identifier, a date or free text
EXACT = 2**53  # whole numbers beyond are not exact in float64


def setting(column: object, kind: str) -> str:
    """What to add to a command to give a column a kind."""
    return f"'+data.types={{{column}: {kind}}}'"


def read_table(path: str | Path, header: bool = True, delimiter: str = ",") -> pd.DataFrame:
    """A CSV file as strings, exactly as they stand there but for surrounding blanks, or a Parquet file (by its suffix) as it is.

    Without a header columns are called column_1, column_2, ... Empty lines are skipped, but for those in the middle of a single column,
    where they are missing values.

    Raises:
        MissingDataError: no such file.
        DataError: an empty or malformed file, no rows, duplicate or empty column names, a header that looks like data.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no such file: {path} (working folder {Path.cwd()}); check data.path")
    if path.suffix.lower() in (".parquet", ".pq"):
        try:
            return check_frame(pd.read_parquet(path), str(path))
        except (OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}); write it again, or use CSV") from error
    delimiter = {"\\t": "\t"}.get(delimiter, delimiter)  # as a shell hands it over
    if len(delimiter) != 1:
        raise DataError(f"data.delimiter={delimiter!r}: must be one character, such as ';' or '\\t'")
    try:
        frame = pd.read_csv(
            path,
            header=None,
            dtype=str,
            keep_default_na=False,
            sep=delimiter,
            skipinitialspace=delimiter != "\t",
            skip_blank_lines=False,
            engine="python",  # the other engine does not tell a cell that is empty from one that is not there
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read as CSV ({reason}); check that it is UTF-8 and that data.delimiter is right") from error
    absent = frame.isna().to_numpy()  # beyond the end of a line: what stands there, if only "", is a string
    frame = frame.fillna("").apply(lambda column: column.str.strip())
    blank = (frame == "").all(axis=1).to_numpy() & (absent[:, 1:].all(axis=1) if frame.shape[1] > 1 else True)
    if frame.shape[1] == 1:
        blank &= np.arange(len(frame)) > np.flatnonzero(~blank).max(initial=-1)
    short = absent[:, 1:].any(axis=1) & ~blank
    if short.any():
        raise DataError(f"{path}: line {int(short.argmax()) + 1} has fewer values than others; complete it (or is data.delimiter another?)")
    frame = frame[~blank]
    if frame.empty:
        raise DataError(f"{path} cannot be read as CSV: it is empty")
    if header:
        names = frame.iloc[0].tolist()
        check_header(names, path)
        frame = frame.iloc[1:].set_axis(names, axis=1)
    else:
        frame.columns = [f"column_{i + 1}" for i in range(frame.shape[1])]
    return check_frame(frame, str(path))


def check_header(names: Sequence[str], path: Path) -> None:
    """Raises DataError if the first row is rather data than names."""
    numbers = [name for name in names if pd.notna(pd.to_numeric(name, errors="coerce"))]
    if numbers:
        raise DataError(
            f"{path}: the header has names that are numbers ({', '.join(numbers[:3])}): it is missing (say data.header=false), or "
            "give these columns names"
        )


def check_frame(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The frame with names as strings and rows numbered from 0. Raises DataError for no rows, no columns, duplicate or empty names."""
    if frame.columns.nlevels > 1:
        raise DataError(f"{name} has column names of several levels; make them plain strings")
    frame = frame.rename(columns=str).reset_index(drop=True)
    duplicates = frame.columns[frame.columns.duplicated()].tolist()
    if duplicates:
        raise DataError(f"{name}: column name {duplicates[0]!r} occurs more than once; rename one of them")
    if "" in frame.columns:
        raise DataError(f"{name}: column {list(frame.columns).index('') + 1} has no name; name it (an index is best left out of the file)")
    if frame.empty:
        raise DataError(f"{name} has no rows under its header" if frame.shape[1] else f"{name} is empty")
    return frame


def typed(
    frame: pd.DataFrame, types: Mapping[str, str] | None = None, missing: Collection[Any] = MISSING, name: str = "the table"
) -> pd.DataFrame:
    """Columns as float64 (numeric) or object (categorical: str, int, float, bool), NaN or None where a value is missing.

    Kinds are inferred: numbers are numeric unless all of a column are whole and at most ten are distinct, or some begin with a
    superfluous zero (codes); the rest is categorical. ``types`` overrides: column -> "numeric", "categorical" or "drop". ``missing``:
    strings and numbers that mean "no value".

    Raises:
        DataError: a type for no column, an unknown type, a column without any value, with numbers and other text mixed, with
            infinite numbers or whole ones beyond 2^53, with objects other than numbers and strings, or with over a thousand categories.
    """
    types = dict(types or {})
    missing = [missing] if isinstance(missing, str) else list(missing)
    for column, kind in types.items():
        if column not in frame.columns:
            raise DataError(f"data.types names {column!r}, which is no column of {name}; it has {', '.join(map(repr, frame.columns[:20]))}")
        if kind not in KINDS:
            raise DataError(f"data.types: {column!r} is to be {kind!r}; choose {', '.join(KINDS)}")
    kept = [column for column in frame.columns if types.get(column) != "drop"]
    if not kept:
        raise DataError(f"{name}: every column is dropped; leave at least one")
    return pd.DataFrame({column: _typed_column(frame[column], types.get(column), missing) for column in kept})


def no_value(column: object) -> DataError:
    return DataError(f"column {column!r} has no value at all; drop it: {setting(column, 'drop')}")


def _plain(values: pd.Series, missing: list[Any]) -> pd.Series:
    """Cells as str, int, float or bool, None where missing. Raises DataError for other objects."""
    values = values.astype(object).where(values.notna(), None)
    texts, numbers = {str(m) for m in missing}, {float(m) for m in missing if isinstance(m, int | float)}

    def one(cell: Any) -> Any:
        cell = cell.item() if isinstance(cell, np.generic) else float(cell) if isinstance(cell, Decimal) else cell
        if isinstance(cell, str):
            return None if cell in texts else cell
        if isinstance(cell, bool):
            return cell
        if isinstance(cell, int | float):
            return None if cell in numbers else cell
        raise DataError(
            f"column {values.name!r} holds {type(cell).__name__} objects, such as {cell!r}: turn them into numbers or strings first, or "
            f"drop it: {setting(values.name, 'drop')}"
        )

    return values.map(one, na_action="ignore").astype(object)


def _typed_column(values: pd.Series, kind: str | None, missing: list[Any]) -> pd.Series:
    column = values.name
    values = _plain(values, missing)
    present = values.dropna()
    if present.empty and kind is None:
        raise no_value(column)
    if present.empty:  # rows for a codec that was fitted on others
        return values.astype(np.float64 if kind == "numeric" else object)

    def where(chosen: pd.Series) -> str:
        return f"row {present.index[int(chosen.to_numpy().argmax())] + 1}"

    flags = present.map(lambda v: isinstance(v, bool)).any()
    numbers = pd.to_numeric(present, errors="coerce").astype(np.float64)
    numeric = numbers.notna()
    distinct = present.nunique()
    if kind is None and not numeric.all() and numeric.mean() >= 0.5 and distinct > FEW:
        raise DataError(
            f"column {column!r}: {numeric.sum()} of {len(present)} values are numbers, but {where(~numeric)} holds "
            f"{present[~numeric].iloc[0]!r}; mend it, add it to data.missing, or say {setting(column, 'categorical')}"
        )
    if kind == "numeric" and not numeric.all():
        raise DataError(f"column {column!r} is to be numeric, but holds {present[~numeric].iloc[0]!r}; add it to data.missing or mend it")
    if kind != "categorical" and numeric.all():
        infinite, large = numbers.abs() == np.inf, (numbers.abs() > EXACT) & (numbers == numbers.round())
        if infinite.any():
            raise DataError(f"column {column!r} is infinite in {where(infinite)}; mend it, or add it to data.missing")
        if large.any():
            raise DataError(
                f"column {column!r} has whole numbers beyond 2^53, in {where(large)}, which would not be kept exactly: change the unit, or "
                f"drop the column: {setting(column, 'drop')}"
            )
    if kind is None:
        few = numeric.all() and (numbers == numbers.round()).all() and distinct <= FEW
        codes = present.map(
            lambda v: isinstance(v, str) and len(v.lstrip("+-")) > 1 and v.lstrip("+-")[0] == "0" and v.lstrip("+-").isdigit()
        )
        kind = "categorical" if flags or few or codes.any() or not numeric.all() else "numeric"
    if kind == "numeric":
        return numbers.reindex(values.index)
    if distinct > MANY:
        raise DataError(
            f"column {column!r} has {distinct} different values, such as {present.iloc[0]!r}: an identifier, date or free text cannot be a "
            f"category; drop it: {setting(column, 'drop')}"
        )
    return values
