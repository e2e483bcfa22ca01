"""Order space for laws that depend on the tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ordo.objectives.output import ObjectiveOutput, leave_one_out
from ordo.randomness import StepRandom
from ordo.schedules.content import ContentSchedule


def jump_terms(
    denoiser: Any, schedule: ContentSchedule, law: Any, x: Tensor, revealed: Tensor, bound: str
) -> tuple[Tensor, Tensor]:
    """Terms by position (n, length) of one step's cost and the velocity part (n,)."""
    masked = ~revealed
    z = x.masked_fill(masked, denoiser.mask_id)
    log_mu = denoiser(z).double().log_softmax(-1)
    log_r = schedule.log_r(z, masked)
    log_u = schedule.log_u()
    cost = -log_mu.gather(-1, x[..., None])[..., 0] - log_r
    mean_u = torch.zeros_like(log_r)
    if log_u is not None:
        cost = cost - log_u[x]
        mean_u = (log_mu + log_u).logsumexp(-1)
    log_p = law.next_log_prob(revealed)
    p = log_p.exp()
    log_total = (log_r + mean_u).masked_fill(revealed, -torch.inf).logsumexp(-1)
    if bound == "jump":
        terms = torch.where(masked, p * (cost + log_p + log_total[:, None]), 0.0)
        return terms, torch.zeros(())
    log_w = law.log_w
    log_w_total = log_w.masked_fill(revealed, -torch.inf).logsumexp(-1)
    extra = (log_total - log_w_total).exp() - 1.0
    terms = torch.where(masked, p * (cost + log_w), 0.0)
    return terms + torch.where(masked, p * extra[:, None], 0.0), extra


class ContentOrderSpace(nn.Module):
    def __init__(self, draws: int = 2, bound: str = "jump"):
        super().__init__()
        self.draws, self.bound = draws, bound

    def forward(self, denoiser: Any, schedule: ContentSchedule, tokens: Tensor, random: StepRandom) -> ObjectiveOutput:
        batch, length = tokens.shape
        spread = random.stratified(batch, tokens.device)
        u = random.uniform(self.draws, batch, length, tokens.device)
        x = tokens.repeat(self.draws, 1)
        law = schedule.law(x)
        draw = law.draw(u.flatten(0, 1))
        k = (spread * length).long().clamp(max=length - 1).repeat(self.draws)
        revealed = draw.order.argsort(-1) < k[:, None]
        terms, _ = jump_terms(denoiser, schedule, law, x, revealed, self.bound)
        terms = (length * terms).view(self.draws, batch, length)
        f = terms.sum(-1)
        before = torch.arange(length, device=k.device) < k[:, None]
        log_q = torch.where(before, draw.score, 0.0).sum(-1).view(self.draws, batch)
        surrogate = f + leave_one_out(f) * log_q
        return ObjectiveOutput(surrogate.mean() / length, f.detach().mean(0), terms.detach().mean(0), x.shape[0])
