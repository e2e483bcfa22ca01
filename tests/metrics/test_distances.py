"""Alpha-precision, beta-recall, authenticity and DCR against loops over rows; ideal values."""

import sys

import numpy as np
import pandas as pd
import pytest

from ordo.metrics import alpha_beta, alpha_precision, beta_recall, dcr, independent_columns


def encoded(reference, table, kinds, hot):
    """Rows as lists of numbers, the slow way. hot: categories of each column, with None."""
    rows = []
    for _, row in table.iterrows():
        out, flags, tail = [], [], []
        for column, kind in kinds.items():
            value = None if pd.isna(row[column]) else row[column]
            if kind == "numeric":
                low, high = reference[column].min(), reference[column].max()
                out.append(
                    ((reference[column].mean() if value is None else value) - low)
                    / ((high - low) or 1)
                )
                flags += [float(value is None)] if None in hot[column] else []
            else:
                tail += [float(value == each) for each in hot[column]]
        rows.append(out + flags + tail)
    return np.array(rows)


def categories(kinds, *tables):
    out = {}
    for column in kinds:
        joined = pd.concat([table[column] for table in tables])
        out[column] = sorted(joined.dropna().unique()) + ([None] if joined.isna().any() else [])
    return out


def test_alpha_beta_by_loops(real, fresh, kinds):
    kinds = {"group": kinds.pop("group"), **kinds}  # flag stays last
    x_table, y_table = real[:120], independent_columns(fresh[:120])
    hot = categories(kinds, x_table, y_table)
    x, y = (encoded(x_table, table, kinds, hot)[:, :-1] for table in (x_table, y_table))
    distance = lambda a, b: float(np.sqrt(((a - b) ** 2).sum()))  # noqa: E731
    nearest_real = [min(distance(x[i], x[j]) for j in range(120) if j != i) for i in range(120)]
    closest = [min(range(120), key=lambda j, i=i: distance(x[i], y[j])) for i in range(120)]
    nearest_synthetic = [distance(x[i], y[closest[i]]) for i in range(120)]
    levels = np.linspace(0, 1, 30)
    to_center = np.array([distance(row, x.mean(0)) for row in y])
    radii = np.quantile([distance(row, x.mean(0)) for row in x], levels)
    spread = np.array([distance(y[j], y.mean(0)) for j in closest])
    covered = np.array(nearest_synthetic) <= np.array(nearest_real)
    precision = [(to_center <= radius).mean() for radius in radii]
    recall = [(covered & (spread <= radius)).mean() for radius in np.quantile(spread, levels)]
    got = alpha_beta(x_table, y_table, kinds)
    assert got.alpha_precision == pytest.approx(
        1 - sum(abs(levels - precision)) / levels.sum(), abs=1e-9
    )
    assert got.beta_recall == pytest.approx(1 - sum(abs(levels - recall)) / levels.sum(), abs=1e-9)
    assert got.authenticity == pytest.approx(
        np.mean([nearest_real[j] < d for j, d in zip(closest, nearest_synthetic, strict=True)])
    )
    assert got.alpha_precision == alpha_precision(x_table, y_table, kinds)
    assert got.beta_recall == beta_recall(x_table, y_table, kinds)


def test_alpha_beta_where_rows_tie():
    """Whole numbers: many rows lie on the edge of a ball, which is within it, or are as far away as
    others, which is no farther.
    """
    kinds = {"v": "numeric"}
    x, y = [0, 0, 2, 4, 4, 6, 8, 8], [1, 1, 1, 4, 4, 7, 7, 7]  # means of 4, and from 0 to 8
    n, levels = len(x), np.linspace(0, 1, 30)
    nearest_real = [min(abs(x[i] - x[j]) for j in range(n) if j != i) for i in range(n)]
    nearest = [min(abs(x[i] - b) for b in y) for i in range(n)]
    closest = [next(b for b in y if abs(x[i] - b) == nearest[i]) for i in range(n)]
    from_mean = [abs(b - 4) for b in closest]
    radii = np.quantile([abs(a - 4) for a in x], levels)
    precision = [np.mean([abs(b - 4) <= r for b in y]) for r in radii]
    covered = [nearest[i] <= nearest_real[i] for i in range(n)]
    radii = np.quantile(from_mean, levels)
    recall = [np.mean([covered[i] and from_mean[i] <= r for i in range(n)]) for r in radii]
    tables = [pd.DataFrame({"v": [float(value) for value in column]}) for column in (x, y)]
    got = alpha_beta(*tables, kinds, drop_last=False)
    want = [1 - sum(abs(levels - curve)) / levels.sum() for curve in (precision, recall)]
    assert [got.alpha_precision, got.beta_recall] == pytest.approx(want, abs=1e-12)
    itself = alpha_beta(tables[0], tables[0], kinds, drop_last=False)
    assert itself.authenticity == 0, "a copy is not farther away than anything"


