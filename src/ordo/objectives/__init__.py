"""Three estimators of one NELBO and of its gradients, each for every schedule."""

from ordo.objectives.base import LawTooSharp, Objective, ObjectiveOutput
from ordo.objectives.dense import Dense
from ordo.objectives.order_space import OrderSpace
from ordo.objectives.score import ScoreFunction
from ordo.objectives.time_space import TimeSpace

__all__ = [
    "Dense", "LawTooSharp", "Objective", "ObjectiveOutput", "OrderSpace", "ScoreFunction",
    "TimeSpace",
]  # fmt: skip
