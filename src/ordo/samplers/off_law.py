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
    """By how much less probable the trace's orders are under the law than the law's own orders:
    mean over rows, nats per decoded token. None: the law's probabilities have no closed form.

    About 0 for orders of the law; below 0 for more typical orders, such as its mode; infinite if
    the law is a fixed order and the trace departs from it. A denoiser trained on a sharp law knows
    little of orders that are improbable under the law, also of those that margin or confidence
    choose: above ``NOTABLE_SURPRISE`` expect worse samples. Given and absent positions do not
    count.
    """
    step_log_prob = getattr(law, "step_log_prob", None)
    if step_log_prob is None:
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
        return torch.where(ranks, step_log_prob(order), 0.0).sum(1)

    own = batch.decoded_first(
        law.sample(len(known), torch.Generator(known.device).manual_seed(seed))
    )
    gap = (log_prob(own) - log_prob(trace.order)) / decoded.clamp(min=1)
    return float(gap[decoded > 0].mean())
