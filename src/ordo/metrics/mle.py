"""Machine-learning efficiency: how good is a predictor that was trained on synthetic rows only?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import roc_auc_score

from ordo.metrics.encoding import category_codes
from ordo.metrics.inputs import NUMERIC, Kinds, checked
from ordo.metrics.trees import SETTINGS, filled_where_empty, tree_features


def mle(
    synthetic_train: pd.DataFrame, real_test: pd.DataFrame, kinds: Kinds, target: str, seed: int = 0
) -> float:
    """Test score, on real rows, of gradient-boosted trees trained on synthetic rows.

    Compare it with the score of trees trained on real rows: ``synthetic_train`` may be the real
    train table too. Categorical target: AUROC in [0, 1], higher better. With more than two classes
    it is the mean over the classes of the test rows of one against the rest; a class never trained
    on counts 0.5. Numeric target: RMSE in the target's units, at least 0, lower better.

    The trees are HistGradientBoosting, 100 trees of at most 31 leaves, learning rate 0.1, at least
    20 rows a leaf, no early stopping. Missing numbers stay missing, a missing category is a
    category. Rows whose target is missing are left out. TabSyn and TabDiff tune XGBoost, and take
    logarithms of the regression targets: transform the column before, and compare with their
    numbers in order of magnitude only.

    Raises ValueError: ``target`` not in ``kinds`` or alone in it, no row with a target, one class
    only among the test rows, and see ``ordo.metrics.inputs.checked``. Source: Xu et al., Modeling
    Tabular Data using Conditional GAN, 2019 (arXiv 1907.00503).
    """
    if target not in kinds:
        raise ValueError(f"target {target!r} is not a column of kinds; use one of {list(kinds)}")
    train, test = checked(kinds, synthetic_train=synthetic_train, real_test=real_test)
    features = {column: kind for column, kind in kinds.items() if column != target}
    if not features:
        raise ValueError(f"target {target!r} is the only column; add columns to predict it from")
    train, test = train[train[target].notna()], test[test[target].notna()]
    if len(train) == 0 or len(test) == 0:
        raise ValueError(
            f"target {target!r} is missing in every {'training' if len(train) == 0 else 'test'} "
            "row; choose another column"
        )
    (x, x_test), native = tree_features(features, train, test)
    x, x_test = filled_where_empty(x, x_test)
    settings = {"categorical_features": native, "random_state": seed, **SETTINGS}
    if kinds[target] == NUMERIC:
        regressor = HistGradientBoostingRegressor(**settings).fit(x, train[target])
        return float(
            np.sqrt(
                np.mean((regressor.predict(x_test) - test[target].to_numpy(dtype=np.float64)) ** 2)
            )
        )
    (y, y_test), _ = category_codes(train[target], test[target])
    classes = np.unique(y_test)
    if len(classes) < 2:
        raise ValueError(
            f"target {target!r} has one class only in the test rows, so no AUROC; use a longer "
            "test table"
        )
    known = np.unique(y)
    if len(known) < 2:
        return 0.5  # nothing to learn: every row scores the same
    scores = HistGradientBoostingClassifier(**settings).fit(x, y).predict_proba(x_test)
    return float(np.mean([_auroc(y_test == each, scores[:, known == each]) for each in classes]))


def _auroc(positive: np.ndarray, score: np.ndarray) -> float:
    """AUROC of scores (rows, 1); 0.5 for scores (rows, 0) of a class never trained on."""
    return float(roc_auc_score(positive, score[:, 0])) if score.shape[1] else 0.5
