"""Samples of a checkpoint or exported model as a table or text, by any sampler, also conditional. Needs it alone, not the data.

python scripts/sample.py checkpoint=outputs/NAME/TIME n=1000 out=table.csv
"""

from __future__ import annotations

import ordo.stop  # noqa: F401  first: Ctrl-C while the rest is imported

# isort: split
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ordo.data import DataError, TableCodec, Vocabulary
from ordo.data.columns import CategoricalColumn
from ordo.data.decoding import Decoding, cells_of
from ordo.data.frames import read_table, typed
from ordo.files import write_whole
from ordo.plots import save_trace_gif, trace_page
from ordo.pretrained import open_model
from ordo.progress import SamplingMeter
from ordo.randomness import RowRandom, row_seeds
from ordo.samplers import NOTABLE_SURPRISE, Sampler, Trace, order_surprise, sample_batches
from ordo.schedules import ContentSchedule
from ordo.training.build import ConfigError, build
from ordo.training.checkpoint import find
from ordo.training.entry import command, job
from ordo.training.run import check_writable, quiet, set_threads

TRACES = {".npz": 0, ".html": 8, ".gif": 1}  # suffix: sequences shown, of which every step is kept


def fixed_cells(codec: TableCodec, reading: dict[str, Any], config: DictConfig) -> tuple[pd.DataFrame, pd.DataFrame, Tensor, Tensor]:
    """What is given: cells as they stood in the file, as values, as tokens, and which are known. Raises DataError, ConfigError."""
    if config.impute is not None and config.given:
        raise ConfigError("give either given or impute")
    unknown = [name for name in config.given if name not in codec.names]
    if unknown:
        raise ConfigError(f"given.{unknown[0]}: no such column; the model has {', '.join(codec.names)}")
    if config.impute is not None:
        raw = read_table(config.impute, reading["header"], reading["delimiter"])
        absent = [name for name in raw.columns if name not in codec.names]
        if absent:
            raise DataError(f"{config.impute} has the column {absent[0]!r}, which the model has not; it has {', '.join(codec.names)}")
        if config.n not in (None, len(raw)):
            raise ConfigError(f"n={config.n}, but {config.impute} has {len(raw)} rows; leave n out")
    else:
        raw = pd.DataFrame({str(name): [str(value)] * (config.n or 1000) for name, value in config.given.items()}, range(config.n or 1000))
    values = typed(raw, {name: codec.kinds[name] for name in raw.columns}, reading["missing"]) if raw.shape[1] else raw
    known = torch.zeros(len(raw), len(codec.columns), dtype=torch.bool)
    tokens = torch.zeros(len(raw), len(codec.columns), dtype=torch.int64)
    for i, column in enumerate(codec.columns):
        if column.name not in values.columns:
            continue
        cells = values[column.name].dropna()
        if isinstance(column, CategoricalColumn):  # a file has strings, the fitted column may have had numbers or flags
            names = {str(category): category for category in column.categories}
            cells = cells.map(lambda v, names=names: names.get(str(v), v))
            values[column.name] = values[column.name].astype(object).mask(values[column.name].notna(), cells)
        elif config.given and not column.values[0] <= cells.iloc[0] <= column.values[-1]:
            raise DataError(
                f"given.{column.name}={cells.iloc[0]:g} lies outside of what was seen, {column.values[0]:g} to {column.values[-1]:g}"
            )
        at = torch.tensor(cells.index.tolist(), dtype=torch.int64)
        known[at, i], tokens[at, i] = True, torch.from_numpy(column.encode(cells))
    return raw, values, tokens, known


def with_given(frame: pd.DataFrame, cells: pd.DataFrame, known: Tensor, names: list[str]) -> pd.DataFrame:
    """The decoded table with what was given as it was given, not as redrawn from its bins. Row numbers agree."""
    for name in cells.columns:
        there = known[:, names.index(name)].numpy()
        column, given = frame[name], cells[name]
        if pd.api.types.is_numeric_dtype(column) and pd.api.types.is_float_dtype(given):
            merged = column.astype(float).mask(there, given)
            whole = bool((merged.dropna() == merged.dropna().round()).all())
            frame[name] = merged.astype("Int64") if whole and column.dtype == "Int64" else merged
        else:
            frame[name] = column.astype(object).mask(there, given.astype(object))
    return frame


def template_tokens(template: str, blank: str, vocabulary: Vocabulary, length: int, n: int) -> tuple[Tensor, Tensor]:
    """Tokens and which are known, (n, length), of a text with blanks; what it is too short for is blank. Raises ConfigError, DataError."""
    if blank in vocabulary.symbols:
        raise ConfigError(f"blank={blank!r} is a character of the model's vocabulary; choose another, such as blank='#'")
    if len(template) > length:
        raise ConfigError(f"template has {len(template)} characters, the model {length}")
    known = torch.tensor([i < len(template) and template[i] != blank for i in range(length)])
    shown = "".join(c if c != blank else vocabulary.symbols[0] for c in template).ljust(length, vocabulary.symbols[0])
    codes = np.array([ord(c) for c in shown], dtype=np.int64)
    tokens = vocabulary.encode(codes, "template", f"it may hold {''.join(vocabulary.symbols)!r} and blanks").long()
    return tokens.expand(n, -1), known.expand(n, -1)


