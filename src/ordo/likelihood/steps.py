"""Likelihoods in K denoiser calls: the K-step NELBO, exact log p of given steps, the importance
bound. See ``ordo.steps`` for the bound.

All values are nats per sequence, and everything runs without gradients. Each function takes a
``Batch`` or bare tokens (n, length), and a schedule whose law is one of positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ordo.batch import Batch
from ordo.denoisers import Denoiser, batch_for
from ordo.denoisers.cost import nll_in_steps
from ordo.objectives.steps import terms_of_one_step
from ordo.randomness import StepRandom
from ordo.schedules import Schedule
from ordo.steps import in_order


@torch.no_grad()
def steps_log_prob(denoiser: Denoiser, batch: Batch | Tensor, steps: Tensor) -> Tensor:
    """log p(x | steps): exact log p(x) of a sampler that always decodes in these steps, which makes
    at most as many calls as there are different steps.

    An order-causal denoiser reads the tokens of one step by position.

    Args:
        steps: (length,) or (n, length) int64, the step of every position.

    Returns (n,) float64.
    """
    batch = batch_for(denoiser, batch)
    steps = steps.to(batch.tokens.device).expand_as(batch.tokens)
    draw = in_order(steps, torch.zeros_like(steps).double(), batch)
    return -nll_in_steps(denoiser, batch, draw.order, draw.n_before).sum(-1)


@torch.no_grad()
def nelbo_in_steps(
    denoiser: Denoiser,
    schedule: Schedule,
    batch: Batch | Tensor,
    calls: int,
    draws: int = 4,
    random: StepRandom | None = None,
) -> Tensor:
    """An unbiased estimate, for each sequence, of the K-step NELBO, K = ``calls``.

    Spends ``draws`` denoiser rows a sequence. An order-causal denoiser scores whole draws of steps.
    Any other denoiser scores one stratified step a draw, with the positions of the step summed
    exactly.

    Returns (n,) float64. Raises ValueError for a law that depends on the tokens.
    """
    batch, random = batch_for(denoiser, batch, schedule.length), random or StepRandom()
    n, length = batch.tokens.shape
    law, many = schedule.steps(calls), batch.repeat(draws)
    u = random.uniform(draws, n, length, batch.tokens.device)
    if denoiser.order_causal:
        draw = law.draw(u.flatten(0, 1), many)
        cost = nll_in_steps(denoiser, many, draw.order, draw.n_before).sum(-1)
        return cost.view(draws, n).mean(0)
    # Row d * n + i: the draws of one sequence lie 1/draws apart, so they spread over the steps.
    progress = random.stratified(draws * n, batch.tokens.device)
    terms = terms_of_one_step(denoiser, law, many, progress, u.flatten(0, 1)[None])[0]
    return terms.sum((0, 2)).view(draws, n).mean(0)


@torch.no_grad()
def importance_in_steps(
    denoiser: Denoiser,
    schedule: Schedule,
    batch: Batch | Tensor,
    calls: int,
    draws: int = 16,
    random: StepRandom | None = None,
) -> Tensor:
    """log of the mean over k draws of steps of p(x | steps), for k = 1..draws (Burda et al.
    1509.00519): a lower bound on log p(x) in expectation, which rises in k.

    An order-causal denoiser takes a row a draw, any other one a row for each step of a draw.

    Returns (n, draws) float64. Raises ValueError for a law that depends on the tokens.
    """
    batch, random = batch_for(denoiser, batch, schedule.length), random or StepRandom()
    n, length = batch.tokens.shape
    law = schedule.steps(calls)
    u = random.uniform(draws, n, length, batch.tokens.device)
    log_p = []
    for each in u:
        draw = law.draw(each, batch)
        log_p.append(-nll_in_steps(denoiser, batch, draw.order, draw.n_before).sum(-1))
    k = torch.arange(1, draws + 1, device=batch.tokens.device, dtype=torch.float64)
    return torch.stack(log_p, -1).logcumsumexp(-1) - k.log()
