"""Against sdmetrics and synthcity, whose definitions these are, on the tables of reference/.

See the README there.
"""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from ordo.metrics import (
    alpha_beta,
    alpha_precision,
    beta_recall,
    c2st,
    shape,
    shape_by_column,
    trend,
    trend_by_pair,
)

HERE = Path(__file__).parent / "reference"
VALUES = json.loads((HERE / "values.json").read_text())
NAMES = ["missing", "complete", "unseen"]


def load(name):
    real, synthetic = (pd.read_csv(HERE / f"{name}_{each}.csv") for each in ("real", "synthetic"))
    # strings in these tables are the categories
    kinds = {
        column: "numeric" if pd.api.types.is_numeric_dtype(real[column]) else "categorical"
        for column in real
    }
    return real, synthetic, kinds


def close(value, error=1e-6):
    return pytest.approx(float("nan") if value is None else value, abs=error, nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_shape(name):
    values = VALUES["sdmetrics"]["values"][name]
    assert shape_by_column(*load(name)) == {
        column: close(score) for column, score in values["shape_by_column"].items()
    }
    assert shape(*load(name)) == close(values["shape"])


@pytest.mark.parametrize("name", NAMES)
def test_trend(name):
    values = VALUES["sdmetrics"]["values"][name]
    pairs = {f"{a}|{b}": score for (a, b), score in trend_by_pair(*load(name)).items()}
    assert pairs == {pair: close(score) for pair, score in values["trend_by_pair"].items()}
    assert trend(*load(name)) == close(values["trend"])


@pytest.mark.parametrize("name", NAMES)
def test_trend_by_the_real_edges(name):
    expected = VALUES["sdmetrics"]["values"][name]["contingency_by_real_edges"]
    pairs = {
        f"{a}|{b}": score for (a, b), score in trend_by_pair(*load(name), edges="real").items()
    }
    assert {pair: pairs[pair] for pair in expected} == {
        pair: close(score) for pair, score in expected.items()
    }
    assert expected != {
        pair: close(VALUES["sdmetrics"]["values"][name]["trend_by_pair"][pair]) for pair in expected
    }, "the edges matter"


@pytest.mark.parametrize("name", NAMES)
def test_trend_with_thresholds(name):
    values = VALUES["sdmetrics"]["values"][name]
    rho, v = values["report_thresholds"]
    assert trend(*load(name), correlation_threshold=rho, association_threshold=v) == close(
        values["trend_with_report_thresholds"]
    )


@pytest.mark.parametrize("name", ["missing", "complete"])
@pytest.mark.parametrize("seed", [0, 1])
def test_logistic(name, seed):
    """Scores agree to 1e-9 on the machine of the values.

    The optimiser stops before it converges, so another BLAS may swap a few ranks.
    """
    assert c2st(*load(name), seed=seed) == close(
        VALUES["sdmetrics"]["values"][name]["logistic"][str(seed)], 1e-3
    )


@pytest.mark.parametrize("name", ["missing", "complete"])
def test_alpha_beta(name):
    values = VALUES["synthcity"]["values"][name]
    got = alpha_beta(*load(name))
    assert (
        got.alpha_precision
        == close(values["delta_precision_alpha_naive"])
        == alpha_precision(*load(name))
    )
    assert got.beta_recall == close(values["delta_coverage_beta_naive"]) == beta_recall(*load(name))
    assert got.authenticity == close(values["authenticity_naive"])
    assert alpha_beta(*load(name), drop_last=False) != got, "dropping the last column shows"


def test_kinds_are_those_of_the_script(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    script = __import__("make_values")
    monkeypatch.delitem(sys.modules, "make_values")
    assert {name: load(name)[2] for name in NAMES} == script.KINDS
