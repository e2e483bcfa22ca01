"""Sequences of a step or an evaluation, and which of their positions are decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


def as_ids(ids: Any, name: str = "tokens") -> Tensor:
    """Token ids as int64: of a tensor or array of whole numbers, of any width.

    name: what messages call the ids. Raises TypeError for floats, truth values and anything else.
    """
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu":
        return torch.from_numpy(ids.astype(np.int64))
    if isinstance(ids, Tensor) and not (
        ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool
    ):
        return ids.long()
    array = isinstance(ids, Tensor | np.ndarray)
    what = f"values of {ids.dtype}" if array else f"a {type(ids).__name__}"
    raise TypeError(
        f"{name} must be whole numbers, a tensor or an array (n, length), not {what}; "
        "torch.as_tensor makes a tensor of a list"
    )


class Batch(NamedTuple):
    """Clean sequences, the positions that are given, and the lengths where sequences are padded.

    Objectives, likelihoods and order laws take a batch whole. A position is *given* (known and no
    padding: revealed from the start, never masked), *padding* (never masked, seen or counted,
    whatever token stands there), or *decoded*: the model has to predict the token.

    Args:
        tokens: (n, length) int64.
        known: (n, length) bool; None: nothing is given.
        lengths: (n,) int64, at least 1, later positions are padding; None: there is no padding.
    """

    tokens: Tensor
    known: Tensor | None = None
    lengths: Tensor | None = None

    @classmethod
    def of(cls, batch: Any) -> Batch:
        """A batch as it is, or made of bare tokens, or of a tuple such as (tokens, known).

        Tokens may be a tensor or a NumPy array, of whole numbers of any width. Raises TypeError for
        other tokens, ValueError for shapes that do not agree.
        """
        parts = list(batch) if isinstance(batch, tuple | list) else [batch]
        if not 1 <= len(parts) <= 3 or any(isinstance(part, tuple | list) for part in parts):
            raise TypeError(
                "a batch is tokens (n, length), or a tuple (tokens, known, lengths), of tensors or "
                "arrays; torch.as_tensor makes a tensor of a list of rows"
            )
        tokens = as_ids(parts[0])
        if tokens.ndim != 2:
            raise ValueError(f"tokens must be (n, length), got the shape {tuple(tokens.shape)}")
        more = [None if x is None else torch.as_tensor(x) for x in parts[1:]]
        known, lengths = (*more, None, None)[:2]
        if known is not None and (known.dtype != torch.bool or known.shape != tokens.shape):
            has = f"{known.dtype} of the shape {tuple(known.shape)}"
            raise ValueError(f"known must be bool {tuple(tokens.shape)} as the tokens, got {has}")
        if lengths is not None and lengths.shape != tokens.shape[:1]:
            raise ValueError(
                f"lengths must be ({len(tokens)},) for {len(tokens)} sequences, got the shape "
                f"{tuple(lengths.shape)}"
            )
        return cls(tokens, known, lengths)

    @property
    def whole(self) -> bool:
        """Whether every position of every sequence is decoded, as far as is clear without looking
        at data.
        """
        return self.known is None and self.lengths is None

    @property
    def present(self) -> Tensor | None:
        """(n, length) bool, True where there is no padding; None: there is none."""
        if self.lengths is None:
            return None
        return (
            torch.arange(self.tokens.shape[1], device=self.lengths.device) < self.lengths[:, None]
        )

    @property
    def given(self) -> Tensor:
        """(n, length) bool."""
        if self.known is None:
            return torch.zeros_like(self.tokens, dtype=torch.bool)
        present = self.present
        return self.known if present is None else self.known & present

    @property
    def decoded(self) -> Tensor:
        """(n, length) bool."""
        out = torch.ones_like(self.tokens, dtype=torch.bool) if self.known is None else ~self.known
        present = self.present
        return out if present is None else out & present

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        known, lengths = (x if x is None else change(x) for x in (self.known, self.lengths))
        return Batch(change(self.tokens), known, lengths)

    def repeat(self, draws: int) -> Batch:
        """Every sequence ``draws`` times: row d * n + i is draw d of sequence i."""
        return self._each(lambda x: x.repeat(draws, *[1] * (x.ndim - 1)))

    def rows(self, rows: Tensor | slice) -> Batch:
        """The sequences of these rows."""
        return self._each(lambda x: x[rows])

    def split(self, size: int) -> list[Batch]:
        """Batches of at most ``size`` sequences each, in turn."""
        return [self.rows(slice(i, i + size)) for i in range(0, len(self.tokens), size)]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch on a device."""
        return self._each(lambda x: x.to(device, non_blocking=non_blocking))

    def decoded_first(self, order: Tensor) -> Tensor:
        """Orders (n, length) with given positions moved to the front and padding to the end.

        Each of the three parts keeps its order.
        """
        if self.whole:
            return order
        place = torch.ones_like(order, dtype=torch.int8)
        if self.known is not None:
            place = place - self.known.gather(1, order).to(torch.int8)
        if self.lengths is not None:
            place = torch.where(order >= self.lengths[:, None], 2, place)
        return order.gather(1, place.argsort(dim=1, stable=True))

    def zero_undecoded(self, by_rank: Tensor) -> Tensor:
        """Values (n, length) by rank of orders from ``decoded_first``, 0 at ranks of undecoded
        positions.
        """
        if self.whole:
            return by_rank
        rank = torch.arange(by_rank.shape[1], device=by_rank.device)
        first = self.given.sum(1, keepdim=True)
        decoded = (rank >= first) & (rank < first + self.decoded.sum(1, keepdim=True))
        return torch.where(decoded, by_rank, 0.0)

    def n_leading_given(self) -> int:
        """How many leading ranks are given in every row, less than length.

        Reads the data, so it waits for a GPU; 0 under torch.compile, whose graph may not depend on
        data.
        """
        if self.known is None or torch.compiler.is_compiling():
            return 0
        return min(int(self.given.sum(1).min()), self.tokens.shape[1] - 1)


def check_ids(batch: Batch, vocab_size: int) -> None:
    """Raises ValueError where a token that is no padding is outside of 0..vocab_size-1.

    The mask id, ``vocab_size``, is no token of data.
    """
    wrong = (batch.tokens < 0) | (batch.tokens >= vocab_size)
    present = batch.present
    wrong = wrong if present is None else wrong & present
    if bool(wrong.any()):
        row, position = wrong.nonzero()[0].tolist()
        token = int(batch.tokens[row, position])
        why = ", the mask, which stands in no data" if token == vocab_size else ""
        raise ValueError(
            f"sequence {row} has the id {token} at position {position}{why}: ids of this "
            f"vocabulary are 0 to {vocab_size - 1}"
        )


def seen_by(denoiser: Any, batch: Batch) -> dict[str, Tensor]:
    """What a denoiser must be told of padding: nothing if it is order-causal, since padding comes
    last in every order.
    """
    present = None if denoiser.order_causal else batch.present
    return {} if present is None else {"present": present}
