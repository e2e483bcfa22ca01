"""Dense order space: all L conditionals of whole orders in one pass of an order-causal denoiser."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ordo.batch import Batch
from ordo.denoisers import Denoiser, batch_for
from ordo.objectives.base import ObjectiveOutput, check_draws, is_learned, leave_one_out
from ordo.objectives.reverse import check_reverse, order_terms
from ordo.objectives.running import Frequencies, RunningRegression
from ordo.objectives.steps import all_steps
from ordo.randomness import StepRandom
from ordo.schedules import Schedule
from ordo.settings import Size, checked


@checked
class Dense(nn.Module):
    """NELBO = E_pi sum_i [-log mu(x_{pi(i)} | x_{pi(<i)}) + gap_i], every term of every drawn
    order.

    2511.19152, Prop. 3.1 as the training rule. gap_i is 0 for laws of positions. For a law that
    depends on the tokens gap_i >= 0 is the reverse gap of step i, exactly summed over the next
    position, see ``OrderSpace``. It needs the reverse weights after every prefix, which a schedule
    whose reverse network is ``PooledNetwork`` gives at once; other networks see a row for every
    decoded position. u must be 1: with u, rates need the distributions of all masked tokens at all
    steps.

    Score gradient in the law's parameters: the choice at rank i moves the cost from i on and the
    gap from i + 1 on. From their sum a baseline is taken that the choice does not influence:

    * ``baseline="learned"``: a running regression, for every rank, on a constant, on the terms
      *before* the rank, and with ``unigram`` on what token frequencies say of the positions still
      hidden (works with draws = 1). For a good denoiser an order's total cost hardly varies (chain
      rule), so what was expensive before is cheap after; across different x, what was expensive
      before stays expensive.
    * ``baseline="rloo"``: the terms from rank i on of the other orders of the same x; what differs
      from them is then regressed on the same features.

    Args:
        length: positions.
        draws: orders of every sequence.
        unigram: whether to regress on the cost under token frequencies, too.
        vocab_size: for unigram.
        bound: "jump" or "rate", see ``OrderSpace``.
        calls: the NELBO of K = calls steps instead, see ``ordo.objectives.steps``; None: one token
            a call.
    """

    def __init__(
        self,
        length: Size,
        draws: Size = 1,
        baseline: Literal["learned", "rloo"] = "learned",
        unigram: bool = False,
        vocab_size: Size | None = None,
        bound: Literal["jump", "rate"] = "jump",
        calls: Size | None = None,
    ):
        super().__init__()
        if calls is not None and unigram:
            raise ValueError("unigram=true goes by rank, and calls by step: set unigram=false")
        self.draws, self.baseline, self.bound, self.calls = draws, baseline, bound, calls
        constant = baseline == "learned"
        n = 1 + constant + unigram
        self.regression = RunningRegression(calls or length, n, ridge=1e-9, constant=constant)
        self.frequencies = Frequencies(length, vocab_size) if unigram else None

    def forward(
        self, denoiser: Denoiser, schedule: Schedule, batch: Batch | Tensor, random: StepRandom
    ) -> ObjectiveOutput:
        """The estimate of one step; bare tokens (n, length) are a batch in which everything is
        decoded.

        Raises ValueError for a bidirectional denoiser, a schedule with u, and RLOO with draws < 2
        and a learned schedule.
        """
        batch = batch_for(denoiser, batch, schedule.length)
        if not denoiser.order_causal:
            raise ValueError(
                "objective dense needs an order-causal denoiser (denoiser=order_causal); a "
                "bidirectional one trains with time or order"
            )
        check_reverse(denoiser, schedule)
        if is_learned(schedule) and self.baseline == "rloo":
            check_draws(self.draws, 2, "the leave-one-out gradient of a learned schedule")
        n, length = batch.tokens.shape
        u = random.uniform(self.draws, n, length, batch.tokens.device)
        return self.estimate(denoiser, schedule, batch, u)

    def estimate(
        self, denoiser: Denoiser, schedule: Schedule, batch: Batch, u: Tensor
    ) -> ObjectiveOutput:
        """A function of tensors alone: u (draws, n, length) in (0, 1) says the orders or steps."""
        if self.calls is not None:
            rloo = self.baseline == "rloo"
            return all_steps(denoiser, schedule, batch, u, self.calls, self.regression, rloo)
        many, shape = batch.repeat(self.draws), u.shape  # rows: draw * n + sequence
        law = schedule.law(batch).repeat(self.draws)
        draw = law.draw(u.flatten(0, 1), many)
        cost, gap = order_terms(denoiser, schedule, law, many, draw.order, self.bound)  # by rank
        terms = cost + gap
        surrogate = terms.sum(-1)
        diagnostics: dict[str, Tensor] = {}
        if is_learned(schedule):
            # A step's gap depends only on the choices before it, the last of which is one rank
            # earlier.
            credited = (cost + pad(gap[:, 1:], (0, 1))).detach().view(shape)
            rare = None
            if self.frequencies is not None:
                rare = self.frequencies.surprise_then_count(batch).repeat(self.draws, 1)
                rare = rare.gather(1, draw.order).view(shape)
            advantage = self.advantage(credited, draw.causal, rare)
            surrogate = surrogate + (advantage.flatten(0, 1) * draw.score).sum(-1)
            diagnostics["advantage_rms"] = advantage.square().mean().sqrt()
        if schedule.depends_on_tokens:
            diagnostics["reverse_gap"] = gap.detach().sum(-1).mean()
        by_position = torch.zeros_like(terms).scatter(1, draw.order, terms.detach())
        return ObjectiveOutput(
            loss=surrogate.mean() / shape[2],
            nelbo=terms.detach().sum(-1).view(shape[:2]).mean(0),
            by_position=by_position.view(shape).mean(0),
            rows=len(terms),
            diagnostics=diagnostics,
        )

    @torch.no_grad()
    def advantage(self, credited: Tensor, causal: bool, rare: Tensor | None = None) -> Tensor:
        """Advantages of the choices, (draws, n, length) nats; learns in training mode.

        Args:
            credited: (draws, n, length) by rank: what the NELBO's terms come to, each at the rank
                of the last choice that influences it.
            causal: False: a choice moves every rank, so only what no choice moves may be taken
                away.
            rare: with ``unigram``, the tokens' surprise by rank.
        """

        def rest(x: Tensor) -> Tensor:
            x = x.flip(-1).cumsum(-1).flip(-1)
            return x if causal else x[..., :1].expand_as(x)

        to_go = rest(credited)
        features = [(credited.cumsum(-1) - credited) * causal]
        features += [] if rare is None else [rest(rare)]
        if self.baseline == "rloo":
            y, z = leave_one_out(to_go), leave_one_out(torch.stack(features, -1))
            return self.regression(y, z)[0]
        # No mean yet at the first step: no step of the schedule either.
        begun = self.regression.begun
        z = torch.stack([torch.ones_like(to_go), *features], -1)
        return self.regression(to_go, z)[0] * begun
