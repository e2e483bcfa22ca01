"""All metrics together: the same values as alone, over draws, as JSON."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from ordo.metrics import alpha_beta, c2st, dcr, mle, shape, table_report, trend, wnmis

ALWAYS = {
    "shape",
    "trend",
    "trend_real_edges",
    "alpha_precision",
    "beta_recall",
    "authenticity",
    "c2st_logistic",
    "c2st_trees",
    "wnmis",
}


def test_values(real, fresh, kinds, few_trees):
    train, test = real[:600], real[600:]
    draws = [fresh[:600], fresh[600:1200]]
    report = table_report(train, draws, kinds, test=test, target="flag", seed=2)
    assert set(report) == ALWAYS | {"dcr", "mle", "mle_real"}
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    for i, draw in enumerate(draws):
        near = alpha_beta(train, draw, kinds, seed=2)
        alone = {
            **asdict(near),
            "shape": shape(train, draw, kinds),
            "trend": trend(train, draw, kinds),
            "wnmis": wnmis(train, draw, kinds),
            "trend_real_edges": trend(train, draw, kinds, edges="real"),
            "c2st_logistic": c2st(train, draw, kinds, seed=2),
            "c2st_trees": c2st(train, draw, kinds, "trees", seed=2),
            "dcr": dcr(draw, train, test, kinds, seed=2),
            "mle": mle(draw, test, kinds, "flag", seed=2),
        }
        assert {name: report[name]["values"][i] for name in alone} == alone
    of_real = mle(train, test, kinds, "flag", 2)
    assert report["mle_real"] == {"mean": of_real, "sd": None, "values": [of_real]}
    for name in alone:
        assert report[name]["mean"] == pytest.approx(np.mean(report[name]["values"]))
        assert report[name]["sd"] == pytest.approx(
            abs(np.diff(report[name]["values"])[0]) / math.sqrt(2)
        )


def test_what_is_left_out(real, fresh, kinds, few_trees):
    assert set(table_report(real[:200], [fresh[:200]], kinds)) == ALWAYS
    assert set(
        table_report(real[:200], [fresh[:300]], kinds, test=real[200:400], rows=150)
    ) == ALWAYS | {"dcr"}


def test_undefined_is_none(real, kinds):
    numeric = {column: "numeric" for column in ("x", "y")}
    report = table_report(real[:100], [real[:100].assign(y=2.0)], numeric)
    assert report["trend"] == {"mean": None, "sd": None, "values": [None]}
    json.dumps(report, allow_nan=False)


def test_refuses(real, fresh, kinds):
    with pytest.raises(ValueError, match="at least one draw"):
        table_report(real, [], kinds)
    with pytest.raises(ValueError, match="'flag' needs test rows"):
        table_report(real, [fresh], kinds, target="flag")
    with pytest.raises(ValueError, match="1500 real and 10 synthetic"):
        table_report(real, [fresh[:10]], kinds)
