"""Dense order space: all L conditionals of whole orders in one pass of an order-causal denoiser."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ordo.denoisers.cost import nll_of_order
from ordo.denoisers.order_causal import OrderCausalTransformer
from ordo.objectives.output import (
    ObjectiveOutput,
    check_draws,
    count_tokens,
    is_learned,
    leave_one_out,
    mean_over_ranks,
    surprise,
)
from ordo.order import OrderDraw, absent, only_decoded
from ordo.randomness import StepRandom
from ordo.schedules import Schedule
from ordo.settings import BelowOne, Size, checked


@checked
class Dense(nn.Module):
    """NELBO = E_pi sum_i -log mu(x_{pi(i)} | x_{pi(<i)}), every term of every drawn order (2511.19152, Prop. 3.1 as the training rule).

    Score gradient in the law's parameters. The advantage of the choice at rank i is the cost from i on minus a baseline that
    this choice does not influence:

    * ``baseline="rloo"``: the cost from rank i on of the other orders of the same x;
    * ``baseline="ema"``: a running mean of the cost from rank i on (works with draws = 1).

    Control variates, also out of reach of choice i, enter with running regression coefficients, from earlier steps only, hence unbiased:

    * ``control=True``: the cost *before* rank i. For a good denoiser an order's total cost hardly varies (chain rule), so what was
      expensive before is cheap after; across different x, what was expensive before stays expensive;
    * ``unigram=True``: the cost from rank i on of a model that knows each position's frequencies alone, -log p_l(x_l) summed over the
      positions still hidden at i. It says which x are rare and which positions are left; frequencies are running counts.
    """

    mean_to_go: Tensor
    mean_control: Tensor
    cross: Tensor
    second: Tensor
    seen: Tensor
    counts: Tensor

    def __init__(
        self,
        length: Size,
        draws: Size = 1,
        baseline: Literal["rloo", "ema"] = "ema",
        control: bool = True,
        decay: BelowOne = 0.95,
        unigram: bool = False,
        vocab_size: Size | None = None,
    ):
        super().__init__()
        if unigram and vocab_size is None:
            raise ValueError("unigram=True counts tokens: give vocab_size")
        self.draws, self.baseline, self.control, self.decay, self.unigram = (
            draws,
            baseline,
            control,
            decay,
            unigram,
        )
        k = int(control) + int(unigram)
        for name, shape in (
            ("mean_to_go", (length,)), ("mean_control", (length, k)), ("cross", (length, k)), ("second", (length, k, k)),
            ("seen", ()), ("counts", (length, vocab_size or 0) if unigram else (0, 0)),
        ):  # fmt: skip
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    def forward(
        self,
        denoiser: OrderCausalTransformer,
        schedule: Schedule,
        tokens: Tensor,
        random: StepRandom,
        known: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> ObjectiveOutput:
        """tokens (batch, length) int64, clean.

        known (batch, length) bool: given positions, which are revealed from the start; the NELBO is that of the others given these.
        lengths (batch,) int64: later positions are padding.

        Raises ValueError for a bidirectional denoiser, or RLOO with draws < 2 and a learned schedule.
        """
        if not denoiser.order_causal:
            raise ValueError(
                "objective dense needs an order-causal denoiser (denoiser=order_causal); a bidirectional one trains with time or order"
            )
        if is_learned(schedule) and self.baseline == "rloo":
            check_draws(self.draws, 2, "the leave-one-out gradient of a learned schedule")
        batch, length = tokens.shape
        return self.estimate(
            denoiser,
            schedule,
            tokens,
            random.uniform(self.draws, batch, length, tokens.device),
            known,
            lengths,
        )

    def estimate(
        self,
        denoiser: OrderCausalTransformer,
        schedule: Schedule,
        tokens: Tensor,
        u: Tensor,
        known: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> ObjectiveOutput:
        """A function of tensors alone: u (draws, batch, length) in (0, 1) says the orders."""
        known = None if known is None else known.repeat(self.draws, 1)
        many = None if lengths is None else lengths.repeat(self.draws)
        draw = schedule.law().draw(u.flatten(0, 1), known, many)
        cost = only_decoded(
            nll_of_order(denoiser, tokens.repeat(self.draws, 1), draw.order), known, many
        )
        return self._output(cost, cost, draw, tokens, lengths, is_learned(schedule))

    def _output(
        self,
        terms: Tensor,
        moved: Tensor,
        draw: OrderDraw,
        tokens: Tensor,
        lengths: Tensor | None,
        learned: bool,
    ) -> ObjectiveOutput:
        """terms (draws * batch, length) by rank: the NELBO's; moved: the same, each at the rank of the last choice that moves it."""
        batch, length = tokens.shape
        surrogate = terms.sum(-1)
        diagnostics: dict[str, Tensor] = {}
        if learned:
            rare = None
            if self.unigram:
                rare = (
                    self._surprise(tokens, lengths)
                    .repeat(self.draws, 1)
                    .gather(1, draw.order)
                    .view(self.draws, batch, length)
                )
            advantage = self.advantage(
                moved.detach().view(self.draws, batch, length), draw.causal, rare
            )
            surrogate = surrogate + (advantage.flatten(0, 1) * draw.score).sum(-1)
            diagnostics["advantage_rms"] = advantage.square().mean().sqrt()
        by_position = torch.zeros_like(terms).scatter(1, draw.order, terms.detach())
        return ObjectiveOutput(
            loss=surrogate.mean() / length,
            nelbo=terms.detach().sum(-1).view(self.draws, batch).mean(0),
            by_position=by_position.view(self.draws, batch, length).mean(0),
            rows=len(terms),
            diagnostics=diagnostics,
        )

    @torch.no_grad()
    def advantage(self, cost: Tensor, causal: bool, rare: Tensor | None = None) -> Tensor:
        """cost, and with ``unigram`` rare, the tokens' ``surprise``, (draws, batch, length) by rank, nats -> advantages, same shape.

        causal False: a choice moves every rank, so only what no choice moves may be taken away. Updates the running statistics in training
        mode.
        """

        def rest(x: Tensor) -> Tensor:
            x = x.flip(-1).cumsum(-1).flip(-1)
            return x if causal else x[..., :1].expand_as(x)

        to_go = rest(cost)
        controls = [(cost.cumsum(-1) - cost) * causal] if self.control else []
        controls += [rest(rare)] if rare is not None else []
        z = torch.stack(controls, -1) if controls else cost.new_zeros((*cost.shape, 0))
        if self.baseline == "rloo":
            own, other = leave_one_out(to_go), leave_one_out(z)
        else:
            own, other = to_go - self.mean_to_go, z - self.mean_control
        ridge = 1e-9 * self.second.diagonal(dim1=-2, dim2=-1) + 1e-12
        beta = torch.linalg.solve_ex(self.second + torch.diag_embed(ridge), self.cross)[
            0
        ]  # _ex: no look at the result
        advantage = own - (other * beta).sum(-1)
        if self.baseline == "ema":
            advantage = advantage * (
                self.seen > 0
            )  # no mean yet at the first step: no step of the schedule either
        if self.training:
            self._update(to_go, z, own, other)
        return advantage

    def _update(self, to_go: Tensor, z: Tensor, own: Tensor, other: Tensor) -> None:
        rate = (1 - self.decay) / (
            1 - self.decay ** (self.seen + 1)
        )  # bias-corrected running means
        # Before the first step there is no mean to take deviations from: moments start at the second.
        moment_rate = (
            rate
            if self.baseline == "rloo"
            else (self.seen > 0) * (1 - self.decay) / (1 - self.decay ** self.seen.clamp(min=1))
        )
        moments = (to_go, z, own[..., None] * other, other[..., None] * other[..., None, :])
        to_go, z, cross, second = mean_over_ranks(*(x.mean((0, 1)) for x in moments))
        self.mean_to_go += rate * (to_go - self.mean_to_go)
        self.mean_control += rate * (z - self.mean_control)
        self.cross += moment_rate * (cross - self.cross)
        self.second += moment_rate * (second - self.second)
        self.seen += 1

    def _surprise(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """``surprise`` of the tokens (batch, length), 0 beyond lengths (batch,); counts them in training mode."""
        there = (
            torch.ones_like(tokens, dtype=torch.bool)
            if lengths is None
            else ~absent(lengths, tokens.shape[1])
        )
        if self.training:
            count_tokens(self.counts, tokens, there)
        return surprise(self.counts, tokens, there)
