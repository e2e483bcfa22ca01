"""What the objectives of laws that depend on the tokens share: a step of the reverse process or all steps of an order, and their cost."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ordo.denoisers.cost import nll_of_order, nll_of_set, scatter, static_shapes
from ordo.order import (
    PlackettLuce,
    given_ranks,
    not_decoded,
    only_decoded,
    present_positions,
)
from ordo.schedules import ContentSchedule

BOUNDS = ("jump", "rate")


def check_content(denoiser: Any, schedule: Any, what: str, sets: bool = False) -> None:
    """Raises ValueError for a schedule that does not depend on the tokens, and for an order-causal denoiser where ``sets`` are asked for or
    the law needs them.
    """
    if not isinstance(schedule, ContentSchedule):
        raise ValueError(
            f"{what} is for laws that depend on the tokens (schedule=per_vocabulary, per_context, per_context_pooled, per_context_shared "
            f"or order_posterior); {type(schedule).__name__} does not: train it with objective time, order or dense"
        )
    if denoiser.order_causal and sets:
        raise ValueError(
            f"{what} needs a bidirectional denoiser: it sums over revealed sets, and an order-causal one sees an order"
        )
    if denoiser.order_causal and schedule.log_u() is not None:
        raise ValueError(
            f"the rates of {type(schedule).__name__} need the distributions of all masked tokens at every step, which an order-causal "
            "denoiser does not give at once: use denoiser=bidirectional"
        )


def reverse_step(
    denoiser: Any,
    schedule: ContentSchedule,
    tokens: Tensor,
    target: Tensor,
    masked: Tensor,
    lengths: Tensor | None = None,
    wanted: Tensor | None = None,
    most: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Cost -log(u_v mu_l(v) / E_mu[u]) of the target v at l, and log rate log rho_l = log(r_l E_mu[u]), (n, length) float64 each.

    tokens (n, length): the mask id where masked (n, length). Both are 0 where not masked, the cost also where not ``wanted``. With u = 1
    only costs that are wanted are computed, else all logits of masked positions are. most: as of ``nll_of_set``.
    """
    present = present_positions(lengths, tokens.shape[1])
    log_r, log_u = schedule.log_r(tokens, present), schedule.log_u()
    wanted = masked if wanted is None else wanted
    if log_u is None:
        return nll_of_set(denoiser, tokens, target, wanted, present, most), torch.where(
            masked, log_r, 0.0
        )
    seen = {} if present is None else {"present": present}
    if static_shapes(tokens.device):
        log_mu = log_softmax(denoiser(tokens, **seen))
        tilted = log_mu + log_u
        mean_u = tilted.logsumexp(-1)
        cost = mean_u - tilted.gather(-1, target.clamp(max=tilted.shape[-1] - 1)[..., None])[..., 0]
        return torch.where(wanted, cost, 0.0), torch.where(masked, log_r + mean_u, 0.0)
    tilted = log_softmax(denoiser(tokens, where=masked, **seen)) + log_u
    mean_u = tilted.logsumexp(-1)
    cost = mean_u - tilted.gather(-1, target[masked][:, None])[:, 0]
    return torch.where(wanted, scatter(cost, masked), 0.0), torch.where(
        masked, log_r + scatter(mean_u, masked), 0.0
    )


def log_softmax(logits: Tensor) -> Tensor:
    """float64: what is summed is exp of differences, and u may weigh rare tokens up."""
    return logits.double().log_softmax(-1)


def step_terms(
    law: PlackettLuce, cost: Tensor, log_rate: Tensor, masked: Tensor, bound: str
) -> tuple[Tensor, Tensor]:
    """Of the step from each row's revealed set: p_l (cost_l + gap_l) by position, whose sum is the step's part of the bound, and the
    velocity sum_l p_l gap_l >= 0 (n,), what it costs that the reverse law is not the forward law. cost, log_rate, masked (n, length).

    With p_l = w_l / W_w the forward law of the next position, W_w and W_rho the sums of w and rho over masked positions:
    jump: gap_l = log p_l - log(rho_l / W_rho), KL between the two laws of the next position;
    rate: gap_l = log(w_l / rho_l) + W_rho / W_w - 1, which is as much and W_rho / W_w - 1 - log(W_rho / W_w) >= 0 more.
    """
    log_p = law.next_log_prob(~masked)
    log_p = torch.where(masked, log_p, 0.0)
    p = torch.where(masked, log_p.exp(), 0.0)
    none = ~masked.any(-1, keepdim=True)
    log_total = (log_rate.masked_fill(~masked, -torch.inf).masked_fill(none, 0.0)).logsumexp(
        -1, keepdim=True
    )
    gap = log_p - log_rate + log_total
    if bound == "rate":
        log_w = law.log_w.expand(masked.shape)
        log_ratio = log_total - log_w.masked_fill(~masked, -torch.inf).masked_fill(
            none, 0.0
        ).logsumexp(-1, keepdim=True)
        gap = gap + torch.expm1(log_ratio) - log_ratio
    return p * torch.where(masked, cost + gap, 0.0), (p * torch.where(masked, gap, 0.0)).sum(-1)


def order_terms(
    denoiser: Any,
    schedule: ContentSchedule,
    law: PlackettLuce,
    tokens: Tensor,
    order: Tensor,
    bound: str,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Along orders of an order-causal denoiser: cost of each token and velocity of each step, by rank, (n, length) float64, whose sum is
    the bound given the order; as of ``step_terms``, with what was revealed in the order it was.

    law: of each of the tokens (n, length); order (n, length), arranged.
    """
    n, length = order.shape
    first = given_ranks(known, lengths)
    cost = only_decoded(nll_of_order(denoiser, tokens, order), known, lengths)
    log_r, masked = rates_along(schedule, tokens, order, denoiser.mask_id, known, lengths, first)
    laws = PlackettLuce(law.log_w.repeat_interleave(length - first, 0))
    log_r, masked = log_r.flatten(0, 1), masked.flatten(0, 1)
    velocity = step_terms(laws, torch.zeros_like(log_r), log_r, masked, bound)[1].view(
        n, length - first
    )
    return cost, only_decoded(pad(velocity, (first, 0)), known, lengths)


def rates_along(
    schedule: ContentSchedule,
    tokens: Tensor,
    order: Tensor,
    mask_id: int,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
    first: int = 0,
) -> tuple[Tensor, Tensor]:
    """log r, 0 where not masked, and what is masked still, at every rank of orders (n, length) from ``first`` on: each (n, length - first
    ranks, length).
    """
    length = order.shape[1]
    masked = order.argsort(-1)[:, None] >= torch.arange(first, length, device=order.device)[:, None]
    fixed = not_decoded(known, lengths, length)
    masked = masked if fixed is None else masked & ~fixed[:, None]
    log_r = schedule.log_r_along(tokens, order, mask_id, present_positions(lengths, length), first)
    return torch.where(masked, log_r, 0.0), masked
