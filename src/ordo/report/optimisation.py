"""The picture of the optimiser: learning rates and gradient norms against training."""

from __future__ import annotations

from ordo import plots
from ordo.report.page import Picture
from ordo.report.record import Record, curve

PARTS = {"denoiser": "", "schedule": "schedule_", "base of the schedule": "base_"}


def optimisation_pictures(record: Record) -> list[Picture]:
    """One small picture; none of a run that logged fewer than two such steps."""
    panels = []
    for what in ("lr", "gradient_norm"):
        found = {
            name: curve(record.metrics, f"train/{prefix}{what}") for name, prefix in PARTS.items()
        }
        panels.append({name: pair for name, pair in found.items() if len(pair[0]) > 1})
    rates, norms = panels
    if not rates or not norms:
        return []
    caption = (
        "Learning rates, and norms of the gradients before clipping, in the steps that were "
        "logged. While the schedule waits, its rate is 0, which a logarithmic axis leaves out."
    )
    return [Picture("optimisation", plots.rates_and_norms(rates, norms), caption)]
