"""A corpus as sequences of equal length: documents joined and cut, or one document each."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ordo.data.module import Batch, SizedDataset
from ordo.data.text.token_cache import TokenCache, check_ids, smallest

CHUNK = 1 << 20  # documents read at a time


def padded(tokens: np.ndarray, starts: np.ndarray, sizes: np.ndarray, length: int) -> np.ndarray:
    """Rows (n, length): each has up to ``length`` tokens of one document, then zeros.

    Args:
        tokens: (total,), all documents one after the other.
        starts: (n,) int64, where each document begins.
        sizes: (n,) int64, how many tokens each document has.
        length: tokens per row.
    """
    if not len(tokens):
        return np.zeros((len(starts), length), tokens.dtype)
    # A shorter row is followed by the next documents here.
    rows = tokens.take(starts[:, None] + np.arange(length), mode="clip")
    return rows * (np.arange(length) < sizes[:, None])


class PackedRows(SizedDataset):
    """Sequence i of a cache: its tokens i * length to (i + 1) * length, read from the disk."""

    longer = 0

    def __init__(self, cache: TokenCache, length: int) -> None:
        n = len(cache.tokens) // length
        self.cache, self.length = cache, length
        # A view: nothing is read
        self.table = np.asarray(cache.tokens[: n * length]).reshape(n, length)

    def __reduce__(self) -> tuple[object, ...]:
        return PackedRows, (self.cache, self.length)

    def __len__(self) -> int:
        return len(self.table)

    def __getitems__(self, indices: list[int]) -> Tensor:
        """(batch, length) int64."""
        return self.batch(np.array(indices)).tokens

    def batch(self, indices: np.ndarray) -> Batch:
        """The rows (batch,), modulo their number."""
        return Batch(torch.from_numpy(self.table[indices % len(self)].astype(np.int64)))


class DocumentRows(SizedDataset):
    """Sequence i of a cache: its i-th document, padded on the right with id 0 to ``length``.

    Documents without a token are left out. Documents of more than ``length`` tokens are cut to it;
    with ``longer="drop"`` they are left out too.

    Attributes:
        longer: how many documents are longer than ``length``.
    """

    def __init__(self, cache: TokenCache, length: int, longer: str = "cut") -> None:
        self.cache, self.policy = cache, longer
        self.tokens, self.ends, self.length = (
            np.asarray(cache.tokens),
            np.asarray(cache.ends),
            length,
        )
        self.longer, kept, last = 0, [], 0
        for first in range(0, len(self.ends), CHUNK):
            ends = self.ends[first : first + CHUNK].astype(np.int64)
            sizes, last = np.diff(ends, prepend=last), ends[-1]
            self.longer += int((sizes > length).sum())
            kept.append((sizes > 0) & (sizes <= length) if longer == "drop" else sizes > 0)
        keep = np.concatenate(kept) if kept else np.zeros(0, bool)
        # 8 bytes a document, only if some are left out
        self.kept = None if keep.all() else np.flatnonzero(keep)
        self.n = len(keep) if self.kept is None else len(self.kept)

    def __reduce__(self) -> tuple[object, ...]:
        return DocumentRows, (self.cache, self.length, self.policy)

    def __len__(self) -> int:
        return self.n

    def __getitems__(self, indices: list[int]) -> Batch:
        """Tokens (batch, length) int64 and lengths."""
        return self.batch(np.array(indices))

    def batch(self, indices: np.ndarray) -> Batch:
        """The documents (batch,), modulo their number."""
        documents = indices % len(self)
        if self.kept is not None:
            documents = self.kept[documents]
        starts = np.where(documents > 0, self.ends[documents - 1].astype(np.int64), 0)
        sizes = np.minimum(self.ends[documents].astype(np.int64) - starts, self.length)
        return Batch(
            torch.from_numpy(padded(self.tokens, starts, sizes, self.length).astype(np.int64)),
            lengths=torch.from_numpy(sizes),
        )


def rows_of(cache: TokenCache, length: int, layout: str, longer: str) -> PackedRows | DocumentRows:
    """The sequences of a cache in a layout."""
    return PackedRows(cache, length) if layout == "packed" else DocumentRows(cache, length, longer)


class Cutter:
    """Cuts batches of documents into sequences, one batch after the other.

    The sequences and their order are those that ``rows_of`` makes of all documents together.
    """

    def __init__(self, length: int, layout: str, longer: str, vocab_size: int) -> None:
        self.length, self.layout, self.longer, self.vocab_size = length, layout, longer, vocab_size
        self.left = np.empty(0, smallest(vocab_size))  # packed: tokens that fill no sequence yet

    def __call__(self, ids: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cuts one batch of documents.

        Args:
            ids: (tokens,), all documents one after the other.
            sizes: (documents,) int64, how many tokens each has.

        Returns sequences (n, length), and how many tokens each has, (n,) int64. Raises DataError
        for an id outside the vocabulary.
        """
        check_ids(ids, self.vocab_size)
        ids = ids.astype(self.left.dtype)
        if self.layout == "packed":
            joined = np.concatenate([self.left, ids])
            n = len(joined) // self.length
            self.left = joined[n * self.length :].copy()
            return joined[: n * self.length].reshape(n, self.length), np.full(n, self.length)
        keep = (sizes > 0) & (sizes <= self.length) if self.longer == "drop" else sizes > 0
        starts, sizes = (np.cumsum(sizes) - sizes)[keep], np.minimum(sizes[keep], self.length)
        return padded(ids, starts, sizes, self.length), sizes
