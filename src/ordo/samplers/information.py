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
    """Sizes of ``calls`` steps of least predicted ``factorisation_kl``.

    profile: (length,) nats. Raises ValueError unless 1 <= calls <= length.
    """
    # For orders drawn uniformly every token of a step costs alike.
    f = profile.double().cpu()
    return best_cut(f[:, None].expand(-1, len(f)), calls)


def best_cut(costs: Tensor, calls: int) -> list[int]:
    """Sizes of ``calls`` steps of least loss for a given order, by a dynamic programme over tokens
    revealed: O(calls length^2).

    Args:
        costs: (length, length) nats: at [i, j] the mean loss of the token of rank j, given the
            tokens of the first i ranks; read where j >= i, see
            ``ordo.likelihood.starts.prefix_costs``.

    Raises ValueError unless 1 <= calls <= length.
    """
    length = len(costs)
    if not 1 <= calls <= length:
        raise ValueError(f"calls must be from 1 to {length}, got {calls}")
    # The loss of a step from rank n to rank m is at [n, m].
    step = costs.double().cpu().triu().cumsum(1)
    cost = torch.full((length + 1, length + 1), torch.inf, dtype=torch.float64)
    later = torch.ones(length, length, dtype=torch.bool).triu()
    cost[:length, 1:] = torch.where(later, step, torch.inf)
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
