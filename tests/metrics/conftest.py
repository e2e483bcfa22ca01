"""A table whose columns depend on each other, of every kind, with missing values."""

import numpy as np
import pandas as pd
import pytest

from ordo.metrics.trees import SETTINGS

KINDS = {
    "x": "numeric",
    "y": "numeric",
    "spike": "numeric",
    "group": "categorical",
    "flag": "categorical",
}


def draw(n, seed):
    generator = np.random.default_rng(seed)
    z, u = generator.normal(size=(2, n))
    table = pd.DataFrame({
        "x": z,
        "y": z**2 + 0.2 * u,  # no correlation, all dependence
        "spike": np.where(u > 0.3, 0, np.exp(z)),
        "group": np.array(["a", "b", "c", "d"])[np.digitize(z + 0.3 * u, [-1, 0, 1])],
        "flag": np.where(np.abs(z) > 0.7, "out", "in"),
    })  # fmt: skip
    table.loc[generator.random(n) < 0.05, "y"] = np.nan
    table.loc[generator.random(n) < 0.05, "group"] = None
    return table


@pytest.fixture
def few_trees(monkeypatch):
    """Ten boosted trees, for tests that do not depend on how many there are."""
    monkeypatch.setitem(SETTINGS, "max_iter", 10)


@pytest.fixture
def kinds():
    return dict(KINDS)


@pytest.fixture(scope="session")
def real():
    return draw(1500, 0)


@pytest.fixture(scope="session")
def fresh():
    """Of the same law, and of the same length."""
    return draw(1500, 1)
