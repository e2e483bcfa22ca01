"""Pictures of orders, schedules, losses and tables: arrays in, matplotlib Figure out."""

from ordo.plots.curves import against_calls, loss_by_revealed, training_curves
from ordo.plots.figure import save
from ordo.plots.gradient import gradient_signal
from ordo.plots.losses import loss_heatmap
from ordo.plots.order import order_heatmap, order_over_training, precedence, rank_probability
from ordo.plots.order_nll import order_nll_violin
from ordo.plots.pairwise import precedence_matrix
from ordo.plots.schedules import schedule_curves
from ordo.plots.steps import step_sizes
from ordo.plots.sweeps import compare_settings, search_history
from ordo.plots.tables import marginals, pair_difference

__all__ = [
    "against_calls", "compare_settings", "gradient_signal", "loss_by_revealed", "loss_heatmap", "marginals", "order_heatmap",
    "order_nll_violin", "order_over_training", "pair_difference", "precedence", "precedence_matrix", "rank_probability", "save",
    "schedule_curves", "search_history", "step_sizes", "training_curves",
]  # fmt: skip
