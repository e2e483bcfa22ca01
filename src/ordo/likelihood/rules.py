"""Exact likelihoods of samplers that choose positions by what is revealed."""

from __future__ import annotations

import torch
from torch import Tensor

from ordo.batch import Batch
from ordo.denoisers import Denoiser, batch_for
from ordo.samplers import Sampler, Trace, sample
from ordo.schedules import Schedule


@torch.no_grad()
def sampler_log_prob(
    denoiser: Denoiser, sampler: Sampler, batch: Batch | Tensor, schedule: Schedule | None = None
) -> Trace:
    """log p(x) of a sampler whose steps are functions of what is revealed (DUEL, 2603.01367).

    The sum over steps, which may reveal several tokens, of log mu of the tokens revealed in the
    step: ``trace.total_log_prob`` has the sum in nats, ``trace.log_prob`` the parts by position,
    ``trace.calls`` the price. Given positions are conditioned on, padding is left out. The token
    rule counts: with temperature or top-p the result is the likelihood of what the sampler draws,
    -inf for what it never draws.

    Raises ValueError, with the reason, for samplers that have no such likelihood.
    """
    batch = batch_for(denoiser, batch)
    reason = sampler.why_no_likelihood()
    if reason:
        raise ValueError(f"this sampler has no exact likelihood: {reason}")
    return sample(
        denoiser,
        sampler,
        schedule=schedule,
        forced=batch.tokens,
        given=None if batch.known is None else batch.tokens,
        known=batch.known,
        lengths=batch.lengths,
    )
