"""How likelihoods are shown: their names, their unit, and what each of them says."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ordo.files import Json

LABELS = {
    "uniform_nelbo": "NELBO, uniform orders",
    "own_nelbo": "NELBO, own order law",
    "mode_exact": "exact -log p, one order",
    "importance": "importance bound, own law",
}
MEANINGS = {
    "uniform_nelbo": "Upper bound if tokens are decoded in uniformly random orders: comparable "
    "between all masked diffusion models.",
    "own_nelbo": "Upper bound if orders are drawn from the model's own law: what training "
    "minimises.",
    "mode_exact": "Exact, no bound: decoding in one order. That order is the law's most probable "
    "one (left to right if all are), or the order of mean ranks where the law has no closed form; "
    "where the law depends on the tokens, the position of the largest rate is always next.",
    "importance": "Upper bound on -log p of the mixture over the law's orders, from several orders "
    "a sequence: tighter than the NELBO.",
}
QUOTE = (
    f"Which one to quote: “{LABELS['own_nelbo']}” is the figure of the model. Beside published "
    f"masked diffusion models belongs “{LABELS['uniform_nelbo']}”, beside models of one order "
    f"“{LABELS['mode_exact']}”. A sharper order law lowers the NELBO under the own law without "
    "making the denoiser better: so compare models by the same likelihood, and look at all four."
)
# Tokens that differ too much for a mean over tokens, and what the tokens make up.
NATS = {"column": "row", "SMILES symbol": "molecule"}
UNITS = {
    "nats_above_entropy": "nats above the entropy",
    "nats": "nats per sequence",
    "bits_per_token": "bits per token",
}
DECIMALS = {"nats_above_entropy": 3, "nats": 3, "bits_per_token": 4}


def unit_of(reports: Sequence[Json]) -> str:
    """A key of UNITS: nats above the entropy where the entropy is known, else nats or bits.

    Tables and molecules are in nats, other data in bits per token.

    Args:
        reports: as ``LikelihoodReport.as_dict`` gives them.
    """
    if reports and all(report["entropy"] is not None for report in reports):
        return "nats_above_entropy"
    return "nats" if any(report["unit"] in NATS for report in reports) else "bits_per_token"


def unit_name(unit: str, token: str) -> str:
    """The unit in words; token: the word for a token of the data, such as "char"."""
    if unit == "bits_per_token":
        return f"bits per {token}"
    return f"nats per {NATS[token]}" if unit == "nats" and token in NATS else UNITS[unit]


def scale(report: Json, key: str, unit: str) -> float:
    """The factor from nats per sequence to the unit, for differences: the entropy cancels there."""
    if unit != "bits_per_token":
        return 1.0
    entry = report["estimates"][key]
    return 1 / (entry["length"] * math.log(2))


def in_unit(report: Json, key: str, value: tuple[float, float], unit: str) -> str:
    """A difference and its standard error in the unit, such as ``+0.0213 ± 0.0041``.

    Args:
        value: difference and standard error, nats per sequence.
    """
    factor, decimals = scale(report, key, unit), DECIMALS[unit]
    mean, error = value[0] * factor, value[1] * factor
    text = f"{mean:+.{decimals}f}"
    return text if error != error else f"{text} ± {error:.{decimals}f}"


def standard_error(unit: str) -> str:
    """The key of an estimate's standard error in this unit."""
    return "bits_per_token_standard_error" if unit == "bits_per_token" else "standard_error"


def cell(report: Json, key: str, unit: str) -> str:
    """An estimate and its standard error, such as ``2.2171 ± 0.0178``."""
    entry, decimals = report["estimates"][key], DECIMALS[unit]
    error = entry[standard_error(unit)]
    value = f"{entry[unit]:.{decimals}f}"
    return value if error is None or error != error else f"{value} ± {error:.{decimals}f}"
