"""Which decoded tokens are masked again: rules applied around the reveals of a step. No rule
touches given tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from ordo.samplers.grid import OnGrid, grid_of
from ordo.samplers.how_many import HowMany, InSteps
from ordo.samplers.state import AGAIN, REMASK, State, View
from ordo.settings import Few, NonNegative, Share, Size, checked


class Revise(Protocol):
    """A remasking rule."""

    def check(self, how_many: HowMany, order_causal: bool) -> None:
        """Raises ValueError for a rule or a denoiser that this rule cannot work with."""

    def steps(self, how_many: HowMany) -> int:
        """Steps after which nothing is masked again."""
        ...

    def looks_at(self, state: State) -> Tensor | None:
        """Revealed positions, (n, length) bool, whose distribution the rule wants from the step's
        call.
        """

    def before(self, view: View) -> None:
        """Called before positions are chosen."""

    def after(self, view: View, also: Tensor | None) -> tuple[Tensor, bool]:
        """Called after the reveal, with log mu at ``looks_at``. Returns the positions to mask
        again, (n, length) bool, and whether time stands still for a step.
        """
        ...


def free(view: View) -> Tensor:
    """Revealed positions that may be masked again: (n, length) bool."""
    return ~view.state.masked & ~view.state.known


@checked
@dataclass(frozen=True)
class ReMDM:
    """ReMDM (2503.00307): with ``OnGrid``, every revealed token is masked again with probability
    sigma, and more tokens are revealed in its place.

    The share revealed stays that of the schedule, except with ``confidence``. At a fixed sigma a
    step reveals several positions at once however fine the grid is, so that samples do not tend to
    the law even with an exact denoiser. With eta of the order of 1 / calls they do.

    Args:
        kind: "cap": sigma = min(eta, (1 - alpha_s) / alpha_t). "rescale": eta times
            (1 - alpha_s) / alpha_t, which is the largest possible sigma.
        confidence: share sigma out by a softmax of minus the probability that each token had when
            it was revealed (ReMDM-conf).
        loop: only on the plateau of ``OnGrid.hold`` (ReMDM-loop).
    """

    kind: Literal["cap", "rescale"] = "cap"
    eta: Share = 0.1
    confidence: bool = False
    loop: bool = False

    def check(self, how_many: HowMany, order_causal: bool) -> None:
        if not isinstance(how_many, OnGrid):
            raise ValueError("ReMDM works on a time grid: use it with how_many on_grid")
        if self.loop != (how_many.hold is not None):
            raise ValueError("ReMDM loop=true and on_grid.hold go together")

    def steps(self, how_many: HowMany) -> int:
        return grid_of(how_many).calls

    def looks_at(self, state: State) -> Tensor | None:
        return None

    def before(self, view: View) -> None:
        alpha_t, alpha_s = grid_of(view.how_many).alphas(view)
        largest = ((1 - alpha_s) / alpha_t.clamp(min=1e-300)).clamp(max=1.0)
        sigma = largest.clamp(max=self.eta) if self.kind == "cap" else self.eta * largest
        if self.loop:
            sigma = torch.where(alpha_s == alpha_t, sigma, 0.0)
        if self.confidence:
            share = torch.where(free(view), (-view.state.log_prob.exp()).exp(), 0.0)
            sigma = sigma * share / share.sum(1, keepdim=True).clamp(min=1e-300)
        view.state.memory["sigma"], view.state.memory["revisable"] = sigma, free(view)

    def after(self, view: View, also: Tensor | None) -> tuple[Tensor, bool]:
        memory = view.state.memory
        return memory["revisable"] & (view.uniform(REMASK) < memory["sigma"]), False


@checked
@dataclass(frozen=True)
class PathPlanning:
    """P2 (2502.03540): with ``All``, after step k of ``calls`` only the best share k/calls of all
    free positions stays revealed.

    Positions are judged by log-probability. A token just drawn has the one it was drawn with. A
    token revealed before has what the denoiser now gives it, with the token itself in view, times
    eta.

    Args:
        shape: see ``InSteps``.
        eta: 0 never masks a token again; larger values do so more.
        planner: another denoiser, which judges tokens revealed before, in the completed sequence,
            at the price of a call a step.
    """

    calls: Size
    shape: Literal["uniform", "cosine"] = "uniform"
    eta: NonNegative = 1.0
    planner: Callable[..., Tensor] | None = None

    def check(self, how_many: HowMany, order_causal: bool) -> None:
        if not getattr(how_many, "everything", False):
            raise ValueError("path planning chooses what stays revealed: use it with how_many all")
        if order_causal and self.planner is None and self.eta > 0:
            raise ValueError(
                "an order-causal denoiser says nothing of revealed positions: path planning needs "
                "a planner, or eta=0"
            )

    def steps(self, how_many: HowMany) -> int:
        return self.calls

    def looks_at(self, state: State) -> Tensor | None:
        return ~state.masked & ~state.known if self.planner is None and self.eta > 0 else None

    def after(self, view: View, also: Tensor | None) -> tuple[Tensor, bool]:
        state = view.state
        shares = InSteps(self.calls, self.shape).shares()
        k = min(int(state.step_in_block.max()), self.calls - 1)
        candidates = ~state.known
        old = candidates & ~view.chosen
        score = state.log_prob.clone()
        if self.planner is not None:
            if old.any():
                judged = self.planner(state.tokens, where=old).log_softmax(-1).double()
                score[old] = judged.gather(-1, state.tokens[old][:, None])[:, 0]
                state.calls += old.any(1)
        elif also is not None and len(also):
            score[old] = also.double().gather(-1, state.tokens[old][:, None])[:, 0]
        score = torch.where(old, self.eta * score, score)
        stays = (shares[k] * candidates.sum(1) - 1e-9).ceil().long()
        ranked = score.masked_fill(~candidates, -torch.inf)
        best_first = ranked.argsort(dim=1, descending=True, stable=True)
        return candidates & (best_first.argsort(1) >= stays[:, None]), False

    def before(self, view: View) -> None:
        return None


@checked
@dataclass(frozen=True)
class ForwardBackward:
    """Forward-backward corrector (Campbell et al. 2205.14987): each step of a grid from t to s is
    followed by ``rounds`` times back to t, by masking every revealed token with probability
    1 - alpha(t) / alpha(s), and the step again. Each round costs a call.
    """

    rounds: Few = 1

    def check(self, how_many: HowMany, order_causal: bool) -> None:
        if not isinstance(how_many, OnGrid) or how_many.hold is not None:
            raise ValueError(
                "the forward-backward corrector works on a time grid without a plateau: use it "
                "with how_many on_grid"
            )

    def steps(self, how_many: HowMany) -> int:
        return grid_of(how_many).calls

    def looks_at(self, state: State) -> Tensor | None:
        return None

    def before(self, view: View) -> None:
        return None

    def after(self, view: View, also: Tensor | None) -> tuple[Tensor, bool]:
        memory = view.state.memory
        rounds = memory.get("rounds", torch.zeros_like(view.state.calls))
        again = bool((rounds < self.rounds).any())  # all rows are at the same round
        memory["rounds"] = rounds + 1 if again else torch.zeros_like(rounds)
        alpha_t, alpha_s = grid_of(view.how_many).alphas(view)
        if not again:
            return torch.zeros_like(view.chosen), False
        kept = view.uniform(AGAIN) < alpha_t / alpha_s.clamp(min=1e-300)
        return free(view) & ~kept, True
