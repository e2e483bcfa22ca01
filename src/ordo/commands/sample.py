"""Draws samples of a checkpoint or exported model, as a table, as text, or as token ids.

Any sampler may draw them, also given some values. The command needs the model alone, not its data.

ordo sample checkpoint=outputs/NAME/TIME n=1000 out=table.csv
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ordo.batch import Batch
from ordo.data import CorpusData, TableCodec
from ordo.data.decoding import Decoding, cells_of
from ordo.data.givens import givens_of_file, made_givens
from ordo.data.tables.conditions import Conditions, given_cells
from ordo.data.tables.gaps import file_cells
from ordo.data.tables.table_file import in_own_types, write_table
from ordo.data.text.lines import one_line
from ordo.data.text.templates import corpus_template, template_tokens
from ordo.errors import ConfigError
from ordo.files import write_whole
from ordo.parts import make
from ordo.plots.trace_file import TRACES, save_trace
from ordo.plots.trace_rows import Layout, TraceView
from ordo.progress import SamplingMeter, note
from ordo.runs.build import plain
from ordo.runs.checkpoint import find, reading
from ordo.runs.checks import check_given, check_settings
from ordo.runs.drawn_file import ENDINGS, IDS, check_ending, write_ids
from ordo.runs.entry import job
from ordo.runs.run import check_writable, set_threads
from ordo.runs.settings import Sample
from ordo.runs.stored import device_of
from ordo.runs.trainer import quiet
from ordo.samplers import NOTABLE_SURPRISE, Sampler, order_surprise, sample_batches
from ordo.samplers.lengths import drawn_lengths
from ordo.saved import open_model


@contextmanager
def from_command_line() -> Iterator[None]:
    """Around what reads settings: an error in it is one of the command line."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(str(error)) from error


def conditions(codec: TableCodec, reading: dict[str, Any], config: DictConfig) -> Conditions:
    """What rows have before the others are drawn.

    Raises DataError for an unfit file, ConfigError.
    """
    if config.template is not None:
        raise ConfigError("template is for text and Sudokus")
    if config.impute is not None:
        if config.given:
            raise ConfigError("give either given or impute")
        found = file_cells(codec, config.impute, reading, config.delimiter)
        check_rows(config, len(found.tokens))
        return found
    if config.delimiter is not None:
        raise ConfigError(f"delimiter={config.delimiter!r} is of the file that impute names")
    if not isinstance(config.given, str | DictConfig | None) or config.given == "":
        raise ConfigError(
            f"given={config.given}: give values, +given.COLUMN=VALUE, or name a file, "
            "given=FILE.yaml"
        )
    given: Any = config.given
    if not isinstance(given, str):
        given = OmegaConf.to_container(given or OmegaConf.create({}))
    with from_command_line():
        return given_cells(codec, given, reading["missing"], config.n or 1000)


def check_rows(config: DictConfig, rows: int) -> None:
    """Raises ConfigError if n is another number than that of the rows of the file."""
    if config.n not in (None, rows):
        raise ConfigError(f"n={config.n}, but {config.impute} has {rows} rows; leave n out")


def givens(config: DictConfig, decoding: Decoding, length: int) -> Batch | None:
    """What sequences, not rows of a table, have before the rest is drawn; None: nothing.

    Raises DataError for an unfit file, ConfigError.
    """
    n = config.n or 1000
    if config.given not in (None, {}):
        raise ConfigError("given is for tables")
    if config.delimiter is not None:
        raise ConfigError("delimiter is for tables")
    if config.template is not None:
        if config.impute is not None:
            raise ConfigError("give either template or impute")
        tokens, known = template(config, decoding, length)
        return Batch(tokens.expand(n, -1), known.expand(n, -1))
    if config.impute is None:
        return made_givens(decoding, n, config.seed)
    found = givens_of_file(decoding, config.impute)
    if found is None:
        raise ConfigError("impute is for tables and Sudokus")
    check_rows(config, len(found.tokens))
    return found


def template(config: DictConfig, decoding: Decoding, length: int) -> tuple[Tensor, Tensor]:
    """Tokens and which are known, (length,). Raises ConfigError."""
    with from_command_line():
        if decoding.vocabulary is not None:
            return template_tokens(config.template, str(config.blank), decoding.vocabulary, length)
        if decoding.tokenizer is not None:
            return corpus_template(config.template, str(config.blank), decoding.tokenizer, length)
    raise ConfigError("template is for text and Sudokus")


def build_sampler(config: DictConfig) -> Sampler:
    """The sampler of the configuration.

    ``best_steps`` gets the information profile of the report beside the checkpoint.
    """
    node = plain(config.sampler)
    how_many = node.get("how_many")
    if isinstance(how_many, dict) and how_many.get("profile", "none") is None:
        folder = Path(config.checkpoint)  # of an exported model, which has none
        exported = (folder / "config.json").is_file()
        path = (folder if exported else find(folder).parent.parent) / "report.json"
        if not path.is_file():
            raise ConfigError(
                f"no {path}: give sampler.how_many.profile=[nats of the next token by number "
                "revealed]"
            )
        with reading(path, "its loss_by_revealed"):
            nats = json.loads(path.read_text(encoding="utf-8"))["loss_by_revealed"]["own"]["nats"]
            # Numbers alone: the file may be a stranger's.
            how_many["profile"] = [float(value) for value in nats]
    return make(node, "sampler")


