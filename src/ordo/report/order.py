"""What an order law looks like, as arrays and in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from ordo import showing
from ordo.plots import precedence, schedule_times
from ordo.randomness import seeded_generator
from ordo.report.words import Words
from ordo.schedules import AveragedSchedule, Schedule, SchedulePart

MOST_PAIRS = 256  # positions; of more the matrix of precedences, (length, length), is not kept
ORDER_CELLS = 500_000  # numbers in the array of sampled orders, (orders, length)


class RankedLaw(Protocol):
    """An order law that knows the mean rank of every position."""

    length: int

    def sample(self, n: int, generator: torch.Generator) -> Tensor: ...

    def mode(self) -> Tensor: ...

    def expected_rank(self) -> Tensor: ...


@runtime_checkable
class HasEntropy(Protocol):
    """A law with an entropy, nats: mean over sampled orders and its standard error."""

    def entropy(
        self, samples: int = 1024, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]: ...


@runtime_checkable
class HasPrecedence(Protocol):
    """A law with P(i before j) in closed form, shape (length, length)."""

    def precedence(self) -> Tensor: ...


@torch.no_grad()
def law_arrays(
    schedule: Schedule | AveragedSchedule | SchedulePart, seed: int = 0
) -> dict[str, np.ndarray]:
    """Arrays from which a schedule and its order law are drawn; float64 unless said otherwise.

    Returns a dict of
        t: (n,), see ``ordo.plots.schedule_times``.
        alpha: (n, length).
        orders: (at most 2000, length), int16 or int32, sampled.
        mode: (length,), int64, see ``OrderLaw``.
        expected_rank: (length,), from 1.
        precedence: (length, length), P(i before j), for at most 256 positions; the share of the
            sampled orders where the law has no closed form.
        order_entropy: (), nats; only where the law has an entropy.
    """
    device = schedule.device
    law = cast(RankedLaw, schedule.law())
    t = torch.from_numpy(schedule_times()).to(device)
    n = max(64, min(2000, ORDER_CELLS // law.length))
    orders = law.sample(n, seeded_generator(device, seed, 0, -8))
    out = {
        "t": t,
        "alpha": schedule.alpha(t),
        "orders": orders.to(torch.int16 if law.length < 2**15 else torch.int32),
        "mode": law.mode(),
        "expected_rank": law.expected_rank(),
    }
    if isinstance(law, HasEntropy):
        out["order_entropy"] = law.entropy(generator=seeded_generator(device, seed, 0, -9))[0]
    if law.length <= MOST_PAIRS and isinstance(law, HasPrecedence):
        out["precedence"] = law.precedence()
    arrays = {name: value.cpu().numpy() for name, value in out.items()}
    if law.length <= MOST_PAIRS and "precedence" not in arrays:
        arrays["precedence"] = precedence(arrays["orders"])
    return arrays


def in_words(
    expected_rank: np.ndarray,
    entropy: float,
    labels: Sequence[str] | None = None,
    words: Words = Words(),  # noqa: B008  frozen
) -> str:
    """One sentence on a law: how far it is from uniformly random orders, and which way it goes.

    Args:
        expected_rank: (length,), from 1.
        entropy: nats, or NaN where unknown.
        labels: names of the positions, if they have any.
        words: what positions and tokens are called.
    """
    length = len(expected_rank)
    if length == 1:
        return f"There is one {words.position}, and so one order."
    share = entropy / math.lgamma(length + 1)
    spread = expected_rank.max() - expected_rank.min()
    if spread < 0.01 * length and not share < 0.995:
        way = f"{words.token}s are decoded in uniformly random order"
        return f"All decoding orders are equally probable: {way}."
    slope = float(np.corrcoef(rankdata(expected_rank), np.arange(length))[0, 1])  # Spearman's
    by_rank = np.argsort(expected_rank, kind="stable")
    if abs(slope) > 0.95:
        way = "left to right" if slope > 0 else "right to left"
    else:
        names = labels or [str(i) for i in range(length)]
        some = min(3, length // 2)
        between = "; " if any("," in name for name in names) else ", "
        first, last = (
            between.join(str(names[i]) for i in part) for part in (by_rank[:some], by_rank[-some:])
        )
        way = f"{words.position}s {first} first{between}{last} last"
    if share != share:
        return f"The order of decoding leans {way}."
    if share > 0.98:
        return f"The order of decoding is close to uniformly random, leaning {way}."
    if share < 0.05:
        return f"The order of decoding is all but fixed: {way}."
    left = f"{share:.0%} of the entropy of uniformly random orders"
    return f"The order of decoding leans {way}; it is still random to {left}."


@dataclass(frozen=True, repr=False)
class DecodingOrder(showing.Shown):
    """In which order a model decodes.

    Args:
        positions: (length,) int64, the order that stands for the law, first position first.
        name: what that order is: "mode order", the most probable one, or "order of mean ranks".
        mean_rank: of every position, (length,) float64, from 1.
        entropy: of the law, nats; NaN where it has no closed form.
        learned: whether the schedule has anything to learn.
        labels: names of the positions; None: their numbers from 0.
    """

    positions: Tensor
    name: str
    mean_rank: Tensor
    entropy: float
    learned: bool
    labels: list[str] | None = None

    def small(self) -> showing.Small:
        words = in_words(self.mean_rank.numpy(), self.entropy, self.labels)
        law = showing.law(words, len(self.mean_rank), self.learned, self.mean_rank, self.labels)
        return replace(law, rows=[*law.rows, (self.name, showing.numbers(self.positions.tolist()))])


@torch.no_grad()
def decoding_order(law: Any, learned: bool, labels: list[str] | None = None) -> DecodingOrder:
    """The order of decoding of a law of positions, on the CPU.

    learned, labels: as of ``DecodingOrder``.
    """
    entropy, name = math.nan, law.mode_name
    mode, rank = law.mode(), law.expected_rank().cpu()
    if isinstance(law, HasEntropy):
        entropy = float(law.entropy(generator=seeded_generator(mode.device, 0, 0, -9))[0])
    return DecodingOrder(mode.cpu(), name, rank, entropy, learned, labels)
