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


@dataclass(frozen=True)
class StepRandom:
    """Randomness of optimiser step ``step`` for micro-batch ``shard`` of ``shards``.

    ``shards`` counts ranks times accumulated micro-batches; every shard must hold as many sequences.
    """

    seed: int = 0
    step: int = 0
    shard: int = 0
    shards: int = 1

    def own(self, device: torch.device | str) -> torch.Generator:
        """A generator that differs between shards: masks and orders."""
        return seeded_generator(device, self.seed, self.step, self.shard + 1)

    def stratified(self, n: int, device: torch.device | str) -> Tensor:
        """n uniforms in [0, 1), float64, evenly spread over all shards of the step together.

        One draw u shared by all shards, then frac(u + i / N) for the N sequences of the step
        (Kingma et al. 2021, low-discrepancy times). Each value alone is uniform.
        """
        shared = torch.rand((), dtype=torch.float64, generator=seeded_generator("cpu", self.seed, self.step, 0)).item()
        index = torch.arange(self.shard * n, (self.shard + 1) * n, dtype=torch.float64, device=device)
        return (shared + index / (n * self.shards)).remainder(1.0)
