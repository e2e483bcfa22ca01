"""Three estimators of one NELBO and of its gradients."""

from ordo.objectives.dense import Dense
from ordo.objectives.order_space import OrderSpace
from ordo.objectives.output import LawTooSharp, Objective, ObjectiveOutput
from ordo.objectives.time_space import TimeSpace

__all__ = ["Dense", "LawTooSharp", "Objective", "ObjectiveOutput", "OrderSpace", "TimeSpace"]
