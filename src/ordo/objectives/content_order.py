"""Order space for laws that depend on the tokens: a prefix drawn from the law given x, then the exact sum over the next token."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ordo.objectives.content import check_content, present_positions, reverse_step, step_terms
from ordo.objectives.output import ObjectiveOutput, is_learned, prefix_sizes
from ordo.objectives.score import Race, ScoreFunction, race
from ordo.order import PlackettLuce, not_decoded, there
from ordo.randomness import StepRandom
from ordo.schedules import ContentSchedule
from ordo.settings import Size, checked


@checked
class ContentOrderSpace(nn.Module):
    """NELBO = L E_{k, prefix of k | x} sum_{l masked} p_l (-log(u_{x_l} mu_l(x_l) / E_mu[u]) + gap_l), k stratified over 0..L-1.

    The process has times and positions; let q be the law of both given x and p that of the reverse process (see ``ContentSchedule``). In
    log t, q jumps at l with rate w_l and p with rho_l times the token's probability, so that -log p(x) is at most the expectation under q
    of log dq/dp, which is the sum over jumps of log(w_l / rho_l) + cost_l and the integral of W_rho - W_w over log t. The chain stays at z
    for an exponential time of mean 1 / W_w, which gives the step's part (W_rho - W_w) / W_w:

    * ``bound="rate"``: gap_l = log(w_l / rho_l) + W_rho / W_w - 1, with p_l = w_l / W_w. This is the loss of GenMD4 (2406.04329) and LoMDM
      (2602.02112) in continuous time, whose integral over t it does exactly.
    * ``bound="jump"``: gap_l = log p_l - log(rho_l / W_rho). The chain of jumps alone makes x, so times may be left out of q and p.
      Tighter, by log a <= a - 1 with a = W_rho / W_w, and equal where a = 1. With u = 1 it is LO-ARM's bound (2503.05979), q(order | x)
      against p(next position | revealed).

    The sum over l is exact; the prefix has a score part, by ``score`` (None: RLOO over ``draws`` prefixes that share x and k). No
    time, no cut.
    """

    def __init__(
        self,
        draws: Size = 2,
        bound: Literal["jump", "rate"] = "jump",
        score: ScoreFunction | None = None,
    ):
        super().__init__()
        self.draws, self.bound, self.score = (
            draws,
            bound,
            ScoreFunction() if score is None else score,
        )

    def forward(
        self,
        denoiser: Any,
        schedule: ContentSchedule,
        tokens: Tensor,
        random: StepRandom,
        known: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> ObjectiveOutput:
        """tokens (batch, length) int64, clean.

        known (batch, length) bool: given positions, which are revealed from the start; the NELBO is that of the others given these.
        lengths (batch,) int64: later positions are padding.

        Raises ValueError for an order-causal denoiser, a schedule that does not depend on the tokens, or draws < 2 with a learned one.
        """
        check_content(denoiser, schedule, "objective content_order", sets=True)
        self.score.check(self.draws, is_learned(schedule), masks=False)
        batch, length = tokens.shape
        spread = random.stratified(batch, tokens.device)
        u = self.score.uniforms(random, self.draws, batch, length, tokens.device)
        return self.estimate(denoiser, schedule, tokens, spread, u, known, lengths)

    def estimate(
        self,
        denoiser: Any,
        schedule: ContentSchedule,
        tokens: Tensor,
        spread: Tensor,
        u: Tensor,
        known: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> ObjectiveOutput:
        """A function of tensors alone: spread (batch,) in [0, 1) says how many are revealed, u (draws, batch, length) in (0, 1) in which
        order.
        """
        batch, length = tokens.shape
        law = schedule.law(tokens, present_positions(lengths, length))
        most = self.draws * (
            length * (batch + 1) // 2 + batch
        )  # as in OrderSpace: numbers revealed are evenly spread
        race_too = is_learned(schedule) and self.score.control == "relax"
        terms, velocity, score, k, run = prefix_terms(
            denoiser,
            schedule,
            law,
            tokens,
            spread.repeat(self.draws),
            u.flatten(0, 1),
            self.bound,
            known,
            lengths,
            most,
            race_too,
        )
        terms = terms.view(self.draws, batch, length)
        f = terms.sum(-1)
        before = torch.arange(length, device=k.device) < k[:, None]
        log_q = torch.where(before, score, 0.0).sum(-1).view(self.draws, batch)
        surrogate = f
        if is_learned(schedule):
            fixed = not_decoded(known, lengths, length)
            surrogate = f + self.score.of_orders(
                f, log_q, spread, tokens, None if fixed is None else ~fixed, run
            )
        return ObjectiveOutput(
            loss=surrogate.mean() / length,
            nelbo=f.detach().mean(0),
            by_position=terms.detach().mean(0),
            rows=u.shape[0] * batch,
            diagnostics={"velocity": velocity.detach().mean()},
        )


def prefix_terms(
    denoiser: Any,
    schedule: ContentSchedule,
    law: PlackettLuce,
    tokens: Tensor,
    spread: Tensor,
    u: Tensor,
    bound: str,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
    most: int | None = None,
    race_too: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Race | None]:
    """Terms (rows, length) of the NELBO, the velocity part (rows,) nats a sequence, scores by rank (rows, length), numbers revealed, and if
    it is asked for the race behind the orders.

    law: of tokens (batch, length). spread (rows,) in [0, 1), u (rows, length): row d * batch + b is of sequence b.
    """
    batch, length = tokens.shape
    draws = len(u) // batch
    known = None if known is None else known.repeat(draws, 1)
    lengths = None if lengths is None else lengths.repeat(draws)
    n_known, unknown, k = prefix_sizes(spread, known, lengths, length)
    known, fixed = there(known, lengths), not_decoded(known, lengths, length)
    law = PlackettLuce(law.log_w.repeat(draws, 1))
    draw = law.draw(u, known, lengths)
    revealed = draw.order.argsort(-1) < k[:, None]
    masked = ~(revealed if fixed is None else revealed | fixed)
    x = tokens.repeat(draws, 1)
    cost, log_rate = reverse_step(
        denoiser, schedule, x.masked_fill(masked, denoiser.mask_id), x, masked, lengths, most=most
    )
    terms, velocity = step_terms(law, cost, log_rate, masked, bound)
    run = (
        race(law, u, draw.order, n_known, k, torch.ones_like(masked) if fixed is None else ~fixed)
        if race_too
        else None
    )
    return unknown[:, None] * terms, unknown * velocity, draw.score, k, run
