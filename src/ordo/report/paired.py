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
    if (
        a.report.get("scored") is None or b.report.get("scored") is None
    ):  # reports from before there was a checksum
        return described(a) == described(b)
    return a.report["scored"] == b.report["scored"]


def described(record: Record) -> tuple[str, str, str]:
    """Name and checksum of the data, and the split, as far as they are known."""
    data = record.provenance.get("data") or {}
    return (
        str(data.get("name", "?")),
        str(data.get("md5", "")),
        str(record.report.get("split", "?")),
    )


def unit_among(record: Record, others: Iterable[Record]) -> str:
    """The unit that a record is shown in, the same for all that are comparable with it: a key of ``UNITS``."""
    return unit_of(
        [record.report, *(other.report for other in others if comparable(record, other))]
    )


def unit_words(record: Record, others: Iterable[Record]) -> str:
    """That unit in words."""
    return unit_name(unit_among(record, others), record.report["unit"])


def not_comparable(runs: Mapping[str, Record]) -> str | None:
    """One line where runs may not be compared with the first, and why; None where all may."""
    (first, base), *rest = runs.items()
    strange = [(name, record) for name, record in rest if not comparable(base, record)]
    if not strange:
        return None

    def told(name: str, record: Record) -> str:
        data, _, split = described(record)
        return f"{name} on {split} of {data!r}, in {unit_words(record, runs.values())}"

    shown = "; ".join(told(name, record) for name, record in strange[:4]) + (
        "; ..." if len(strange) > 4 else ""
    )
    other_data = any(
        described(base)[:2] != described(r)[:2] or base.report["unit"] != r.report["unit"]
        for _, r in strange
    )
    why = "their data are others" if other_data else "they were scored on other sequences"
    return f"not comparable with {told(first, base)}, because {why}: {shown}"


def same_sequences(a: Record, b: Record, key: str) -> bool:
    """Whether the values per sequence of two records belong to the same sequences, one by one."""
    scored = a.report.get("scored")
    if scored is None or scored != b.report.get("scored"):
        return False
    rows = [r.values.get("exact_rows") for r in (a, b)]
    alike = key.endswith("nelbo") or (
        rows[0] is not None and rows[1] is not None and np.array_equal(rows[0], rows[1])
    )
    return (
        alike and key in a.values and key in b.values and a.values[key].shape == b.values[key].shape
    )


def paired(a: Record, b: Record, key: str) -> tuple[float, float] | None:
    """Mean of b - a over the same sequences and its standard error, nats per sequence; None where they were scored on others."""
    return mean_difference(a.values[key], b.values[key]) if same_sequences(a, b, key) else None


def mean_difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Mean of b - a and its standard error, which is NaN for a single value."""
    difference = b - a
    error = difference.std(ddof=1) / math.sqrt(len(difference)) if len(difference) > 1 else math.nan
    return float(difference.mean()), float(error)


def gain(baseline: Record, run: Record, key: str, unit: str) -> str:
    """By how much a run is better than the baseline on the same sequences: above 0 is better. A dash where it was scored on others."""
    found = paired(run, baseline, key)
    return "-" if found is None else in_unit(run.report, key, found, unit)
