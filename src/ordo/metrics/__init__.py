"""Metrics of synthetic tables against real ones: fidelity, dependence, usefulness, copying. Higher is better unless said otherwise."""

from ordo.metrics.alpha_beta import AlphaBeta, alpha_beta, alpha_precision, beta_recall
from ordo.metrics.baseline import independent_columns
from ordo.metrics.c2st import c2st
from ordo.metrics.dcr import dcr
from ordo.metrics.inputs import Kinds
from ordo.metrics.mle import mle
from ordo.metrics.orders import edges_kept, kendall_tau, precedence_accuracy
from ordo.metrics.report import table_report
from ordo.metrics.shape import shape, shape_by_column
from ordo.metrics.trend import trend, trend_by_pair
from ordo.metrics.wnmis import wnmis

__all__ = [
    "AlphaBeta", "Kinds", "alpha_beta", "alpha_precision", "beta_recall", "c2st", "dcr", "edges_kept", "independent_columns", "kendall_tau",
    "mle", "precedence_accuracy", "shape", "shape_by_column", "table_report", "trend", "trend_by_pair", "wnmis",
]  # fmt: skip
