"""Metrics of synthetic tables against real ones, of sequences, molecules, Sudokus, and orders.

Those of tables are fidelity, dependence, usefulness and copying. Higher is better unless a metric
says otherwise.
"""

from ordo.metrics.alpha_beta import AlphaBeta, alpha_beta, alpha_precision, beta_recall
from ordo.metrics.baseline import independent_columns
from ordo.metrics.c2st import c2st
from ordo.metrics.dcr import dcr
from ordo.metrics.inputs import Kinds
from ordo.metrics.mle import mle
from ordo.metrics.molecules import canonical, has_rdkit, molecule_quality, string_quality
from ordo.metrics.ngrams import ngram_divergence, unigram_entropy
from ordo.metrics.orders import edges_kept, kendall_tau, precedence_accuracy
from ordo.metrics.report import table_report
from ordo.metrics.shape import shape, shape_by_column
from ordo.metrics.sudoku import repeated_cells, sudoku_quality, violated_units
from ordo.metrics.trend import pair_associations, trend, trend_by_pair
from ordo.metrics.wnmis import wnmis

__all__ = [
    "AlphaBeta",
    "Kinds",
    "alpha_beta",
    "alpha_precision",
    "beta_recall",
    "c2st",
    "canonical",
    "dcr",
    "edges_kept",
    "has_rdkit",
    "independent_columns",
    "kendall_tau",
    "mle",
    "molecule_quality",
    "ngram_divergence",
    "pair_associations",
    "precedence_accuracy",
    "repeated_cells",
    "shape",
    "shape_by_column",
    "string_quality",
    "sudoku_quality",
    "table_report",
    "trend",
    "trend_by_pair",
    "unigram_entropy",
    "violated_units",
    "wnmis",
]  # fmt: skip
