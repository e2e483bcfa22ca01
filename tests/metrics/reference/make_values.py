"""The tables here and their values by sdmetrics and synthcity. Run by hand, in two environments:

    python -m venv a && a/bin/pip install sdmetrics==0.32.0
    python -m venv b && b/bin/pip install synthcity==0.2.12 opacus==1.4.1
    a/bin/python make_values.py tables
    a/bin/python make_values.py sdmetrics
    b/bin/python make_values.py synthcity

sdmetrics wants pandas below 3, synthcity torch below 2.3 and numpy below 2 (with the torch it
wants, later opacus does not import). A step rewrites its own entry of values.json. The tables are
drawn with a fixed seed; values.json belongs to the CSV files as committed.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
KINDS = {
    # missing values in both kinds, a constant column, a spike at zero, a column that is constant in
    # the synthetic table only
    "missing": {
        "age": "numeric", "gain": "numeric", "fixed": "numeric", "still": "numeric",
        "hours": "numeric", "work": "categorical", "place": "categorical", "label": "categorical",
    },
    # complete, more than 15 columns once encoded
    "complete": {
        "x": "numeric", "y": "numeric", "count": "numeric",
        "month": "categorical", "grade": "categorical", "label": "categorical",
    },
    # tables of different lengths, categories that the real table lacks, values outside its range
    "unseen": {"a": "numeric", "b": "numeric", "c": "categorical", "d": "categorical"},
}  # fmt: skip


def draw(name: str, n: int, off: float, generator: np.random.Generator) -> pd.DataFrame:
    """n rows; ``off`` is 0 for the real law."""
    z, u = generator.normal(size=(2, n))
    if name == "missing":
        work = np.array(["private", "public", "own", "none"])[
            generator.choice(4, n, p=[0.6, 0.2, 0.15 - off / 10, 0.05 + off / 10])
        ]
        table = pd.DataFrame({
            "age": np.round(40 + (10 + 3 * off) * z, 1),
            "gain": np.where(generator.random(n) < 0.8 - off / 5, 0.0, np.round(np.exp(7 + u), 2)),
            "fixed": 3.5,
            "still": 2.25 if off else np.round(u * z, 3),
            "hours": np.round(40 + 6 * (0.7 * z + 0.7 * (1 - off) * u)),
            "work": work,
            "place": np.array([f"p{i:02d}" for i in range(12)])[
                np.minimum(11, generator.geometric(0.3 - off / 10, n) - 1)
            ],
            "label": np.where(
                z + (work == "private") + generator.normal(size=n) > 1, "high", "low"
            ),
        })  # fmt: skip
        for column, rate in {
            "age": 0.06,
            "hours": 0.1 + off / 10,
            "work": 0.08,
            "place": 0.03,
        }.items():
            table.loc[generator.random(n) < rate, column] = np.nan
        return table
    if name == "complete":
        month = generator.integers(12, size=n)
        return pd.DataFrame({
            "x": np.round(z, 3),
            "y": np.round((0.8 - off) * z + 0.6 * u + off, 3),
            "count": generator.poisson(3 + 2 * (z > 0)),
            "month": [f"m{i:02d}" for i in month],
            "grade": np.array(["a", "b", "c"])[np.digitize(u + month / 6, [0.5, 1.5 + off])],
            "label": np.where(z * u > off, "yes", "no"),
        })  # fmt: skip
    letters = np.array(list("abcdefgh" if off else "abcdef"))
    return pd.DataFrame({
        "a": np.round(z * (1 + off), 4),
        "b": np.round(generator.uniform(-off, 1, n), 4),
        "c": letters[generator.integers(len(letters), size=n)],
        "d": np.where(z > 0, "up", "down"),
    })  # fmt: skip


def load(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    real, synthetic = (pd.read_csv(HERE / f"{name}_{each}.csv") for each in ("real", "synthetic"))
    return real, synthetic


def make_tables() -> None:
    generator = np.random.default_rng(20)
    for name, (n, m) in {
        "missing": (300, 300),
        "complete": (400, 400),
        "unseen": (200, 260),
    }.items():
        draw(name, n, 0.0, generator).to_csv(HERE / f"{name}_real.csv", index=False)
        draw(name, m, 0.25, generator).to_csv(HERE / f"{name}_synthetic.csv", index=False)


def of_sdmetrics(name: str) -> dict:
    from sdmetrics.column_pairs import ContingencySimilarity
    from sdmetrics.reports.single_table import QualityReport
    from sdmetrics.reports.single_table._properties import ColumnPairTrends
    from sdmetrics.single_table import LogisticDetection

    real, synthetic = load(name)
    kinds = KINDS[name]
    metadata = {
        "columns": {
            column: {"sdtype": "numerical" if kind == "numeric" else kind}
            for column, kind in kinds.items()
        }
    }
    report = QualityReport()
    report.generate(real, synthetic, metadata, verbose=False)
    shapes = report.get_details("Column Shapes")
    scores = report.get_properties().set_index("Property")["Score"]
    pairs = ColumnPairTrends()  # by itself its thresholds are 0
    every_pair = pairs.get_score(real, synthetic, metadata)
    scored = pairs.details.set_index(["Column 1", "Column 2"])["Score"].to_dict()
    mixed = {}
    for a, b in scored:
        numeric = [column for column in (a, b) if kinds[column] == "numeric"]
        if len(numeric) == 1:
            mixed[f"{a}|{b}"] = ContingencySimilarity.compute(
                real[[a, b]], synthetic[[a, b]], continuous_column_names=numeric
            )
    out = {
        "shape": scores["Column Shapes"],
        "shape_by_column": shapes.set_index("Column")["Score"].to_dict(),
        "trend": every_pair,
        "trend_by_pair": {f"{a}|{b}": score for (a, b), score in scored.items()},
        "trend_with_report_thresholds": scores["Column Pair Trends"],
        "report_thresholds": [report.real_correlation_threshold, report.real_association_threshold],
        "contingency_by_real_edges": mixed,
    }
    if name != "unseen":  # its one-hot encoder refuses new categories
        out["logistic"] = {}
        for seed in (0, 1):
            np.random.seed(seed)  # noqa: NPY002 - its folds are drawn from the global state
            out["logistic"][seed] = LogisticDetection.compute(
                real_data=real.copy(), synthetic_data=synthetic.copy(), metadata=metadata
            )
    return out


def of_synthcity(name: str) -> dict:
    from sklearn.preprocessing import OneHotEncoder
    from synthcity.metrics.eval_statistical import AlphaPrecision
    from synthcity.plugins.core.dataloader import GenericDataLoader

    real, synthetic = load(name)
    if len(real) != len(synthetic):
        return {}
    numeric = [column for column, kind in KINDS[name].items() if kind == "numeric"]
    categorical = [column for column, kind in KINDS[name].items() if kind == "categorical"]
    encoder = OneHotEncoder().fit(real[categorical].to_numpy().astype(str))
    flagged = [
        column for column in numeric if real[column].isna().any() or synthetic[column].isna().any()
    ]
    loaders = []
    for table in (real, synthetic):
        numbers = table[numeric].fillna(real[numeric].mean()).to_numpy()
        parts = [
            numbers,
            table[flagged].isna().to_numpy(),
            encoder.transform(table[categorical].to_numpy().astype(str)).toarray(),
        ]
        loaders.append(GenericDataLoader(pd.DataFrame(np.hstack(parts).astype(float))))
    with tempfile.TemporaryDirectory() as folder:
        values = AlphaPrecision(workspace=Path(folder), use_cache=False).evaluate(*loaders)
    return {key: float(value) for key, value in values.items() if "naive" in key}


def main(step: str) -> None:
    if step == "tables":
        return make_tables()
    path = HERE / "values.json"
    values = json.loads(path.read_text()) if path.exists() else {}
    packages = (
        "sdmetrics",
        "synthcity",
        "opacus",
        "torch",
        "numpy",
        "pandas",
        "scipy",
        "scikit-learn",
    )
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except ImportError:
            continue
    of = {"sdmetrics": of_sdmetrics, "synthcity": of_synthcity}[step]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values[step] = {"versions": versions, "values": {name: of(name) for name in KINDS}}
    path.write_text(json.dumps(values, indent=1, default=float).replace("NaN", "null") + "\n")
    return None


if __name__ == "__main__":
    main(sys.argv[1])
