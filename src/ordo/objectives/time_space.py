"""Time space: the paper's recipe, Eq. 8 with leave-one-out score gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ordo.denoisers.bidirectional import BidirectionalTransformer
from ordo.denoisers.cost import nll_of_set
from ordo.objectives.output import LawTooSharp, ObjectiveOutput, is_learned
from ordo.objectives.score import ScoreFunction
from ordo.order import not_decoded, present_positions
from ordo.randomness import StepRandom
from ordo.schedules import ContentSchedule, Schedule
from ordo.settings import BelowOne, Size, checked


@checked
class TimeSpace(nn.Module):
    """NELBO = E_t sum_l rate_l(t) E_{z_t} 1{z_l = m} (-log mu(x_l | z_t)), t low-discrepancy over the step (2511.19152, Eq. 8).

    Below ``t_min`` the bound is cut: with probability t_min the reconstruction term at t_min is drawn instead, with weight
    1/t_min, so that the estimate stays unbiased for a valid bound (all tokens still masked at t_min decoded at once).
    t_min = 0 is Eq. 8 as printed, whose variance is infinite.

    Gradient in the schedule: the path part through the rate, and the score part by ``score`` (None: RLOO over ``draws`` masks that share x
    and t).
    A position with a large w is masked only within about 1/w of t = 1, so that the variance grows with the sharpness of the law, and a
    run can look good because it never sees its first tokens: bound log w (schedule.bound), or use the order-space or dense objective.
    Needs a bidirectional denoiser, since z_t fixes a revealed set but no order of revealing.
    """

    def __init__(self, draws: Size = 2, t_min: BelowOne = 1e-3, score: ScoreFunction | None = None):
        super().__init__()
        self.draws, self.t_min, self.score = (
            draws,
            t_min,
            ScoreFunction() if score is None else score,
        )

    def forward(
        self,
        denoiser: BidirectionalTransformer,
        schedule: Schedule,
        tokens: Tensor,
        random: StepRandom,
        known: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> ObjectiveOutput:
        """tokens (batch, length) int64, clean.

        known (batch, length) bool: given positions, which are revealed from the start; the NELBO is that of the others given these.
        lengths (batch,) int64: later positions are padding.

        Raises ValueError for an order-causal denoiser, or a learned schedule with draws < 2; LawTooSharp (looked for on the CPU) if a
        position is masked with a probability below 1e-3 even at t = 1 - 1e-6.
        """
        self.score.check(self.draws, is_learned(schedule), masks=True)
        self.check(denoiser, schedule, tokens.device)
        batch, length = tokens.shape
        spread = random.stratified(batch, tokens.device)
        u = self.score.uniforms(random, self.draws, batch, length, tokens.device)
        return self.estimate(denoiser, schedule, tokens, spread, u, known, lengths)

    def estimate(
        self,
        denoiser: BidirectionalTransformer,
        schedule: Schedule,
        tokens: Tensor,
        spread: Tensor,
        u: Tensor,
        known: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> ObjectiveOutput:
        """A function of tensors alone: spread (batch,) in [0, 1) says the time, u (draws, batch, length) in (0, 1) what is masked."""
        weight, cost, masked, t = self.terms(denoiser, schedule, tokens, spread, u, known, lengths)
        terms = weight * cost
        f = terms.sum(-1)
        surrogate = f
        if is_learned(schedule):
            fixed = not_decoded(known, lengths, tokens.shape[1])
            log_masked, log_clean = schedule.log_mask_prob(t)
            decoded = None if fixed is None else ~fixed
            surrogate = f + self.score.of_masks(
                f, masked, log_masked, log_clean, spread, tokens, decoded
            )
        return ObjectiveOutput(
            loss=surrogate.mean() / tokens.shape[1],
            nelbo=f.detach().mean(0),
            by_position=terms.detach().mean(0),
            rows=self.draws * len(tokens),
            diagnostics={"weight_max": weight.detach().max()},
        )

    def terms(
        self,
        denoiser: BidirectionalTransformer,
        schedule: Schedule,
        tokens: Tensor,
        spread: Tensor,
        u: Tensor,
        known: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weight and -log mu of every position, which multiply to the terms of the NELBO, both 0 where it is clean, and where it is masked,
        (draws, batch, length) each; the times (batch,). Arguments as ``estimate``.
        """
        fixed = not_decoded(known, lengths, tokens.shape[1])
        t = (
            spread.clamp(min=self.t_min)
            if self.t_min
            else spread.clamp(min=torch.finfo(torch.float64).tiny)
        )
        rate = torch.where(
            (spread < self.t_min)[:, None], 1.0 / max(self.t_min, 1e-300), schedule.rate(t)
        )
        masked = u < 1.0 - schedule.alpha(t).detach()
        if fixed is not None:
            masked = masked & ~fixed
        x = tokens.repeat(len(u), 1)
        z = x.masked_fill(masked.flatten(0, 1), denoiser.mask_id)
        cost = nll_of_set(
            denoiser,
            z,
            x,
            masked.flatten(0, 1),
            present_positions(None if lengths is None else lengths.repeat(len(u)), x.shape[1]),
        ).view(masked.shape)
        return torch.where(masked, rate, 0.0), cost, masked, t

    @classmethod
    def check(
        cls, denoiser: BidirectionalTransformer, schedule: Schedule, device: torch.device
    ) -> None:
        """Raises ValueError, LawTooSharp as ``forward`` says."""
        if denoiser.order_causal:
            raise ValueError(
                "objective time needs a bidirectional denoiser; use objective order or dense with an order-causal one"
            )
        if isinstance(schedule, ContentSchedule):
            schedule.law()  # says what to use
        if is_learned(schedule):
            cls._check_sharpness(schedule, device)

    @staticmethod
    @torch.no_grad()
    def _check_sharpness(schedule: Schedule, device: torch.device) -> None:
        if device.type != "cpu":  # a look would wait for the device
            return
        late = 1.0 - schedule.alpha(torch.tensor([1 - 1e-6], dtype=torch.float64))[0]
        if bool((late < 1e-3).any()):
            raise LawTooSharp(
                f"objective time hardly ever masks position {int(late.argmin())} under so sharp an order law and would report too small "
                "a NELBO: bound log w (schedule.bound=4), lower optimizer.schedule_lr, or use objective order or dense"
            )
