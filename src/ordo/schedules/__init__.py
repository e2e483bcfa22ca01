"""Noise schedules alpha_l(t), one per position, and the order law each induces."""

from ordo.schedules.base import ArrivalTimes, Schedule
from ordo.schedules.fixed_order import GivenOrder
from ordo.schedules.kumaraswamy import Kumaraswamy
from ordo.schedules.networks import FreeTable, PositionNetwork
from ordo.schedules.power import Power
from ordo.schedules.univariate import Cosine, Geometric, Linear, LogLinear, Polynomial

__all__ = [
    "ArrivalTimes", "Cosine", "FreeTable", "Geometric", "GivenOrder", "Kumaraswamy", "Linear", "LogLinear", "Polynomial",
    "PositionNetwork", "Power", "Schedule",
]  # fmt: skip
