"""Reading tables: a CSV or Parquet file becomes a DataFrame whose columns are numbers (float64) or categories (object)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ordo.data.errors import DataError, MissingDataError

MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "NULL", "null")
KINDS = ("numeric", "categorical", "drop")
FEW = 10  # a column of so few whole numbers is read as categories
MANY = 1000  # a column of more categories is refused: it is an identifier, a date or free text


def read_table(path: str | Path, header: bool = True, delimiter: str = ",") -> pd.DataFrame:
    """A CSV file as strings, exactly as they stand there but for surrounding blanks, or a Parquet file (by its suffix) as it is.

    Without a header columns are called column_1, column_2, ...

    Raises:
        MissingDataError: no such file.
        DataError: an empty or malformed file, no rows, duplicate or empty column names, a header that looks like data.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no such file: {path} (working folder {Path.cwd()}); check data.path")
    if path.suffix in (".parquet", ".pq"):
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}); write it again, or use CSV") from error
    else:
        try:
            frame = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, sep=delimiter, skipinitialspace=True)
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{path} cannot be read as CSV ({reason}); check that it is UTF-8 and that data.delimiter is right") from error
        frame = frame.apply(lambda column: column.str.strip())
        if header:
            names = frame.iloc[0].tolist()
            check_header(names, path)
            frame = frame.iloc[1:].reset_index(drop=True)
            frame.columns = names
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
    """The frame with names as strings. Raises DataError for no rows, no columns, duplicate or empty names."""
    frame = frame.rename(columns=str)
    duplicates = frame.columns[frame.columns.duplicated()].tolist()
    if duplicates:
        raise DataError(f"{name}: column name {duplicates[0]!r} occurs more than once; rename one of them")
    if "" in frame.columns:
        raise DataError(f"{name}: column {list(frame.columns).index('') + 1} has no name; name it (an index is best left out of the file)")
    if frame.empty:
        raise DataError(f"{name} has no rows under its header" if frame.shape[1] else f"{name} is empty")
    return frame


def typed(
    frame: pd.DataFrame, types: Mapping[str, str] | None = None, missing: Collection[str] = MISSING, name: str = "the table"
) -> pd.DataFrame:
    """Columns as float64 (numeric) or object (categorical), NaN or None where a value is missing.

    Kinds are inferred: numbers are numeric unless all of a column are whole and at most ten are distinct; the rest is categorical.
    ``types`` overrides: column -> "numeric", "categorical" or "drop".

    Raises:
        DataError: a type for no column, an unknown type, a column without any value, with numbers and other text mixed, with
            infinite numbers, or with more than a thousand categories.
    """
    types = dict(types or {})
    for column, kind in types.items():
        if column not in frame.columns:
            raise DataError(f"data.types names {column!r}, which is no column of {name}; it has {', '.join(map(repr, frame.columns[:20]))}")
        if kind not in KINDS:
            raise DataError(f"data.types.{column}={kind!r}: choose {', '.join(KINDS)}")
    kept = [column for column in frame.columns if types.get(column) != "drop"]
    if not kept:
        raise DataError(f"{name}: every column is dropped; leave at least one")
    return pd.DataFrame({column: _typed_column(frame[column], types.get(column), missing) for column in kept})


def no_value(column: object) -> DataError:
    return DataError(f"column {column!r} has no value at all; drop it: data.types.{column}=drop")


def _typed_column(values: pd.Series, kind: str | None, missing: Collection[str]) -> pd.Series:
    column = values.name
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        raise DataError(f"column {column!r} holds dates: turn them into numbers or categories first, or drop it (data.types.{column}=drop)")
    values = values.astype(object).where(values.notna(), None)
    texts = values.map(lambda v: isinstance(v, str))
    values = values.mask(texts & values.isin(list(missing)), None)
    present = values.dropna()
    if present.empty and kind is None:
        raise no_value(column)
    if present.empty:  # rows for a codec that was fitted on others
        return values.astype(np.float64 if kind == "numeric" else object)
    flags = present.map(lambda v: isinstance(v, bool | np.bool_)).any()
    numbers = pd.to_numeric(present, errors="coerce").astype(np.float64)
    numeric = numbers.notna()
    distinct = present.nunique()
    if kind is None and not numeric.all() and numeric.mean() >= 0.5 and distinct > FEW:
        row = int(np.flatnonzero(~numeric.to_numpy())[0])
        raise DataError(
            f"column {column!r}: {numeric.sum()} of {len(present)} values are numbers, but row {present.index[row] + 1} holds "
            f"{present.iloc[row]!r}; mend it, add it to data.missing, or say data.types.{column}=categorical"
        )
    if kind == "numeric" and not numeric.all():
        raise DataError(f"column {column!r} is to be numeric, but holds {present[~numeric].iloc[0]!r}; add it to data.missing or mend it")
    if kind != "categorical" and np.isinf(numbers).any():
        row = int(np.flatnonzero(np.isinf(numbers.to_numpy()))[0])
        raise DataError(f"column {column!r} is infinite in row {present.index[row] + 1}; mend it, or add it to data.missing")
    if kind is None:
        code = numeric.all() and (numbers == numbers.round()).all() and distinct <= FEW
        kind = "categorical" if flags or code or not numeric.all() else "numeric"
    if kind == "numeric":
        return numbers.reindex(values.index)
    if distinct > MANY:
        raise DataError(
            f"column {column!r} has {distinct} different values, such as {present.iloc[0]!r}: an identifier, date or free text cannot be a "
            f"category; drop it: data.types.{column}=drop"
        )
    return values.map(lambda v: v.item() if isinstance(v, np.generic) else v, na_action="ignore").astype(object)
