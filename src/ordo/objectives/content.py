"""What the two objectives of laws that depend on the tokens share: one step of the reverse process, and the cost of its rates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ordo.objectives.output import scatter, set_cost, static_shapes
from ordo.order import PlackettLuce, absent
from ordo.schedules import ContentSchedule

BOUNDS = ("jump", "rate")


def check_content(denoiser: Any, schedule: Any, what: str) -> None:
    """Raises ValueError for an order-causal denoiser, and for a schedule that does not depend on the tokens."""
    if denoiser.order_causal:
        raise ValueError(
            f"{what} needs a bidirectional denoiser: the reverse law depends on the revealed set, and an order-causal one sees an order"
        )
    if not isinstance(schedule, ContentSchedule):
        raise ValueError(
            f"{what} is for laws that depend on the tokens (schedule=per_vocabulary or per_context); {type(schedule).__name__} does not: "
            "use objective time, order or dense"
        )


def present_positions(lengths: Tensor | None, length: int) -> Tensor | None:
    """(n, length) bool, or None: all."""
    return None if lengths is None else ~absent(lengths, length)


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
    only costs that are wanted are computed, else all logits of masked positions are. most: as of ``set_cost``.
    """
    present = present_positions(lengths, tokens.shape[1])
    log_r, log_u = schedule.log_r(tokens, present), schedule.log_u()
    wanted = masked if wanted is None else wanted
    if log_u is None:
        return set_cost(denoiser, tokens, target, wanted, lengths, most), torch.where(masked, log_r, 0.0)
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
    return torch.where(wanted, scatter(cost, masked), 0.0), torch.where(masked, log_r + scatter(mean_u, masked), 0.0)


def log_softmax(logits: Tensor) -> Tensor:
    """float64: what is summed is exp of differences, and u may weigh rare tokens up."""
    return logits.double().log_softmax(-1)


def step_terms(law: PlackettLuce, cost: Tensor, log_rate: Tensor, masked: Tensor, bound: str) -> tuple[Tensor, Tensor]:
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
    log_total = (log_rate.masked_fill(~masked, -torch.inf).masked_fill(none, 0.0)).logsumexp(-1, keepdim=True)
    gap = log_p - log_rate + log_total
    if bound == "rate":
        log_w = law.log_w.expand(masked.shape)
        log_ratio = log_total - log_w.masked_fill(~masked, -torch.inf).masked_fill(none, 0.0).logsumexp(-1, keepdim=True)
        gap = gap + torch.expm1(log_ratio) - log_ratio
    return p * torch.where(masked, cost + gap, 0.0), (p * torch.where(masked, gap, 0.0)).sum(-1)
