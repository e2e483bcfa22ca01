"""The randomness of one training step: a function of (seed, step, rank) and of nothing else.

So a run that was killed and resumed draws the same times, masks and orders as a run that was not;
the global generator would not allow that. Low-discrepancy draws are spread over all ranks and
accumulated micro-batches together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def seeded_generator(device: torch.device | str, *keys: int) -> torch.Generator:
    """A generator on ``device`` seeded by a hash of the integer keys (SplitMix64 folding)."""
    state = 0x9E3779B97F4A7C15
    for key in keys:
        state = (state ^ (key & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ (state >> 30)) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    generator = torch.Generator(device=device)
    generator.manual_seed(state & 0x7FFFFFFFFFFFFFFF)
    return generator


# The constants of SplitMix64 as int64.
_GOLDEN, _MIX_1, _MIX_2 = -7046029254386353131, -4658895280553007687, -7723592293110705685
_ALL = (1 << 64) - 1
_MOST_DRAWS = 1 << 16  # draws of one sequence in a step


def _mix(state: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele et al. 2014): a bijection; its outputs look independent.

    state: int64.
    """
    # Shifts of int64 keep the sign; the masks drop it.
    state = (state ^ ((state >> 30) & 0x3FFFFFFFF)) * _MIX_1
    state = (state ^ ((state >> 27) & 0x1FFFFFFFFF)) * _MIX_2
    return state ^ ((state >> 31) & 0x1FFFFFFFF)


def _mix_number(state: int) -> int:
    """``_mix`` of one number, without a tensor; the result is in the range of int64."""
    state &= _ALL
    state = ((state ^ (state >> 30)) * (_MIX_1 & _ALL)) & _ALL
    state = ((state ^ (state >> 27)) * (_MIX_2 & _ALL)) & _ALL
    state ^= state >> 31
    return state - (1 << 64) if state >> 63 else state


def row_seeds(seed: int, n: int, first: int = 0, device: torch.device | str = "cpu") -> Tensor:
    """Seeds of rows first .. first + n - 1, (n,) int64.

    The seed of a row is a function of ``seed`` and the row's number alone.
    """
    return _mix(torch.arange(first, first + n, device=device) * _GOLDEN + seed)


class RowRandom:
    """Uniform numbers: a function of (seed of the row, step, use, position) and of nothing else.

    The numbers of a row depend neither on the other rows of the batch, nor on earlier draws.

    Args:
        rows: seeds, (n,) int64.
    """

    def __init__(self, rows: Tensor):
        self.rows = rows

    def uniform(self, step: int, use: int, length: int) -> Tensor:
        """Uniform numbers, (n, length) float64 in (0, 1), both ends left out.

        A number has 52 bits, so that no number rounds to an end when it is scaled.
        """
        start = _mix(self.rows ^ _mix_number((step * 64 + use + 1) * _GOLDEN))
        bits = _mix(start[:, None] + torch.arange(1, length + 1, device=self.rows.device) * _GOLDEN)
        return (((bits >> 12) & 0xFFFFFFFFFFFFF).double() + 0.5) * 2.0**-52


@dataclass(frozen=True)
class StepRandom:
    """Randomness of optimiser step ``step`` for micro-batch ``shard`` of ``shards``.

    What is drawn for a sequence is a function of (seed, step, number of the sequence in the step)
    alone. Sequence i of a shard is number i * shards + shard, because ranks take strided slices of
    a batch. So W processes draw what one process with W times the batch draws.

    Args:
        shards: ranks times accumulated micro-batches. All shards must hold as many sequences.
    """

    seed: int = 0
    step: int = 0
    shard: int = 0
    shards: int = 1

    def numbers(self, n: int, device: torch.device | str) -> Tensor:
        """Numbers in the step of the n sequences of this shard, (n,) int64."""
        return torch.arange(self.shard, n * self.shards, self.shards, device=device)

    def uniform(self, draws: int, n: int, length: int, device: torch.device | str) -> Tensor:
        """Independent uniform numbers for masks and orders, (draws, n, length) float64 in (0, 1).

        Raises ValueError for 2^16 draws or more.
        """
        if draws >= _MOST_DRAWS:
            raise ValueError(f"at most {_MOST_DRAWS - 1} draws of one sequence, got {draws}")
        step = seeded_generator("cpu", self.seed, self.step, 1).initial_seed()
        rows = self.numbers(n, device) * _MOST_DRAWS + torch.arange(draws, device=device)[:, None]
        random = RowRandom(_mix(rows * _GOLDEN + step).flatten())
        return random.uniform(0, 0, length).view(draws, n, length)

    def stratified(self, n: int, device: torch.device | str) -> Tensor:
        """n uniform numbers in [0, 1), float64, spread evenly over this shard and over all shards.

        There is one draw u for all shards, and frac(u + i / N) for the N sequences of the step
        (Kingma et al. 2021, low-discrepancy times). Each value alone is uniform.
        """
        generator = seeded_generator("cpu", self.seed, self.step, 0)
        shared = torch.rand((), dtype=torch.float64, generator=generator).item()
        return (shared + self.numbers(n, device).double() / (n * self.shards)).remainder(1.0)
