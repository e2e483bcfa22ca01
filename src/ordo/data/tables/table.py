"""Tables with one token per cell: a CSV or Parquet file, a DataFrame, or a set of the paper."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from ordo.data.download import by_hand, check_md5, fetch
from ordo.data.errors import DataError, MissingDataError
from ordo.data.loader import State
from ordo.data.module import Rows, SequenceData, evenly
from ordo.data.tables.codec import TableCodec
from ordo.data.tables.column_names import Name, by_column, one_column
from ordo.data.tables.frames import MISSING, check_frame, read_table
from ordo.data.tables.kinds import Kind, no_value, typed
from ordo.data.tables.reading_notes import reading_notes
from ordo.data.tables.splits import split_rows
from ordo.data.tables.table_sets import MISSING_IN_SETS, TABLE_SETS
from ordo.settings import Part, Seed, Several, Size, Some, Text, Whole, checked


@checked
class TableData(SequenceData):
    """A table, one token per cell; see ``SequenceData`` for what it offers.

    Beyond that, after ``setup``: ``codec`` (tokens to tables and back; fitted on train and
    validation rows, never on test rows), ``vocab_sizes`` (one per column; ``vocab_size`` is the
    largest), ``target``, ``frames`` (split -> DataFrame), and ``notes``, lines on how columns were
    read if that is not obvious.

    Args:
        name: adult, default, shoppers, magic, beijing or news: the paper's tables with their
            published splits.
        path: a CSV or Parquet file. With ``name``: the folder or the (train) file of the set; None:
            ``data_dir/name``, fetched if it is not there.
        frame: a DataFrame instead of a file.
        bins: the largest number of tokens of a numeric column, without the one for a missing value.
        types: column, by its name or its number from 1, -> "numeric", "categorical" or "drop", to
            override the inferred kind (``ordo.data.tables.kinds.typed``); or a YAML file of lines
            NAME: KIND.
        missing: strings and numbers that mean "no value". (Named sets have their own.)
        header, delimiter: of a CSV file.
        target: the column that a model would predict, for metrics, by its name or its number in the
            file from 1; None: unknown.
        test_path: a second file with the test rows; None: ``test_share`` of the rows, drawn with
            ``split_seed``.
        val_share: validation rows, as a share of the rows that are not test rows; drawn with
            ``split_seed``.
        limit_eval: use only so many validation and test rows, evenly spaced; None: all.
        batch_size, eval_batch_size, seed, num_workers: see ``SequenceData``.
        data_dir, download: where named sets lie, and whether they may be fetched.

    Raises:
        SettingError: an argument of another type, or out of range.
        DataError: arguments that do not agree (at once), an unfit table (in ``setup``).
        MissingDataError: no such file.
        ChecksumError: a named set's file is another one.
    """

    unit = "column"

    places = ("path", "test_path", "data_dir", "types")

    def __init__(
        self,
        name: Text | None = None,
        path: Text | None = None,
        frame: pd.DataFrame | None = None,
        bins: Several = 64,
        types: Mapping[Name, Kind] | Text | None = None,
        missing: str | Sequence[str | int | float] = MISSING,
        header: bool = True,
        delimiter: Text = ",",
        target: Text | Whole | None = None,
        test_path: Text | None = None,
        test_share: Part = 0.1,
        val_share: Part = 0.1,
        split_seed: Seed = 1234,
        limit_eval: Size | None = None,
        batch_size: Size = 256,
        eval_batch_size: Size | None = None,
        seed: Seed = 0,
        num_workers: Some = 0,
        data_dir: Text = "data",
        download: bool = True,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed, num_workers)
        if name is not None and name not in TABLE_SETS:
            raise DataError(
                f"unknown table {name!r}; choices: {', '.join(TABLE_SETS)}, or data.path=FILE for "
                "a table of your own"
            )
        if frame is not None and (name is not None or path is not None):
            raise DataError("give either a frame, or a name or path")
        if name is None and path is None and frame is None:
            raise DataError(
                f"which table? data.path=FILE.csv, or data.name= one of {', '.join(TABLE_SETS)}"
            )
        if name is not None and (types or test_path is not None or target is not None):
            raise DataError(
                f"data.name={name} has its own types, target and test rows; leave these out, or "
                "give data.path alone"
            )
        self.set = TABLE_SETS[name] if name is not None else None
        self.name, self.frame, self.bins = name, frame, bins
        self.path = None if path is None else Path(path)
        self.types = types if isinstance(types, str | Path) else dict(types or {})
        self.header, self.delimiter = header, delimiter
        own = (missing,) if isinstance(missing, str) else tuple(missing)
        self.missing = own if name is None else MISSING_IN_SETS
        # A name, once the table is read
        self.target: Any = self.set.target if self.set is not None else target
        self.test_path, self.split_seed = test_path, split_seed
        self.test_share, self.val_share = test_share, val_share
        self.limit_eval, self.data_dir, self.download = limit_eval, Path(data_dir), download
        self.entropy, self.precedence = None, None
        self.md5: dict[str, str] = {}
        self.notes: list[str] = []

    def files(self) -> list[Path]:
        """Where the files of a named set lie."""
        assert self.set is not None
        if self.path is not None and self.path.is_file() and len(self.set.files) == 1:
            return [self.path]
        folder = self.path if self.path is not None else self.data_dir / str(self.name)
        folder = folder.parent if folder.is_file() else folder
        return [folder / file.name for file in self.set.files]

    def prepare_data(self) -> None:
        """Fetches a named set if it is wanted, allowed and not there."""
        if self.set is None or self.path is not None or not self.download:
            return
        for path, file in zip(self.files(), self.set.files, strict=True):
            if not path.exists() and file.url is not None:
                fetch(file.url, path, file.md5)

    def setup(self, stage: str | None = None) -> None:
        """Reads, checks, splits and encodes the table; a second call does nothing."""
        if hasattr(self, "codec"):
            return
        whole, test = self._read()
        if test is None:
            rest, held = split_rows(whole, self.test_share, self.split_seed, self._columns)
            whole, test = whole.iloc[rest], whole.iloc[held]
        train, val = split_rows(whole, self.val_share, self.split_seed, self._columns)
        frames = {"train": whole.iloc[train], "validation": whole.iloc[val], "test": test}
        self.frames = {name: frame.reset_index(drop=True) for name, frame in frames.items()}
        # Test rows may have values there.
        empty = [name for name in whole.columns if whole[name].isna().all()]
        if empty:
            raise no_value(empty[0], self._columns)
        codec = TableCodec.fit(whole, self.bins, self._dtypes)
        tokens = {name: codec.encode(frame) for name, frame in self.frames.items()}
        self.train_set = Rows(tokens["train"])
        self.val_set, self.test_set = (
            Rows(rows[evenly(len(rows), self.limit_eval)])
            for rows in (tokens["validation"], tokens["test"])
        )
        self.length, self.vocab_sizes = len(codec.columns), codec.vocab_sizes
        self.vocab_size = max(codec.vocab_sizes)
        self.ordered, self.codec, self.labels = codec.ordered, codec, list(codec.names)

    def _read(self) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """All rows but an official test set; and the test set, or None."""
        if self.frame is not None:
            return self._typed(check_frame(self.frame, "the frame"), "the frame"), None
        if self.set is None:
            assert self.path is not None
            whole = self._typed(read_table(self.path, self.header, self.delimiter), str(self.path))
            self._note_md5(self.path)
            if self.test_path is None:
                return whole, None
            kinds = {
                n: "numeric" if pd.api.types.is_float_dtype(whole[n]) else "categorical"
                for n in whole.columns
            }
            raw = read_table(self.test_path, self.header, self.delimiter)
            absent = [column for column in kinds if column not in raw.columns]
            if absent:
                raise DataError(f"{self.test_path} lacks the column {absent[0]!r} of {self.path}")
            self._note_md5(Path(self.test_path))
            return whole, typed(raw[list(kinds)], kinds, self.missing, self.test_path)
        frames = []
        for path, file in zip(self.files(), self.set.files, strict=True):
            if not path.is_file():
                mend = (
                    by_hand(file.url, path)
                    if file.url is not None
                    else f"{self.set.by_hand}, in {path.parent}"
                )
                raise MissingDataError(
                    f"no such file: {path} (working folder {Path.cwd()}); say where it is "
                    f"(data.path), or get it: {mend}"
                )
            self._note_md5(path)
            if file.md5 is not None:
                check_md5(str(path), self.md5[path.name], file.md5)
            frames.append(self.set.frame(path))
            if file.rows not in (None, len(frames[-1])):
                raise DataError(
                    f"{path} has {len(frames[-1])} rows, expected {file.rows}; is it the whole "
                    "file?"
                )
        test = self.set.test_file
        self._columns, self._dtypes = list(frames[0].columns), {}
        return (frames[0], None) if test is None else (frames[1 - test], frames[test])

    def _typed(self, raw: pd.DataFrame, name: str) -> pd.DataFrame:
        """A table of the user's own, read; fills ``notes``."""
        self._columns = list(raw.columns)
        kinds = by_column(self.types, self._columns, "data.types", name)
        read = typed(raw, kinds, self.missing, name)
        if self.target is not None:
            if (
                isinstance(self.target, str)
                and self.target not in self._columns
                and not self.target.isdigit()
            ):
                raise DataError(f"data.target={self.target!r} is no column of {name}")
            self.target = one_column(self.target, self._columns, "data.target", name)
            if self.target not in read.columns:
                raise DataError(f"data.target={self.target!r} is a column that data.types drops")
        self.notes = reading_notes(raw, read, kinds, self.missing, name)
        dtypes = {column: raw[column].dtype for column in read.columns}
        text = {
            c: not isinstance(d, pd.CategoricalDtype) and pd.api.types.is_string_dtype(d)
            for c, d in dtypes.items()
        }
        self._dtypes = {
            column: None if text[column] else str(dtype) for column, dtype in dtypes.items()
        }
        return read

    def _note_md5(self, path: Path) -> None:
        with path.open("rb") as file:
            self.md5[path.name] = hashlib.file_digest(file, "md5").hexdigest()

    def decode(self, tokens: Tensor) -> list[str]:
        """Rows as ``name=value, ...``."""
        frame = self.codec.decode(tokens)
        return [
            ", ".join(f"{name}={value}" for name, value in row.items())
            for row in frame.to_dict("records")
        ]

    def describe(self) -> dict[str, object]:
        return {
            "name": self.name or (str(self.path.name) if self.path is not None else "frame"),
            "md5": self.md5,
            **super().describe(),
            "columns": {
                c.name: {"kind": c.kind, "tokens": c.vocab_size, "missing": c.missing}
                for c in self.codec.columns
            },
            "target": self.target,
            "sequences": {name: len(frame) for name, frame in self.frames.items()},
            "bins": self.bins,
            "notes": self.notes,
            "split_seed": self.split_seed,
        }

    def state_dict(self) -> State:
        """Goes into Lightning's checkpoints.

        It has the codec, with which samples become tables without the data, and how files are read.
        """
        reading = {
            "missing": list(self.missing),
            "header": self.header,
            "delimiter": self.delimiter,
            "columns": self._columns,
        }
        return {"codec": self.codec.state_dict(), "target": self.target, "reading": reading}

    def load_state_dict(self, state_dict: State) -> None:
        """Checks that the checkpoint's token ids mean the same values here. Raises DataError."""
        saved = TableCodec.from_state_dict(state_dict["codec"])
        if saved.names != self.codec.names:
            raise DataError(
                f"the checkpoint was trained on the columns {', '.join(saved.names)}, this table "
                f"has {', '.join(self.codec.names)}"
            )
        if not saved.same_as(self.codec):
            name = next(
                a.name
                for a, b in zip(saved.columns, self.codec.columns, strict=True)
                if not TableCodec((a,)).same_as(TableCodec((b,)))
            )
            raise DataError(
                f"column {name!r} is coded otherwise in the checkpoint: the table, its split or "
                "data.bins is another one"
            )