def main(config: DictConfig) -> None:
    with job(config.quiet):
        quiet()
        usage = "ordo sample checkpoint=RUN_FOLDER n=1000 out=table.csv"
        check_given(config, ("checkpoint", "out"), usage)
        check_settings(config, Sample)
        device = device_of(config.device)
        out = Path(config.out)
        if out.suffix not in ENDINGS:
            raise ConfigError(
                f"out={out}: choose a name in .csv (tables), .parquet (tables, token ids), .txt "
                "(text), .npy or .npz (token ids)"
            )
        if config.impute is not None and out.resolve() == Path(config.impute).resolve():
            raise ConfigError(f"out={out} is the file that impute names: write to another one")
        trace_path = None if config.trace is None else Path(config.trace)
        if trace_path is not None and trace_path.suffix not in TRACES:
            raise ConfigError(
                f"trace={trace_path}: choose a name in .npz (arrays), .html (a page of the first "
                "8) or .gif (the first)"
            )
        shown = 0 if trace_path is None else TRACES[trace_path.suffix]
        for path in (out, *([trace_path] if trace_path else [])):
            check_writable(path.parent)
        set_threads(config.threads)
        model = open_model(config.checkpoint, config.trust, config.tokenizer)
        decoding = model.decoding
        state = decoding.table
        check_ending(out, decoding, config.log_prob)
        as_ids = out.suffix in IDS or (out.suffix == ".parquet" and state is None)
        if config.tokenizer is not None and CorpusData.__qualname__ not in decoding.states:
            raise ConfigError(
                f"tokenizer={config.tokenizer}: the model is of no corpus, and needs no tokenizer"
            )
        given, known, own = None, None, None
        if state is not None:
            codec = TableCodec.from_state_dict(state["codec"])
            own = conditions(codec, state["reading"], config)
            given, known = own.tokens, own.known
            columns = [*codec.names, *(str(other.name) for _, other in own.others)]
            if config.log_prob and not as_ids and "log_prob" in columns:
                raise ConfigError("log_prob=true: the table has a column of that name already")
            for line in own.notes:
                note(line)
        elif (batch := givens(config, decoding, model.denoiser.length)) is not None:
            given, known = batch.tokens, batch.known
        if out.suffix == ".txt" or (shown and state is None):
            _ = decoding.tokenizer  # one that cannot be had is told now, not after sampling
        n = len(given) if given is not None else config.n or 1000
        sampler = build_sampler(config)
        if config.log_prob and sampler.revise is not None:
            raise ConfigError(
                "log_prob=true: where tokens are masked again, what was drawn has no likelihood"
            )
        model = model.to(device)
        begun = time.perf_counter()
        longest = model.denoiser.length
        with from_command_line():
            lengths = drawn_lengths(decoding.lengths, known, config.length, n, longest, config.seed)
        settings = {
            "schedule": model.schedule,
            "seed": config.seed,
            "given": given,
            "known": known,
            "lengths": lengths,
            "history": shown,
        }
        try:
            with SamplingMeter("sampling") as meter:
                trace = sample_batches(
                    model.denoiser,
                    sampler,
                    n,
                    config.batch_size,
                    meter.batches,
                    on_step=meter.step,
                    **settings,
                )
        except ValueError as error:
            raise ConfigError(f"the sampler does not fit the model: {error}") from error
        seconds = time.perf_counter() - begun
        tokens, log_prob = trace.tokens, trace.total_log_prob
        symbols: list[list[str]] = []
        if shown and (as_ids or state is None):
            symbols = decoding.symbols(tokens[:shown], config.seed)
        if as_ids:
            write_ids(out, tokens, log_prob if config.log_prob else None)
        elif state is None:
            texts: list[str] = decoding(tokens)  # type: ignore[assignment]
            logs = [f"{x:.6f}\t" if config.log_prob else "" for x in log_prob.tolist()]
            lines = [f"{log}{one_line(text)}\n" for log, text in zip(logs, texts, strict=True)]
            write_whole(out, lambda path: path.write_text("".join(lines), encoding="utf-8"))
        else:
            assert own is not None
            # A CSV gets the cells as they were written. A Parquet file gets what they mean: its
            # columns have types.
            text = out.suffix != ".parquet"
            drawn = codec.decode(tokens, config.seed)
            frame = in_own_types(own.merged(drawn, text), codec, text)
            symbols = cells_of(frame[codec.names][:shown])
            if config.log_prob:
                frame["log_prob"] = log_prob.numpy()
            write_table(out, frame, own.delimiter if config.impute is not None else ",")
            again = [f"{name} ({count})" for name, count in own.still_missing(drawn).items()]
            if again and config.impute is not None:
                cells = "cells that were drawn and are missing again, as in the training table"
                note(f"{cells}: {', '.join(again)}")
        schedule: Any = model.schedule.cpu()
        surprise = None if schedule.depends_on_tokens else order_surprise(trace, schedule.law())
        if trace_path is not None:
            name = str(HydraConfig.get().runtime.choices["sampler"])
            layout = Layout(**decoding.layout)
            view = TraceView(None, name, config.seed, layout=layout, revised=decoding.symbol)
            save_trace(trace_path, trace, symbols, view)
    if surprise is not None and surprise > NOTABLE_SURPRISE and not config.quiet:
        print(
            "warning: this sampler decodes in orders that the model was hardly trained on "
            f"({surprise:.2f} nats a token less probable than its own): expect poor samples; "
            "sampler=first_hitting or mode_order decode as it was trained",
            file=sys.stderr,
        )
    if trace_path is not None and trace_path.suffix != ".npz" and n > shown:
        first = f"{shown} sequences" if shown > 1 else "sequence"
        print(f"{trace_path} shows the first {first} of {n}", file=sys.stderr)
    rate = f"{trace.calls.double().mean():.1f} calls each, {tokens.numel() / seconds:.0f} tokens/s"
    print(f"{n} {'rows' if state is not None else 'sequences'} ({rate}): {out}", file=sys.stderr)
