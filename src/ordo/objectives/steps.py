"""The K-step bound: what the objectives ``order`` and ``dense`` do with ``calls``.

NELBO = E_{s ~ prod q_l} sum_l -log mu(x_l | x_{j: s_j < s_l}), see ``ordo.steps``. Given that
position l is still masked before step k, step k decodes the position with probability h_l(k), the
hazard. Decisions of a step move the cost of that step and of later ones, never of earlier ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ordo.batch import Batch
from ordo.denoisers import Denoiser
from ordo.denoisers.cost import nll_in_steps, nll_of_order, nll_of_set
from ordo.objectives.base import ObjectiveOutput, is_learned, leave_one_out
from ordo.objectives.running import RunningRegression
from ordo.objectives.score import ScoreFunction
from ordo.schedules import Schedule
from ordo.steps import StepLaw, in_order


def all_steps(
    denoiser: Denoiser,
    schedule: Schedule,
    batch: Batch,
    u: Tensor,
    calls: int,
    regression: RunningRegression,
    rloo: bool,
) -> ObjectiveOutput:
    """Every term of drawn steps, for an order-causal denoiser.

    The log-probability of the steps is a sum over steps of what was decided in them. Decisions of
    step k get the cost from step k on, less a baseline that they do not influence: a running
    regression, by step, on a constant and on the cost before the step; with ``rloo`` the cost from
    step k on of the other draws of the same sequence, and then the regression.

    Args:
        u: (draws, n, length) in (0, 1), which say the steps.
    """
    many, shape = batch.repeat(len(u)), u.shape  # rows: draw * n + sequence
    law = schedule.steps(calls)
    draw = law.draw(u.flatten(0, 1), many)
    cost = nll_in_steps(denoiser, many, draw.order, draw.n_before)  # by rank
    surrogate, diagnostics = cost.sum(-1), {}
    if is_learned(schedule):
        by_step = torch.zeros(len(cost), calls, dtype=torch.float64, device=cost.device)
        by_step = by_step.scatter_add(1, draw.steps.gather(1, draw.order), cost.detach())
        by_step = by_step.view(*shape[:2], calls)
        to_go = by_step.flip(-1).cumsum(-1).flip(-1)
        before = by_step.cumsum(-1) - by_step
        if rloo:
            advantage = regression(leave_one_out(to_go), leave_one_out(before)[..., None])[0]
        else:
            # No mean yet at the first step: no step of the schedule either.
            begun = regression.begun
            features = torch.stack([torch.ones_like(before), before], -1)
            advantage = regression(to_go, features)[0] * begun
        decisions = law.decisions(draw.steps, many)
        surrogate = surrogate + (advantage.flatten(0, 1) * decisions).sum(-1)
        diagnostics["advantage_rms"] = advantage.square().mean().sqrt()
    by_position = torch.zeros_like(cost).scatter(1, draw.order, cost.detach())
    return ObjectiveOutput(
        loss=surrogate.mean() / shape[2],
        nelbo=cost.detach().sum(-1).view(shape[:2]).mean(0),
        by_position=by_position.view(shape).mean(0),
        rows=len(cost),
        diagnostics=diagnostics,
    )


def terms_of_one_step(
    denoiser: Denoiser, law: StepLaw, batch: Batch, progress: Tensor, u: Tensor
) -> tuple[Tensor, Tensor]:
    """The terms of one step of each draw, and the log-probability of what was drawn.

    NELBO = K E_k sum_{l: s_l >= k} h_l(k) (-log mu(x_l | what steps before k reveal)), k uniform.
    Which positions are masked is drawn, and what step k decodes is summed exactly. A denoiser of
    sets sees which positions are masked alone, and the log-probability is of that; an order-causal
    denoiser also sees in which steps the others were revealed.

    Args:
        progress: (n,) evenly spaced in [0, 1), which says k.
        u: (draws, n, length) in (0, 1), which say the steps.

    Returns (draws, n, length) and (draws, n).
    """
    many, shape, calls = batch.repeat(len(u)), u.shape, law.calls
    steps, key = law.steps_of(u.flatten(0, 1))
    k = (progress * calls).long().clamp(max=calls - 1)  # (n,)
    now = law.log_hazard()[0].T[k].exp()  # (n, length)
    left = law.log_left().T[k]
    masked = (steps >= k.repeat(len(u))[:, None]) & many.decoded
    if denoiser.order_causal:
        draw = in_order(steps, key, many)
        n_revealed = many.given.sum(1) + (many.decoded & ~masked).sum(1)
        by_rank = nll_of_order(denoiser, many.tokens, draw.order, n_revealed)
        cost = torch.zeros_like(by_rank).scatter(1, draw.order, by_rank)
        shown = law.log_prob(steps)
    else:
        z = many.tokens.masked_fill(masked, denoiser.mask_id)
        cost = nll_of_set(denoiser, z, many.tokens, masked, many.present)
        # log q(step < k), 0 where that is impossible and so never drawn.
        gone = torch.where(left < 0, torch.log(-torch.expm1(left.clamp(max=-1e-300))), 0.0)
        shown = gone.repeat(len(u), 1)
    hidden = masked.view(shape)
    terms = torch.where(hidden, calls * now * cost.view(shape), 0.0)
    shown = torch.where(batch.decoded, shown.view(shape), 0.0)
    return terms, torch.where(hidden, left, shown).sum(-1)


def one_step(
    denoiser: Denoiser,
    schedule: Schedule,
    batch: Batch,
    progress: Tensor,
    u: Tensor,
    calls: int,
    score: ScoreFunction,
) -> ObjectiveOutput:
    """One step of each draw, of both kinds of denoiser; arguments as of ``terms_of_one_step``."""
    terms, log_q = terms_of_one_step(denoiser, schedule.steps(calls), batch, progress, u)
    f = terms.sum(-1)  # (draws, n) nats
    surrogate = f + score(f, log_q, progress, batch) if is_learned(schedule) else f
    return ObjectiveOutput(
        loss=surrogate.mean() / u.shape[2],
        nelbo=f.detach().mean(0),
        by_position=terms.detach().mean(0),
        rows=u[..., 0].numel(),
    )
