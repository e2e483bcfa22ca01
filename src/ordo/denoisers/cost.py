"""What a denoiser pays for tokens: -log mu of a revealed set's successors, or of a whole order.

Losses and likelihoods ask here. A denoiser with a method ``nll`` runs its output head only where a
token is asked about, and never holds all logits; other denoisers are asked for logits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ordo.batch import Batch
from ordo.denoisers.protocol import Denoiser
from ordo.denoisers.sets import seen


def nll_of_set(
    denoiser: Denoiser,
    tokens: Tensor,
    target: Tensor,
    where: Tensor,
    present: Tensor | None = None,
    most: int | None = None,
) -> Tensor:
    """-log mu of target at the positions where, (n, length) float64; 0 elsewhere.

    Output head and loss run at these positions alone. Their number is data; where shapes must not
    depend on data (see ``static_shapes``), head and loss run at ``most`` places.

    Args:
        tokens: partly masked, (n, length).
        target: (n, length).
        where: (n, length) bool.
        present: positions that are no padding, (n, length) bool; None: all.
        most: at least the number of positions where; None: n * length.
    """
    nll = getattr(denoiser, "nll", None)
    if nll is None and not _gives_logits(denoiser):
        masked = tokens == denoiser.mask_id
        order = masked.to(torch.int8).argsort(dim=1, stable=True)  # revealed positions first
        log_mu = denoiser.conditionals(target, order, (~masked).sum(1), **seen(present))
        return -torch.where(where, log_mu.gather(-1, target[..., None])[..., 0], 0.0).double()
    if nll is None:
        logits = denoiser(tokens, where=where, **seen(present))
        return scatter(F.cross_entropy(logits, target[where], reduction="none").double(), where)
    if not static_shapes(tokens.device):
        at = where.flatten().nonzero()[:, 0]
        return scatter(nll(tokens, at, target.flatten()[at], present).double(), where)
    n = where.numel()
    most = n if most is None else min(most, n)
    place = torch.where(where.flatten(), where.flatten().cumsum(0) - 1, most)
    at = torch.full((most + 1,), n, device=tokens.device).scatter(
        0, place, torch.arange(n, device=tokens.device)
    )[:most]
    inside = at.clamp(max=n - 1)  # n stands for places that are left over
    cost = nll(tokens, inside, target.flatten()[inside], present).double()
    return cost.new_zeros(n + 1).scatter(0, at, cost)[:n].view_as(where)


def _gives_logits(denoiser: Denoiser) -> bool:
    """Whether the denoiser can be called; likelihoods need its ``conditionals`` alone."""
    forward = getattr(type(denoiser), "forward", nn.Module.forward)
    return forward is not nn.Module.forward


def nll_of_order(
    denoiser: Denoiser, tokens: Tensor, order: Tensor, n_revealed: Tensor | None = None
) -> Tensor:
    """-log mu(x_{pi(i)} | x_{pi(<i)}) by rank, (n, length) float64, of an order-causal denoiser.

    n_revealed: only so many tokens of the order, (n,), are given; None: all before each rank.
    """
    nll = getattr(denoiser, "nll", None)
    if nll is not None:
        return nll(tokens, order, n_revealed).double()
    return nll_of_logits(denoiser(tokens, order, n_revealed), tokens.gather(1, order)).double()


def nll_in_steps(denoiser: Denoiser, batch: Batch, order: Tensor, n_before: Tensor) -> Tensor:
    """-log mu of every decoded token given the tokens of earlier steps alone, by rank, (n, length)
    float64; 0 at ranks of given positions and padding.

    An order-causal denoiser that has a method ``nll_in_steps`` takes one row a sequence; any other
    denoiser takes one row for each step of a sequence.

    Args:
        order: (n, length), given positions first and padding last.
        n_before: (n, length) by rank: how many ranks are of earlier steps.
    """
    method = getattr(denoiser, "nll_in_steps", None)
    if method is not None:
        return batch.zero_undecoded(method(batch.tokens, order, n_before).double())
    cost = torch.zeros(order.shape, dtype=torch.float64, device=order.device)
    rank, decoded = order.argsort(1), batch.decoded.gather(1, order)
    for first in n_before[decoded].unique().tolist():
        mine = decoded & (n_before == first)  # by rank
        rows = mine.any(1)
        some, of, hidden = batch.rows(rows), order[rows], rank[rows] >= first
        if denoiser.order_causal:
            n_revealed = torch.full_like(of[:, 0], first)
            found = nll_of_order(denoiser, some.tokens, of, n_revealed)
        else:
            z = some.tokens.masked_fill(hidden, denoiser.mask_id)
            where = mine[rows].gather(1, rank[rows])
            found = nll_of_set(denoiser, z, some.tokens, where, some.present).gather(1, of)
        cost[rows] = torch.where(mine[rows], found, cost[rows])
    return cost


def nll_of_logits(logits: Tensor, target: Tensor) -> Tensor:
    """-log softmax at target (...): logits (..., vocab) -> (...)."""
    return F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none").view_as(
        target
    )


def static_shapes(device: torch.device) -> bool:
    """Whether no shape may depend on data: in a graph that is compiled, and where a look at data
    waits for the device.
    """
    return device.type != "cpu" or torch.compiler.is_compiling()


def scatter(values: Tensor, where: Tensor) -> Tensor:
    """values, (where.sum(),), in row-major order into zeros of where's shape."""
    return values.new_zeros(where.shape).masked_scatter(where, values)
