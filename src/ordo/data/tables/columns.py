"""One column of a table as tokens.

Categories are kept exactly. Numbers go into quantile bins that keep spikes and whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from ordo.data.errors import DataError
from ordo.data.loader import State

Value = str | int | float | bool


@dataclass(frozen=True)
class CategoricalColumn:
    """Token k is ``categories[k]``; if ``missing``, one more token stands for a missing value.

    Encoding and decoding are exact.
    """

    kind: ClassVar[str] = "categorical"
    name: str
    categories: tuple[Value, ...]
    missing: bool
    dtype: str | None = None  # dtype in the table that it was read from; None: text

    @classmethod
    def fit(cls, name: str, values: pd.Series, dtype: str | None = None) -> CategoricalColumn:
        """values: str, bool or numbers; NaN or None is missing."""
        present = values.dropna().unique().tolist()
        return cls(
            name,
            tuple(sorted(present, key=lambda v: (type(v).__name__, v))),
            bool(values.isna().any()),
            dtype,
        )

    @property
    def vocab_size(self) -> int:
        return len(self.categories) + self.missing

    def encode(self, values: pd.Series) -> np.ndarray:
        """Tokens (n,) int64. Raises DataError for a value that the fitted column did not have."""
        tokens = values.map({value: token for token, value in enumerate(self.categories)})
        tokens = tokens.mask(values.isna(), len(self.categories))
        if tokens.isna().any():
            unseen = values[tokens.isna()].iloc[0]
            raise DataError(
                f"column {self.name!r} has the value {unseen!r}, which the table that the codec "
                "was fitted on had not; "
                "leave these rows out, or fit on a table that has them"
            )
        _check_missing(self, values)
        return tokens.to_numpy(np.int64, copy=True)

    def decode(self, tokens: np.ndarray, random: np.random.Generator) -> pd.Series:
        """Values (n,); None if missing."""
        table = np.empty(len(self.categories) + 1, dtype=object)
        table[:-1] = self.categories
        return pd.Series(table[tokens], name=self.name).infer_objects()

    def symbol(self, token: int) -> str:
        """The category of a token; nothing for a missing value."""
        return str(self.categories[token]) if token < len(self.categories) else ""


@dataclass(frozen=True)
class NumericColumn:
    """Token b is a bin of neighbouring values, or one value so frequent that it has its own bin.

    Decoding draws one of the bin's observed values, as often as each was observed: whole numbers,
    decimals, ranges and spikes survive. ``values`` (ascending) and ``weights`` of all bins lie in
    one list, bin b from ``starts[b]`` on. A number between two bins goes to the nearer one. If
    ``missing``, one more token stands for a missing value.

    With ``cuts`` (``ordo.data.tables.edges``) the values of a bin are its two ends, or one value,
    and decoding draws any number between them. Cuts are the numbers between bins.
    """

    kind: ClassVar[str] = "numeric"
    name: str
    values: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    whole: bool
    missing: bool
    dtype: str | None = None
    cuts: np.ndarray | None = None
    _edges: np.ndarray = field(init=False, repr=False, compare=False)

    KEPT: ClassVar[int] = (
        256  # distinct values that a bin keeps; if it has more, evenly spaced by rank
    )

    def __post_init__(self) -> None:
        if self.cuts is not None:
            object.__setattr__(self, "_edges", self.cuts)
            return
        below, above = self.values[self.starts[1:] - 1], self.values[self.starts[1:]]
        middle = below / 2 + above / 2  # their sum may overflow
        # Nothing lies between neighbouring doubles.
        object.__setattr__(self, "_edges", np.where(middle < above, middle, below))

    @classmethod
    def fit(
        cls, name: str, numbers: pd.Series, bins: int, dtype: str | None = None
    ) -> NumericColumn:
        """Fits the bins to a column.

        Args:
            name: of the column.
            numbers: float64 or integer, NaN is missing; at least one value is present.
            bins: the largest number of tokens, without the token for a missing value.
            dtype: of the table that the column was read from.
        """
        present = numbers.dropna().to_numpy(np.float64)
        distinct, counts = np.unique(present, return_counts=True)
        of = quantile_bins(counts, bins)
        starts = np.flatnonzero(np.diff(of, prepend=-1))
        keep, weights = [], []
        for start, end in zip(starts, [*starts[1:], len(distinct)], strict=True):
            index, weight = np.arange(start, end), counts[start:end].astype(np.float64)
            if end - start > cls.KEPT:
                inner = weight[1:-1]
                middles = (np.arange(cls.KEPT - 2) + 0.5) / (cls.KEPT - 2) * inner.sum()
                index = np.concatenate(
                    [[start], start + 1 + np.searchsorted(inner.cumsum(), middles), [end - 1]]
                )
                # The extremes keep their weights and the range survives; the others share the rest.
                weight = np.concatenate(
                    [weight[:1], np.full(cls.KEPT - 2, inner.sum() / (cls.KEPT - 2)), weight[-1:]]
                )
            keep.append(index)
            weights.append(weight)
        sizes = [len(index) for index in keep]
        whole = bool((distinct == np.round(distinct)).all())
        new_starts = np.cumsum([0, *sizes[:-1]])
        kept, missing = distinct[np.concatenate(keep)], bool(numbers.isna().any())
        return cls(name, kept, np.concatenate(weights), new_starts, whole, missing, dtype)

    @property
    def bins(self) -> int:
        return len(self.starts)

    @property
    def vocab_size(self) -> int:
        return self.bins + self.missing

    def encode(self, values: pd.Series) -> np.ndarray:
        """Tokens (n,) int64. Raises DataError for a missing value if the fitted column had none."""
        tokens = np.searchsorted(self._edges, values.to_numpy(np.float64), side="left")
        _check_missing(self, values)
        return np.where(values.isna(), self.bins, tokens).astype(np.int64)

    def decode(self, tokens: np.ndarray, random: np.random.Generator) -> pd.Series:
        """Numbers (n,): float64 with NaN if missing; Int64 if all fitted values were whole."""
        bin_ = np.minimum(tokens, self.bins - 1)
        if self.cuts is not None:
            numbers = pd.Series(self._between(bin_, random.random(len(tokens))), name=self.name)
            numbers = numbers.mask(pd.Series(tokens >= self.bins))
            return numbers.round().astype("Int64") if self.whole else numbers
        total = np.append(0.0, self.weights.cumsum())
        ends = np.append(self.starts[1:], len(self.values))
        low, high = total[self.starts][bin_], total[ends][bin_]
        place = (
            np.searchsorted(total, low + random.random(len(tokens)) * (high - low), side="right")
            - 1
        )
        numbers = pd.Series(
            self.values[np.clip(place, self.starts[bin_], ends[bin_] - 1)], name=self.name
        )
        numbers = numbers.mask(pd.Series(tokens >= self.bins))
        return numbers.round().astype("Int64") if self.whole else numbers

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest value of every bin, (bins,) each."""
        return self.values[self.starts], self.values[
            np.append(self.starts[1:], len(self.values)) - 1
        ]

    def _between(self, bin_: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Numbers drawn uniformly between the ends of bins.

        Whole numbers include both ends, other numbers leave out the lower end.
        """
        low, high = (end[bin_] for end in self.ends())
        return (
            low + np.minimum(np.floor(u * (high - low + 1)), high - low)
            if self.whole
            else high - u * (high - low)
        )

    def symbol(self, token: int) -> str:
        """The range of a token, such as ``12 to 17``; nothing for a missing value."""
        if token >= self.bins:
            return ""
        low, high = (end[token] for end in self.ends())
        form = ".0f" if self.whole else ".6g"
        return f"{low:{form}}" if low == high else f"{low:{form}} to {high:{form}}"


Column = CategoricalColumn | NumericColumn


def quantile_bins(counts: np.ndarray, bins: int) -> np.ndarray:
    """Bins (n,) of n ascending distinct values: 0, 1, ... without gaps.

    A value that holds more than its share, 1/bins of all, is a bin of its own. The runs of values
    between such spikes are cut into bins of equal mass.

    Args:
        counts: (n,), how often each value occurred.
        bins: the largest number of bins.
    """
    if len(counts) <= bins:
        return np.arange(len(counts))
    spike = counts > counts.sum() / bins
    run = np.cumsum(spike | np.append(True, spike[:-1]))  # a spike is a run of its own
    first = np.flatnonzero(np.diff(run, prepend=0))
    mass = np.add.reduceat(counts, first).astype(np.float64)
    free = ~spike[first]
    parts = np.ones(len(first), dtype=np.int64)
    per_bin = mass[free].sum() / max(1, bins - spike.sum())
    while True:
        parts[free] = np.maximum(1, np.round(mass[free] / per_bin))
        if parts.sum() <= bins or (parts == 1).all():
            break
        per_bin *= 1.02
    if parts.size > bins:  # more spikes and runs than bins: only for a handful of bins
        return np.minimum(np.arange(len(counts)) * bins // len(counts), bins - 1)
    index = run - 1
    # Mass of the run up to the middle of the value
    before = counts.cumsum() - counts / 2 - (mass.cumsum() - mass)[index]
    inside = np.minimum((before / mass[index] * parts[index]).astype(np.int64), parts[index] - 1)
    code = (parts.cumsum() - parts)[index] + inside
    return np.cumsum(np.diff(code, prepend=code[0]) > 0)  # a heavy value may have left a bin empty


def _check_missing(column: Column, values: pd.Series) -> None:
    if not column.missing and values.isna().any():
        raise DataError(
            f"column {column.name!r} lacks a value in row "
            f"{int(values.isna().to_numpy().argmax()) + 1}, but the table that the codec was "
            "fitted on was complete there; fill it in, or leave the row out"
        )


def column_state(column: Column) -> State:
    """Plain values and tensors, for a checkpoint."""
    state: State = {
        "kind": column.kind,
        "name": column.name,
        "missing": column.missing,
        "dtype": column.dtype,
    }
    if isinstance(column, CategoricalColumn):
        return state | {"categories": list(column.categories)}
    names = (
        ("values", "weights", "starts")
        if column.cuts is None
        else ("values", "weights", "starts", "cuts")
    )
    return (
        state
        | {"whole": column.whole}
        | {key: torch.from_numpy(getattr(column, key)) for key in names}
    )


def column_from_state(state: State) -> Column:
    """The column of a ``column_state``, also of an old one without a dtype.

    The state may come from a stranger's file. Raises DataError for a state of another form.
    """
    dtype, name, missing = state.get("dtype"), state["name"], state["missing"]
    _sound(isinstance(name, str) and isinstance(missing, bool), name)
    _sound(dtype is None or isinstance(dtype, str), name)
    if state["kind"] == "categorical":
        categories = tuple(state["categories"])
        plain = all(type(value) in (str, int, float, bool) for value in categories)
        _sound(plain and 0 < len(set(categories)) == len(categories), name)
        return CategoricalColumn(name, categories, missing, dtype)
    tensors = [state[key] for key in ("values", "weights", "starts", "cuts") if key in state]
    # A tensor that is not contiguous may repeat a few numbers without end.
    for tensor in tensors:
        _sound(
            isinstance(tensor, torch.Tensor) and tensor.dim() == 1 and tensor.is_contiguous(), name
        )
    values, weights, starts, *cuts = (tensor.numpy() for tensor in tensors)
    _sound(state["kind"] == "numeric" and isinstance(state["whole"], bool), name)
    _sound(all(array.dtype == np.float64 for array in (values, weights, *cuts)), name)
    _sound(starts.dtype == np.int64, name)
    _sound(len(values) == len(weights) > 0 < len(starts), name)
    _sound(bool(starts[0] == 0 and (np.diff(starts) > 0).all() and starts[-1] < len(values)), name)
    _sound(bool(np.isfinite(weights).all() and (weights > 0).all()), name)
    for ascending in (values, *cuts):
        _sound(bool(np.isfinite(ascending).all() and (np.diff(ascending) >= 0).all()), name)
    _sound(all(len(cut) == len(starts) - 1 for cut in cuts), name)
    return NumericColumn(name, values, weights, starts, state["whole"], missing, dtype, *cuts)


def _sound(whole: bool, name: object) -> None:
    if not whole:
        raise DataError(f"what a file says of the column {str(name)[:80]!r} is damaged")
