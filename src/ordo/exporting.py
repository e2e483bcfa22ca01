"""A trained model as a folder to give away, and what such a folder tells of the rows of a training table."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ordo.data.decoding import from_plain, to_plain
from ordo.data.tables.codec import TableCodec
from ordo.data.tables.edges import edges_alone, holds
from ordo.data.tables.table import TableData
from ordo.files import partial_of
from ordo.saved import OrderedModel

VALUES = ("rows", "edges")
TABLE = TableData.__qualname__


def export(model: OrderedModel, out: Path, values: str = "rows") -> str | None:
    """Writes the model into a new folder, whole or not at all. Returns a line on what it holds of the rows of a training table, None
    for other data.

    values: "rows": numbers are redrawn from the values that training rows had, which are in config.json; "edges": evenly between the
    edges of their bins, see ``ordo.data.tables.edges``.

    Raises ValueError for another choice.
    """
    if values not in VALUES:
        raise ValueError(f"values={values}: choose {' or '.join(VALUES)}")
    told = told_of_rows(model, values)
    partial = partial_of(out)
    try:
        model.save_pretrained(partial)
        if told is not None:
            with (partial / "README.md").open("a", encoding="utf-8") as card:
                card.write(f"\n## What is in it of the training data\n\n{told}\n")
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return told


def told_of_rows(model: OrderedModel, values: str) -> str | None:
    """What the model holds of a table, in a line; for ``values="edges"`` once it holds bin edges alone."""
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
        f"config.json holds values of training rows: {holds(codec)}. Samples are made of them. The option values=edges of"
        " scripts/export.py keeps the edges of bins instead of numbers; categories stay."
    )
