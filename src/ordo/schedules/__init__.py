"""Noise schedules alpha_l(t), one per position, and the order law each induces."""

from ordo.schedules.base import ArrivalTimes, Schedule
from ordo.schedules.bounds import LogBound, NormSig
from ordo.schedules.fixed import Cosine, Geometric, GivenOrder, Linear, Polynomial
from ordo.schedules.kumaraswamy import Kumaraswamy
from ordo.schedules.networks import FreeTable, PositionNetwork
from ordo.schedules.power import Power
from ordo.schedules.step_table import StepTable
from ordo.schedules.token_networks import FeatureHead, PooledNetwork, TokenNetwork, attach_features
from ordo.schedules.tokens import PerContext, PerVocabulary, TokenSchedule
from ordo.schedules.views import AveragedLaw, AveragedSchedule, SchedulePart

__all__ = [
    "ArrivalTimes", "AveragedLaw", "AveragedSchedule", "Cosine", "FeatureHead", "FreeTable",
    "Geometric", "GivenOrder", "Kumaraswamy", "Linear", "LogBound", "NormSig", "PerContext",
    "PerVocabulary", "Polynomial", "PooledNetwork", "PositionNetwork", "Power", "Schedule",
    "SchedulePart", "StepTable", "TokenNetwork", "TokenSchedule", "attach_features",
]  # fmt: skip
