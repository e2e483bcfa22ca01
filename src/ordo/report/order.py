"""What an order law looks like, as arrays and in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import spearmanr

from ordo.plots import precedence
from ordo.randomness import seeded_generator
from ordo.schedules import AveragedSchedule, Schedule, SchedulePart

MOST_PAIRS = 256  # positions up to which the matrix of precedences is kept: (length, length)
ORDER_CELLS = 500_000  # of sampled orders, (orders, length)


@torch.no_grad()
def law_arrays(
    schedule: Schedule | AveragedSchedule | SchedulePart, seed: int = 0
) -> dict[str, np.ndarray]:
    """Arrays from which a schedule and its order law are drawn; float64 unless said otherwise.

    t (101,) and alpha (101, length); orders (at most 2000, length) int16 or int32, sampled; mode (length,) int64, see ``OrderLaw``;
    expected_rank (length,) from 1; up to 256 positions precedence (length, length), P(i before j), of the sampled orders where the law has
    it not in closed form; where it has that, order_entropy () nats.
    """
    device = schedule.device
    law, t = schedule.law(), torch.linspace(0, 1, 101, dtype=torch.float64, device=device)
    orders = law.sample(
        max(64, min(2000, ORDER_CELLS // law.length)), seeded_generator(device, seed, 0, -8)
    )
    out = {
        "t": t,
        "alpha": schedule.alpha(t),
        "orders": orders.to(torch.int16 if law.length < 2**15 else torch.int32),
        "mode": law.mode(),
        "expected_rank": law.expected_rank(),  # type: ignore[attr-defined]
    }
    if hasattr(law, "entropy"):
        out["order_entropy"] = law.entropy(generator=seeded_generator(device, seed, 0, -9))[0]  # type: ignore[attr-defined]
    arrays = {name: value.cpu().numpy() for name, value in out.items()}
    if law.length <= MOST_PAIRS:
        closed = hasattr(law, "precedence")
        arrays["precedence"] = (
            law.precedence().cpu().numpy() if closed else precedence(arrays["orders"])
        )  # type: ignore[attr-defined]
    return arrays


def in_words(
    expected_rank: np.ndarray,
    entropy: float,
    labels: Sequence[str] | None = None,
    columns: bool = False,
) -> str:
    """One sentence on a law: how far it is from uniformly random orders, and which way it goes.

    expected_rank (length,) from 1. entropy: nats, or NaN. labels: names of the positions, if they have any. columns: whether they are a
    table's.
    """
    length = len(expected_rank)
    if length == 1:
        return "There is one position, and so one order."
    share = entropy / math.lgamma(length + 1)
    spread = expected_rank.max() - expected_rank.min()
    if spread < 0.01 * length and not share < 0.995:
        return "All decoding orders are equally probable: tokens are decoded in uniformly random order."
    slope = float(spearmanr(expected_rank, np.arange(length))[0])  # type: ignore[arg-type]
    by_rank = np.argsort(expected_rank, kind="stable")
    if abs(slope) > 0.95:
        way = "left to right" if slope > 0 else "right to left"
    else:
        names = labels or [str(i) for i in range(length)]
        what = "columns" if columns else "positions"
        some = min(3, length // 2)
        first, last = (
            ", ".join(str(names[i]) for i in part) for part in (by_rank[:some], by_rank[-some:])
        )
        way = f"{what} {first} first, {last} last"
    if share != share:
        return f"The order of decoding leans {way}."
    if share > 0.98:
        return f"The order of decoding is close to uniformly random, leaning {way}."
    if share < 0.05:
        return f"The order of decoding is all but fixed: {way}."
    return f"The order of decoding leans {way}; it is still random to {share:.0%} of the entropy of uniformly random orders."
