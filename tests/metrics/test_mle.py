"""Machine-learning efficiency: what is learnable is learned; scores agree with scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ordo.metrics import independent_columns, mle


@pytest.mark.parametrize("target", ["flag", "group"])
def test_classes(real, fresh, kinds, target, few_trees):
    score = mle(real, fresh, kinds, target)
    assert score > 0.9
    assert mle(independent_columns(real), fresh, kinds, target) < 0.7
    assert score == mle(real, fresh, kinds, target, seed=9), "no randomness below 200,000 rows"


def test_regression(real, fresh, kinds):
    spread = fresh["y"].std()
    assert mle(real, fresh, kinds, "y") < 0.5 * spread
    assert mle(independent_columns(real), fresh, kinds, "y") > 0.9 * spread


def test_the_root_of_the_mean_square():
    """One binary feature: the trees say 10 or 20, which is off by 3 and by 4 in the test rows."""
    kinds = {"u": "categorical", "y": "numeric"}
    train = pd.DataFrame({"u": ["p", "q"] * 40, "y": [10.0, 20.0] * 40})
    test = pd.DataFrame({"u": ["p", "q"], "y": [13.0, 16.0]})
    assert mle(train, test, kinds, "y") == pytest.approx(((3**2 + 4**2) / 2) ** 0.5, abs=1e-3)


def test_auroc_of_a_known_score():
    """One binary feature: the trees can only rank by it."""
    kinds = {"u": "categorical", "c": "categorical"}
    train = pd.DataFrame({"u": ["p", "q"] * 40, "c": ["one"] * 20 + ["one", "two"] * 30})
    test = pd.DataFrame({"u": list("ppqqq"), "c": ["one", "two", "two", "two", "one"]})
    expected = roc_auc_score(test["c"] == "two", test["u"] == "q")
    assert mle(train, test, kinds, "c") == pytest.approx(expected)
    assert mle(train.assign(c="one"), test, kinds, "c") == 0.5
    # A class never trained on
    three = pd.concat([test, pd.DataFrame({"u": ["p"], "c": ["three"]})], ignore_index=True)
    of_one = roc_auc_score(three["c"] == "one", three["u"] == "p")
    of_two = roc_auc_score(three["c"] == "two", three["u"] == "q")
    assert mle(train, three, kinds, "c") == pytest.approx((of_one + of_two + 0.5) / 3)


def test_rows_without_target_are_left_out(real, fresh, kinds, few_trees):
    kinds["empty"] = "numeric"
    real, fresh = real.assign(empty=np.nan), fresh.assign(empty=1.0)
    holes = real.assign(flag=real["flag"].where(np.arange(len(real)) % 3 > 0))
    assert mle(holes, fresh, kinds, "flag") == mle(
        real[np.arange(len(real)) % 3 > 0], fresh, kinds, "flag"
    )


def test_refuses(real, fresh, kinds):
    with pytest.raises(ValueError, match="'nothing' is not a column"):
        mle(real, fresh, kinds, "nothing")
    with pytest.raises(ValueError, match="'x' is the only column"):
        mle(real, fresh, {"x": "numeric"}, "x")
    with pytest.raises(ValueError, match="one class only"):
        mle(real, fresh[fresh["flag"] == "in"], kinds, "flag")
    with pytest.raises(ValueError, match="'y' is missing in every training row"):
        mle(real.assign(y=np.nan), fresh, kinds, "y")
