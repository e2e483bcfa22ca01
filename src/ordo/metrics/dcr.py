"""Distance to the closest record: does a model copy the rows it was trained on?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from ordo.metrics.encoding import one_hot_categorical, scaled_numeric
from ordo.metrics.inputs import CATEGORICAL, Kinds, checked, columns_of, subsample

BLOCK = 1 << 24  # distances held at a time: 128 MiB


def dcr(
    synthetic: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    kinds: Kinds,
    *,
    rows: int | None = None,
    seed: int = 0,
) -> float:
    """Share of synthetic rows nearer to training rows than to holdout rows; a tie counts half.

    In [0, 1]; 0.5 is ideal, more shows a model that copies its training rows, less is never a
    merit. The longer of ``train`` and ``holdout`` is subsampled by ``seed`` to the length of the
    other, else 0.5 would not be the ideal: TabSyn and TabDiff train anew on half of the rows and
    hold out the other half. The distance is L1. Numeric columns are divided by their training range
    (1 for a constant column). Categories are one-hot, so that a difference costs 2; missing is a
    category. A missing number is the training mean plus 1 for being missing.

    rows: at most as many rows of each table, drawn by ``seed``; None: all.

    TabSyn and TabDiff count a tie for the holdout, which takes a model of few categories below 0.5;
    half a count keeps the ideal at 0.5. Raises ValueError: see ``ordo.metrics.inputs.checked``.
    Source: Zhang et al., Mixed-Type Tabular Data Synthesis with Score-based Diffusion in Latent
    Space (TabSyn), 2024 (arXiv 2310.09656).
    """
    synthetic, train, holdout = checked(kinds, synthetic=synthetic, train=train, holdout=holdout)
    size = min(len(train), len(holdout), rows or len(train))
    tables = [
        subsample(synthetic, rows, seed, 0),
        subsample(train, size, seed, 1),
        subsample(holdout, size, seed, 2),
    ]
    numeric = scaled_numeric(kinds, train, *tables)[1:]  # scaled on all training rows
    categorical = [block.astype(np.float32) for block in one_hot_categorical(kinds, *tables)]
    columns = len(columns_of(kinds, CATEGORICAL))
    to_train, to_holdout = (
        _nearest(numeric[0], categorical[0], numeric[i], categorical[i], columns) for i in (1, 2)
    )
    return float(np.mean((to_train < to_holdout) + (to_train == to_holdout) / 2))


def _nearest(
    numbers: np.ndarray, hot: np.ndarray, of_numbers: np.ndarray, of_hot: np.ndarray, columns: int
) -> np.ndarray:
    """L1 distance of each row to the nearest of the other table's rows, in blocks.

    Agreements of one-hot rows are a matrix product of small whole numbers, which is exact.

    Args:
        numbers, of_numbers: the numeric columns of the rows and of the other table.
        hot, of_hot: their one-hot categories.
        columns: how many categorical columns there are.
    """
    out = np.empty(len(numbers))
    step = max(1, BLOCK // len(of_numbers))
    for start in range(0, len(numbers), step):
        block = slice(start, start + step)
        distances = 2.0 * (columns - (hot[block] @ of_hot.T).astype(np.float64))
        if numbers.shape[1]:
            distances += cdist(numbers[block], of_numbers, "cityblock")
        out[block] = distances.min(axis=1)
    return out
