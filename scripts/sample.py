"""Samples of a checkpoint as a table or text; of a table also conditional ones. Needs the checkpoint alone, not the data.

python scripts/sample.py checkpoint=outputs/NAME/TIME n=1000 out=table.csv
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import hydra
import pandas as pd
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track
from torch import Tensor

from ordo.data import DataError, TableCodec, TableData, TextData, Vocabulary
from ordo.data.frames import read_table, typed
from ordo.randomness import seeded_generator
from ordo.samplers import sample_many
from ordo.training.build import ConfigError
from ordo.training.checkpoint import find, load, read
from ordo.training.errors import USER_ERRORS, fail
from ordo.training.run import check_writable, quiet, set_threads


def fixed_cells(codec: TableCodec, missing: list[str], config: DictConfig) -> tuple[pd.DataFrame, Tensor, Tensor]:
    """What is given: cells as they will be written, tokens and known, (rows, columns). Raises DataError, ConfigError."""
    if config.impute is not None:
        raw = read_table(config.impute)
        absent = [name for name in raw.columns if name not in codec.names]
        if absent:
            raise DataError(f"{config.impute} has the column {absent[0]!r}, which the model has not; it has {', '.join(codec.names)}")
        if config.n not in (None, len(raw)):
            raise ConfigError(f"n={config.n}, but {config.impute} has {len(raw)} rows; leave n out")
    else:
        raw = pd.DataFrame(index=range(config.n or 1000))
    unknown = [name for name in config.given if name not in codec.names]
    if unknown:
        raise ConfigError(f"given.{unknown[0]}: no such column; the model has {', '.join(codec.names)}")
    if config.impute is not None and config.given:
        raise ConfigError("give either given or impute")
    raw = raw.assign(**{str(name): str(value) for name, value in config.given.items()})
    frame = typed(raw, {name: codec.kinds[name] for name in raw.columns}, missing) if raw.shape[1] else raw
    known = torch.zeros(len(raw), len(codec.columns), dtype=torch.bool)
    tokens = torch.zeros(len(raw), len(codec.columns), dtype=torch.int64)
    for i, column in enumerate(codec.columns):
        if column.name not in frame.columns:
            continue
        cells = frame[column.name].dropna()
        if column.kind == "categorical":  # a file has strings, the fitted column may have had numbers or flags
            cells = cells.map(lambda v, names={str(c): c for c in column.categories}: names.get(str(v), v))  # type: ignore[union-attr]
        at = torch.tensor(cells.index.tolist(), dtype=torch.int64)
        known[at, i], tokens[at, i] = True, torch.from_numpy(column.encode(cells))
    return raw.where(frame.notna()) if raw.shape[1] else raw, tokens, known


def text_decoder(checkpoint: dict[str, Any], trained: DictConfig) -> Callable[[Tensor], list[str]]:
    """Tokens to strings, without the data."""
    state = checkpoint.get(TextData.__qualname__)
    return Vocabulary(tuple(state["vocabulary"])).decode if state else instantiate(trained.data.task).decode


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Beside the target, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@hydra.main(config_path="../configs", config_name="sample", version_base="1.3")
def main(config: DictConfig) -> None:
    quiet()
    try:
        for key in ("checkpoint", "out"):
            if OmegaConf.is_missing(config, key):
                raise ConfigError(f"no {key} given; python scripts/sample.py checkpoint=RUN_FOLDER n=1000 out=table.csv")
        if config.order not in ("law", "mode"):
            raise ConfigError(f"order={config.order}: choose law or mode")
        if (config.n is not None and config.n < 1) or config.batch_size < 1:
            raise ConfigError(f"n={config.n} and batch_size={config.batch_size} must be positive")
        device = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
        if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
            raise ConfigError(f"device={device}: choose auto, cpu, or cuda where there is a GPU")
        out = Path(config.out)
        if out.suffix not in (".csv", ".parquet", ".txt"):
            raise ConfigError(f"out={out}: choose a name in .csv, .parquet (tables) or .txt (text)")
        check_writable(out.parent)
        set_threads(config.threads)
        module, trained = load(config.checkpoint)
        checkpoint = read(find(config.checkpoint))
        state = checkpoint.get(TableData.__qualname__)
        if (state is None) != (out.suffix == ".txt"):
            raise ConfigError(f"out={out}: the model is of {'text, choose .txt' if state is None else 'a table, choose .csv or .parquet'}")
        cells, given, known = pd.DataFrame(), None, None
        if state is not None:
            codec = TableCodec.from_state_dict(state["codec"])
            cells, given, known = fixed_cells(codec, state["missing"], config)
        elif config.given or config.impute is not None:
            raise ConfigError("given and impute are for tables")
        n = len(given) if given is not None else config.n or 1000
        module = module.to(device)
        console = Console(stderr=True)

        def watch(batches: Iterable[int]) -> Iterable[int]:
            return track(list(batches), "sampling", console=console, transient=True) if console.is_terminal else batches

        generator = seeded_generator(module.device, config.seed, -8)
        mode = config.order == "mode"
        law = module.schedule.law()
        tokens, log_prob = sample_many(module.denoiser, law, n, generator, config.batch_size, mode, given, known, watch)
        if state is None:
            texts = text_decoder(checkpoint, trained)(tokens)
            logs = [f"{value:.6f}\t" for value in log_prob.tolist()] if config.log_prob else [""] * n
            lines = [f"{log}{text}\n" for log, text in zip(logs, texts, strict=True)]
            write_whole(out, lambda path: path.write_text("".join(lines), encoding="utf-8"))
        else:
            frame = codec.decode(tokens, config.seed)
            for name in cells.columns:  # as they stood in the file, not as redrawn from their bins
                there = cells[name].notna().to_numpy()
                if there.all():
                    frame[name] = cells[name].to_numpy()
                elif there.any():
                    frame[name] = frame[name].astype(object).mask(there, cells[name])
            if config.log_prob:
                frame["log_prob"] = log_prob.numpy()
            write_whole(out, lambda path: frame.to_parquet(path) if out.suffix == ".parquet" else frame.to_csv(path, index=False))
    except USER_ERRORS as error:
        fail(error)
    print(f"{n} {'rows' if state is not None else 'sequences'}: {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
