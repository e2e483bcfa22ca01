"""How to spend calls: step sizes from the information profile, the loss against the number of
tokens revealed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def factorisation_kl(profile: Tensor, sizes: Sequence[int]) -> float:
    """Predicted nats lost by decoding several tokens at once: sum_k s_k f(n_k) - sum_n f(n).

    Exact in expectation for orders drawn uniformly and an exact denoiser.

    Args:
        profile: f(n), mean loss of the next token given n revealed, (length,) nats.
        sizes: s_k of the steps; n_k tokens are revealed before step k.

    Raises ValueError unless the sizes sum to length.
    """
    if sum(sizes) != len(profile) or min(sizes) < 1:
        raise ValueError(f"sizes must be positive and sum to {len(profile)}, got {list(sizes)}")
    before, total = 0, 0.0
    for size in sizes:
        total += size * float(profile[before])
        before += size
    return total - float(profile.sum())


def best_sizes(profile: Tensor, calls: int) -> list[int]:
    """Sizes of ``calls`` steps of least predicted ``factorisation_kl``, by a dynamic programme over
    tokens revealed: O(calls length^2).

    profile: (length,) nats. Raises ValueError unless 1 <= calls <= length.
    """
    length = len(profile)
    if not 1 <= calls <= length:
        raise ValueError(f"calls must be from 1 to {length}, got {calls}")
    f = profile.double().cpu()
    n = torch.arange(length + 1)
    width = (n[None, :] - n[:, None]).double()  # tokens of a step from n to m
    cost = torch.where(width > 0, width * torch.cat([f, f.new_zeros(1)])[:, None], torch.inf)
    best = torch.full((length + 1,), torch.inf, dtype=torch.float64)
    best[0] = 0.0
    came_from = []
    for _ in range(calls):
        best, source = (best[:, None] + cost).min(0)
        came_from.append(source)
    at, sizes = length, []
    for source in reversed(came_from):
        before = int(source[at])
        sizes.append(at - before)
        at = before
    return sizes[::-1]
