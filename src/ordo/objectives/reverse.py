"""The step of the bound at a revealed set: what the next token costs, and what the reverse law
costs besides.

A schedule whose law depends on the tokens has another law in reverse, where the tokens are not
known; the *reverse gap* is the price of the difference. For laws of positions the reverse law is
the forward law, and the gap is 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ordo.batch import Batch
from ordo.denoisers import Denoiser
from ordo.denoisers.cost import nll_of_order, nll_of_set, scatter, static_shapes
from ordo.objectives.prefix import Prefix
from ordo.order import PlackettLuce
from ordo.schedules import Schedule

BOUNDS = ("jump", "rate")


def check_reverse(denoiser: Denoiser, schedule: Schedule, bound: str = "jump") -> None:
    """Raises ValueError for an unknown bound, and for u with an order-causal denoiser."""
    if bound not in BOUNDS:
        raise ValueError(f"bound={bound!r}: choose jump or rate")
    if denoiser.order_causal and schedule.log_u() is not None:
        raise ValueError(
            f"the rates of {type(schedule).__name__} need the distributions of all masked tokens "
            "at every step, which an order-causal denoiser does not give at once: use "
            "denoiser=bidirectional"
        )


def reverse_step(
    denoiser: Denoiser,
    schedule: Schedule,
    batch: Batch,
    masked: Tensor,
    wanted: Tensor | None = None,
    most: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Cost and rate of every next token of a schedule that depends on the tokens, given a revealed
    set.

    Args:
        masked: (n, length) bool, what is not revealed.
        wanted: (n, length) bool, where costs are asked for; None: at all masked positions.
        most: as of ``nll_of_set``.

    Returns the cost -log(u_v mu_l(v) / E_mu[u]) of v = x_l, 0 where not wanted, and log rho_l =
    log(r_l E_mu[u]), 0 where not masked: (n, length) float64 each. With u = 1 the cost is -log
    mu_l(v), and logits of unwanted positions are not computed.
    """
    present, log_u = batch.present, schedule.log_u()
    z = batch.tokens.masked_fill(masked, denoiser.mask_id)
    log_r = torch.where(masked, schedule.log_r(z, present), 0.0)
    wanted = masked if wanted is None else wanted
    if log_u is None:
        return nll_of_set(denoiser, z, batch.tokens, wanted, present, most), log_r
    seen = {} if present is None else {"present": present}
    if static_shapes(z.device):
        tilted = denoiser(z, **seen).double().log_softmax(-1) + log_u
        mean_u = tilted.logsumexp(-1)
        target = batch.tokens.clamp(max=tilted.shape[-1] - 1)[..., None]
        cost = mean_u - tilted.gather(-1, target)[..., 0]
        return torch.where(wanted, cost, 0.0), log_r + torch.where(masked, mean_u, 0.0)
    tilted = denoiser(z, where=masked, **seen).double().log_softmax(-1) + log_u
    mean_u = tilted.logsumexp(-1)
    cost = scatter(mean_u - tilted.gather(-1, batch.tokens[masked][:, None])[:, 0], masked)
    return torch.where(wanted, cost, 0.0), log_r + scatter(mean_u, masked)


def step_terms(
    law: PlackettLuce, cost: Tensor, log_rate: Tensor, masked: Tensor, bound: str
) -> tuple[Tensor, Tensor]:
    """p_l (cost_l + gap_l) of every next position l, whose sum is the step's part of the bound; and
    the reverse gap.

    p_l = w_l / W_w is the forward law of the next position; W_w and W_rho are the sums of w and rho
    over masked positions.

    * jump: gap_l = log p_l - log(rho_l / W_rho), whose mean is the KL between the two laws of the
      next position.
    * rate: gap_l = log(w_l / rho_l) + W_rho / W_w - 1, which is more by
      W_rho / W_w - 1 - log(W_rho / W_w) >= 0.

    Args:
        cost, log_rate, masked: (n, length).

    Returns the terms (n, length) and the reverse gap sum_l p_l gap_l >= 0, (n,), float64.
    """
    log_p = torch.where(masked, law.next_log_prob(~masked), 0.0)
    p = torch.where(masked, log_p.exp(), 0.0)
    none = ~masked.any(-1, keepdim=True)

    def log_sum(x: Tensor) -> Tensor:
        return x.masked_fill(~masked, -torch.inf).masked_fill(none, 0.0).logsumexp(-1, keepdim=True)

    log_total = log_sum(log_rate)
    gap = log_p - log_rate + log_total
    if bound == "rate":
        log_ratio = log_total - log_sum(law.log_w.expand(masked.shape))
        gap = gap + torch.expm1(log_ratio) - log_ratio
    return p * torch.where(masked, cost + gap, 0.0), (p * torch.where(masked, gap, 0.0)).sum(-1)


