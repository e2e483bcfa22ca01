"""Gradient-boosted trees with fixed settings, and their features.

Numbers are taken as they are, categories as codes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ordo.metrics.encoding import category_codes
from ordo.metrics.inputs import NUMERIC, Kinds

NATIVE_CATEGORIES = 255  # scikit-learn's limit
SETTINGS: dict[str, Any] = {
    "max_iter": 100,
    "learning_rate": 0.1,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 20,
    "early_stopping": False,  # it would depend on the number of rows
}


def tree_features(kinds: Kinds, *tables: pd.DataFrame) -> tuple[list[np.ndarray], np.ndarray]:
    """One matrix a table, and which columns the trees should split as categories.

    Missing numbers stay NaN (the trees send them to the better side), a missing category is a
    category. Codes are shared by the tables. Beyond 255 categories a column is split as a number,
    by the order of its values as text.
    """
    parts: list[list[np.ndarray]] = [[] for _ in tables]
    native = []
    for column, kind in kinds.items():
        if kind == NUMERIC:
            values, size = [table[column].to_numpy(dtype=np.float64) for table in tables], 0
        else:
            values, size = category_codes(*(table[column] for table in tables))
        native.append(kind != NUMERIC and size <= NATIVE_CATEGORIES)
        for part, each in zip(parts, values, strict=True):
            part.append(each.astype(np.float64))
    return [np.column_stack(part) for part in parts], np.array(native)


def filled_where_empty(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both tables with 0 in the columns that have no value in ``train``.

    scikit-learn's trees cannot bin such columns.
    """
    empty = np.isnan(train).all(axis=0)
    return np.where(empty, 0.0, train), np.where(empty, 0.0, test)
