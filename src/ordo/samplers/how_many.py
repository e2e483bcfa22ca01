"""How many positions a step decodes: rules that choose among the eligible positions, most by taking
the first few by key.

``deterministic``: the choice is a function of what is revealed. ``ahead``: the choice needs no
denoiser call. ``single``: one position a step. ``draws_first``: the rule wants the tokens that
positions would be decoded to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from ordo.samplers.information import best_sizes
from ordo.samplers.state import View
from ordo.samplers.where import ByOrder
from ordo.settings import Count, NonNegative, Share, Size, Sizes, checked


class HowMany(Protocol):
    """A rule that chooses positions, (n, length) bool, among ``view.eligible``. It may choose none
    in a row, which then costs no call.
    """

    @property
    def ahead(self) -> bool: ...

    @property
    def deterministic(self) -> bool: ...

    @property
    def single(self) -> bool: ...

    @property
    def draws_first(self) -> bool: ...

    def choose(self, view: View) -> Tensor: ...


@checked
@dataclass(frozen=True)
class One:
    """One position a step: as many calls as positions, and exact in law with any position rule that
    scores distributions.
    """

    ahead, deterministic, single, draws_first = True, True, True, False

    def choose(self, view: View) -> Tensor:
        return view.best()


@checked
@dataclass(frozen=True)
class All:
    """Every position at once: for a single call, or for ``PathPlanning``, which masks most of them
    again.
    """

    ahead, deterministic, single, draws_first = True, True, False, False
    everything = True

    def choose(self, view: View) -> Tensor:
        return view.eligible


@checked
@dataclass(frozen=True)
class InSteps:
    """A number of calls given beforehand, the same for all rows.

    Args:
        calls: steps; left out where shape has their sizes.
        shape: "uniform" (as many positions every step), "cosine" (few first: the share
            1 - cos(pi k / 2K) after k of K steps, MaskGIT), or the sizes of the steps, such as
            those of ``ordo.samplers.best_sizes``. Rows with less to decode take the same shares.
    """

    calls: Size | None = None
    shape: Literal["uniform", "cosine"] | Sizes = "uniform"
    ahead, deterministic, single, draws_first = True, True, False, False

    def __post_init__(self) -> None:
        if (self.calls is None) == isinstance(self.shape, str):
            raise ValueError("give the number of calls, or else the sizes of the steps in shape")

    def shares(self) -> list[float]:
        """Share revealed after step 1, 2, ...; the last is 1."""
        if not isinstance(self.shape, str):
            total = sum(self.shape)
            return [sum(self.shape[: k + 1]) / total for k in range(len(self.shape))]
        assert self.calls is not None
        curve = (
            (lambda x: x) if self.shape == "uniform" else (lambda x: 1 - math.cos(math.pi * x / 2))
        )
        return [curve(k / self.calls) for k in range(1, self.calls)] + [1.0]

    def sizes(self, length: int) -> list[int]:
        """Positions that each step decodes of ``length``; steps without any are left out."""
        done = [math.ceil(share * length - 1e-9) for share in self.shares()]
        return [b - a for a, b in zip([0, *done[:-1]], done, strict=True) if b > a]

    def choose(self, view: View) -> Tensor:
        state = view.state
        shares = view.once(
            "shares",
            lambda: torch.tensor(self.shares(), dtype=torch.float64, device=view.eligible.device),
        )
        targets = (shares * state.block_size[:, None] - 1e-9).ceil().long()
        done = state.block_size - view.eligible.sum(1)
        # The next larger number, not that of this step: a step that would decode nothing is no
        # step.
        ahead = torch.where(targets > done[:, None], targets, state.block_size[:, None])
        return view.first((ahead.min(1).values - done).clamp(min=0))


@checked
@dataclass(frozen=True)
class ByGroups:
    """The groups of a given order (bisection, dilated), one a step."""

    order: ByOrder
    ahead, deterministic, single, draws_first = True, True, False, False

    def numbers(self, length: int) -> Tensor:
        """The number of every position's group, (length,)."""
        out = torch.empty(length, dtype=torch.int64)
        for i, group in enumerate(self.order.groups(length)):
            out[group] = i
        return out

    def choose(self, view: View) -> Tensor:
        number = view.once("groups", lambda: self.numbers(view.length).to(view.eligible.device))
        mine = torch.where(view.eligible, number, view.length)
        return view.eligible & (mine == mine.min(1, keepdim=True).values)


