"""A whole table as tokens and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ordo.data.errors import DataError
from ordo.data.loader import State
from ordo.data.tables.columns import (
    CategoricalColumn,
    Column,
    NumericColumn,
    column_from_state,
    column_state,
)
from ordo.data.tables.kinds import no_value


@dataclass(frozen=True)
class TableCodec:
    """One codec for each column; position l of a token row is column l.

    The tokens of column l are in 0..vocab_sizes[l]-1.
    """

    VERSION = 1
    columns: tuple[Column, ...]

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, bins: int, dtypes: Mapping[str, str | None] | None = None
    ) -> TableCodec:
        """Fits a codec to a table.

        Args:
            frame: float64 columns are numeric, other columns categorical.
            bins: the largest number of tokens of a numeric column, at least 2; a missing value has
                one token more.
            dtypes: dtypes of columns in the table that the frame was read from.
                ``ordo.data.tables.table_file`` writes columns in these.

        Raises DataError for less than two bins, or a column without any value.
        """
        if bins < 2:
            raise DataError(f"data.bins must be at least 2, got {bins}")
        columns: list[Column] = []
        for name in map(str, frame.columns):
            values = frame[name]
            if values.isna().all():
                raise no_value(name)
            numeric, dtype = pd.api.types.is_float_dtype(values), (dtypes or {}).get(name)
            columns.append(
                NumericColumn.fit(name, values, bins, dtype)
                if numeric
                else CategoricalColumn.fit(name, values, dtype)
            )
        return cls(tuple(columns))

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def kinds(self) -> dict[str, str]:
        """Column -> "numeric" or "categorical"."""
        return {column.name: column.kind for column in self.columns}

    @property
    def vocab_sizes(self) -> list[int]:
        return [column.vocab_size for column in self.columns]

    @property
    def ordered(self) -> list[int]:
        """How many tokens of each column are ordered: the bins of a numeric one, else 0."""
        return [column.bins if isinstance(column, NumericColumn) else 0 for column in self.columns]

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """(rows, columns) int64.

        Raises DataError for a missing column or a value that cannot be encoded.
        """
        absent = [name for name in self.names if name not in frame.columns]
        if absent:
            raise DataError(
                f"the table lacks the column {absent[0]!r} that the codec was fitted with"
            )
        return torch.from_numpy(
            np.stack([column.encode(frame[column.name]) for column in self.columns], 1)
        )

    def decode(self, tokens: Tensor, seed: int = 0) -> pd.DataFrame:
        """Token rows (n, columns) as a table.

        Numbers are drawn anew within their bins, as a function of ``seed``. Raises DataError for a
        token outside a column's vocabulary, such as the mask.
        """
        array = tokens.cpu().numpy()
        if array.ndim != 2 or array.shape[1] != len(self.columns):
            raise DataError(f"tokens must be (rows, {len(self.columns)}), got {tuple(array.shape)}")
        too_large = (array < 0) | (array >= np.array(self.vocab_sizes))
        if too_large.any():
            raise DataError(
                f"column {self.names[too_large.any(0).argmax()]!r} has tokens outside its "
                "vocabulary"
            )
        random = np.random.default_rng([seed, 0x7AB1E])
        return pd.DataFrame(
            {
                column.name: column.decode(array[:, i], random)
                for i, column in enumerate(self.columns)
            }
        )

    def state_dict(self) -> State:
        """Plain values and tensors."""
        return {
            "version": self.VERSION,
            "columns": [column_state(column) for column in self.columns],
        }

    @classmethod
    def from_state_dict(cls, state: State) -> TableCodec:
        """The codec of a ``state_dict``. Raises DataError for another version."""
        if state["version"] != cls.VERSION:
            raise DataError(
                f"the codec has version {state['version']}, this library reads {cls.VERSION}; use "
                "the version that wrote it"
            )
        return cls(tuple(column_from_state(column) for column in state["columns"]))

    def same_as(self, other: TableCodec) -> bool:
        """Whether token ids mean the same."""

        def key(column: Column) -> tuple[object, ...]:
            if isinstance(column, CategoricalColumn):
                return column.kind, column.name, column.categories, column.missing
            return (
                column.kind,
                column.name,
                column.values.tobytes(),
                column.starts.tobytes(),
                column.missing,
            )

        return [key(column) for column in self.columns] == [key(column) for column in other.columns]
