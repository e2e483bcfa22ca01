"""Pictures of orders, schedules, losses and tables; pages and films of how sequences were decoded.

Pictures take arrays and return a matplotlib Figure.
"""

from ordo.plots.bars import grouped_bars
from ordo.plots.board import rank_board
from ordo.plots.curves import against_calls, loss_by_revealed, training_curves
from ordo.plots.figure import save
from ordo.plots.gradient import gradient_signal, rates_and_norms
from ordo.plots.losses import loss_heatmap
from ordo.plots.order import order_heatmap, order_over_training, precedence, rank_probability
from ordo.plots.order_nll import order_nll_violin
from ordo.plots.pairwise import precedence_matrix
from ordo.plots.schedules import schedule_curves, schedule_times
from ordo.plots.steps import step_sizes
from ordo.plots.sweeps import compare_settings, search_history
from ordo.plots.tables import marginals, pair_difference
from ordo.plots.trace_gif import save_trace_gif
from ordo.plots.trace_page import trace_fragment, trace_page
from ordo.plots.trace_rows import Layout, TraceView

__all__ = [
    "Layout", "TraceView", "against_calls", "compare_settings", "gradient_signal",
    "grouped_bars", "loss_by_revealed", "loss_heatmap", "marginals", "order_heatmap",
    "order_nll_violin", "order_over_training", "pair_difference", "precedence",
    "precedence_matrix", "rank_board", "rank_probability", "rates_and_norms", "save",
    "save_trace_gif", "schedule_curves", "schedule_times", "search_history", "step_sizes",
    "trace_fragment", "trace_page", "training_curves",
]  # fmt: skip
