"""Dense order space: all L conditionals of whole orders in one pass of an order-causal denoiser."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ordo.denoisers.order_causal import OrderCausalTransformer
from ordo.objectives.output import ObjectiveOutput, check_draws, is_learned, leave_one_out
from ordo.randomness import StepRandom
from ordo.schedules import Schedule


class Dense(nn.Module):
    """NELBO = E_pi sum_i -log mu(x_{pi(i)} | x_{pi(<i)}), every term of every drawn order (2511.19152, Prop. 3.1 as the training rule).

    Score gradient in the law's parameters. The advantage of the choice at rank i is the cost from i on minus a baseline that
    this choice does not influence:

    * ``baseline="rloo"``: the cost from rank i on of the other orders of the same x;
    * ``baseline="ema"``: a running mean of the cost from rank i on (works with draws = 1).

    ``control=True`` adds beta_i times the difference in cost *before* rank i (also out of reach of choice i). For a good denoiser
    an order's total cost hardly varies (chain rule), so what was expensive before is cheap after; across different x, what was
    expensive before stays expensive. beta_i is the running regression coefficient, from earlier steps only, hence unbiased.
    beta = 0 is plain cost-to-go, beta = 1 the total cost.
    """

    mean_to_go: Tensor
    mean_before: Tensor
    covariance: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(self, length: int, draws: int = 1, baseline: str = "ema", control: bool = True, decay: float = 0.95):
        super().__init__()
        if baseline not in ("rloo", "ema"):
            raise ValueError(f"baseline={baseline!r}: choose rloo or ema")
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1), got {decay}")
        check_draws(draws, 1, "the dense objective")
        self.draws, self.baseline, self.control, self.decay = draws, baseline, control, decay
        for name in ("mean_to_go", "mean_before", "covariance", "variance"):
            self.register_buffer(name, torch.zeros(length, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.float64))

    def forward(self, denoiser: OrderCausalTransformer, schedule: Schedule, tokens: Tensor, random: StepRandom) -> ObjectiveOutput:
        """tokens (batch, length) int64, clean.

        Raises ValueError for a bidirectional denoiser, or RLOO with draws < 2 and a learned schedule.
        """
        if not denoiser.order_causal:
            raise ValueError(
                "objective dense needs an order-causal denoiser (denoiser=order_causal); a bidirectional one trains with time or order"
            )
        learned = is_learned(schedule)
        if learned and self.baseline == "rloo":
            check_draws(self.draws, 2, "the leave-one-out gradient of a learned schedule")
        batch, length = tokens.shape
        draw = schedule.law().draw(self.draws * batch, random.own(tokens.device))
        x = tokens.repeat(self.draws, 1)
        logits = denoiser(x, draw.order)
        target = x.gather(1, draw.order)
        cost = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view_as(target).double()
        nelbo = cost.detach().sum(-1)
        surrogate = cost.sum(-1)
        diagnostics: dict[str, Tensor] = {}
        if learned:
            advantage = self.advantage(cost.detach().view(self.draws, batch, length), draw.causal)
            surrogate = surrogate + (advantage.flatten(0, 1) * draw.score).sum(-1)
            diagnostics["advantage_rms"] = advantage.square().mean().sqrt()
        by_position = torch.zeros_like(cost).scatter(1, draw.order, cost.detach())
        return ObjectiveOutput(
            loss=surrogate.mean() / length,
            nelbo=nelbo.view(self.draws, batch).mean(0),
            by_position=by_position.view(self.draws, batch, length).mean(0),
            rows=x.shape[0],
            diagnostics=diagnostics,
        )

    @torch.no_grad()
    def advantage(self, cost: Tensor, causal: bool) -> Tensor:
        """cost (draws, batch, length) by rank, nats -> advantages of the choices, same shape.

        Updates the running statistics in training mode.
        """
        to_go = cost.flip(-1).cumsum(-1).flip(-1)
        before = cost.cumsum(-1) - cost
        if not causal:
            to_go, before = to_go[..., :1].expand_as(cost), torch.zeros_like(cost)
        if self.baseline == "rloo":
            own, past = leave_one_out(to_go), leave_one_out(before)
        else:
            own, past = to_go - self.mean_to_go, before - self.mean_before
        beta = -self.covariance / self.variance.clamp(min=1e-12)
        advantage = own + beta * past if self.control else own
        if self.baseline == "ema":
            advantage = advantage * (self.seen > 0)  # no mean yet at the first step: no step of the schedule either
        if self.training:
            self._update(to_go, before, own, past)
        return advantage

    def _update(self, to_go: Tensor, before: Tensor, own: Tensor, past: Tensor) -> None:
        rate = (1 - self.decay) / (1 - self.decay ** (self.seen + 1))  # bias-corrected running means
        # Before the first step there is no mean to take deviations from: moments start at the second.
        moment_rate = rate if self.baseline == "rloo" else (self.seen > 0) * (1 - self.decay) / (1 - self.decay ** self.seen.clamp(min=1))
        over = (0, 1)
        self.mean_to_go += rate * (to_go.mean(over) - self.mean_to_go)
        self.mean_before += rate * (before.mean(over) - self.mean_before)
        self.covariance += moment_rate * ((own * past).mean(over) - self.covariance)
        self.variance += moment_rate * ((past * past).mean(over) - self.variance)
        self.seen += 1
