"""How long sequences become, for models whose sequences are documents of different lengths."""

from __future__ import annotations

import torch
from torch import Tensor

from ordo.randomness import RowRandom, row_seeds


def drawn_lengths(
    lengths: Tensor | None, known: Tensor | None, length: int | None, n: int, most: int, seed: int
) -> Tensor | None:
    """Number of tokens of every sequence, (n,), never fewer than are given; None: all.

    Args:
        lengths: of the documents, (m,), that the model was trained on. One of them is drawn, as a
            function of the seed and the sequence's number. None: sequences are whole.
        known: which positions are given, (n, most).
        length: of every sequence, instead of a drawn one.

    Raises ValueError for a length that does not fit.
    """
    if lengths is None:
        if length is not None:
            raise ValueError(
                f"length={length}: sequences of this model are whole; length is for models of "
                "documents"
            )
        return None
    if length is not None and not 1 <= length <= most:
        raise ValueError(f"length={length}: must be in 1..{most}, the model's length")
    if length is not None:
        drawn = torch.full((n,), length)
    else:
        u = RowRandom(row_seeds(seed, n)).uniform(-2, 0, 1)[:, 0]  # no step of a sampler
        drawn = lengths[(u * len(lengths)).long()]
    if known is None:
        return drawn
    given = (known * torch.arange(1, most + 1)).amax(1)
    if length is not None and int(given.max()) > length:
        raise ValueError(f"length={length}: the template alone has {int(given.max())} tokens")
    return torch.maximum(drawn, given)
