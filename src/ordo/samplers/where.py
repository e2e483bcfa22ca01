"""Which positions come first: rules that give every position a key. Larger keys come earlier.

``ahead``: whether the keys need no denoiser call, so that the call can be spent on the chosen
positions alone. ``deterministic``: whether the keys are a function of what is revealed.
``score_on``: whether the rule looks at distributions or at tokens drawn from them. Given tokens are
revealed first, by descending ``key_of_given`` of the order law and uniforms (n, length); their
order matters to order-causal denoisers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from ordo.order import OrderLaw
from ordo.samplers.state import NOISE, ORDER, View
from ordo.schedules import Schedule
from ordo.settings import Count, NonNegative, Share, Whole, checked


class Where(Protocol):
    """A position rule."""

    @property
    def ahead(self) -> bool: ...

    @property
    def deterministic(self) -> bool: ...

    @property
    def score_on(self) -> str: ...

    def key(self, view: View) -> Tensor: ...

    def key_of_given(self, law: OrderLaw, u: Tensor) -> Tensor: ...


@checked
@dataclass(frozen=True)
class ByLaw:
    """The order law of the schedule, whether the law depends on the tokens or not.

    Law of positions: an order is drawn for every row. One position at a time this is the
    first-hitting sampler (2409.02908) for any number of schedules: the limit of the sampler of
    2511.19152 for infinitely many steps.

    Law that depends on the tokens: the jump chain of the schedule's reverse law. Position l comes
    next with probability rho_l / W, rho_l = r_l(z) E_mu[u], and then token v in proportion to
    u_v mu_l(v). The rates change from step to step. Several positions a step are drawn one after
    another at the same rates.

    Args:
        temperature: 1: the law. 0: its mode, or the largest rho first; log p(x) is then exact.
            Else Plackett-Luce(w^(1/temperature)), or rho^(1/temperature).
    """

    temperature: NonNegative = 1.0
    ahead, score_on = True, "distribution"

    @property
    def deterministic(self) -> bool:
        return self.temperature == 0

    def tilt(self, schedule: Schedule) -> Tensor | None:
        """log u, (vocab,), which is added to the denoiser's log mu, and for which the denoiser is
        called before positions are chosen; None: u = 1.
        """
        return schedule.log_u()

    def key(self, view: View) -> Tensor:
        if not view.schedule.depends_on_tokens:
            return view.kept(
                "law", lambda: view.law.keys(view.fixed_uniform(ORDER), self.temperature)
            )
        # Absent positions are known, but hold the mask id.
        present = ~view.state.known | (view.state.tokens != view.mask_id)
        log_rate = view.schedule.log_r(view.state.tokens, present)
        log_u = self.tilt(view.schedule)
        if log_u is not None:
            log_rate = log_rate + view.spread((view.known_log_prob() + log_u).logsumexp(-1), 0.0)
        if self.temperature == 0:
            return log_rate
        return log_rate / self.temperature - (-view.uniform(ORDER).log()).log()

    def key_of_given(self, law: OrderLaw, u: Tensor) -> Tensor:
        return law.keys(u, self.temperature)


@checked
@dataclass(frozen=True)
class ByOrder:
    """One order for all rows.

    Args:
        order: left_to_right; right_to_left; bisection: the middle of every gap, coarse to fine,
            exact for Markov chains; dilated (DUS, 2506.19037): positions a stride apart, the stride
            halved from step to step; or the positions in decoding order. bisection and dilated come
            with groups for ``ByGroups``.
    """

    order: Literal["left_to_right", "right_to_left", "bisection", "dilated"] | Sequence[Whole] = (
        "left_to_right"
    )
    ahead, deterministic, score_on = True, True, "distribution"

    def groups(self, length: int) -> list[list[int]]:
        """Positions in decoding order, in the groups that ``ByGroups`` decodes at once.

        Raises ValueError unless the positions are a permutation.
        """
        if self.order == "left_to_right":
            return [[i] for i in range(length)]
        if self.order == "right_to_left":
            return [[i] for i in reversed(range(length))]
        if self.order == "bisection":
            return bisection(length)
        if self.order == "dilated":
            return dilated(length)
        if sorted(self.order) != list(range(length)):
            raise ValueError(
                f"order must be a permutation of 0..{length - 1}, got {list(self.order)}"
            )
        return [[int(i)] for i in self.order]

    def key(self, view: View) -> Tensor:
        return view.once("order", lambda: self._key(view.length, view.eligible.device)).expand(
            view.eligible.shape
        )

    def key_of_given(self, law: OrderLaw, u: Tensor) -> Tensor:
        return self._key(u.shape[1], u.device).expand(u.shape)

    def _key(self, length: int, device: torch.device) -> Tensor:
        order = [i for group in self.groups(length) for i in group]
        return -torch.tensor(order, device=device).argsort().double()


def bisection(length: int) -> list[list[int]]:
    """The middle of every gap that earlier groups left, until no gap is left: 7 groups for 64
    positions.
    """
    groups, gaps = [], [(0, length)]
    while gaps:
        groups.append([(a + b - 1) // 2 for a, b in gaps])
        gaps = [
            gap
            for a, b in gaps
            for gap in ((a, (a + b - 1) // 2), ((a + b - 1) // 2 + 1, b))
            if gap[1] > gap[0]
        ]
    return groups


def dilated(length: int) -> list[list[int]]:
    """Positions that a stride divides; the stride is halved from group to group down to 1, which
    makes log2(length) groups.
    """
    stride, seen, groups = 1 << max(0, math.ceil(math.log2(length)) - 1), set(), []
    while stride:
        groups.append([i for i in range(0, length, stride) if i not in seen])
        seen |= set(groups[-1])
        stride //= 2
    return groups


@checked
@dataclass(frozen=True)
class ByScore:
    """Positions the denoiser is surest of first.

    Args:
        score: confidence (largest probability, MaskGIT 2202.04200), margin (largest less second
            largest, 2502.06768), entropy (negative entropy), or random.
        score_on: "distribution": scores before tokens are drawn; every deterministic order then has
            an exact likelihood. "drawn": scores the drawn token's probability in place of the
            largest one, as MaskGIT's published code does; this biases the joint law and has no
            likelihood.
        noise: coefficient of Gumbel noise on the log-score.
        anneal: multiply the noise by the share still masked (MaskGIT).
    """

    score: Literal["confidence", "margin", "entropy", "random"] = "confidence"
    score_on: Literal["distribution", "drawn"] = "distribution"
    noise: NonNegative = 0.0
    anneal: bool = True
    ahead = False

    def __post_init__(self) -> None:
        if self.score_on == "drawn" and self.score != "confidence":
            raise ValueError(f"score_on=drawn goes with score=confidence, not {self.score}")

    @property
    def deterministic(self) -> bool:
        return self.noise == 0 and self.score_on == "distribution" and self.score != "random"

    def key_of_given(self, law: OrderLaw, u: Tensor) -> Tensor:
        return law.keys(u, 0)

    def key(self, view: View) -> Tensor:
        if self.score == "random":
            return view.uniform(NOISE)
        key = self._score(view)
        if self.noise:
            gumbel = -(-view.uniform(NOISE).log()).log()
            share = (view.state.masked.sum(1) / view.length)[:, None] if self.anneal else 1.0
            key = torch.where(view.eligible, key + self.noise * share * gumbel, key)
        return key

    def _score(self, view: View) -> Tensor:
        """Scores on a log scale, so that noise acts on all alike; entropy as it is."""
        if self.score_on == "drawn":
            assert view.drawn is not None
            return view.spread(view.drawn[1])
        if self.score == "entropy":
            return -view.entropy()
        if self.score == "confidence":
            return view.confidence().log()
        p = view.known_log_prob().exp()
        best = p.topk(min(2, p.shape[-1]), dim=-1).values
        return view.spread(best[:, 0] - (best[:, 1] if p.shape[-1] > 1 else 0.0)).log()


@checked
@dataclass(frozen=True)
class Stable(ByScore):
    """KLASS (2511.05664): positions whose distribution has settled come first, by confidence.

    Settled: confidence is at least ``confidence``, and KL(now || step before) is below ``kl`` nats
    for ``history`` steps running. Use it with ``how_many`` ``Settled``, which decodes all settled
    positions, or the surest one where no position is settled.
    """

    confidence: Share = 0.9
    kl: NonNegative = 0.01
    history: Count = 2

    def key(self, view: View) -> Tensor:
        memory, vocab = view.state.memory, view.known_log_prob().shape[-1]
        now = torch.zeros(
            *view.eligible.shape, vocab, dtype=torch.float64, device=view.eligible.device
        )
        now[view.eligible] = view.known_log_prob()
        if "before" not in memory:
            memory["steady"] = torch.zeros(
                view.eligible.shape, dtype=torch.int64, device=now.device
            )
            memory["seen"] = torch.zeros_like(view.eligible)
        else:
            moved = torch.where(now > -torch.inf, now.exp() * (now - memory["before"]), 0.0).sum(-1)
            steady = view.eligible & memory["seen"] & (moved < self.kl)
            memory["steady"] = torch.where(steady, memory["steady"] + 1, 0)
        memory["before"], memory["seen"] = now, view.eligible.clone()
        score = super().key(view)
        memory["settled"] = (
            view.eligible
            & (memory["steady"] >= self.history)
            & (view.confidence() >= self.confidence)
        )
        return torch.where(memory["settled"], score + 1e6, score)
