"""Three estimators of one NELBO and of its gradients; three for laws that depend on the tokens."""

from ordo.objectives.content_dense import ContentDense
from ordo.objectives.content_order import ContentOrderSpace
from ordo.objectives.content_time import ContentTimeSpace
from ordo.objectives.dense import Dense
from ordo.objectives.order_space import OrderSpace
from ordo.objectives.output import LawTooSharp, Objective, ObjectiveOutput
from ordo.objectives.score import ScoreFunction
from ordo.objectives.time_space import TimeSpace

__all__ = [
    "ContentDense", "ContentOrderSpace", "ContentTimeSpace", "Dense", "LawTooSharp", "Objective", "ObjectiveOutput", "OrderSpace",
    "ScoreFunction", "TimeSpace",
]  # fmt: skip
