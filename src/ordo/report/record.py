"""What a run or an evaluation left in its folder, read back as plain values and arrays.

Pages and comparisons are made of these alone.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, Required

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ordo.errors import FileError, first_line
from ordo.files import Json, read_json, read_yaml
from ordo.report.numbers import LABELS


@dataclass(frozen=True)
class Record:
    """The files of a folder; a file that the folder does not have is empty here.

    Args:
        report: report.json.
        config, provenance: of the training run.
        values: report_values.npz.
        metrics: one row for each logged step.
        order: order_over_training.npz: step, expected_rank (from 1), entropy (nats).
        signal: gradient_signal.npz.
    """

    folder: Path
    report: Json
    config: Json = field(default_factory=dict)
    provenance: Json = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    metrics: pd.DataFrame = field(default_factory=pd.DataFrame)
    order: dict[str, np.ndarray] = field(default_factory=dict)
    signal: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.config.get("name", self.folder.name))

    @property
    def labels(self) -> list[str] | None:
        """Names of the positions; None where the data have no names for positions."""
        return self.report.get("labels")

    @property
    def fixed_law(self) -> bool:
        """Whether the order law has nothing to learn; False where the report does not say."""
        return self.report.get("law_learned") is False

    @property
    def order_labels(self) -> list[str] | None:
        """Names of the positions of which the law is shown.

        Where all rows are given the same positions, these are the decoded positions.
        """
        return labels_of(self.labels, self.report.get("decoded"))

    @property
    def order_edges(self) -> list[tuple[int, int]] | None:
        """Pairs of which the first position comes earlier in a good order; None where unknown.

        Positions are counted among those of which the law is shown.
        """
        pairs, decoded = self.report.get("precedence"), self.report.get("decoded")
        if pairs is None or decoded is None:
            return pairs and [(i, j) for i, j in pairs]
        place = {position: i for i, position in enumerate(decoded)}
        return [(place[i], place[j]) for i, j in pairs if i in place and j in place]


def labels_of(labels: list[str] | None, positions: list[int] | None) -> list[str] | None:
    """Names of some positions, or their numbers where they have no names.

    Args:
        labels: names of all positions, if they have any.
        positions: None: all positions.
    """
    if positions is None:
        return labels
    return [str(i) if labels is None else labels[i] for i in positions]


class _Estimate(TypedDict):
    """An estimate in ``report.json``, as far as pages rely on it."""

    nats: float | None
    standard_error: float | None
    length: NotRequired[float]
    bits_per_token: float | None
    bits_per_token_standard_error: float | None


class _Curve(TypedDict):
    nats: list[float | None]
    standard_error: list[float | None]


class _Board(TypedDict):
    columns: int
    box: int


class _Report(TypedDict, total=False):
    unit: Required[str]
    entropy: Required[float | None]
    estimates: Required[dict[str, _Estimate]]
    loss_by_revealed: dict[str, _Curve]
    scored: str | None
    split: str
    labels: list[str] | None
    decoded: list[int] | None
    precedence: list[tuple[int, int]] | None
    samples: list[str] | None
    sample_rows: list[list[object]] | None
    sample_columns: list[object] | None
    real_samples: list[str] | None
    real_rows: list[list[object]] | None
    sample_given: list[list[int]] | None
    board: _Board | None
    passes: dict[str, int]
    law_learned: bool
    parameters: int | None
    steps: int | None
    fit_seconds: float


def read_report(path: Path) -> Json:
    """``report.json``. Raises FileError, which names the first key that ordo does not write so."""
    report = read_json(path)
    try:
        TypeAdapter(_Report).validate_python(report)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise FileError(f"{path} is no report of ordo: {key}: {first['msg']}") from None
    absent = [key for key in LABELS if key not in report["estimates"]]
    if absent:
        raise FileError(f"{path} is no report of ordo: it lacks estimates.{absent[0]}")
    return report


def _json(path: Path) -> Json:
    return read_json(path) if path.is_file() else {}


# What numpy raises for a damaged file.
DAMAGED = (
    ValueError, EOFError, MemoryError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except DAMAGED as error:
        raise FileError(f"{path} holds no arrays of numbers ({type(error).__name__})") from error


def read_metrics(run: Path) -> pd.DataFrame:
    """csv/metrics.csv of a run, after the files of its earlier parts (metrics_1.csv, ...)."""
    folder = run / "csv"
    earlier = folder.glob("metrics_[0-9]*.csv")
    by_part = sorted(earlier, key=lambda path: int(path.stem.rpartition("_")[2]))
    files = [path for path in (*by_part, folder / "metrics.csv") if path.is_file()]
    parts = [_rows(path) for path in files if path.stat().st_size]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _rows(path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path)
        return rows.assign(step=pd.to_numeric(rows["step"]))
    except KeyError:
        raise FileError(f"{path} has no column 'step'") from None
    except ValueError as error:  # pandas' own errors too
        raise FileError(f"{path} holds no metrics of ordo: {first_line(error)}") from error


def read_record(folder: str | Path, run: str | Path | None = None) -> Record:
    """The record of a folder.

    Args:
        run: the folder of the training run, where that is another one, as with ordo eval.

    Raises FileNotFoundError where there is no report.json.
    """
    folder = Path(folder)
    run = folder if run is None else Path(run)
    if not (folder / "report.json").is_file():
        raise FileNotFoundError(
            f"no report in {folder}: it is no run that ordo train has finished (with report set), "
            "nor an output of ordo eval"
        )
    report = read_report(folder / "report.json")
    path = run / "config.yaml"
    config = read_yaml(path) if path.is_file() else report.get("trained_with", {})
    return Record(
        folder,
        report,
        config,
        _json(run / "provenance.json") or report.get("provenance", {}),
        _arrays(folder / "report_values.npz"),
        read_metrics(run),
        _arrays(run / "order_over_training.npz"),
        _arrays(run / "gradient_signal.npz"),
    )


def curve(metrics: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Optimiser steps done and values of a logged metric; of several values at a step the last."""
    if name not in metrics:
        return np.zeros(0), np.zeros(0)
    rows = metrics[["step", name]].dropna().drop_duplicates("step", keep="last").sort_values("step")
    return rows["step"].to_numpy(dtype=float) + 1, rows[name].to_numpy(dtype=float)
