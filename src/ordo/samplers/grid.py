"""How many positions a step decodes on a grid of times, as the reverse process of the schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from ordo.samplers.how_many import HowMany
from ordo.samplers.state import ORDER, UNMASK, View
from ordo.schedules import Schedule
from ordo.schedules.base import equal_mass
from ordo.settings import Part, Size, checked
from ordo.steps import StepLaw


@checked
@dataclass(frozen=True)
class OnGrid:
    """The ancestral sampler on a time grid, for laws of positions.

    From t to s < t every masked position is revealed with probability
    (alpha_l(s) - alpha_l(t)) / (1 - alpha_l(t)), independently (2511.19152, Eq. 2 with one alpha
    per position; any schedule). Rows where a step reveals nothing cost no call.

    Args:
        spacing: "linear" in t, "cosine" (t = cos(pi k / 2K)), or "equal_mass" (as many positions
            are expected every step, which matters where the schedules of positions differ).
        hold: (alpha, share of the calls) of a plateau on which time stands still for a remasking
            rule (ReMDM-loop, 2503.00307).
    """

    calls: Size
    spacing: Literal["linear", "cosine", "equal_mass"] = "linear"
    hold: tuple[Part, Part] | None = None
    ahead, deterministic, single, draws_first = True, False, False, False

    def times(self, schedule: Schedule) -> Tensor:
        """(calls + 1,) float64 from 1 to 0."""
        part = torch.linspace(0, 1, self.calls + 1, dtype=torch.float64)
        if self.hold is not None:
            level, share = self.hold
            held = max(1, round(self.calls * share))
            before = max(1, round((self.calls - held) * level))
            after = self.calls - held - before
            if after < 1:
                raise ValueError(
                    f"hold={self.hold} leaves no step of {self.calls} after the plateau"
                )
            rise, fall = torch.linspace(0, level, before + 1), torch.linspace(level, 1, after + 1)
            part = torch.cat([rise, torch.full((held,), level), fall[1:]]).double()
        if self.spacing == "linear":
            return 1 - part
        if self.spacing == "cosine":
            times = torch.cos(torch.pi * part / 2)
        else:
            times = equal_mass(schedule, part)
        times[0], times[-1] = 1.0, 0.0
        return times

    def alphas(self, view: View) -> tuple[Tensor, Tensor]:
        """alpha at the step's t and at its s, (n, length) each."""
        schedule, device = cast(Schedule, view.schedule), view.eligible.device
        t = view.once("times", lambda: self.times(schedule))
        k = view.state.step_in_block.clamp(max=self.calls - 1).cpu()
        alpha_t, alpha_s = schedule.alpha(t[k].to(device)), schedule.alpha(t[k + 1].to(device))
        return alpha_t, torch.where(t[k + 1].to(device)[:, None] == 0, 1.0, alpha_s)

    def choose(self, view: View) -> Tensor:
        alpha_t, alpha_s = self.alphas(view)
        sigma = view.state.memory.get("sigma", 0.0)  # of a remasking rule
        # The probability, for a position masked before or masked again, that makes alpha_s the
        # share revealed at s (2503.00307, Eq. 5).
        p = (alpha_s - (1 - sigma) * alpha_t) / (1 - alpha_t).clamp(min=1e-300)
        last = (alpha_s >= 1) & (torch.as_tensor(sigma) == 0)
        return view.eligible & ((view.uniform(UNMASK) < p) | last)


@checked
@dataclass(frozen=True)
class BySteps:
    """The steps of the schedule's own law over K steps: at most K calls (``Schedule.steps``).

    Positions of one step are decoded by one call; a step without any costs none.

    Args:
        calls: K; None: that of the schedule, which must be made for a number of calls
            (``StepTable``).
        choice: "drawn": a step for every position is drawn for every row. "argmax": the most
            probable step of every position; log p(x) is then exact.
    """

    calls: Size | None = None
    choice: Literal["drawn", "argmax"] = "drawn"
    ahead, single, draws_first = True, False, False

    @property
    def deterministic(self) -> bool:
        return self.choice == "argmax"

    def law(self, schedule: Schedule) -> StepLaw:
        """Raises ValueError where nobody says how many calls, or the law depends on the tokens."""
        calls = self.calls if self.calls is not None else schedule.calls
        if calls is None:
            name = type(schedule).__name__
            raise ValueError(f"how many calls? {name} serves any number: give how_many.calls")
        return schedule.steps(calls)

    def steps(self, view: View) -> Tensor:
        """Of every position, (n, length)."""
        law = view.once("steps of the law", lambda: self.law(view.schedule))
        if self.choice == "argmax":
            return law.mode().expand(view.eligible.shape)
        return view.kept("steps", lambda: law.steps_of(view.fixed_uniform(ORDER))[0])

    def choose(self, view: View) -> Tensor:
        mine = torch.where(view.eligible, self.steps(view), view.length + 10**9)
        return view.eligible & (mine == mine.min(1, keepdim=True).values)


def grid_of(how_many: HowMany) -> OnGrid:
    """The rule as a grid, where a remasking rule has checked that it is one."""
    assert isinstance(how_many, OnGrid)
    return how_many
