"""Order space: a sampled prefix, then the exact sum over the next token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ordo.denoisers import Denoiser
from ordo.denoisers.cost import nll_of_order, nll_of_set
from ordo.objectives.output import ObjectiveOutput, is_learned, prefix_sizes
from ordo.objectives.score import ScoreFunction, race
from ordo.order import not_decoded, present_positions, there
from ordo.randomness import StepRandom
from ordo.schedules import Schedule
from ordo.settings import Size, checked


@checked
class OrderSpace(nn.Module):
    """NELBO = L E_{k, prefix of k} sum_{l masked} P(next = l | revealed) (-log mu(x_l | revealed)), k stratified over 0..L-1.

    Prop. 3.1 of 2511.19152 with one rank drawn and the choice at that rank summed exactly. No time, no cut, no reconstruction
    term. With equal w it is the mask-count form of the MDM loss. Path part through P(next), score part by ``score`` (None: RLOO
    over ``draws`` prefixes that share x and k). Works with both denoisers; needs a schedule whose next-choice
    probabilities are known (power, univariate, given order).
    """

    def __init__(self, draws: Size = 2, score: ScoreFunction | None = None):
        super().__init__()
        self.draws, self.score = draws, ScoreFunction() if score is None else score

    def forward(
        self,
        denoiser: Denoiser,
        schedule: Schedule,
        tokens: Tensor,
        random: StepRandom,
        known: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> ObjectiveOutput:
        """tokens (batch, length) int64, clean.

        known (batch, length) bool: given positions, which are revealed from the start; the NELBO is that of the others given these.
        lengths (batch,) int64: later positions are padding.

        Raises ValueError for a law without known next-choice probabilities, or draws < 2 with a learned schedule.
        """
        if not hasattr(schedule.law(), "next_log_prob"):
            raise ValueError(
                f"objective order needs P(next | revealed), which {type(schedule).__name__} has not in closed form; "
                "use objective time or dense"
            )
        self.score.check(self.draws, is_learned(schedule), masks=False)
        batch, length = tokens.shape
        spread = random.stratified(batch, tokens.device)
        u = self.score.uniforms(random, self.draws, batch, length, tokens.device)
        return self.estimate(denoiser, schedule, tokens, spread, u, known, lengths)

    def estimate(
        self,
        denoiser: Denoiser,
        schedule: Schedule,
        tokens: Tensor,
        spread: Tensor,
        u: Tensor,
        known: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> ObjectiveOutput:
        """A function of tensors alone: spread (batch,), evenly spaced in [0, 1) as ``StepRandom.stratified`` gives it, says how many are
        revealed, u (draws, batch, length) in (0, 1) in which order.
        """
        batch, length = tokens.shape
        law: Any = schedule.law()
        n_known, unknown, n_revealed = prefix_sizes(spread, known, lengths, length)
        known, fixed = there(known, lengths), not_decoded(known, lengths, length)
        known, fixed = (
            None if mask is None else mask.repeat(self.draws, 1) for mask in (known, fixed)
        )
        lengths = None if lengths is None else lengths.repeat(self.draws)
        draw = law.draw(u.flatten(0, 1), known, lengths)
        rank = draw.order.argsort(-1)
        k = n_revealed.repeat(self.draws)
        x = tokens.repeat(self.draws, 1)
        revealed = rank < k[:, None]
        settled = revealed if fixed is None else revealed | fixed
        p_next = law.next_log_prob(settled).exp()
        where = p_next.detach() > 0
        if denoiser.order_causal:
            by_rank = nll_of_order(denoiser, x, draw.order, k)
            cost = torch.zeros_like(by_rank).scatter(1, draw.order, by_rank) * where
        else:
            # Numbers revealed are evenly spread, so that in any batch at most this many positions are masked.
            most = self.draws * (length * (batch + 1) // 2 + batch)
            cost = nll_of_set(
                denoiser,
                x.masked_fill(~settled, denoiser.mask_id),
                x,
                where,
                present_positions(lengths, length),
                most,
            )
        terms = (unknown.repeat(self.draws)[:, None] * p_next * cost).view(
            self.draws, batch, length
        )
        f = terms.sum(-1)
        surrogate = f
        if is_learned(schedule):
            before = torch.arange(length, device=k.device) < k[:, None]
            log_q = torch.where(before, draw.score, 0.0).sum(-1).view(self.draws, batch)
            decoded = None if fixed is None else ~fixed[:batch]
            run = None
            if self.score.control == "relax":
                there_too = torch.ones_like(revealed) if fixed is None else ~fixed
                run = race(
                    law, u.flatten(0, 1), draw.order, n_known.repeat(self.draws), k, there_too
                )
            surrogate = f + self.score.of_orders(f, log_q, spread, tokens, decoded, run)
        return ObjectiveOutput(
            loss=surrogate.mean() / length,
            nelbo=f.detach().mean(0),
            by_position=terms.detach().mean(0),
            rows=x.shape[0],
        )
