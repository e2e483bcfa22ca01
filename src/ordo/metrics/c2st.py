"""Classifier two-sample test: can a classifier tell synthetic rows from real ones?"""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler

from ordo.metrics.encoding import one_hot_categorical
from ordo.metrics.inputs import NUMERIC, Kinds, checked, columns_of
from ordo.metrics.trees import SETTINGS, filled_where_empty, tree_features

Classifier = Literal["logistic", "trees"]
FOLDS = 3


def c2st(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    kinds: Kinds,
    classifier: Classifier = "logistic",
    seed: int = 0,
) -> float:
    """1 - mean over folds of max(0, 2 AUC - 1), AUC of real against synthetic held-out rows.

    In [0, 1], higher better, about 1 if the classifier guesses. The folds are three, stratified and
    shuffled by ``seed``; for a seed the result is deterministic.

    "logistic": features and pipeline of sdmetrics LogisticDetection. Missing numbers get the real
    mean (0 if there is none), categories are one-hot with missing as one of them, then RobustScaler
    and LogisticRegression(solver="lbfgs") at its default 100 iterations, converged or not.
    sdmetrics goes by dtype (integer codes of categories are numbers to it) and refuses categories
    that the real table lacks; here ``kinds`` decides, and such categories get columns of their own.
    This classifier cannot see dependence: independent columns score about 1.

    "trees": the same score from HistGradientBoostingClassifier, 100 trees of at most 31 leaves,
    learning rate 0.1, at least 20 rows a leaf, no early stopping; numbers as they are, NaN
    included, categories split as sets up to 255 of them. Published tree numbers use XGBoost (arXiv
    2603.23016), so they compare in order of magnitude only.

    Raises ValueError: unknown classifier, fewer than 3 rows in a table, and see
    ``ordo.metrics.inputs.checked``.
    Source: sdmetrics LogisticDetection.
    """
    real, synthetic = checked(kinds, real=real, synthetic=synthetic)
    if classifier not in ("logistic", "trees"):
        raise ValueError(f"classifier={classifier!r}; use 'logistic' or 'trees'")
    if min(len(real), len(synthetic)) < FOLDS:
        raise ValueError(
            f"{len(real)} real and {len(synthetic)} synthetic rows make no {FOLDS} folds; give at "
            f"least {FOLDS} of each"
        )
    if classifier == "logistic":
        x = np.vstack(_logistic_features(real, synthetic, kinds))
        model = make_pipeline(RobustScaler(), LogisticRegression(solver="lbfgs"))
    else:
        tables, native = tree_features(kinds, real, synthetic)
        x = np.vstack(tables)
        settings = {"categorical_features": native, "random_state": seed, **SETTINGS}
        model = HistGradientBoostingClassifier(**settings)
    y = np.repeat([1, 0], [len(real), len(synthetic)])
    distances = []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, y):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 100 iterations are the definition
            seen, held_out = filled_where_empty(x[train], x[test])
            model.fit(seen, y[train])
        distances.append(
            max(0.0, 2 * roc_auc_score(y[test], model.predict_proba(held_out)[:, 1]) - 1)
        )
    return float(1 - np.mean(distances))


def _logistic_features(
    real: pd.DataFrame, synthetic: pd.DataFrame, kinds: Kinds
) -> list[np.ndarray]:
    numeric = columns_of(kinds, NUMERIC)
    categorical = one_hot_categorical(kinds, real, synthetic)
    # sdmetrics' imputer gives 0 to columns without any real value.
    means = real[numeric].mean().fillna(0.0)
    return [
        np.hstack([table[numeric].fillna(means).to_numpy(dtype=np.float64), block])
        for table, block in zip((real, synthetic), categorical, strict=True)
    ]
