"""Which runs may be compared, in which unit, and by how much one is better than another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from ordo.report.numbers import in_unit, unit_name, unit_of
from ordo.report.record import Record


def comparable(a: Record, b: Record) -> bool:
    """Whether both were scored on the same sequences of the same kind of token."""
    if a.report.get("unit") != b.report.get("unit"):
        return False
    scored = a.report.get("scored"), b.report.get("scored")
    if None in scored:  # reports from before there was a checksum
        return described(a) == described(b)
    return scored[0] == scored[1]


def described(record: Record) -> tuple[str, str, str]:
    """Name and checksum of the data, and the split, as far as they are known."""
    data = record.provenance.get("data") or {}
    split = str(record.report.get("split", "?"))
    return str(data.get("name", "?")), str(data.get("md5", "")), split


def unit_among(record: Record, others: Iterable[Record]) -> str:
    """The unit of a record, a key of ``UNITS``: the same for all that may be compared with it."""
    alike = (other.report for other in others if comparable(record, other))
    return unit_of([record.report, *alike])


def unit_words(record: Record, others: Iterable[Record]) -> str:
    """That unit in words."""
    return unit_name(unit_among(record, others), record.report["unit"])


def not_comparable(runs: Mapping[str, Record]) -> str | None:
    """One line that says which runs may not be compared with the first, and why; None: all may."""
    (first, base), *rest = runs.items()
    strange = [(name, record) for name, record in rest if not comparable(base, record)]
    if not strange:
        return None

    def told(name: str, record: Record) -> str:
        data, _, split = described(record)
        return f"{name} on {split} of {data!r}, in {unit_words(record, runs.values())}"

    more = "; ..." if len(strange) > 4 else ""
    which = "; ".join(told(name, record) for name, record in strange[:4]) + more
    other_data = any(
        described(base)[:2] != described(r)[:2] or base.report["unit"] != r.report["unit"]
        for _, r in strange
    )
    why = "their data are others" if other_data else "they were scored on other sequences"
    return f"not comparable with {told(first, base)}, because {why}: {which}"


def same_sequences(a: Record, b: Record, key: str) -> bool:
    """Whether the values per sequence of two records belong to the same sequences, one by one."""
    scored = a.report.get("scored")
    if scored is None or scored != b.report.get("scored"):
        return False
    if not key.endswith("nelbo"):
        one, other = a.values.get("exact_rows"), b.values.get("exact_rows")
        if one is None or other is None or not np.array_equal(one, other):
            return False
    return key in a.values and key in b.values and a.values[key].shape == b.values[key].shape


def paired(a: Record, b: Record, key: str) -> tuple[float, float] | None:
    """Mean of b - a and its standard error, nats per sequence; None: not the same sequences."""
    return mean_difference(a.values[key], b.values[key]) if same_sequences(a, b, key) else None


def mean_difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Mean of b - a and its standard error, which is NaN for a single value."""
    difference = b - a
    error = difference.std(ddof=1) / math.sqrt(len(difference)) if len(difference) > 1 else math.nan
    return float(difference.mean()), float(error)


def gain(baseline: Record, run: Record, key: str, unit: str) -> str:
    """By how much a run is better than the baseline on the same sequences; above 0 is better.

    A dash where the two were scored on different sequences.
    """
    found = paired(run, baseline, key)
    return "-" if found is None else in_unit(run.report, key, found, unit)
