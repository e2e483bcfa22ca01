"""The files that samples are written to: which endings a model allows, and ids as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from ordo.data.decoding import Decoding
from ordo.data.tables.table_file import write_table
from ordo.errors import ConfigError
from ordo.files import write_arrays, write_whole

IDS = (".npy", ".npz")  # of every model
TABLE, TEXT, LISTS = (".csv", ".parquet"), (".txt",), (".parquet",)
ENDINGS = (*TABLE, *TEXT, *IDS)


def endings(decoding: Decoding) -> tuple[str, ...]:
    """The endings of files that samples can be written to."""
    if decoding.table is not None:
        return (*TABLE, *IDS)
    lists = LISTS if decoding.ids is not None or not decoding.readable else ()
    return (*(TEXT if decoding.readable else ()), *lists, *IDS)


def kind_of(decoding: Decoding) -> str:
    """What a model is of, in words."""
    if decoding.table is not None:
        return "a table"
    if decoding.ids is not None:
        return "ids"
    return "text" if decoding.readable else "tokens of which nothing is known"


def check_ending(out: Path, decoding: Decoding, log_prob: bool) -> None:
    """Raises ConfigError for a file that cannot hold the samples, or their log-probabilities."""
    allowed = endings(decoding)
    if out.suffix not in allowed:
        choices = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
        raise ConfigError(f"out={out}: the model is of {kind_of(decoding)}, choose {choices}")
    if log_prob and out.suffix == ".npy":
        raise ConfigError(f"out={out}: .npy holds ids alone; for log_prob=true choose .npz")


def write_ids(path: Path, tokens: Tensor, log_prob: Tensor | None) -> None:
    """Ids (n, length) int64, by the ending: an array; arrays by name; a column of lists, ``ids``.

    log_prob: (n,) float64, as ``log_prob``; None: left out. The mask, which stands where a document
    has ended, is id V.
    """
    if path.suffix == ".npy":
        write_whole(path, lambda partial: np.save(partial, tokens.numpy()))
    elif path.suffix == ".npz":
        more = {} if log_prob is None else {"log_prob": log_prob.numpy()}
        write_arrays(path, {"ids": tokens.numpy(), **more})
    else:
        frame = pd.DataFrame({"ids": list(tokens.numpy())})
        if log_prob is not None:
            frame["log_prob"] = log_prob.numpy()
        write_table(path, frame)
