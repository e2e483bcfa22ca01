"""Documents of a stream, file by file, and the way from documents to sequences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from ordo.data.errors import DataError, StreamError
from ordo.data.loader import State
from ordo.data.module import Rows
from ordo.data.text.sequences import Cutter
from ordo.data.text.source import check_column, explained, located, reason, with_text
from ordo.data.text.tokenizer import Encoder

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import IterableDataset

READ = 256  # documents tokenised at once
SLICES = "data.splits={train: 'train[2000:]', validation: 'train[:1000]', test: 'train[1000:2000]'}"


Cut = tuple[np.ndarray, np.ndarray]  # sequences (n, length) and their lengths (n,)
NOTHING = np.empty(0, np.uint32), np.empty(0, np.int64)  # no documents


@dataclass
class Reader:
    """Turns tables of documents into sequences, one after the other.

    Args:
        column: the column that holds the text.
        encode: documents to ids.
        cutter: ids to sequences; it keeps tokens that fill no sequence yet.
    """

    column: str
    encode: Encoder
    cutter: Cutter

    def __call__(self, table: pa.Table | None, name: str) -> Cut:
        """The sequences of a table of documents, if any. name: its source, for messages."""
        texts = []
        if table is not None:
            check_column(name, self.column, table.column_names)
            texts = with_text(table, self.column)
        return self.cutter(*(self.encode(texts) if texts else NOTHING))


@dataclass(frozen=True)
class Shard:
    """Documents of one file, or a part of them.

    Args:
        dataset: a ``datasets.IterableDataset``.
        name: for messages.
    """

    dataset: IterableDataset
    name: str

    def open(self, state: State | None = None) -> tuple[IterableDataset, Iterator[pa.Table]]:
        """Opens the shard at its beginning, or at a saved state.

        Returns the data set, whose ``state_dict`` is the position, and an iterator over tables of
        ``READ`` documents. Reading raises StreamError.
        """
        dataset = self.dataset.with_format("arrow")  # a new object: the position is kept in it
        if state is not None:
            dataset.load_state_dict(state)
        return dataset, self._tables(dataset.iter(READ))

    def _tables(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        while True:
            try:
                table = next(tables, None)
            except (
                Exception
            ) as error:  # files, decompression, the network: errors of many libraries
                mend = (
                    "mend the file or the network, then go on from the last checkpoint: resume=RUN"
                )
                raise StreamError(
                    f"{self.name}: reading broke off ({reason(error)}); {mend}"
                ) from error
            if table is None:
                return
            yield table


class Streams:
    """The splits of a hub data set or of local files, as shards.

    Attributes:
        fingerprint: changes with the files, their sizes and times, and with the hub's revision.

    Raises DataError, MissingDataError.
    """

    def __init__(self, source: str, config: str | None, revision: str | None) -> None:
        import datasets  # seconds to import, and only corpora need it

        self.source = source
        kind, files = located(source)
        self.files: list[str] = files.get("data_files", {}).get("train", [])
        try:
            if files:
                self.builder = datasets.load_dataset_builder(kind, **files)
            else:
                self.builder = datasets.load_dataset_builder(kind, config, revision=revision)
        except Exception as error:  # the hub and the file readers raise errors of many libraries
            raise explained(error, source, "train") from error
        self.fingerprint = "/".join(Path(self.builder.cache_dir).parts[-3:])

    def shards(self, split: str) -> list[Shard]:
        """The shards of a split, "train", or of a part of it in documents, "train[2000:]".

        Documents are counted up to the part's bounds and no further.
        """
        match = re.fullmatch(r"([\w.-]+)(?:\[(\d*):(\d*)\])?", split)
        if match is None:
            raise DataError(
                f"{self.source}, split {split!r}: of a stream only whole splits and parts in "
                f"documents are known: set {SLICES}"
            )
        name, start, stop = match[1], int(match[2] or 0), int(match[3]) if match[3] else None
        try:
            whole = cast("IterableDataset", self.builder.as_streaming_dataset(name))
            files = [whole.shard(whole.num_shards, i) for i in range(whole.num_shards)]
        except Exception as error:
            raise explained(error, self.source, split, SLICES) from error
        out, seen = [], 0
        for i, dataset in enumerate(files):
            called = (
                self.files[i]
                if len(self.files) == len(files)
                else f"{self.source}, file {i + 1} of {len(files)} of {name}"
            )
            if stop is not None and seen >= stop:
                break
            bound = start if stop is None else stop
            size = self._count(Shard(dataset, called), bound - seen) if seen < bound else 0
            skip = min(max(start - seen, 0), size)
            if seen + size >= bound or skip < size:  # else the whole shard lies before the part
                dataset = dataset.skip(skip) if skip else dataset
                out.append(Shard(dataset if stop is None else dataset.take(size - skip), called))
            seen += size
        if not out:
            raise DataError(
                f"{self.source}, split {split!r}: it has no document there; set {SLICES}"
            )
        return out

    def _count(self, shard: Shard, limit: int) -> int:
        """How many documents a shard has; counting stops at ``limit``."""
        n = 0
        for table in shard.open()[1]:
            n += len(table)
            if n >= limit:
                return limit
        return n

    def first(self, split: str, limit: int, reader: Reader) -> Rows:
        """The first ``limit`` sequences of a split, or all if the split has fewer.

        Raises DataError if the split has no sequence.
        """
        found: list[Cut] = []
        n = 0
        for table in (table for shard in self.shards(split) for table in shard.open()[1]):
            found.append(reader(table, self.source))
            n += len(found[-1][0])
            if n >= limit:
                break
        if n == 0:
            raise DataError(
                f"{self.source}, split {split}: not one sequence of length={reader.cutter.length}; "
                "use less length or more text"
            )
        tokens, lengths = (np.concatenate(part)[:limit] for part in zip(*found, strict=True))
        packed = reader.cutter.layout == "packed"
        return Rows(
            torch.from_numpy(tokens.astype(np.int32)),
            lengths=None if packed else torch.from_numpy(lengths),
        )
