"""Samplers by the names that the studies' tables use."""

from functools import cache

from hydra import compose, initialize_config_dir

from benchmarks.common import CONFIGS
from ordo.runs.build import build
from ordo.samplers import Sampler

RESCALE = "sampler.revise.kind=rescale"
# Name -> a file of src/ordo/configs/sampler and what is changed there; other names are files too.
NAMED: dict[str, tuple[str, ...]] = {
    "left_to_right": ("given_order",),
    "right_to_left": ("given_order", "sampler.where.order=right_to_left"),
    "dilated": ("bisection", "sampler.where.order=dilated"),
    "semi_autoregressive": ("top_k", "sampler.block=8"),
    "remdm_cap": ("remdm",),
    "remdm_rescale": ("remdm", RESCALE),
    "remdm_confidence": (
        "remdm",
        RESCALE,
        "sampler.revise.eta=0.5",
        "sampler.revise.confidence=true",
    ),
    "remdm_loop": ("remdm", "sampler.how_many.hold=[0.9,0.4]", "sampler.revise.loop=true"),
}
for score in ("confidence", "margin", "entropy"):
    NAMED[f"top_k_{score}"] = "top_k", f"sampler.where.score={score}"
for spacing in ("cosine", "equal_mass"):
    NAMED[f"ancestral_{spacing}"] = "ancestral", f"sampler.how_many.spacing={spacing}"


@cache
def sampler_of(name: str, *overrides: str) -> Sampler:
    """The sampler of ``ordo sample sampler=CHOICE overrides``, by ``NAMED``."""
    choice, *changes = NAMED.get(name, (name,))
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return build(
            compose("sample", [f"sampler={choice}", *changes, *overrides]).sampler, "sampler"
        )
