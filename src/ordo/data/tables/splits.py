"""Rows held out of a table, by the protocol of published splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ordo.data.errors import DataError
from ordo.data.tables.column_names import setting

ATTEMPTS = 100  # splits tried for one that has every category in train


def split_rows(
    frame: pd.DataFrame, share: float, seed: int, names: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers, shuffled: the rest, and a ``share`` of all rows.

    The seed is advanced until every category, and every kind of missing value, occurs in the rest
    (the protocol of TabSyn, 2310.09656, shuffle included). If none of a hundred seeds does, the
    first rows that are needed move to the rest.

    names: the columns of the file, for messages. Raises DataError for a table that cannot be split.
    """
    columns = (
        frame[name].isna() if pd.api.types.is_float_dtype(frame[name]) else frame[name]
        for name in frame.columns
    )
    codes = [pd.factorize(column, use_na_sentinel=False)[0] for column in columns]
    first = len(frame) - max(1, round(len(frame) * share))
    if first < 1:
        raise DataError(f"{len(frame)} row(s) cannot be split: a table needs at least 3")
    rest = held = np.empty(0, dtype=np.int64)
    rows = np.arange(len(frame))  # shuffled again and again, as in TabSyn
    for attempt in range(ATTEMPTS):
        # The legacy generator: the published splits were drawn with it
        np.random.RandomState((seed + attempt) % 2**32).shuffle(rows)
        rest, held = rows[:first].copy(), rows[first:].copy()
        if all(len(np.unique(code[rest])) == code.max() + 1 for code in codes):
            return rest, held
    move = np.zeros(len(held), dtype=bool)
    for code in codes:
        new = ~np.isin(code[held], code[rest])
        move[np.flatnonzero(new)[np.unique(code[held][new], return_index=True)[1]]] = True
    if move.all():
        most = max(
            zip(frame.columns, codes, strict=True),
            key=lambda pair: 0 if frame[pair[0]].dtype == float else pair[1].max(),
        )
        example = frame[most[0]].iloc[0]
        what = f"column {most[0]!r} has {most[1].max() + 1} of them, such as {example!r}"
        other = "; or is data.delimiter another?" if frame.shape[1] == 1 else ""
        mend = setting(most[0], "drop", names or frame.columns)
        raise DataError(
            f"no row can be held out: each has a category of its own; {what}: if it is an "
            f"identifier, drop it: {mend}{other}"
        )
    return np.concatenate([rest, held[move]]), held[~move]