def corpus_template(template: str, blank: str, tokenizer: Any, length: int, n: int) -> tuple[Tensor, Tensor]:
    """As ``template_tokens``; a blank stands for one token, and usually brings its own space: 'the____ of'."""
    ids: list[int | None] = []
    for part in re.split(f"({re.escape(blank)})", template):
        ids += [None] if part == blank else tokenizer(part, add_special_tokens=False)["input_ids"]
    if len(ids) > length:
        raise ConfigError(f"template has {len(ids)} tokens, the model {length}")
    ids += [None] * (length - len(ids))
    tokens, known = torch.tensor([i or 0 for i in ids]), torch.tensor([i is not None for i in ids])
    return tokens.expand(n, -1), known.expand(n, -1)


def drawn_lengths(lengths: Tensor | None, known: Tensor | None, config: DictConfig, n: int, most: int) -> Tensor | None:
    """Tokens of every sequence (n,), a function of the seed and its number, never fewer than are given; None: all. Raises ConfigError."""
    if lengths is None:
        if config.length is not None:
            raise ConfigError(f"length={config.length}: sequences of this model are whole; length is for models of documents")
        return None
    if config.length is not None and not 1 <= config.length <= most:
        raise ConfigError(f"length={config.length}: must be in 1..{most}, the model's length")
    if config.length is not None:
        drawn = torch.full((n,), config.length)
    else:
        u = RowRandom(row_seeds(config.seed, n)).uniform(-2, 0, 1)[:, 0]  # no step of a sampler
        drawn = lengths[(u * len(lengths)).long()]
    if known is None:
        return drawn
    given = (known * torch.arange(1, most + 1)).amax(1)
    if config.length is not None and int(given.max()) > config.length:
        raise ConfigError(f"length={config.length}: the template alone has {int(given.max())} tokens")
    return torch.maximum(drawn, given)


def build_sampler(config: DictConfig) -> Sampler:
    """The sampler of the configuration; ``best_steps`` gets the information profile of the report beside the checkpoint."""
    if OmegaConf.select(config, "sampler.how_many.profile", default="none") is None:
        folder = Path(config.checkpoint)  # of an exported model, which has none
        path = (folder if (folder / "config.json").is_file() else find(folder).parent.parent) / "report.json"
        if not path.is_file():
            raise ConfigError(f"no {path}: give sampler.how_many.profile=[nats of the next token by number revealed]")
        config.sampler.how_many.profile = json.loads(path.read_text())["loss_by_revealed"]["own"]["nats"]
    return build(config.sampler, "sampler")


def write_trace(path: Path, trace: Trace, symbols: list[list[str]], decoding: Decoding, seed: int) -> None:
    """Arrays of all sequences, or a page or film of the first ones. symbols: of those, the string of every token."""
    if path.suffix == ".npz":
        arrays = {name: getattr(trace, name).numpy() for name in ("tokens", "rank", "step", "log_prob", "remasked", "calls")}
        write_whole(path, lambda partial: np.savez_compressed(partial, **arrays))
        return
    sampler, n = str(HydraConfig.get().runtime.choices["sampler"]), len(trace.tokens)
    shared: dict[str, Any] = decoding.layout | {"revised": decoding.symbol}
    if path.suffix == ".gif":
        save_trace_gif(trace, symbols[0], path, title=f"{sampler}, seed {seed}", **shared)
        return
    note = f"the first {len(symbols)} of {n}" if len(symbols) < n else None
    page = trace_page(trace, symbols, title=f"Generation trace: {path.stem}", sampler=sampler, seed=seed, note=note, **shared)
    write_whole(path, lambda partial: partial.write_text(page, encoding="utf-8"))


