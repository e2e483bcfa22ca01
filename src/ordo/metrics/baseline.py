"""A table without any dependence: what a metric gives it shows what the metric can see."""

from __future__ import annotations

import numpy as np
import pandas as pd


def independent_columns(real: pd.DataFrame, n: int | None = None, seed: int = 0) -> pd.DataFrame:
    """``n`` rows (None: as many as ``real``), every column drawn with replacement from the real column by itself.

    The best fully factorised model: shape about 1 and logistic C2ST high, tree C2ST and wNMIS low wherever columns depend on each other.
    ValueError: no rows in ``real``, or n below 1.
    """
    if len(real) == 0 or (n is not None and n < 1):
        raise ValueError(f"drawing {n} rows from {len(real)}; both must be positive")
    generator = np.random.default_rng(seed)
    n = len(real) if n is None else n
    return pd.DataFrame(
        {
            column: real[column].array[generator.integers(len(real), size=n)]
            for column in real.columns
        }
    )
