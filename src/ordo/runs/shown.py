"""Samples of an evaluation: their files, what a report has of them, and their pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from ordo import plots
from ordo.batch import Batch
from ordo.data import SequenceData, TableData, TaskData
from ordo.data.decoding import Decoding, cells_of
from ordo.data.module import Rows
from ordo.data.tables.table_file import as_type, in_own_types, write_table
from ordo.data.text.lines import one_line
from ordo.files import write_whole
from ordo.metrics import pair_associations
from ordo.report import Picture
from ordo.samplers import Trace
from ordo.training.quality import FEWEST

if TYPE_CHECKING:
    from ordo.runs.evaluation import Evaluation

SHOWN_SAMPLES, SHOWN_TRACES = 20, 4


def save_samples(done: Evaluation, data: SequenceData, folder: Path) -> dict[str, Any]:
    """Writes ``drawn.csv`` or ``drawn.txt``; returns the entries of ``report.json`` on samples.

    These are the first samples, and as many real sequences of the split.
    """
    assert done.trace is not None
    out: dict[str, Any] = {"sampled": len(done.trace.tokens), "sample_quality": done.quality}
    if done.table is not None and isinstance(data, TableData):
        table = in_own_types(done.table, data.codec, text=True)
        write_table(folder / "drawn.csv", table)
        first = table[:SHOWN_SAMPLES]
        return out | {
            "samples_file": "drawn.csv",
            "sample_columns": list(table.columns),
            "sample_rows": cells_of(first),
            "real_rows": cells_of(real_rows(data, done.split, first)),
        }
    texts = data.decode(done.trace.tokens)
    lines = "".join(one_line(text) + "\n" for text in texts)  # one sequence a line
    write_whole(folder / "drawn.txt", lambda path: path.write_text(lines, encoding="utf-8"))
    first = texts[:SHOWN_SAMPLES]
    real = real_beside(data.val_set if done.split == "val" else data.test_set, len(first))
    tokens, there = real.tokens.long(), real.present
    if there is not None:  # the mask at the end of a document is shown as nothing
        tokens = tokens.masked_fill(~there, data.vocab_size)
    out |= {"samples_file": "drawn.txt", "samples": first, "real_samples": data.decode(tokens)}
    if real.known is not None:
        out["sample_given"] = [row.nonzero()[:, 0].tolist() for row in real.known]
    return out


def real_beside(rows: Rows, n: int) -> Batch:
    """n real sequences to set beside n samples.

    Where positions are given, they are the rows that gave them, in turn. Else they are evenly
    spaced rows, the first again where there are fewer than n.
    """
    at = torch.arange(n) % len(rows)
    if rows.known is None and n <= len(rows):
        at = torch.linspace(0, len(rows) - 1, n, dtype=torch.float64).round().long()
    return rows.batch(at)


def real_rows(data: TableData, split: str, drawn: pd.DataFrame) -> pd.DataFrame:
    """Evenly spaced rows of the split, at most as many as were drawn, with the file's values.

    They have the columns of the drawn rows. A whole number is written as the drawn ones are.
    """
    frame = data.frames["validation" if split == "val" else "test"]
    at = np.linspace(0, len(frame) - 1, min(len(drawn), len(frame))).round().astype(int)
    real = frame[list(drawn.columns)].iloc[at].reset_index(drop=True)
    whole = [name for name in drawn.columns if str(drawn[name].dtype) == "Int64"]
    real = in_own_types(real, data.codec, text=True)
    return real.assign(**{name: as_type(real[name], "Int64") for name in whole})


def sample_pictures(done: Evaluation, data: SequenceData) -> list[Picture]:
    """Of a table: its columns, and its pairs of columns, drawn beside real ones."""
    drawn = done.table
    if drawn is None or len(drawn) < FEWEST or not isinstance(data, TableData):
        return []
    real, kinds = data.frames["train"], data.codec.kinds
    names = list(kinds)
    pictures = [
        Picture(
            "marginals",
            plots.marginals(real, drawn, names, kinds),
            "Every column: sampled rows beside the training rows.",
            wide=True,
        ),
    ]
    if len(names) > 1:
        pictures.append(
            Picture(
                "pair_difference",
                plots.pair_difference(
                    np.abs(np.subtract(*pair_associations(real, drawn, kinds))), names
                ),
                "Pairs of columns: how far their dependence in samples is from that in training "
                "rows. The darker, the further apart.",
            )
        )
    return pictures


def trace_html(trace: Trace, table: pd.DataFrame | None, data: SequenceData, seed: int) -> str:
    """The first sequences as they were decoded, to be shown within a page."""
    task = data.task if isinstance(data, TaskData) else None
    decoding = Decoding(
        {type(data).__qualname__: data.state_dict()}, task, getattr(data, "tokenizer_name", None)
    )
    symbols = (
        decoding.symbols(trace.tokens[:SHOWN_TRACES])
        if table is None
        else cells_of(table[:SHOWN_TRACES])
    )
    view = plots.TraceView(
        "Decoding, step by step",
        sampler="orders of the model's own law",
        seed=seed,
        layout=plots.Layout(**decoding.layout),
        revised=decoding.symbol,
    )
    return plots.trace_fragment(trace, symbols, view)
