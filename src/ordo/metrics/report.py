"""All metrics of tables at once, over repeated draws from one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ordo.metrics.alpha_beta import alpha_beta
from ordo.metrics.c2st import c2st
from ordo.metrics.dcr import dcr
from ordo.metrics.inputs import Kinds
from ordo.metrics.mle import mle
from ordo.metrics.shape import shape
from ordo.metrics.trend import trend
from ordo.metrics.wnmis import wnmis


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
) -> dict[str, dict[str, Any]]:
    """{metric: {"mean", "sd", "values"}}, one value a draw, JSON-serialisable.

    shape, trend, trend_real_edges, alpha_precision, beta_recall, authenticity, c2st_logistic, c2st_trees, wnmis against ``train``; with
    ``test`` also dcr (holdout: the test rows); with ``test`` and ``target`` also mle, and mle_real: the one value of the same predictor
    trained on ``train``. sd: of the draws (n - 1), None for a single value. An undefined value is None, and so are mean and sd over it.
    ``seed``: of folds and subsamples, the same in all draws. ``rows``: at most as many rows for the metrics by distances (alpha_precision,
    beta_recall, authenticity, dcr); without it every draw needs as many rows as ``train``. ``drop_last``: see ``alpha_beta``; the target
    counts as the last column.

    ValueError: no draws, ``target`` without ``test``, and those of the metrics.
    """
    if len(synthetic_draws) == 0:
        raise ValueError("no synthetic tables; give at least one draw")
    if target is not None and test is None:
        raise ValueError(f"target {target!r} needs test rows to predict; pass test, or leave target out")
    if target is not None and target in kinds:
        kinds = {**{name: kind for name, kind in kinds.items() if name != target}, target: kinds[target]}
    values: dict[str, list[float]] = {}
    for draw in synthetic_draws:
        near = alpha_beta(
            train, draw, kinds, rows=rows, seed=seed, drop_last=drop_last
        )  # first: it asks most of the draw, and fails before anything slow
        scores = {
            "shape": shape(train, draw, kinds),
            "trend": trend(train, draw, kinds),
            "trend_real_edges": trend(train, draw, kinds, edges="real"),
            "alpha_precision": near.alpha_precision,
            "beta_recall": near.beta_recall,
            "authenticity": near.authenticity,
            "c2st_logistic": c2st(train, draw, kinds, "logistic", seed),
            "c2st_trees": c2st(train, draw, kinds, "trees", seed),
            "wnmis": wnmis(train, draw, kinds),
        }
        if test is not None:
            scores["dcr"] = dcr(draw, train, test, kinds, rows=rows, seed=seed)
            if target is not None:
                scores["mle"] = mle(draw, test, kinds, target, seed)
        for name, score in scores.items():
            values.setdefault(name, []).append(score)
    if test is not None and target is not None:
        values["mle_real"] = [mle(train, test, kinds, target, seed)]
    return {name: _summary(each) for name, each in values.items()}


def _summary(values: list[float]) -> dict[str, Any]:
    defined = bool(np.isfinite(values).all())
    return {
        "mean": float(np.mean(values)) if defined else None,
        "sd": float(np.std(values, ddof=1)) if defined and len(values) > 1 else None,
        "values": [float(value) if np.isfinite(value) else None for value in values],
    }
