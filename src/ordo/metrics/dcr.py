"""Distance to the closest record: are synthetic rows nearer to the rows trained on than to others of the same law?"""

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
    """Share of synthetic rows whose nearest training row is nearer than their nearest holdout row, a tie counting half.

    In [0, 1]; 0.5 ideal, above it for a model that copies its training rows, below it never by merit. The longer of ``train`` and
    ``holdout`` is subsampled by ``seed`` to the length of the other, else 0.5 would not be the ideal: TabSyn and TabDiff train anew on
    half of the rows and hold out the other half. L1 distance: numeric columns divided by their training range (1 for a constant column),
    categories one-hot, so that a difference costs 2; missing is a category, and a missing number is the training mean plus 1 for being
    missing. ``rows``: at most as many rows of each table, drawn by ``seed``; None: all.

    TabSyn and TabDiff count a tie for the holdout, which takes a model of few categories below 0.5; half is what 0.5 asks for.
    ValueError: see ``ordo.metrics.inputs.checked``.
    Source: Zhang et al., Mixed-Type Tabular Data Synthesis with Score-based Diffusion in Latent Space (TabSyn), 2024 (arXiv 2310.09656).
    """
    synthetic, train, holdout = checked(kinds, synthetic=synthetic, train=train, holdout=holdout)
    size = min(len(train), len(holdout), rows or len(train))
    tables = [
        subsample(synthetic, rows, seed, 0),
        subsample(train, size, seed, 1),
        subsample(holdout, size, seed, 2),
    ]
    numeric = scaled_numeric(kinds, train, *tables)[1:]  # the scale of all training rows
    categorical = [block.astype(np.float32) for block in one_hot_categorical(kinds, *tables)]
    columns = len(columns_of(kinds, CATEGORICAL))
    to_train, to_holdout = (
        _nearest(numeric[0], categorical[0], numeric[i], categorical[i], columns) for i in (1, 2)
    )
    return float(np.mean((to_train < to_holdout) + (to_train == to_holdout) / 2))


def _nearest(
    numbers: np.ndarray, hot: np.ndarray, of_numbers: np.ndarray, of_hot: np.ndarray, columns: int
) -> np.ndarray:
    """L1 distance of each row to the nearest of the others, in blocks. Agreements of one-hot rows are a product: small exact integers."""
    out = np.empty(len(numbers))
    step = max(1, BLOCK // len(of_numbers))
    for start in range(0, len(numbers), step):
        block = slice(start, start + step)
        distances = 2.0 * (columns - (hot[block] @ of_hot.T).astype(np.float64))
        if numbers.shape[1]:
            distances += cdist(numbers[block], of_numbers, "cityblock")
        out[block] = distances.min(axis=1)
    return out
