"""Order space: a sampled prefix, then the exact sum over the next token."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ordo.batch import Batch
from ordo.denoisers import Denoiser, batch_for
from ordo.objectives.base import ObjectiveOutput, is_learned
from ordo.objectives.prefix import draw_prefix
from ordo.objectives.reverse import check_reverse, next_terms
from ordo.objectives.score import ScoreFunction, race
from ordo.objectives.steps import one_step
from ordo.randomness import StepRandom
from ordo.schedules import Schedule
from ordo.settings import Size, checked


@checked
class OrderSpace(nn.Module):
    """NELBO = L E_{k, prefix of k} sum_{l masked} P(next = l | revealed) (-log mu(x_l | revealed) +
    gap_l).

    Prop. 3.1 of 2511.19152 with one rank drawn and the choice at that rank summed exactly; k is
    stratified over 0..L-1. No time, no cut, no reconstruction term. With equal w it is the
    mask-count form of the MDM loss. Works with both denoisers, and with every schedule whose
    next-choice probabilities are known.

    gap_l is 0 for laws of positions. For a law that depends on the tokens, let q be the law of
    times and positions given x and p that of the reverse process (see ``TokenSchedule``). In log t,
    q jumps at l with rate w_l and p with rho_l times the token's probability. So -log p(x) is at
    most the mean under q of log dq/dp, which is the sum over jumps of log(w_l / rho_l) + cost_l,
    and the integral of W_rho - W_w over log t. The chain stays at z for an exponential time of mean
    1 / W_w, so the step's part of the integral is (W_rho - W_w) / W_w:

    * ``bound="rate"``: gap_l = log(w_l / rho_l) + W_rho / W_w - 1, with P(next = l) = w_l / W_w.
      This is the loss of GenMD4 (2406.04329) and LoMDM (2602.02112) in continuous time, whose
      integral over t it does exactly.
    * ``bound="jump"``: gap_l = log P(next = l) - log(rho_l / W_rho). The chain of jumps alone makes
      x, so times may be left out of q and p. Tighter, by log a <= a - 1 with a = W_rho / W_w, and
      equal where a = 1. With u = 1 it is LO-ARM's bound (2503.05979), q(order | x) against p(next
      position | revealed).

    The gradient in the schedule has a path part, through P(next) and gap_l, and a score part, by
    ``score`` (None: RLOO over ``draws`` prefixes that share x and k).

    ``calls``: the NELBO of K = calls steps instead, see ``ordo.objectives.steps``; None: one token
    a call.
    """

    def __init__(
        self,
        draws: Size = 2,
        bound: Literal["jump", "rate"] = "jump",
        score: ScoreFunction | None = None,
        calls: Size | None = None,
    ):
        super().__init__()
        if calls is not None and score is not None and score.relax:
            raise ValueError("score.relax=true is for orders, not for steps (calls); set it false")
        self.draws, self.bound, self.calls = draws, bound, calls
        self.score = ScoreFunction() if score is None else score

    def forward(
        self, denoiser: Denoiser, schedule: Schedule, batch: Batch | Tensor, random: StepRandom
    ) -> ObjectiveOutput:
        """The estimate of one step; bare tokens (n, length) are a batch in which everything is
        decoded.

        Raises ValueError for a law without known next-choice probabilities, for u with an
        order-causal denoiser, and for draws < 2 where the score part needs other draws.
        """
        batch = batch_for(denoiser, batch, schedule.length)
        if (
            self.calls is None
            and not schedule.depends_on_tokens
            and not hasattr(schedule.law(), "next_log_prob")
        ):
            raise ValueError(
                f"objective order needs P(next | revealed), which {type(schedule).__name__} has "
                "not in closed form; use objective time or dense"
            )
        check_reverse(denoiser, schedule)
        self.score.check(self.draws, is_learned(schedule), masks=False)
        n, length = batch.tokens.shape
        progress = random.stratified(n, batch.tokens.device)
        u = random.uniform(self.draws, n, length, batch.tokens.device)
        return self.estimate(denoiser, schedule, batch, progress, u)

    def estimate(
        self, denoiser: Denoiser, schedule: Schedule, batch: Batch, progress: Tensor, u: Tensor
    ) -> ObjectiveOutput:
        """A function of tensors alone.

        Args:
            progress: (n,) evenly spaced in [0, 1), as ``StepRandom.stratified`` gives it: how much
                is revealed.
            u: (draws, n, length) in (0, 1): in which order or steps.
        """
        if self.calls is not None:
            return one_step(denoiser, schedule, batch, progress, u, self.calls, self.score)
        n, length = batch.tokens.shape
        many, learned = batch.repeat(self.draws), is_learned(schedule)  # rows: draw * n + sequence
        law = schedule.law(batch).repeat(self.draws)
        prefix = draw_prefix(law, many, progress.repeat(self.draws), u.flatten(0, 1))
        # Numbers revealed are evenly spread, so that in any batch at most this many positions are
        # masked.
        most = self.draws * (length * (n + 1) // 2 + n)
        terms, gap = next_terms(denoiser, schedule, law, many, prefix, self.bound, most)
        terms = (prefix.n_decoded[:, None] * terms).view(self.draws, n, length)
        f = terms.sum(-1)  # (draws, n) nats: Prop. 3.1 with one rank drawn
        surrogate = f
        if learned:
            log_q = torch.where(prefix.chosen, prefix.score, 0.0).sum(-1).view(self.draws, n)
            run = race(law, u.flatten(0, 1), prefix, many) if self.score.relax else None
            surrogate = f + self.score(f, log_q, progress, batch, run)
        diagnostics = {}
        if schedule.depends_on_tokens:
            diagnostics["reverse_gap"] = (prefix.n_decoded * gap).detach().mean()
        return ObjectiveOutput(
            loss=surrogate.mean() / length,
            nelbo=f.detach().mean(0),
            by_position=terms.detach().mean(0),
            rows=self.draws * n,
            diagnostics=diagnostics,
        )
