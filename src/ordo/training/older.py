"""State dicts of older versions, whose objectives named their running statistics otherwise."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

SCORE = "objective.score"
RENAMED = {
    f"{SCORE}.second": f"{SCORE}.regression.second",
    f"{SCORE}.cross": f"{SCORE}.regression.cross",
    f"{SCORE}.counts": f"{SCORE}.frequencies.counts",
}
# Running means of the former dense objective, which have no counterpart.
GONE = {
    f"objective.{name}"
    for name in ("mean_to_go", "mean_control", "cross", "second", "seen", "counts")
}


def renewed(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A stored state dict in the names of today.

    Statistics without a counterpart start anew; the weights of a model are never touched.

    Args:
        state: as stored.
        own: the state dict of the model that is to be loaded.
    """
    out = {}
    for name, value in state.items():
        if name in GONE and name not in own:
            continue
        today = RENAMED.get(name, name) if name not in own else name
        wanted = own.get(today)
        one_more = wanted is not None and wanted.ndim == value.ndim + 1
        out[today] = value[None] if one_more and today in RENAMED.values() else value
    if GONE & state.keys() - own.keys():
        out |= {
            name: own[name] for name in own if name.startswith("objective.") and name not in out
        }
    return out
