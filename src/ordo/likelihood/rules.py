"""Exact likelihoods of samplers that choose positions by what is revealed."""

from __future__ import annotations

import torch
from torch import Tensor

from ordo.denoisers import Denoiser
from ordo.samplers import Sampler, Trace, sample
from ordo.schedules import ContentSchedule, Schedule


@torch.no_grad()
def sampler_log_prob(
    denoiser: Denoiser,
    sampler: Sampler,
    tokens: Tensor,
    schedule: Schedule | ContentSchedule | None = None,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Trace:
    """log p(x) of a sampler whose steps are functions of what is revealed: the sum over steps of log mu of the tokens revealed in it (DUEL,
    2603.01367), several a step included. ``trace.total_log_prob`` has it, nats; ``trace.log_prob`` by position; ``trace.calls`` its price.

    tokens (batch, length). known (batch, length) bool: log p of the others given these. lengths (batch,): later positions are
    padding. The token rule counts: with temperature or top-p it is the likelihood of what the sampler draws, -inf where it never draws it.

    Raises ValueError, with the reason, for samplers that have no such likelihood.
    """
    reason = sampler.why_no_likelihood()
    if reason:
        raise ValueError(f"this sampler has no exact likelihood: {reason}")
    given = None if known is None else tokens
    return sample(
        denoiser,
        sampler,
        schedule=schedule,
        forced=tokens,
        given=given,
        known=known,
        lengths=lengths,
    )
