"""Where a table of steps may start from: an order that is given, cut or dealt into K steps.

A start is the step of every position, (length,) int64 from 0, for ``StepTable``. A table of equal
probabilities may end in a poor place (on text it does). A start that follows an order that has been
learned one by one, or one that is known, is refined instead.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ordo.batch import Batch
from ordo.denoisers import Denoiser, batch_for
from ordo.denoisers.cost import nll_in_steps
from ordo.likelihood.steps import steps_log_prob
from ordo.samplers.information import best_cut
from ordo.samplers.where import bisection


@torch.no_grad()
def prefix_costs(denoiser: Denoiser, batch: Batch | Tensor, order: Tensor) -> Tensor:
    """(length, length) nats: at [i, j] the mean of -log mu(x of rank j | the first i ranks) for
    j >= i, and 0 below.

    Args:
        order: (length,) int64, of all positions, none of which may be given or padding.

    Raises ValueError for sequences that are not decoded whole.
    """
    batch = batch_for(denoiser, batch)
    if not batch.whole:
        raise ValueError("an order is cut for whole sequences: nothing given, no padding")
    length = len(order)
    orders = order.to(batch.tokens.device).expand_as(batch.tokens)
    rank = torch.arange(length, device=batch.tokens.device)
    out = torch.zeros(length, length, dtype=torch.float64)
    for i in range(length):
        known = torch.zeros_like(orders, dtype=torch.bool).scatter(1, orders[:, :i], True)
        n_before = torch.where(rank < i, rank, i).expand_as(orders)  # one step, of all the others
        given = Batch(batch.tokens, known)
        out[i] = nll_in_steps(denoiser, given, orders, n_before).mean(0).cpu()
    return out


def blocks(order: Tensor, sizes: list[int]) -> Tensor:
    """Steps of these sizes along the order."""
    number = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return torch.empty_like(number).scatter(0, order.cpu(), number)


def streams(order: Tensor, calls: int) -> Tensor:
    """The order dealt into as many streams as are needed, which are read side by side: rank r is
    decoded in step r mod K.
    """
    return order.cpu().argsort() % calls


def coarse_to_fine(length: int, calls: int) -> Tensor:
    """Bisection: the middle of every gap; what is left after K - 1 steps goes into the last one."""
    out = torch.empty(length, dtype=torch.int64)
    for k, group in enumerate(bisection(length)):
        out[group] = min(k, calls - 1)
    return out


def starts(
    denoiser: Denoiser, batch: Batch | Tensor, order: Tensor, calls: int
) -> dict[str, Tensor]:
    """What an order gives for K = ``calls``: "cut" at the best places, "streams", and "bisection",
    which looks at positions alone.
    """
    costs = prefix_costs(denoiser, batch, order)
    return {
        "cut": blocks(order, best_cut(costs, calls)),
        "streams": streams(order, calls),
        "bisection": coarse_to_fine(len(order), calls),
    }


@torch.no_grad()
def loss_of_starts(
    denoiser: Denoiser, batch: Batch | Tensor, each: Mapping[str, Tensor]
) -> dict[str, float]:
    """Mean exact -log p, nats per sequence, of decoding in each of these steps: the start of least
    loss on validation sequences is the one to take.
    """
    return {
        name: -steps_log_prob(denoiser, batch, steps).mean().item() for name, steps in each.items()
    }
