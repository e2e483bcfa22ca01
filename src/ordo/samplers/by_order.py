"""First-hitting sampler: one token a call, in an order drawn from a law (or any other order)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ordo.denoisers import Denoiser


@dataclass(frozen=True)
class Samples:
    """tokens (n, length) int64; order (n, length) as decoded; log_prob (n, length) nats of the token drawn at each rank.

    nfe: denoiser calls.
    """

    tokens: Tensor
    order: Tensor
    log_prob: Tensor
    nfe: int


@torch.no_grad()
def sample_by_order(denoiser: Denoiser, order: Tensor, generator: torch.Generator | None = None) -> Samples:
    """Draws x_{pi(i)} ~ mu(. | x_{pi(<i)}) for i = 1..length, each row along its own order; exact in law, no time grid.

    order (n, length) int64: from ``schedule.law().draw(n).order`` for the model's own law (2511.19152, the limit of infinitely many steps
    of its sampler), or ``law.mode()`` expanded. Categoricals are drawn in float64: float32 Gumbel noise acts as a low temperature.
    """
    n, length = order.shape
    rows = torch.arange(n, device=order.device)
    tokens = torch.full_like(order, denoiser.mask_id)
    log_probs = []
    for i in range(length):
        position = order[:, i]
        n_revealed = torch.full((n,), i, device=order.device)
        log_prob = denoiser.conditionals(tokens.clamp(max=denoiser.vocab_size - 1), order, n_revealed)[rows, position].double()
        race = torch.empty_like(log_prob).exponential_(generator=generator)
        token = (log_prob.softmax(-1) / race).argmax(-1)
        tokens[rows, position] = token
        log_probs.append(log_prob.log_softmax(-1)[rows, token])
    return Samples(tokens, order, torch.stack(log_probs, -1), nfe=length)
