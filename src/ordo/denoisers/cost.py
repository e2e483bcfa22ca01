"""What a denoiser pays for tokens: -log mu of a revealed set's successors, or of a whole order.

Losses and likelihoods ask here, so that the output head runs where a token is asked about alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def nll_of_set(
    denoiser: Any,
    tokens: Tensor,
    target: Tensor,
    where: Tensor,
    present: Tensor | None = None,
    most: int | None = None,
) -> Tensor:
    """-log mu of target (n, length) at the positions where (n, length), given partly masked tokens (n, length): float64, 0 elsewhere.

    Output head and loss run at these positions alone. Their number is data; where shapes must not be (see ``static_shapes``), at ``most``
    positions, which is at least their number; None: at all.
    """
    seen = {} if present is None else {"present": present}
    if not getattr(denoiser, "scores_targets", False):
        logits = denoiser(tokens, where=where, **seen)
        return scatter(F.cross_entropy(logits, target[where], reduction="none").double(), where)
    if not static_shapes(tokens.device):
        at = where.flatten().nonzero()[:, 0]
        return scatter(denoiser(tokens, at=at, target=target.flatten()[at], **seen).double(), where)
    n = where.numel()
    most = n if most is None else min(most, n)
    place = torch.where(where.flatten(), where.flatten().cumsum(0) - 1, most)
    at = torch.full((most + 1,), n, device=tokens.device).scatter(
        0, place, torch.arange(n, device=tokens.device)
    )[:most]
    inside = at.clamp(max=n - 1)  # n stands for places that are left over
    cost = denoiser(tokens, at=inside, target=target.flatten()[inside], **seen).double()
    return cost.new_zeros(n + 1).scatter(0, at, cost)[:n].view_as(where)


def nll_of_order(
    denoiser: Any, tokens: Tensor, order: Tensor, n_revealed: Tensor | None = None
) -> Tensor:
    """-log mu(x_{pi(i)} | x_{pi(<i)}) by rank, (n, length) float64, of an order-causal denoiser; n_revealed (n,): given only so many of
    the order.
    """
    if getattr(denoiser, "scores_targets", False):
        return denoiser(tokens, order, n_revealed, score=True).double()
    target = tokens.gather(1, order)
    logits = denoiser(tokens, order, n_revealed)
    return (
        F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
        .view_as(target)
        .double()
    )


def static_shapes(device: torch.device) -> bool:
    """Whether no shape may depend on data: in a graph that is compiled, and where a look at data waits for the device."""
    return device.type != "cpu" or torch.compiler.is_compiling()


def scatter(values: Tensor, where: Tensor) -> Tensor:
    """values (where.sum(),) into zeros of where's shape, in row-major order."""
    return values.new_zeros(where.shape).masked_scatter(where, values)
