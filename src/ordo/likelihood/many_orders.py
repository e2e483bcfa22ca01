"""How much the order matters: the same sequences scored along many orders."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ordo.batch import Batch
from ordo.denoisers import Denoiser, batch_for
from ordo.likelihood.orders import order_log_prob
from ordo.order import OrderLaw, uniform_law
from ordo.randomness import seeded_generator


@dataclass(frozen=True)
class ManyOrders:
    """Mean of -log p(x | order) over the same sequences, nats per sequence, for every order.

    uniform, own (orders,) float64 on the CPU: orders drawn uniformly, and from the law. named:
    "left to right", "right to left" and the law's ``mode``, by its ``mode_name``. importance: the
    bound on -log of the mixture over the law's orders that the K = orders drawn ones give (the same
    for all sequences; Burda et al. 1509.00519).
    """

    uniform: Tensor
    own: Tensor
    named: dict[str, float]
    importance: float

    def marks(self) -> dict[str, float]:
        """What ``ordo.plots.order_nll_violin`` marks: the named orders, the NELBOs, which are means
        over orders, and the bound.
        """
        means = {
            "NELBO, uniform orders": self.uniform.mean().item(),
            "NELBO, own order law": self.own.mean().item(),
        }
        return (
            self.named | means | {f"importance bound, {len(self.own)} own orders": self.importance}
        )


@torch.no_grad()
def many_orders(
    denoiser: Denoiser,
    batch: Batch | Tensor,
    law: OrderLaw,
    orders: int = 64,
    seed: int = 0,
    batch_size: int = 256,
    progress: Callable[..., Any] | None = None,
) -> ManyOrders:
    """Scores sequences, on the denoiser's device, along 2 x orders + 3 orders, each the same for
    all sequences.

    An order-causal denoiser takes one row an order and sequence, a bidirectional one ``length``
    rows. With 64 orders and 100 sequences of 32 tokens that is 13,100 rows (order-causal) or
    419,200.

    Args:
        batch_size: sequences a call.
        progress: callable(iterable, description) -> iterable, such as rich's track.

    Raises ValueError where there are no sequences, or ``orders`` or ``batch_size`` is not positive.
    """
    batch = batch_for(denoiser, batch, law.length)
    n, length = batch.tokens.shape
    if n == 0:
        raise ValueError("no sequences to score")
    if orders < 1 or batch_size < 1:
        raise ValueError(f"orders={orders} and batch_size={batch_size} must be positive")
    generator = seeded_generator(batch.tokens.device, seed, -11)
    ahead = torch.arange(length, device=batch.tokens.device)
    drawn = [
        each.sample(orders, generator) for each in (uniform_law(length, batch.tokens.device), law)
    ]
    every = torch.cat(
        [*drawn, torch.stack([ahead, ahead.flip(0), law.mode().to(batch.tokens.device)])]
    )
    log_p = torch.empty(len(every), n, dtype=torch.float64)
    for i, order in enumerate(progress(every, "many orders") if progress else every):
        log_p[i] = torch.cat(
            [order_log_prob(denoiser, some, order).cpu() for some in batch.split(batch_size)]
        )
    mean = -log_p.mean(1)
    bound = (math.log(orders) - log_p[orders : 2 * orders].logsumexp(0)).mean().item()
    named: dict[str, float] = dict(
        zip(
            ("left to right", "right to left", law.mode_name),
            mean[2 * orders :].tolist(),
            strict=True,
        )
    )
    return ManyOrders(mean[:orders], mean[orders : 2 * orders], named, bound)
