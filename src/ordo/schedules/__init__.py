"""Noise schedules alpha_l(t), one per position, and the order law each induces; laws that depend on the tokens."""

from ordo.schedules.averaged import AveragedLaw, AveragedSchedule
from ordo.schedules.base import ArrivalTimes, Schedule
from ordo.schedules.content import ContentSchedule, OrderPosterior, PerContext, PerVocabulary
from ordo.schedules.feature_head import FeatureHead, attach_features
from ordo.schedules.fixed_order import GivenOrder
from ordo.schedules.kumaraswamy import Kumaraswamy
from ordo.schedules.networks import FreeTable, PositionNetwork
from ordo.schedules.part import SchedulePart
from ordo.schedules.pooled import PooledNetwork
from ordo.schedules.power import Power
from ordo.schedules.token_network import LogBound, NormSig, TokenNetwork
from ordo.schedules.univariate import Cosine, Geometric, Linear, LogLinear, Polynomial

__all__ = [
    "ArrivalTimes", "AveragedLaw", "AveragedSchedule", "ContentSchedule", "Cosine", "FeatureHead", "FreeTable", "Geometric",
    "GivenOrder", "Kumaraswamy", "Linear", "LogBound", "LogLinear", "NormSig", "OrderPosterior", "PerContext", "PerVocabulary",
    "Polynomial", "PooledNetwork", "PositionNetwork", "Power", "Schedule", "SchedulePart", "TokenNetwork", "attach_features",
]  # fmt: skip