@checked
@dataclass(frozen=True)
class Threshold:
    """All positions with confidence of at least ``confidence``, or the first by key where there is
    none (Fast-dLLM, 2505.22618).
    """

    confidence: Share = 0.9
    ahead, deterministic, single, draws_first = False, True, False, False

    def choose(self, view: View) -> Tensor:
        return view.eligible & ((view.confidence() >= self.confidence) | view.best())


@checked
@dataclass(frozen=True)
class Factor:
    """The first n positions, for the largest n with (n + 1) (1 - c_n) < factor, c_n the n-th
    largest confidence; at least one position (Fast-dLLM, 2505.22618).

    Use it with the position rule by confidence.
    """

    factor: NonNegative = 1.0
    ahead, deterministic, single, draws_first = False, True, False, False

    def choose(self, view: View) -> Tensor:
        ranked = view.confidence().gather(1, view.by_key())
        n = torch.arange(1, view.length + 1, device=ranked.device)
        fits = ((n + 1) * (1 - ranked) < self.factor) & view.eligible.gather(1, view.by_key())
        return view.first((fits * n).amax(1).clamp(min=1))


@checked
@dataclass(frozen=True)
class EntropyBounded:
    """EB sampler (2505.24857): the most positions, by key, whose entropies sum to at most gamma
    nats above the largest entropy; at least one position.

    sum H - max H bounds, in nats, the dependence between positions that decoding them at once
    ignores. Usually with the position rule by entropy.
    """

    gamma: NonNegative = 0.1
    ahead, deterministic, single, draws_first = False, True, False, False

    def choose(self, view: View) -> Tensor:
        ranked = view.entropy().gather(1, view.by_key())
        error = ranked.cumsum(1) - ranked.cummax(1).values
        fits = ((error <= self.gamma) & view.eligible.gather(1, view.by_key())).cumprod(1)
        return view.first(fits.sum(1).clamp(min=1))


@checked
@dataclass(frozen=True)
class Settled:
    """All positions that the position rule ``Stable`` calls settled, or the first by key where no
    position is settled (KLASS, 2511.05664).
    """

    ahead, deterministic, single, draws_first = False, True, False, False

    def choose(self, view: View) -> Tensor:
        if "settled" not in view.state.memory:
            raise ValueError("how_many Settled needs where Stable")
        settled = view.state.memory["settled"] & view.eligible
        return torch.where(settled.any(1, keepdim=True), settled, view.best())


@checked
@dataclass(frozen=True)
class NonInfluence:
    """PUNT (2510.21961): positions that do not influence one another, by tests with about
    log2(length) further calls a step.

    Positions by key are split in halves again and again. At each level the first halves get the
    tokens that they would be decoded to. A position of a second half whose distribution this moves
    by more than ``kl`` nats is left for a later step.

    Args:
        at_most: only the first so many positions by key are tried; None: all.
    """

    kl: NonNegative = 0.01
    at_most: Count | None = None
    ahead, deterministic, single, draws_first = False, False, False, True

    def choose(self, view: View) -> Tensor:
        trying = view.eligible
        if self.at_most is not None:
            trying = view.first(torch.full_like(view.state.n_revealed, self.at_most))
        place = view.by_key().argsort(1)  # by key, the eligible first
        before = view.known_log_prob()
        assert view.drawn is not None
        would_be = view.state.tokens.clone()
        would_be[view.eligible] = view.drawn[0]
        most = int(trying.sum(1).max())
        for level in reversed(range(max(most - 1, 0).bit_length())):
            late = trying & ((place >> level) & 1).bool()
            early = trying & ~late
            asked = late & early.any(1, keepdim=True)
            if not asked.any():
                continue
            now = view.ask(asked, early, would_be).double()
            old = before[asked[view.eligible]]
            moved = torch.where(old > -torch.inf, old.exp() * (old - now), 0.0).sum(-1)
            influenced = torch.zeros_like(trying)
            influenced[asked] = moved > self.kl
            trying = trying & ~influenced
        return trying


@checked
def in_best_steps(calls: Size, profile: Sequence[float] | None = None) -> InSteps:
    """``InSteps`` with the step sizes of least predicted loss.

    Args:
        profile: nats of the next token by number revealed, (length,); None: comes later, such as
            from a report.

    Raises ValueError without a profile.
    """
    if not profile:
        raise ValueError("profile is missing: nats of the next token by number revealed")
    return InSteps(shape=best_sizes(torch.tensor(list(profile), dtype=torch.float64), calls))