def next_terms(
    denoiser: Denoiser,
    schedule: Schedule,
    law: Any,
    batch: Batch,
    prefix: Prefix,
    bound: str = "jump",
    most: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The exact sum over the next token after a prefix, as terms by position, and the reverse gap.

    Args:
        law: the order law of the batch, one for every sequence or one for all.
        most: as of ``nll_of_set``.

    Returns p_l (cost_l + gap_l), (n, length), and sum_l p_l gap_l, (n,), float64.
    """
    masked = prefix.masked
    if not schedule.depends_on_tokens:  # the reverse law is the forward law
        p = law.next_log_prob(~masked).exp()
        cost = _next_cost(denoiser, batch, prefix, masked & (p.detach() > 0), most)
        return p * cost, cost.new_zeros(len(cost))
    if denoiser.order_causal:
        cost = _next_cost(denoiser, batch, prefix, masked)
        z = batch.tokens.masked_fill(masked, denoiser.mask_id)
        log_rate = torch.where(masked, schedule.log_r(z, batch.present), 0.0)
    else:
        cost, log_rate = reverse_step(denoiser, schedule, batch, masked, most=most)
    return step_terms(law, cost, log_rate, masked, bound)


def _next_cost(
    denoiser: Denoiser, batch: Batch, prefix: Prefix, wanted: Tensor, most: int | None = None
) -> Tensor:
    """-log mu_l(x_l) after a prefix, (n, length) float64, 0 where not wanted."""
    if denoiser.order_causal:
        by_rank = nll_of_order(denoiser, batch.tokens, prefix.order, prefix.n_revealed)
        return torch.zeros_like(by_rank).scatter(1, prefix.order, by_rank) * wanted
    z = batch.tokens.masked_fill(prefix.masked, denoiser.mask_id)
    return nll_of_set(denoiser, z, batch.tokens, wanted, batch.present, most)


def rates_along(
    schedule: Schedule, batch: Batch, order: Tensor, mask_id: int, first: int = 0
) -> tuple[Tensor, Tensor]:
    """log r, 0 where not masked, and what is masked, at every rank of orders (n, length) from
    ``first`` on.

    Returns two (n, length - first ranks, length).
    """
    ranks = torch.arange(first, order.shape[1], device=order.device)
    masked = (order.argsort(-1)[:, None] >= ranks[:, None]) & batch.decoded[:, None]
    return torch.where(masked, schedule.log_r_along(batch, order, mask_id, first), 0.0), masked


def order_terms(
    denoiser: Denoiser, schedule: Schedule, law: Any, batch: Batch, order: Tensor, bound: str
) -> tuple[Tensor, Tensor]:
    """Cost of each token and reverse gap of each step along orders, of an order-causal denoiser.

    Args:
        law: the order law of the batch.
        order: (n, length), given positions first and padding last.

    Returns two (n, length) float64 by rank, whose sum is the bound given the order.
    """
    cost = batch.zero_undecoded(nll_of_order(denoiser, batch.tokens, order))
    if not schedule.depends_on_tokens:
        return cost, torch.zeros_like(cost)
    first = batch.n_leading_given()
    log_r, masked = rates_along(schedule, batch, order, denoiser.mask_id, first)
    laws = PlackettLuce(law.log_w.repeat_interleave(masked.shape[1], 0))
    log_r, masked = log_r.flatten(0, 1), masked.flatten(0, 1)
    _, gap = step_terms(laws, torch.zeros_like(log_r), log_r, masked, bound)
    return cost, batch.zero_undecoded(pad(gap.view(len(order), -1), (first, 0)))
