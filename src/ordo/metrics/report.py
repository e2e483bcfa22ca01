"""All metrics of tables at once, over repeated draws from one model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import TypedDict

import numpy as np
import pandas as pd

from ordo.metrics.alpha_beta import AlphaBeta, alpha_beta
from ordo.metrics.c2st import c2st
from ordo.metrics.dcr import dcr
from ordo.metrics.inputs import Kinds
from ordo.metrics.mle import mle
from ordo.metrics.shape import shape
from ordo.metrics.trend import trend
from ordo.metrics.wnmis import wnmis

Work = tuple[str, pd.DataFrame]
Progress = Callable[[Sequence[Work], str], Iterable[Work]]


class Summary(TypedDict):
    """One metric over several draws."""

    mean: float | None
    sd: float | None
    values: list[float | None]


def table_report(
    train: pd.DataFrame,
    synthetic_draws: Sequence[pd.DataFrame],
    kinds: Kinds,
    *,
    test: pd.DataFrame | None = None,
    target: str | None = None,
    seed: int = 0,
    rows: int | None = None,
    drop_last: bool = True,
    progress: Progress | None = None,
) -> dict[str, Summary]:
    """All metrics of several synthetic tables: {metric: {"mean", "sd", "values"}}, fit for JSON.

    ``values`` has one value a draw. ``sd`` is over the draws (n - 1), None for a single value. An
    undefined value is None, and so are the mean and sd over it.

    Metrics against ``train``: shape, trend, trend_real_edges, alpha_precision, beta_recall,
    authenticity, c2st_logistic, c2st_trees, wnmis. With ``test`` also dcr (holdout: the test rows).
    With ``test`` and ``target`` also mle, and mle_real: the one value of the same predictor trained
    on ``train``.

    Args:
        train: the real rows.
        synthetic_draws: tables drawn from a model, at least one.
        kinds: column -> "numeric" or "categorical".
        test: real rows that the model has not seen.
        target: the column to predict; it counts as the last column, see ``drop_last``.
        seed: of folds and subsamples, the same in all draws.
        rows: at most as many rows for the metrics by distances (alpha_precision, beta_recall,
            authenticity, dcr); None: every draw needs as many rows as ``train``.
        drop_last: see ``alpha_beta``.
        progress: callable(sequence, description) -> iterable, such as ``ordo.progress.track``.

    Raises ValueError: no draws, ``target`` without ``test``, and the errors of the metrics.
    """
    if len(synthetic_draws) == 0:
        raise ValueError("no synthetic tables; give at least one draw")
    if target is not None and test is None:
        raise ValueError(
            f"target {target!r} needs test rows to predict; pass test, or leave target out"
        )
    if target is not None and target in kinds:
        kinds = {
            **{name: kind for name, kind in kinds.items() if name != target},
            target: kinds[target],
        }
    values: dict[str, list[float]] = {}
    measures: dict[str, Callable[[pd.DataFrame], float | AlphaBeta]] = {
        # First: it asks most of the draw, and fails before anything slow.
        "near": lambda draw: alpha_beta(
            train, draw, kinds, rows=rows, seed=seed, drop_last=drop_last
        ),
        "shape": lambda draw: shape(train, draw, kinds),
        "trend": lambda draw: trend(train, draw, kinds),
        "trend_real_edges": lambda draw: trend(train, draw, kinds, edges="real"),
        "c2st_logistic": lambda draw: c2st(train, draw, kinds, "logistic", seed),
        "c2st_trees": lambda draw: c2st(train, draw, kinds, "trees", seed),
        "wnmis": lambda draw: wnmis(train, draw, kinds),
    }
    if test is not None:
        measures["dcr"] = lambda draw: dcr(draw, train, test, kinds, rows=rows, seed=seed)
        if target is not None:
            measures["mle"] = lambda draw: mle(draw, test, kinds, target, seed)
    work = [(name, draw) for draw in synthetic_draws for name in measures]
    for name, draw in progress(work, "metrics") if progress is not None else work:
        score = measures[name](draw)
        parts = asdict(score) if isinstance(score, AlphaBeta) else {name: score}
        for part, value in parts.items():
            values.setdefault(part, []).append(value)
    if test is not None and target is not None:
        values["mle_real"] = [mle(train, test, kinds, target, seed)]
    return {name: _summary(each) for name, each in values.items()}


def _summary(values: list[float]) -> Summary:
    defined = bool(np.isfinite(values).all())
    return {
        "mean": float(np.mean(values)) if defined else None,
        "sd": float(np.std(values, ddof=1)) if defined and len(values) > 1 else None,
        "values": [float(value) if np.isfinite(value) else None for value in values],
    }
