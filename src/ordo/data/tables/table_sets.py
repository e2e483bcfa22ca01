"""The six tables of the paper (arXiv 2511.19152): files, checksums, column kinds, splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ordo.data.errors import DataError
from ordo.data.tables.csv_file import read_text
from ordo.data.tables.frames import read_table
from ordo.data.tables.kinds import typed

# Adult's '?' is a category, as in the papers that use the table.
MISSING_IN_SETS = (
    "",
    "NA",
)
_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"
_ADULT = [
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation",
    "relationship", "race", "sex",
    "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
]  # fmt: skip
_MAGIC = [
    "fLength", "fWidth", "fSize", "fConc", "fConc1", "fAsym", "fM3Long", "fM3Trans", "fAlpha",
    "fDist", "class",
]  # fmt: skip


@dataclass(frozen=True)
class RawFile:
    """A file as its source ships it.

    Args:
        name: of the file.
        md5: None: unknown, or it differs between copies.
        url: None: a program cannot fetch the file.
        rows: how many it must have; None: unchecked.
    """

    name: str
    md5: str | None
    url: str | None
    rows: int | None = None


@dataclass(frozen=True)
class TableSet:
    """A named table.

    Args:
        files: its files.
        read: the raw columns of a file.
        categorical: columns that are categories; all other columns are numeric.
        target: the column that a model would predict.
        test_file: number of the file that is the official test set; None: a random 90/10 split.
        by_hand: how to get the files, if no program can fetch them.
    """

    files: tuple[RawFile, ...]
    read: Callable[[Path], pd.DataFrame]
    categorical: tuple[str, ...]
    target: str
    test_file: int | None = None
    by_hand: str | None = None

    def frame(self, path: Path) -> pd.DataFrame:
        """A file with numeric columns as float64 and categories as strings.

        Raises DataError for another layout.
        """
        frame = self.read(path)
        absent = [
            column for column in (*self.categorical, self.target) if column not in frame.columns
        ]
        if absent:
            raise DataError(
                f"{path} lacks the column {absent[0]!r}; is it the file that UCI ships?"
            )
        kinds = {
            column: "categorical" if column in self.categorical else "numeric"
            for column in frame.columns
        }
        return typed(frame, kinds, MISSING_IN_SETS, str(path))


def _named(path: Path, names: list[str]) -> pd.DataFrame:
    frame = read_table(path, header=False)
    if frame.shape[1] != len(names):
        raise DataError(
            f"{path} has {frame.shape[1]} columns, expected {len(names)}; is it the file that UCI "
            "ships?"
        )
    return frame.set_axis(names, axis=1)


def _adult(path: Path) -> pd.DataFrame:
    lines = [line.rstrip().rstrip(".") for line in read_text(path).split("\n")]
    rows = [
        [cell.strip() for cell in line.split(",")]
        for line in lines
        if line and not line.startswith("|")
    ]
    if not rows or any(len(row) != len(_ADULT) for row in rows):
        raise DataError(
            f"{path}: every line must have {len(_ADULT)} values; is it the file that UCI ships?"
        )
    return pd.DataFrame(rows, columns=_ADULT)


def _beijing(path: Path) -> pd.DataFrame:
    frame = read_table(path).drop(columns="No", errors="ignore")
    return frame[~(frame == "NA").any(axis=1)].reset_index(drop=True)


def _default(path: Path) -> pd.DataFrame:
    frame = read_table(path).drop(columns="ID", errors="ignore")
    return frame.rename(
        columns={"default.payment.next.month": "Default", "default payment next month": "Default"}
    )


def _news(path: Path) -> pd.DataFrame:
    frame = read_table(path).drop(columns="url", errors="ignore")
    for prefix, column in (("data_channel_is_", "data_channel"), ("weekday_is_", "weekday")):
        group = [name for name in frame.columns if name.startswith(prefix)]
        if not group:
            raise DataError(f"{path} lacks the columns {prefix}...; is it the file that UCI ships?")
        flags = frame[group].astype(float).to_numpy() == 1
        names = [name.removeprefix(prefix) for name in group]
        if (flags.sum(1) > 1).any():
            raise DataError(
                f"{path}: row {int((flags.sum(1) > 1).argmax()) + 1} has several of {prefix}...; "
                "is it the file that UCI ships?"
            )
        # Some articles have no channel.
        values = [names[row.argmax()] if row.any() else "none" for row in flags]
        frame = frame.drop(columns=group).assign(**{column: values})
    return frame


_ADULT_CATEGORIES = (
    "workclass", "education", "marital-status", "occupation", "relationship", "race", "sex",
    "native-country", "income",
)  # fmt: skip
_DEFAULT_CATEGORIES = (
    "SEX", "EDUCATION", "MARRIAGE", "PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6",
    "Default",
)  # fmt: skip
_SHOPPERS_CATEGORIES = (
    "Month", "OperatingSystems", "Browser", "Region", "TrafficType", "VisitorType", "Weekend",
    "Revenue",
)  # fmt: skip

TABLE_SETS = {
    "adult": TableSet(
        (
            RawFile("adult.data", "5d7c39d7b8804f071cdd1f2a7c460872", f"{_UCI}/adult/adult.data"),
            RawFile("adult.test", "35238206dfdf7f1fe215bbb874adecdc", f"{_UCI}/adult/adult.test"),
        ),
        _adult,
        _ADULT_CATEGORIES,
        "income",
        test_file=1,
    ),
    "default": TableSet(
        (RawFile("UCI_Credit_Card.csv", None, None, rows=30_000),),
        _default,
        _DEFAULT_CATEGORIES,
        "Default",
        by_hand="UCI ships this table as an .xls ('default of credit card clients', its second "
        "line is the header); save it as CSV",
    ),
    "shoppers": TableSet(
        (
            RawFile(
                "online_shoppers_intention.csv",
                "cc6ec1db03b4f10f8de52c56ff48b085",
                f"{_UCI}/00468/online_shoppers_intention.csv",
            ),
        ),
        read_table,
        _SHOPPERS_CATEGORIES,
        "Revenue",
    ),
    "magic": TableSet(
        (
            RawFile(
                "magic04.data", "bb3888bd588c4b15b24351218f74491e", f"{_UCI}/magic/magic04.data"
            ),
        ),
        lambda path: _named(path, _MAGIC),
        ("class",),
        "class",
    ),
    "beijing": TableSet(
        (
            RawFile(
                "PRSA_data_2010.1.1-2014.12.31.csv",
                "83d51a811a081df89e691643af0edb29",
                f"{_UCI}/00381/PRSA_data_2010.1.1-2014.12.31.csv",
            ),
        ),
        _beijing,
        ("year", "month", "day", "hour", "cbwd"),
        "pm2.5",
    ),
    "news": TableSet(
        (RawFile("OnlineNewsPopularity.csv", None, f"{_UCI}/00332/OnlineNewsPopularity.zip"),),
        _news,
        ("data_channel", "weekday"),
        "shares",
    ),
}
