"""How likelihoods are shown: their names, their unit, and what each of them says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

LABELS = {
    "uniform_nelbo": "NELBO, uniform orders",
    "own_nelbo": "NELBO, own order law",
    "mode_exact": "exact -log p, one order",
    "importance": "importance bound, own law",
}
MEANINGS = {
    "uniform_nelbo": "Upper bound if tokens are decoded in uniformly random orders: comparable between all masked diffusion models.",
    "own_nelbo": "Upper bound if orders are drawn from the model's own law: what training minimises.",
    "mode_exact": "Exact, no bound: decoding in one order. That is the law's most probable one (if all are, from left to right), or that "
    "of mean ranks where a law has no closed form; where it depends on the tokens, the position of the largest rate is always next.",
    "importance": "Upper bound on -log p of the mixture over the law's orders, from several orders a sequence: tighter than the NELBO.",
}
NATS = {
    "column": "row",
    "SMILES symbol": "molecule",
}  # tokens that differ too much for a mean of them, and what they make up
UNITS = {
    "nats_above_entropy": "nats above the entropy",
    "nats": "nats per sequence",
    "bits_per_token": "bits per token",
}
DECIMALS = {"nats_above_entropy": 3, "nats": 3, "bits_per_token": 4}


def unit_of(reports: Sequence[Mapping[str, Any]]) -> str:
    """A key of UNITS: nats above the entropy where that is known, nats for tables and molecules, else bits per token.

    reports: as ``LikelihoodReport.as_dict`` gives them.
    """
    if reports and all(report["entropy"] is not None for report in reports):
        return "nats_above_entropy"
    return "nats" if any(report["unit"] in NATS for report in reports) else "bits_per_token"


def unit_name(unit: str, token: str) -> str:
    """The unit in words; token: what a token of the data is, such as "char"."""
    if unit == "bits_per_token":
        return f"bits per {token}"
    return f"nats per {NATS[token]}" if unit == "nats" and token in NATS else UNITS[unit]


def scale(report: Mapping[str, Any], key: str, unit: str) -> float:
    """What nats per sequence are multiplied by for the unit; of differences, which entropies are not in."""
    if unit != "bits_per_token":
        return 1.0
    entry = report["estimates"][key]
    return 1 / (entry["length"] * math.log(2))


def in_unit(report: Mapping[str, Any], key: str, value: tuple[float, float], unit: str) -> str:
    """A difference and its standard error in nats per sequence, shown in the unit, such as ``+0.0213 ± 0.0041``."""
    factor, decimals = scale(report, key, unit), DECIMALS[unit]
    mean, error = value[0] * factor, value[1] * factor
    text = f"{mean:+.{decimals}f}"
    return text if error != error else f"{text} ± {error:.{decimals}f}"


def standard_error(unit: str) -> str:
    """The key of an estimate's standard error in this unit."""
    return "bits_per_token_standard_error" if unit == "bits_per_token" else "standard_error"


def cell(report: Mapping[str, Any], key: str, unit: str) -> str:
    """An estimate and its standard error, such as ``2.2171 ± 0.0178``."""
    entry, decimals = report["estimates"][key], DECIMALS[unit]
    error = entry[standard_error(unit)]
    value = f"{entry[unit]:.{decimals}f}"
    return value if error is None or error != error else f"{value} ± {error:.{decimals}f}"
