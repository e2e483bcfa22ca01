"""A pseudo-random permutation of any size whose values are computed one by one, without a table."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

ROUNDS = 6


class LargePermutation:
    """A permutation of 0..n-1 as a function of the generator's state, in constant memory.

    It is a Feistel network (Luby and Rackoff 1988) of six rounds over pairs of b-bit numbers, where
    4^b is the least power of four not below n. The network is applied again until the value lies
    below n (Black and Rogaway 2002), which takes fewer than four applications on average. Its round
    function is SplitMix64's finaliser.
    """

    def __init__(self, n: int, generator: torch.Generator) -> None:
        self.n, self.bits = n, max(1, ((n - 1).bit_length() + 1) // 2)
        keys = torch.randint(-(1 << 63), (1 << 63) - 1, (ROUNDS,), generator=generator)
        self.keys = keys.numpy().view(np.uint64)

    def __call__(self, index: Tensor) -> Tensor:
        """Where the indices int64 (any shape) in 0..n-1 go."""
        values = self._round_trip(index.numpy().ravel().astype(np.uint64))
        while (outside := values >= self.n).any():
            values[outside] = self._round_trip(values[outside])
        return torch.from_numpy(values.astype(np.int64)).view(index.shape)

    def _round_trip(self, values: np.ndarray) -> np.ndarray:
        bits, mask = np.uint64(self.bits), np.uint64((1 << self.bits) - 1)
        left, right = values >> bits, values & mask
        for key in self.keys:
            left, right = right, left ^ (mix(right ^ key) & mask)
        return left << bits | right


def mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al. 2014) of uint64 numbers.

    NumPy, because it is faster than tensors on the few numbers of a batch.
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
