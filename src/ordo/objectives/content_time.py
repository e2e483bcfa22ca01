"""Time space for laws that depend on the tokens: GenMD4's and LoMDM's loss, with leave-one-out score gradients."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ordo.denoisers.cost import static_shapes
from ordo.objectives.content import check_content, present_positions, reverse_step
from ordo.objectives.output import LawTooSharp, ObjectiveOutput, is_learned
from ordo.objectives.score import ScoreFunction
from ordo.order import not_decoded
from ordo.randomness import StepRandom
from ordo.schedules import ContentSchedule
from ordo.settings import Part, Size, checked

SHARPEST = math.log(
    math.log(1e-3) / math.log1p(-1e-6)
)  # log w of a position that even at t = 1 - 1e-6 is masked with probability 1e-3


@checked
class ContentTimeSpace(nn.Module):
    """NELBO = E_t (1/t) sum_{l masked} [w_l (log(w_l / rho_l) + cost_l) + rho_l - w_l], P(l masked | x) = t^{w_l(x)}, t low-discrepancy.

    cost_l = -log(u_v mu_l(v) / E_mu[u]) of v = x_l and rho_l = r_l E_mu[u]. With w_l = u_{x_l}, r = 1 the bracket is
    -u_v log mu_l(v) + sum_v' u_v' mu_l(v') - u_v: the vector loss (alpha' / (1 - alpha))^T (x - mu + x x^T log mu) of GenMD4 (2406.04329,
    alpha'_v / (1 - alpha_v) = -u_v / t). With u = 1 it is LoMDM's (2602.02112), w log(w / r) - (w - r) its velocity term.

    Below ``t_min`` all that is still masked is decoded at once, which keeps a valid bound. ``reconstruction="sampled"``: by the denoiser,
    at times that would be drawn below t_min, with weight 1 / t_min, as in ``TimeSpace``. "analytic": each position alone, with p(v) in
    proportion to its probability t_min^{u_v} of being masked still (GenMD4), 1 / vocab_size where u = 1; its expectation is exact, without
    a call, and t is drawn above t_min.

    Gradient in the schedule: the path part, and the score part by ``score`` (None: RLOO over ``draws`` masks that share x and t). Tends to
    the rate bound of ``ContentOrderSpace`` for t_min -> 0, with more variance.
    """

    def __init__(
        self,
        draws: Size = 2,
        t_min: Part = 1e-3,
        reconstruction: Literal["sampled", "analytic"] = "sampled",
        score: ScoreFunction | None = None,
    ):
        super().__init__()
        self.draws, self.t_min, self.reconstruction = draws, t_min, reconstruction
        self.score = ScoreFunction() if score is None else score

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

        Raises ValueError for an order-causal denoiser, a schedule that does not depend on the tokens, or draws < 2 with a learned one;
        LawTooSharp (looked for on the CPU) if a position of this batch is masked with a probability below 1e-3 even at t = 1 - 1e-6.
        """
        check_content(denoiser, schedule, "objective content_time", sets=True)
        self.score.check(self.draws, is_learned(schedule), masks=True)
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
        """A function of tensors alone: spread (batch,) in [0, 1) says the time, u (draws, batch, length) in (0, 1) what is masked."""
        batch, length = tokens.shape
        fixed = not_decoded(known, lengths, length)
        present = present_positions(lengths, length)
        log_w = schedule.log_w(tokens, present)
        decoded = torch.ones_like(tokens, dtype=torch.bool) if fixed is None else ~fixed
        if not static_shapes(tokens.device) and bool((decoded & (log_w.detach() > SHARPEST)).any()):
            raise LawTooSharp(
                "objective content_time hardly ever masks some position under so sharp an order law and would report too small a NELBO: "
                "bound log w (schedule.bounds), lower optimizer.schedule_lr (and base_lr), or use objective content_order"
            )
        analytic = self.reconstruction == "analytic"
        t = self.t_min + (1.0 - self.t_min) * spread if analytic else spread.clamp(min=self.t_min)
        weight = (
            (1.0 - self.t_min) / t if analytic else 1.0 / t
        )  # of all drawn times together, in both cases, the integral over [t_min, 1]
        cut = torch.zeros_like(spread, dtype=torch.bool) if analytic else spread < self.t_min
        log_masked = log_w.exp() * t.log()[:, None]  # (batch, length)
        masked = (u < log_masked.detach().exp()) & decoded
        x, hidden = tokens.repeat(self.draws, 1), masked.flatten(0, 1)
        many = None if lengths is None else lengths.repeat(self.draws)
        cost, log_rate = (
            y.view(masked.shape)
            for y in reverse_step(
                denoiser, schedule, x.masked_fill(hidden, denoiser.mask_id), x, hidden, many
            )
        )
        w, rate = log_w.exp(), log_rate.exp()
        velocity = torch.where(masked, w * (log_w - log_rate) + rate - w, 0.0)
        inner = torch.where(
            cut[:, None],
            torch.where(masked, cost, 0.0),
            torch.where(masked, w * cost, 0.0) + velocity,
        )
        terms = weight[:, None] * inner
        f = terms.sum(-1)
        surrogate = f
        if is_learned(schedule):
            # log(1 - t^w), which rounds to log 0 where w is tiny and t all but 1
            log_clean = torch.log(
                -torch.expm1(log_masked.clamp(max=-torch.finfo(torch.float64).tiny))
            )
            surrogate = f + self.score.of_masks(
                f, masked, log_masked, log_clean, spread, tokens, decoded
            )
        if analytic:
            terms = terms + self._analytic(schedule, log_w, tokens, decoded, denoiser.vocab_size)
            surrogate = surrogate + (terms.sum(-1) - f)
            f = terms.sum(-1)
        return ObjectiveOutput(
            loss=surrogate.mean() / length,
            nelbo=f.detach().mean(0),
            by_position=terms.detach().mean(0),
            rows=self.draws * batch,
            diagnostics={
                "weight_max": weight.max(),
                "velocity": (weight[:, None] * torch.where(cut[:, None], 0.0, velocity))
                .detach()
                .sum(-1)
                .mean(),
            },
        )

    def _analytic(
        self,
        schedule: ContentSchedule,
        log_w: Tensor,
        tokens: Tensor,
        decoded: Tensor,
        vocab_size: int,
    ) -> Tensor:
        """P(masked at t_min) times the cost of decoding a position alone, (batch, length)."""
        log_t, log_u = math.log(self.t_min), schedule.log_u()
        # u = 1: 1 / vocab_size
        log_p = (log_w.new_zeros(vocab_size) if log_u is None else log_u.exp() * log_t).log_softmax(
            -1
        )
        return torch.where(decoded, (log_w.exp() * log_t).exp() * -log_p[tokens], 0.0)