def test_dcr_by_loops(real, fresh, kinds):
    train, holdout, synthetic = real[:60], fresh[:60], independent_columns(real, 40)
    synthetic.loc[0, "group"] = "new"
    hot = categories(kinds, train, holdout, synthetic)
    a, b, s = (encoded(train, table, kinds, hot) for table in (train, holdout, synthetic))
    score = 0.0
    for row in s:
        near, far = (min(np.abs(row - other).sum() for other in table) for table in (a, b))
        score += 0.5 if near == pytest.approx(far, abs=1e-12) else near < far
    assert dcr(synthetic, train, holdout, kinds) == pytest.approx(score / 40)
    assert 0 < score < 40


def test_dcr_of_categories_alone():
    """Ties are common there, and count half: agree in both, in one, in neither."""
    table = lambda *rows: pd.DataFrame([list(row) for row in rows], columns=["a", "b"])  # noqa: E731
    kinds = {"a": "categorical", "b": "categorical"}
    train, holdout = table("xx", "yy"), table("xx", "yz")
    assert dcr(table("xx"), train, holdout, kinds) == 0.5
    assert dcr(table("yy"), train, holdout, kinds) == 1
    assert dcr(table("yz"), train, holdout, kinds) == 0
    assert dcr(table("ww", "yy", "xy", "zz"), train, holdout, kinds) == pytest.approx(
        (0.5 + 1 + 0.5 + 0) / 4
    )


def test_dcr_ideal_values(real, fresh, kinds):
    train, holdout = real[:700], fresh[:700]
    assert dcr(train, train, holdout, kinds) == 1
    assert dcr(holdout, train, holdout, kinds) == 0
    assert dcr(fresh, train, train, kinds) == 0.5
    assert dcr(fresh[700:], train, holdout, kinds) == pytest.approx(0.5, abs=0.06)
    assert dcr(fresh[700:], real, holdout[:200], kinds) == pytest.approx(0.5, abs=0.08), (
        "the longer table is cut"
    )


def test_blocks_do_not_show(real, fresh, kinds, monkeypatch):
    whole = dcr(fresh, real[:750], real[750:], kinds)
    monkeypatch.setattr(sys.modules["ordo.metrics.dcr"], "BLOCK", 7 * 750)
    assert dcr(fresh, real[:750], real[750:], kinds) == whole


def test_rows(real, fresh, kinds):
    some = alpha_beta(real, fresh, kinds, rows=300, seed=1)
    assert some == alpha_beta(real, fresh, kinds, rows=300, seed=1)
    assert some != alpha_beta(real, fresh, kinds, rows=300, seed=2)
    assert some.alpha_precision == pytest.approx(
        alpha_beta(real, fresh, kinds).alpha_precision, abs=0.05
    )
    assert alpha_beta(real, fresh[:400], kinds, rows=300).alpha_precision > 0.9, (
        "lengths may differ then"
    )
    assert dcr(fresh, real, fresh, kinds, rows=200, seed=1) == dcr(
        fresh, real, fresh, kinds, rows=200, seed=1
    )
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="positive"):
            alpha_beta(real, fresh, kinds, rows=wrong)
        with pytest.raises(ValueError, match="positive"):
            dcr(fresh, real, fresh, kinds, rows=wrong)
