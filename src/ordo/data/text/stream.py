"""Corpora too large to tokenise first: documents are read, tokenised and shuffled while training.

A killed run resumes exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torchdata.stateful_dataloader import StatefulDataLoader

from ordo.data.errors import DataError, StreamError
from ordo.data.loader import StepSampler, data_generator
from ordo.data.module import Batch, Rows, _as_is
from ordo.data.text.sequences import Cutter
from ordo.data.text.source import check_column, explained, located, reason, with_text
from ordo.data.text.tokenizer import Encoder

READ = 256  # documents tokenised at once
ENDLESS = 1 << 40  # batches in a pass: a stream has no known end, runs end by their steps
SLICES = "data.splits={train: 'train[2000:]', validation: 'train[:1000]', test: 'train[1000:2000]'}"


@dataclass(frozen=True)
class Shard:
    """Documents of one file, or a part of them.

    Args:
        dataset: a ``datasets.IterableDataset``.
        name: for messages.
    """

    dataset: Any
    name: str

    def open(self, state: dict[str, Any] | None = None) -> tuple[Any, Iterator[Any]]:
        """Opens the shard at its beginning, or at a saved state.

        Returns the data set, whose ``state_dict`` is the position, and an iterator over tables of
        ``READ`` documents. Reading raises StreamError.
        """
        dataset = self.dataset.with_format("arrow")  # a new object: the position is kept in it
        if state is not None:
            dataset.load_state_dict(state)
        return dataset, self._tables(dataset.iter(READ))

    def _tables(self, tables: Iterator[Any]) -> Iterator[Any]:
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

    def __init__(self, source: str, config: str | None, revision: str | None, column: str) -> None:
        import datasets  # seconds to import, and only corpora need it

        self.source, self.column = source, column
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
            whole: Any = self.builder.as_streaming_dataset(name)
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
            if seen + size >= bound or skip < size:  # else all of it lies before the part
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

    def first(self, split: str, limit: int, encode: Encoder, cutter: Cutter) -> Rows:
        """The first ``limit`` sequences of a split, or all if the split has fewer.

        Raises DataError if the split has no sequence.
        """
        found: list[tuple[np.ndarray, np.ndarray]] = []
        n = 0
        for shard in self.shards(split):
            for table in shard.open()[1]:
                check_column(self.source, self.column, table.column_names)
                texts = with_text(table, self.column)
                if texts:
                    found.append(cutter(*encode(texts)))
                    n += len(found[-1][0])
                if n >= limit:
                    break
            if n >= limit:
                break
        if n == 0:
            raise DataError(
                f"{self.source}, split {split}: not one sequence of length={cutter.length}; use "
                "less length or more text"
            )
        tokens, lengths = (np.concatenate(part)[:limit] for part in zip(*found, strict=True))
        packed = cutter.layout == "packed"
        return Rows(
            torch.from_numpy(tokens.astype(np.int32)),
            lengths=None if packed else torch.from_numpy(lengths),
        )


class StreamRows(Dataset[Any]):
    """Batch ``step`` of a run from an endless stream of documents.

    A batch is a pure function of (documents, seed, step). The order of shards is a function of
    (seed, epoch); documents keep the order of their shard. Sequences are drawn from a buffer of
    ``shuffle_buffer`` sequences, and the next sequences take the places of the drawn ones. An epoch
    ends where the shards end; tokens that fill no sequence are kept for the next epoch.

    Every rank reads and tokenises everything and takes rows r, r + W, ... of the global batch, so
    that the state holds no rank. The state holds the buffer: shuffle_buffer * length * 2 bytes (4
    above 65,536 ids) in every checkpoint.

    Raises StreamError if reading fails, or if an epoch has no sequence.
    """

    def __init__(
        self,
        shards: list[Shard],
        column: str,
        encode: Encoder,
        cutter: Cutter,
        batch_size: int,
        shuffle_buffer: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.shards, self.column, self.encode, self.cutter = shards, column, encode, cutter
        self.batch_size, self.shuffle_buffer, self.seed = batch_size, shuffle_buffer, seed
        self.rank, self.world_size = rank, world_size
        self._begin()

    def _begin(self) -> None:
        self._step, self._epoch, self._shard, self._found = 0, 0, 0, 0
        self._reading: tuple[Any, Iterator[Any]] | None = None
        self._documents: dict[str, Any] | None = (
            None  # the position in the shard; a data set that has just been told one does not know it
        )
        self._buffer: tuple[np.ndarray, np.ndarray] | None = None
        self.cutter.left = self.cutter.left[:0]
        # Sequences that are not in the buffer yet
        self._next = self.cutter(np.empty(0, np.uint32), np.empty(0, np.int64))

    def __getitems__(self, steps: list[int]) -> Any:
        """This rank's part of the batch for the one step in ``steps``.

        Returns tokens (batch, length) int64; with layout="documents", a ``Batch`` with lengths.
        """
        (step,) = steps
        if step < self._step:
            self._begin()
        while self._step < step:  # what a loader fetched ahead and dropped
            self._batch()
        tokens, lengths = (
            torch.from_numpy(x[self.rank :: self.world_size].astype(np.int64))
            for x in self._batch()
        )
        return tokens if self.cutter.layout == "packed" else Batch(tokens, lengths=lengths)

    def _batch(self) -> tuple[np.ndarray, np.ndarray]:
        """The next global batch. A drawn sequence leaves its place in the buffer to the next one."""
        if self._buffer is None:
            self._buffer = self._take(self.shuffle_buffer)
        generator, drawn, missing = (
            data_generator(self.seed, 1, self._step),
            [],
            self.batch_size * self.world_size,
        )
        while missing:
            places = torch.randperm(self.shuffle_buffer, generator=generator)[:missing].numpy()
            drawn.append([x[places] for x in self._buffer])
            for x, new in zip(self._buffer, self._take(len(places)), strict=True):
                x[places] = new
            missing -= len(places)
        self._step += 1
        tokens, lengths = (np.concatenate(x) for x in zip(*drawn, strict=True))
        return tokens, lengths

    def _take(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The next n sequences and their lengths."""
        parts, count = [self._next], len(self._next[0])
        while count < n:
            parts.append(self._read())
            count += len(parts[-1][0])
        tokens, lengths = (np.concatenate(x) for x in zip(*parts, strict=True))
        self._next = tokens[n:].copy(), lengths[n:].copy()
        return tokens[:n], lengths[:n]

    def _current(self) -> Shard:
        order = torch.randperm(
            len(self.shards), generator=data_generator(self.seed, 0, self._epoch)
        )
        return self.shards[int(order[self._shard])]

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        """The sequences of the next documents; none at the end of a shard."""
        shard = self._current()
        if self._reading is None:
            self._reading = shard.open()
        table = next(self._reading[1], None)
        texts = []
        if table is not None:
            self._documents = self._reading[0].state_dict()
            check_column(shard.name, self.column, table.column_names)
            texts = with_text(table, self.column)
        else:
            self._reading, self._documents, self._shard = None, None, self._shard + 1
            if self._shard == len(self.shards):
                if not self._found:
                    raise StreamError(
                        f"{shard.name}: not one document with text that fits "
                        f"length={self.cutter.length}"
                    )
                self._epoch, self._shard, self._found = self._epoch + 1, 0, 0
        ids, sizes = (
            self.encode(texts) if texts else (np.empty(0, np.uint32), np.empty(0, np.int64))
        )
        out = self.cutter(ids, sizes)
        self._found += len(ids) if self.cutter.layout == "packed" else len(out[0])
        return out

    def state_dict(self) -> dict[str, Any]:
        """Everything that determines the next batches, as plain values and copied tensors."""
        return {
            "step": self._step,
            "epoch": self._epoch,
            "shard": self._shard,
            "found": self._found,
            "documents": self._documents,
            "left": to_tensor(self.cutter.left),
            "next": [to_tensor(x) for x in self._next],
            "buffer": None if self._buffer is None else [to_tensor(x) for x in self._buffer],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes to a saved position."""
        state, dtype = state_dict, self.cutter.left.dtype
        self._step, self._epoch, self._shard, self._found = (
            int(state[name]) for name in ("step", "epoch", "shard", "found")
        )
        self.cutter.left = to_array(state["left"], dtype)
        self._next = (
            to_array(state["next"][0], dtype),
            to_array(state["next"][1], np.dtype(np.int64)),
        )
        buffer = state["buffer"]
        self._buffer = (
            None
            if buffer is None
            else (to_array(buffer[0], dtype), to_array(buffer[1], np.dtype(np.int64)))
        )
        self._documents = state["documents"]
        self._reading = None if self._documents is None else self._current().open(self._documents)


def stream_sampler(
    rows: int, shards: int, shuffle_buffer: int, seed: int, fingerprint: str
) -> StepSampler:
    """Numbers of batches without end. rows: sequences of a batch over all ranks."""
    identity = {
        "global_batch_size": rows,
        "seed": seed,
        "shards": shards,
        "shuffle_buffer": shuffle_buffer,
        "stream": fingerprint,
    }
    return StepSampler(ENDLESS, identity)


def stream_loader(
    rows: Dataset[Any], sampler: StepSampler, num_workers: int, pin_memory: bool = False
) -> StatefulDataLoader:
    """Batches of ``StreamRows``, made in this process or ahead in another one."""
    if num_workers == 0:
        return StatefulDataLoader(
            rows, batch_sampler=sampler, collate_fn=_as_is, pin_memory=pin_memory
        )
    # Spawned: threads of tokenizers and of the network do not survive a fork. The worker tells its state, whose buffer is large, only
    # every so often; on resume the loader goes through the batches since.
    workers = {
        "num_workers": num_workers,
        "multiprocessing_context": "spawn",
        "snapshot_every_n_steps": 50,
    }
    return StatefulDataLoader(
        rows, batch_sampler=sampler, collate_fn=_as_is, pin_memory=pin_memory, **workers
    )


def to_tensor(values: np.ndarray) -> torch.Tensor:
    """A copy.

    Unsigned integers become signed ones of the same bits, with which tensors can do more.
    """
    return torch.from_numpy(values.view(np.dtype(f"i{values.itemsize}")).copy())


def to_array(values: torch.Tensor, dtype: np.dtype) -> np.ndarray:
    """The reverse of ``to_tensor``; a copy."""
    return values.numpy().copy().view(dtype)
