"""The randomness of one training step, as a function of (seed, step, rank) and of nothing else.

A run that was killed and resumed draws the same times, masks and orders as one that was not; the
global generator would not allow that. Low-discrepancy draws are global over ranks and accumulation.
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


_GOLDEN, _MIX_1, _MIX_2 = (
    -7046029254386353131,
    -4658895280553007687,
    -7723592293110705685,
)  # SplitMix64's constants as int64
_ALL = (1 << 64) - 1
_MOST_DRAWS = 1 << 16  # of one sequence in a step


def _mix(state: Tensor) -> Tensor:
    """SplitMix64's finaliser (Steele et al. 2014) of int64 tensors: a bijection whose outputs look independent."""
    state = (
        state ^ ((state >> 30) & 0x3FFFFFFFF)
    ) * _MIX_1  # shifts of int64 keep the sign; the masks drop it
    state = (state ^ ((state >> 27) & 0x1FFFFFFFFF)) * _MIX_2
    return state ^ ((state >> 31) & 0x1FFFFFFFF)


def _mix_number(state: int) -> int:
    """``_mix`` of one number, without a tensor; the result as int64 takes it."""
    state &= _ALL
    state = ((state ^ (state >> 30)) * (_MIX_1 & _ALL)) & _ALL
    state = ((state ^ (state >> 27)) * (_MIX_2 & _ALL)) & _ALL
    state ^= state >> 31
    return state - (1 << 64) if state >> 63 else state


def row_seeds(seed: int, n: int, first: int = 0, device: torch.device | str = "cpu") -> Tensor:
    """Seeds of rows first .. first + n - 1, (n,) int64: a function of ``seed`` and the row's number alone."""
    return _mix(torch.arange(first, first + n, device=device) * _GOLDEN + seed)


class RowRandom:
    """Uniform numbers that are a function of (seed of the row, step, use, position) and of nothing else.

    What is drawn for a row does not depend on which rows share its batch, nor on what was drawn before. rows: (n,) int64 seeds.
    """

    def __init__(self, rows: Tensor):
        self.rows = rows

    def uniform(self, step: int, use: int, length: int) -> Tensor:
        """(n, length) float64 in (0, 1), both ends left out; with 52 bits, so that neither rounds to an end when scaled."""
        start = _mix(self.rows ^ _mix_number((step * 64 + use + 1) * _GOLDEN))
        bits = _mix(start[:, None] + torch.arange(1, length + 1, device=self.rows.device) * _GOLDEN)
        return (((bits >> 12) & 0xFFFFFFFFFFFFF).double() + 0.5) * 2.0**-52


@dataclass(frozen=True)
class StepRandom:
    """Randomness of optimiser step ``step`` for micro-batch ``shard`` of ``shards``.

    ``shards`` counts ranks times accumulated micro-batches; every shard must hold as many sequences. What is drawn for a sequence is a
    function of (seed, step, its number in the step) alone: sequence i of a shard is number i * shards + shard, as ranks take strided
    slices of a batch, so that W processes draw what one process with W times the batch draws.
    """

    seed: int = 0
    step: int = 0
    shard: int = 0
    shards: int = 1

    def numbers(self, n: int, device: torch.device | str) -> Tensor:
        """Of the n sequences of this shard among those of the step, (n,) int64."""
        return torch.arange(self.shard, n * self.shards, self.shards, device=device)

    def uniform(self, draws: int, n: int, length: int, device: torch.device | str) -> Tensor:
        """(draws, n, length) float64 in (0, 1), independent: masks and orders. Raises ValueError for 2^16 draws or more."""
        if draws >= _MOST_DRAWS:
            raise ValueError(f"at most {_MOST_DRAWS - 1} draws of one sequence, got {draws}")
        step = seeded_generator("cpu", self.seed, self.step, 1).initial_seed()
        rows = self.numbers(n, device) * _MOST_DRAWS + torch.arange(draws, device=device)[:, None]
        return (
            RowRandom(_mix(rows * _GOLDEN + step).flatten())
            .uniform(0, 0, length)
            .view(draws, n, length)
        )

    def stratified(self, n: int, device: torch.device | str) -> Tensor:
        """n uniforms in [0, 1), float64, evenly spread within this shard and over all shards of the step together.

        One draw u shared by all shards, then frac(u + i / N) for the N sequences of the step
        (Kingma et al. 2021, low-discrepancy times). Each value alone is uniform.
        """
        shared = torch.rand(
            (), dtype=torch.float64, generator=seeded_generator("cpu", self.seed, self.step, 0)
        ).item()
        return (shared + self.numbers(n, device).double() / (n * self.shards)).remainder(1.0)
