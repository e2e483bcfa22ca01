"""Whether a sampler decodes in orders that its model was trained for."""

from __future__ import annotations

import torch
from torch import Tensor

from ordo.batch import Batch
from ordo.order import FixedOrder, OrderLaw
from ordo.samplers.trace import Trace

NOTABLE_SURPRISE = 0.25  # nats per decoded token


@torch.no_grad()
def order_surprise(trace: Trace, law: OrderLaw, seed: int = 0) -> float | None:
    """By how much less probable the trace's orders are under the law than the law's own orders are, mean over rows, nats per decoded token.

    About 0 for orders of the law, below 0 for more typical ones, such as its mode; infinite where a given order is left. A denoiser trained
    on a sharp law is far off on orders that are improbable under it, also on those that margin or confidence choose: above
    ``NOTABLE_SURPRISE`` expect worse samples. Positions that were given or absent do not count. None: the law's probabilities have no
    closed form.
    """
    if not hasattr(law, "step_log_prob"):
        return None
    known = trace.rank < 0
    batch = Batch(trace.tokens, known)
    decoded = (~known).sum(1)
    if not bool((decoded > 0).any()):
        return 0.0
    ranks = torch.arange(known.shape[1], device=known.device) >= known.sum(1, keepdim=True)
    if isinstance(law, FixedOrder):
        wanted = batch.decoded_first(law.order.to(known.device).expand(known.shape))
        return float("inf") if bool((ranks & (trace.order != wanted)).any()) else 0.0

    def log_prob(order: Tensor) -> Tensor:
        return torch.where(ranks, law.step_log_prob(order), 0.0).sum(1)  # type: ignore[attr-defined]

    own = batch.decoded_first(
        law.sample(len(known), torch.Generator(known.device).manual_seed(seed))
    )
    gap = (log_prob(own) - log_prob(trace.order)) / decoded.clamp(min=1)
    return float(gap[decoded > 0].mean())
