"""Samplers: one loop, four choices. Where (positions), how many, what (tokens), revise (mask again)."""

from ordo.samplers.how_many import (
    All,
    ByGroups,
    EntropyBounded,
    Factor,
    HowMany,
    InSteps,
    NonInfluence,
    One,
    OnGrid,
    Settled,
    Threshold,
    in_best_steps,
)
from ordo.samplers.information import best_sizes, factorisation_kl
from ordo.samplers.loop import Sampler, own_sampler, sample, sample_batches
from ordo.samplers.off_law import NOTABLE_SURPRISE, order_surprise
from ordo.samplers.revise import ForwardBackward, PathPlanning, ReMDM, Revise
from ordo.samplers.trace import History, Trace
from ordo.samplers.what import TokenRule
from ordo.samplers.where import ByLaw, ByOrder, ByRates, ByScore, Stable, Where

__all__ = [
    "NOTABLE_SURPRISE",
    "All",
    "ByGroups",
    "ByLaw",
    "ByOrder",
    "ByRates",
    "ByScore",
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
    "own_sampler",
    "sample",
    "sample_batches",
]