@hydra.main(config_path="../configs", config_name="sample", version_base="1.3")
def main(config: DictConfig) -> None:
    with job(config.quiet):
        quiet()
        for key in ("checkpoint", "out"):
            if OmegaConf.is_missing(config, key):
                raise ConfigError(f"no {key} given; python scripts/sample.py checkpoint=RUN_FOLDER n=1000 out=table.csv")
        if (config.n is not None and config.n < 1) or config.batch_size < 1:
            raise ConfigError(f"n={config.n} and batch_size={config.batch_size} must be positive")
        device = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
        if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
            raise ConfigError(f"device={device}: choose auto, cpu, or cuda where there is a GPU")
        out = Path(config.out)
        if out.suffix not in (".csv", ".parquet", ".txt"):
            raise ConfigError(f"out={out}: choose a name in .csv, .parquet (tables) or .txt (text)")
        trace_path = None if config.trace is None else Path(config.trace)
        if trace_path is not None and trace_path.suffix not in TRACES:
            raise ConfigError(f"trace={trace_path}: choose a name in .npz (arrays), .html (a page of the first 8) or .gif (the first)")
        shown = 0 if trace_path is None else TRACES[trace_path.suffix]
        for path in (out, *([trace_path] if trace_path else [])):
            check_writable(path.parent)
        set_threads(config.threads)
        model = open_model(config.checkpoint)
        decoding = model.decoding
        state = decoding.table
        if (state is None) != (out.suffix == ".txt"):
            raise ConfigError(f"out={out}: the model is of {'text, choose .txt' if state is None else 'a table, choose .csv or .parquet'}")
        cells, values, given, known = pd.DataFrame(), pd.DataFrame(), None, None
        if state is not None:
            codec = TableCodec.from_state_dict(state["codec"])
            if config.log_prob and "log_prob" in codec.names:
                raise ConfigError("log_prob=true: the table has a column of that name already")
            cells, values, given, known = fixed_cells(codec, state["reading"], config)
        elif config.given or config.impute is not None:
            raise ConfigError("given and impute are for tables")
        n = len(given) if given is not None else config.n or 1000
        if config.template is not None:
            if not isinstance(config.template, str):  # Hydra reads 1_3 as the number 13
                raise ConfigError(f"template={config.template} was read as a number: quote it twice, template=\"'1_3'\"")
            if len(str(config.blank)) != 1:
                raise ConfigError(f"blank={config.blank!r} must be one character")
            vocabulary, tokenizer, length = decoding.vocabulary, decoding.tokenizer, model.denoiser.length
            if vocabulary is not None:
                given, known = template_tokens(config.template, str(config.blank), vocabulary, length, n)
            elif tokenizer is not None:
                given, known = corpus_template(config.template, str(config.blank), tokenizer, length, n)
            else:
                raise ConfigError("template is for text and Sudokus")
        sampler = build_sampler(config)
        if config.log_prob and sampler.revise is not None:
            raise ConfigError("log_prob=true: where tokens are masked again, what was drawn has no likelihood")
        model = model.to(device)
        begun = time.perf_counter()
        lengths = drawn_lengths(decoding.lengths, known, config, n, model.denoiser.length)
        settings = {"schedule": model.schedule, "seed": config.seed, "given": given, "known": known, "lengths": lengths, "history": shown}
        try:
            with SamplingMeter("sampling") as meter:
                trace = sample_batches(model.denoiser, sampler, n, config.batch_size, meter.batches, on_step=meter.step, **settings)
        except ValueError as error:
            raise ConfigError(f"the sampler does not fit the model: {error}") from error
        seconds = time.perf_counter() - begun
        tokens, log_prob = trace.tokens, trace.total_log_prob
        symbols: list[list[str]] = []
        if state is None:
            symbols = decoding.symbols(tokens[:shown])
            texts: list[str] = decoding(tokens)  # type: ignore[assignment]
            logs = [f"{value:.6f}\t" for value in log_prob.tolist()] if config.log_prob else [""] * n
            texts = [text.replace("\n", "\\n") for text in texts]  # one sequence a line
            lines = [f"{log}{text}\n" for log, text in zip(logs, texts, strict=True)]
            write_whole(out, lambda path: path.write_text("".join(lines), encoding="utf-8"))
        else:
            assert known is not None
            parquet = out.suffix == ".parquet"
            # A CSV gets the cells as they were written, a Parquet file as what they mean: its columns have types.
            frame = with_given(codec.decode(tokens, config.seed), values if parquet else cells, known, codec.names)
            symbols = cells_of(frame[:shown])
            if config.log_prob:
                frame["log_prob"] = log_prob.numpy()
            write_whole(out, lambda path: frame.to_parquet(path) if parquet else frame.to_csv(path, index=False))
        own: Any = model.schedule.cpu()
        surprise = None if isinstance(own, ContentSchedule) else order_surprise(trace, own.law())
        if trace_path is not None:
            write_trace(trace_path, trace, symbols, decoding, config.seed)
    if surprise is not None and surprise > NOTABLE_SURPRISE and not config.quiet:
        print(
            f"warning: this sampler decodes in orders that the model was hardly trained on ({surprise:.2f} nats a token less probable than "
            "its own): expect poor samples; sampler=first_hitting or mode_order decode as it was trained",
            file=sys.stderr,
        )
    if trace_path is not None and trace_path.suffix != ".npz" and n > shown:
        print(f"{trace_path} shows the first {f'{shown} sequences' if shown > 1 else 'sequence'} of {n}", file=sys.stderr)
    rate = f"{trace.calls.double().mean():.1f} calls each, {tokens.numel() / seconds:.0f} tokens/s"
    print(f"{n} {'rows' if state is not None else 'sequences'} ({rate}): {out}", file=sys.stderr)


if __name__ == "__main__":
    command(main, Path(__file__).resolve().parents[1] / "configs" / "sample.yaml")
