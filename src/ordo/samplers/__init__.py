"""Samplers: one loop, four rules: where (positions), how many, what (tokens), revise (masking)."""

from ordo.samplers.grid import BySteps, OnGrid
from ordo.samplers.how_many import (
    All,
    ByGroups,
    EntropyBounded,
    Factor,
    HowMany,
    InSteps,
    NonInfluence,
    One,
    Settled,
    Threshold,
    in_best_steps,
)
from ordo.samplers.information import best_sizes, factorisation_kl
from ordo.samplers.loop import sample, sample_batches
from ordo.samplers.off_law import NOTABLE_SURPRISE, order_surprise
from ordo.samplers.revise import ForwardBackward, PathPlanning, ReMDM, Revise
from ordo.samplers.sampler import Sampler
from ordo.samplers.trace import History, Trace
from ordo.samplers.what import TokenRule
from ordo.samplers.where import ByLaw, ByOrder, ByScore, Stable, Where

__all__ = [
    "NOTABLE_SURPRISE",
    "All",
    "ByGroups",
    "ByLaw",
    "ByOrder",
    "ByScore",
    "BySteps",
    "EntropyBounded",
    "Factor",
    "ForwardBackward",
    "History",
    "HowMany",
    "InSteps",
    "NonInfluence",
    "OnGrid",
    "One",
    "PathPlanning",
    "ReMDM",
    "Revise",
    "Sampler",
    "Settled",
    "Stable",
    "Threshold",
    "TokenRule",
    "Trace",
    "Where",
    "best_sizes",
    "factorisation_kl",
    "in_best_steps",
    "order_surprise",
    "sample",
    "sample_batches",
]
