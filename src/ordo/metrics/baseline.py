"""A table without any dependence: its score under a metric shows what the metric can see."""

from __future__ import annotations

import numpy as np
import pandas as pd


def independent_columns(real: pd.DataFrame, n: int | None = None, seed: int = 0) -> pd.DataFrame:
    """Rows in which every column is drawn, with replacement, from the real column by itself.

    This is the best fully factorised model: shape about 1 and logistic C2ST high; tree C2ST and
    wNMIS low if columns depend on each other.

    n: rows; None: as many as ``real``. Raises ValueError: no rows in ``real``, or n below 1.
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
