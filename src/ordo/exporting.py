"""A trained model as a folder to give away, and what the folder tells of a training table."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import cast

import torch
from torch import nn

from ordo.data.decoding import from_plain, to_plain
from ordo.data.tables.codec import TableCodec
from ordo.data.tables.edges import edges_alone, holds
from ordo.data.tables.table import TableData
from ordo.errors import ConfigError
from ordo.files import whole_folder
from ordo.saved import OrderedModel

VALUES = ("rows", "edges")
WEIGHTS = ("float32", "float16")
TABLE = TableData.__qualname__


def export(
    model: OrderedModel, out: Path, values: str = "rows", weights: str = "float32"
) -> str | None:
    """Writes the model into a new folder, whole or not at all.

    Args:
        values: how the numbers of a table are redrawn. "rows": from the values of training rows,
            which are in config.json. "edges": evenly between the edges of their bins, see
            ``ordo.data.tables.edges``.
        weights: "float32"; "float16": those of the denoiser are rounded, which halves the file.
            Reading the file makes them float32 again. The schedule stays as it is.
    Returns a line on what the folder holds of the rows of a training table; None for other data.

    Raises ValueError for another choice of ``values`` or ``weights``, ConfigError for weights that
    float16 cannot hold.
    """
    for name, choice, choices in (("values", values, VALUES), ("weights", weights, WEIGHTS)):
        if choice not in choices:
            raise ValueError(f"{name}={choice}: choose {' or '.join(choices)}")
    if weights == "float16":
        model = rounded(model)
    told = told_of_rows(model, values)
    with whole_folder(out) as partial:
        model.save_pretrained(partial)
        if told is not None:
            with (partial / "README.md").open("a", encoding="utf-8") as card:
                card.write(f"\n## What is in it of the training data\n\n{told}\n")
    return told


def rounded(model: OrderedModel) -> OrderedModel:
    """The model with the denoiser's float32 weights in float16, for a file. Raises ConfigError."""
    model = copy.deepcopy(model)
    denoiser = cast(nn.Module, model.denoiser)
    for name, parameter in denoiser.named_parameters():
        if parameter.dtype == torch.float32:
            half = parameter.data.half()
            if not bool(half.isfinite().all()):
                raise ConfigError(f"weights=float16 cannot hold {name}: use weights=float32")
            parameter.data = half
    return model


def told_of_rows(model: OrderedModel, values: str) -> str | None:
    """A line on what the model holds of a table; None for other data.

    With ``values="edges"`` all but the edges of the bins is first taken out of the model.
    """
    states = from_plain(model.data.get("states", {}))
    if TABLE not in states:
        return None
    codec = TableCodec.from_state_dict(states[TABLE]["codec"])
    if values == "edges":
        codec = edges_alone(codec)
        states[TABLE]["codec"] = codec.state_dict()
        model.data["states"] = to_plain(states)
        vars(model).pop("decoding", None)  # made of the values that are gone
        return f"config.json holds {holds(codec)}; numbers are drawn evenly between the edges."
    return (
        f"config.json holds values of training rows: {holds(codec)}. Samples are made of these "
        "values. The option values=edges of ordo export keeps the edges of bins instead of "
        "numbers; categories stay."
    )
