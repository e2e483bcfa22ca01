"""Time space: the paper's recipe, Eq. 8 with score gradients, and its form for laws that depend on
the tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ordo.batch import Batch
from ordo.denoisers import Denoiser, batch_for
from ordo.denoisers.cost import nll_of_set, static_shapes
from ordo.objectives.base import LawTooSharp, ObjectiveOutput, is_learned
from ordo.objectives.reverse import reverse_step
from ordo.objectives.score import ScoreFunction
from ordo.randomness import StepRandom
from ordo.schedules import Schedule
from ordo.settings import BelowOne, Size, checked

LATE = 1 - 1e-6  # a time by which a law that is not too sharp has masked every position ...
RARE = 1e-3  # ... with at least this probability


@dataclass(frozen=True)
class TimeTerms:
    """What masks at drawn times say. terms, gap: (draws, n, length) nats. log_q: (draws, n), of the
    masks.
    """

    terms: Tensor
    gap: Tensor
    log_q: Tensor
    weight_max: Tensor


@checked
class TimeSpace(nn.Module):
    """NELBO = E_t sum_l E_{z_t} [1{z_l = m} rate_l(t) (-log mu(x_l | z_t)) + gap_l], t
    low-discrepancy (2511.19152, Eq. 8).

    gap_l is 0 for laws of positions. For a law that depends on the tokens (see ``TokenSchedule``)
    it is the reverse gap (1/t) (w_l log(w_l / rho_l) + rho_l - w_l), rate_l = w_l / t, and the cost
    is -log(u_v mu_l(v) / E_mu[u]) of v = x_l. With w_l = u_{x_l}, r = 1 the terms are -u_v log
    mu_l(v) + sum_v' u_v' mu_l(v') - u_v: the vector loss (alpha' / (1 - alpha))^T (x - mu + x x^T
    log mu) of GenMD4 (2406.04329, alpha'_v / (1 - alpha_v) = -u_v / t). With u = 1 they are LoMDM's
    (2602.02112). Tends to the rate bound of ``OrderSpace`` for t_min -> 0.

    Below ``t_min`` the bound is cut: all tokens still masked at t_min are decoded at once, which
    keeps a valid bound. ``reconstruction="sampled"``: by the denoiser, at times that would be drawn
    below t_min, with weight 1 / t_min, so the estimate stays unbiased. "analytic" (GenMD4): each
    position alone, with p(v) in proportion to the probability t_min^{u_v} that token v is masked
    still, 1 / vocab_size where u = 1. Its expectation is exact, without a call, and t is drawn
    above t_min. t_min = 0 is Eq. 8 as printed, whose variance is infinite.

    The gradient in the schedule has a path part through the rate and the gap, and a score part by
    ``score`` (None: RLOO over ``draws`` masks that share x and t, as in the paper). A position with
    a large w is masked only within about 1/w of t = 1. So the variance grows with the sharpness of
    the law, and a run can look good because it never sees its first tokens: bound log w
    (schedule.bound), or use the order-space or dense objective. Needs a bidirectional denoiser,
    since z_t fixes a revealed set but no order of revealing.
    """

    def __init__(
        self,
        draws: Size = 2,
        t_min: BelowOne = 1e-3,
        reconstruction: Literal["sampled", "analytic"] = "sampled",
        score: ScoreFunction | None = None,
    ):
        super().__init__()
        if reconstruction == "analytic" and t_min == 0:
            raise ValueError("reconstruction=analytic needs t_min > 0, at which it decodes")
        self.draws, self.t_min, self.reconstruction = draws, t_min, reconstruction
        self.score = ScoreFunction() if score is None else score

    def forward(
        self, denoiser: Denoiser, schedule: Schedule, batch: Batch | Tensor, random: StepRandom
    ) -> ObjectiveOutput:
        """The estimate of one step; bare tokens (n, length) are a batch in which everything is
        decoded.

        Raises ValueError for an order-causal denoiser, and for draws < 2 where the score part needs
        other draws; LawTooSharp (looked for on the CPU) if a position is masked with a probability
        below 1e-3 at t = 1 - 1e-6.
        """
        batch = batch_for(denoiser, batch, schedule.length)
        self.score.check(self.draws, is_learned(schedule), masks=True)
        n, length = batch.tokens.shape
        u = self.score.uniforms(random, self.draws, n, length, batch.tokens.device)
        progress = random.stratified(n, batch.tokens.device)
        return self.estimate(denoiser, schedule, batch, progress, u)

    def estimate(
        self, denoiser: Denoiser, schedule: Schedule, batch: Batch, progress: Tensor, u: Tensor
    ) -> ObjectiveOutput:
        """A function of tensors alone.

        Args:
            progress: (n,) in [0, 1): the times.
            u: (draws, n, length) in (0, 1): what is masked.
        """
        out = self.terms(denoiser, schedule, batch, progress, u)
        f = out.terms.sum(-1)  # (draws, n) nats
        surrogate = f
        if is_learned(schedule):
            surrogate = f + self.score(f, out.log_q, progress, batch)
        terms = out.terms.detach().mean(0)
        if self.reconstruction == "analytic":
            rest = self._reconstruction(schedule, batch, denoiser.vocab_size)
            surrogate, terms = surrogate + rest.sum(-1), terms + rest.detach()
        diagnostics = {"weight_max": out.weight_max}
        if schedule.depends_on_tokens:
            diagnostics["reverse_gap"] = out.gap.detach().sum(-1).mean()
        return ObjectiveOutput(
            loss=surrogate.mean() / batch.tokens.shape[1],
            nelbo=terms.sum(-1),
            by_position=terms,
            rows=self.draws * len(batch.tokens),
            diagnostics=diagnostics,
        )

    def terms(
        self, denoiser: Denoiser, schedule: Schedule, batch: Batch, progress: Tensor, u: Tensor
    ) -> TimeTerms:
        """The terms of Eq. 8 but for an analytic reconstruction; arguments and errors as
        ``estimate`` and ``forward``.
        """
        if denoiser.order_causal:
            raise ValueError(
                "objective time needs a bidirectional denoiser; use objective order or dense "
                "with an order-causal one"
            )
        t, share, cut = self._times(progress)
        rate, log_masked, log_clean = schedule.at_time(t, batch)  # (n, length) each
        self._check_sharpness(schedule, t, log_masked, batch)
        decoded = batch.decoded
        masked = (u < log_masked.detach().exp()) & decoded  # (draws, n, length): z_t
        many, hidden = batch.repeat(len(u)), masked.flatten(0, 1)
        gap = torch.zeros((), dtype=torch.float64, device=u.device)
        if schedule.depends_on_tokens:
            cost, log_rho = (
                x.view(masked.shape) for x in reverse_step(denoiser, schedule, many, hidden)
            )
            back = log_rho.exp() / t[:, None]  # the rate of the reverse process
            gap = rate * (rate.log() - back.log()) + back - rate
            gap = torch.where(masked & ~cut[:, None], gap, 0.0)
        else:
            z = many.tokens.masked_fill(hidden, denoiser.mask_id)
            cost = nll_of_set(denoiser, z, many.tokens, hidden, many.present).view(masked.shape)
        weight = torch.where(cut[:, None], 1.0 / max(self.t_min, 1e-300), rate)
        weight = torch.where(masked, weight, 0.0)
        # log q of the masks; log P(clean) of given positions and padding does not count.
        log_q = torch.where(masked, log_masked, torch.where(decoded, log_clean, 0.0)).sum(-1)
        return TimeTerms(share * (weight * cost + gap), share * gap, log_q, weight.detach().max())

    def _times(self, progress: Tensor) -> tuple[Tensor, float, Tensor]:
        """Times (n,), the share of [0, 1] that they stand for, and which of them stand for all
        below t_min.
        """
        if self.reconstruction == "analytic":
            share = 1.0 - self.t_min
            return (
                self.t_min + share * progress,
                share,
                torch.zeros_like(progress, dtype=torch.bool),
            )
        tiny = torch.finfo(torch.float64).tiny
        return progress.clamp(min=self.t_min or tiny), 1.0, progress < self.t_min

    def _reconstruction(self, schedule: Schedule, batch: Batch, vocab_size: int) -> Tensor:
        """P(masked at t_min) times the cost of decoding a position alone: (n, length)."""
        t = torch.full((len(batch.tokens),), self.t_min, dtype=torch.float64)
        _, log_masked, _ = schedule.at_time(t.to(batch.tokens.device), batch)
        log_u = schedule.log_u()
        if log_u is None:
            cost = torch.full_like(log_masked, math.log(vocab_size))
        else:
            cost = -(log_u.exp() * math.log(self.t_min)).log_softmax(-1)[batch.tokens]
        return torch.where(batch.decoded, log_masked.exp() * cost, 0.0)

    @staticmethod
    @torch.no_grad()
    def _check_sharpness(schedule: Schedule, t: Tensor, log_masked: Tensor, batch: Batch) -> None:
        if not is_learned(schedule) or static_shapes(t.device):  # a look would wait for the device
            return
        if schedule.depends_on_tokens:  # P(masked) = t^w
            late = log_masked * (math.log(LATE) / t.log())[:, None]
        else:
            late = schedule.log_mask_prob(t.new_full((1,), LATE))[0].expand_as(log_masked)
        late = late.masked_fill(~batch.decoded, 0.0)
        if bool((late < math.log(RARE)).any()):
            position = int(late.min(0).values.argmin())
            raise LawTooSharp(
                f"objective time hardly ever masks position {position} under so sharp an order "
                "law and would report too small a NELBO: bound log w (schedule.bound=4, or "
                "schedule.bounds), lower optimizer.schedule_lr (and base_lr), or use objective "
                "order or dense"
            )
