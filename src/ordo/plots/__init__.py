"""Pictures of orders, schedules and losses: arrays in, matplotlib Figure out."""

from ordo.plots.curves import against_calls, loss_by_revealed, training_curves
from ordo.plots.figure import save
from ordo.plots.gradient import gradient_signal
from ordo.plots.order import order_heatmap, order_over_training, rank_probability
from ordo.plots.schedules import schedule_curves
from ordo.plots.sweeps import compare_settings, search_history

__all__ = [
    "against_calls", "compare_settings", "gradient_signal", "loss_by_revealed", "order_heatmap", "order_over_training",
    "rank_probability", "save", "schedule_curves", "search_history", "training_curves",
]  # fmt: skip
