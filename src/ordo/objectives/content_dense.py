"""Dense order space for laws that depend on the tokens: every step of a drawn order in one pass."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ordo.objectives.content import check_content, order_terms, present_positions
from ordo.objectives.dense import Dense
from ordo.objectives.output import ObjectiveOutput, check_draws, is_learned
from ordo.order import PlackettLuce
from ordo.randomness import StepRandom
from ordo.schedules import ContentSchedule
from ordo.settings import BelowOne, Size, checked


@checked
class ContentDense(Dense):
    """NELBO = E_{pi | x} sum_i [-log mu(x_{pi(i)} | x_{pi(<i)}) + velocity_i], all L terms of every drawn order; see ``ContentOrderSpace``.

    velocity_i >= 0 is what it costs at step i that the reverse law is not the forward law, exactly summed over the next position. It needs
    the reverse weights after every prefix, which a schedule whose reverse network is ``PooledNetwork`` gives at once; other networks see
    a row a decoded position. The denoiser is order-causal, u = 1: with u, rates need the distributions of all masked tokens at all steps.

    Score part: the choice at rank i moves the cost from i on and the velocity from i + 1 on. Baselines and control variates are those of
    ``Dense``, applied to their sum. With a law that does not depend on the tokens and r = w it is ``Dense``, velocity 0.

    Args: as of ``Dense``; ``bound`` jump or rate. ``baseline="rloo"`` compares orders of the same x, which ``ema`` does not.
    """

    def __init__(
        self,
        length: Size,
        draws: Size = 2,
        baseline: Literal["rloo", "ema"] = "rloo",
        control: bool = True,
        decay: BelowOne = 0.95,
        unigram: bool = False,
        vocab_size: Size | None = None,
        bound: Literal["jump", "rate"] = "jump",
    ):
        super().__init__(length, draws, baseline, control, decay, unigram, vocab_size)
        self.bound = bound

    def forward(  # type: ignore[override]
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

        Raises ValueError for a bidirectional denoiser, a schedule that does not depend on the tokens or has u, or RLOO with draws < 2 and a
        learned schedule.
        """
        if not denoiser.order_causal:
            raise ValueError(
                "objective content_dense needs an order-causal denoiser (denoiser=order_causal); a bidirectional one trains with "
                "content_order or content_time"
            )
        check_content(denoiser, schedule, "objective content_dense")
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

    def estimate(  # type: ignore[override]
        self,
        denoiser: Any,
        schedule: ContentSchedule,
        tokens: Tensor,
        u: Tensor,
        known: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> ObjectiveOutput:
        """A function of tensors alone: u (draws, batch, length) in (0, 1) says the orders."""
        log_w = schedule.law(tokens, present_positions(lengths, tokens.shape[1])).log_w
        law = PlackettLuce(log_w.repeat(self.draws, 1))
        known = None if known is None else known.repeat(self.draws, 1)
        many = None if lengths is None else lengths.repeat(self.draws)
        draw = law.draw(u.flatten(0, 1), known, many)
        x = tokens.repeat(self.draws, 1)
        cost, velocity = order_terms(
            denoiser, schedule, law, x, draw.order, self.bound, known, many
        )
        # What a step's velocity is, the choices before it say: the last of them is one rank earlier.
        moved = cost + torch.cat([velocity[:, 1:], torch.zeros_like(velocity[:, :1])], 1)
        out = self._output(cost + velocity, moved, draw, tokens, lengths, is_learned(schedule))
        out.diagnostics["velocity"] = velocity.detach().sum(-1).mean()
        return out
