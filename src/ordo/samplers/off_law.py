"""Whether a sampler decodes in orders that its model was trained for."""

from __future__ import annotations

import torch
from torch import Tensor

from ordo.order import OrderLaw
from ordo.samplers.trace import Trace

NOTABLE = 0.25  # nats per decoded token


@torch.no_grad()
def order_surprise(trace: Trace, law: OrderLaw, known: Tensor | None = None, seed: int = 0) -> float | None:
    """By how much less probable the trace's orders are under the law than the law's own orders are, mean over rows, nats per decoded token.

    About 0 for orders of the law, below 0 for more typical ones, such as its mode. A denoiser trained on a sharp law is far off on orders
    that are improbable under it, also on those that margin or confidence choose: above ``NOTABLE`` expect worse samples. known: what was
    given to ``sample``. None: the law's probabilities have no closed form.
    """
    if not hasattr(law, "step_log_prob"):
        return None
    n, length = trace.tokens.shape
    known = torch.zeros(n, length, dtype=torch.bool, device=trace.tokens.device) if known is None else known.to(trace.tokens.device)
    decoded = (~known).sum(1)
    ranks = torch.arange(length, device=known.device) >= known.sum(1, keepdim=True)
    own = law.draw(n, torch.Generator(known.device).manual_seed(seed), known).order

    def log_prob(order: Tensor) -> Tensor:
        return torch.where(ranks, law.step_log_prob(order), 0.0).sum(1)  # type: ignore[attr-defined]

    gap = (log_prob(own) - log_prob(trace.order)) / decoded.clamp(min=1)
    return float(gap[decoded > 0].mean()) if bool((decoded > 0).any()) else 0.0
