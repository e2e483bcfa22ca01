"""Corpora too large to tokenise first: documents are read, tokenised and shuffled while training.

A killed run resumes exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset
from torchdata.stateful_dataloader import StatefulDataLoader

from ordo.data.errors import StreamError
from ordo.data.loader import State, StepSampler, data_generator
from ordo.data.module import Batch, _as_is
from ordo.data.text.shards import Cut, Reader, Shard

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import IterableDataset

ENDLESS = 1 << 40  # batches in a pass: a stream has no known end, runs end by their steps


class StreamRows(Dataset[Batch | torch.Tensor]):
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
        reader: Reader,
        batch_size: int,
        shuffle_buffer: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.shards, self.reader, self.cutter = shards, reader, reader.cutter
        self.batch_size, self.shuffle_buffer, self.seed = batch_size, shuffle_buffer, seed
        self.rank, self.world_size = rank, world_size
        self._begin()

    def _begin(self) -> None:
        self._step, self._epoch, self._shard, self._found = 0, 0, 0, 0
        self._reading: tuple[IterableDataset, Iterator[pa.Table]] | None = None
        # The position in the shard: a data set that was just sent to a position does not know it.
        self._documents: State | None = None
        self._buffer: Cut | None = None
        self.cutter.left = self.cutter.left[:0]
        self._next = self.reader(None, "")  # sequences that are not in the buffer yet

    def __getitems__(self, steps: list[int]) -> Batch | torch.Tensor:
        """This rank's part of the batch for the one step in ``steps``.

        Returns tokens (batch, length) int64; with layout="documents", a ``Batch`` with lengths.
        """
        (step,) = steps
        if step < self._step:
            self._begin()
        while self._step < step:  # batches that a loader fetched ahead and dropped
            self._batch()
        tokens, lengths = (
            torch.from_numpy(x[self.rank :: self.world_size].astype(np.int64))
            for x in self._batch()
        )
        return tokens if self.cutter.layout == "packed" else Batch(tokens, lengths=lengths)

    def _batch(self) -> Cut:
        """The next global batch. A drawn sequence leaves its place in the buffer to a new one."""
        if self._buffer is None:
            self._buffer = self._take(self.shuffle_buffer)
        generator = data_generator(self.seed, 1, self._step)
        drawn, missing = [], self.batch_size * self.world_size
        while missing:
            places = torch.randperm(self.shuffle_buffer, generator=generator)[:missing].numpy()
            drawn.append([x[places] for x in self._buffer])
            for x, new in zip(self._buffer, self._take(len(places)), strict=True):
                x[places] = new
            missing -= len(places)
        self._step += 1
        tokens, lengths = (np.concatenate(x) for x in zip(*drawn, strict=True))
        return tokens, lengths

    def _take(self, n: int) -> Cut:
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

    def _read(self) -> Cut:
        """The sequences of the next documents; none at the end of a shard."""
        shard = self._current()
        if self._reading is None:
            self._reading = shard.open()
        table = next(self._reading[1], None)
        if table is not None:
            self._documents = self._reading[0].state_dict()
        else:
            self._reading, self._documents, self._shard = None, None, self._shard + 1
            if self._shard == len(self.shards):
                if not self._found:
                    raise StreamError(
                        f"{shard.name}: not one document with text that fits "
                        f"length={self.cutter.length}"
                    )
                self._epoch, self._shard, self._found = self._epoch + 1, 0, 0
        out = self.reader(table, shard.name)
        if table is not None:  # tokens that fill no sequence yet are found too
            self._found += len(out[0]) + len(self.cutter.left)
        return out

    def state_dict(self) -> State:
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

    def load_state_dict(self, state: State) -> None:
        """Goes to a saved position."""
        dtype = self.cutter.left.dtype
        self._step, self._epoch, self._shard, self._found = (
            int(state[name]) for name in ("step", "epoch", "shard", "found")
        )

        def cut(saved: list[torch.Tensor]) -> Cut:
            return to_array(saved[0], dtype), to_array(saved[1], np.dtype(np.int64))

        self.cutter.left = to_array(state["left"], dtype)
        self._next = cut(state["next"])
        self._buffer = None if state["buffer"] is None else cut(state["buffer"])
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
    rows: Dataset[Batch | torch.Tensor],
    sampler: StepSampler,
    num_workers: int,
    pin_memory: bool = False,
) -> StatefulDataLoader:
    """Batches of ``StreamRows``, made in this process or ahead in another one."""
    # Spawned: threads of tokenizers and of the network do not survive a fork. The worker tells its
    # state, whose buffer is large, only now and then; on resume the loader repeats the batches
    # since.
    workers = {
        "num_workers": num_workers,
        "multiprocessing_context": "spawn",
        "snapshot_every_n_steps": 50,
    }
    return StatefulDataLoader(
        rows,
        batch_sampler=sampler,
        collate_fn=_as_is,
        pin_memory=pin_memory,
        **(workers if num_workers else {}),
    )


def to_tensor(values: np.ndarray) -> torch.Tensor:
    """A copy.

    Unsigned integers become signed ones of the same bits, with which tensors can do more.
    """
    return torch.from_numpy(values.view(np.dtype(f"i{values.itemsize}")).copy())


def to_array(values: torch.Tensor, dtype: np.dtype) -> np.ndarray:
    """The reverse of ``to_tensor``; a copy."""
    return values.numpy().copy().view(dtype)
