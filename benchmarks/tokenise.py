"""Building a token cache, and streaming, against ``datasets.map`` with the same tokenizer and the same documents.

``ordo`` builds the cache with ``--threads`` threads of the tokenizer. ``map_processes`` is ``datasets.map(batched=True,
num_proc=THREADS)``, ``map_threads`` the same in one process with as many threads of the tokenizer; both write the ids to datasets' own
cache. ``first_batch`` goes on to a shuffled batch of packed sequences: of the maps by a second map that joins and cuts (the recipe of the
run_clm examples) and a torch DataLoader. ``stream`` reads a whole epoch of sequences without any cache, and its first batch has the buffer
of shuffling filled. The tokenizer is a byte-level BPE trained on the text itself. All take turns, each in a fresh process, whose
start is not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from itertools import chain
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from benchmarks.common import progress, workers
from ordo.data import StepBatchSampler
from ordo.data.text.sequences import Cutter, PackedRows
from ordo.data.text.shards import Reader, Streams
from ordo.data.text.source import batches, load_split
from ordo.data.text.stream import StreamRows
from ordo.data.text.token_cache import open_or_build
from ordo.data.text.tokenizer import Encoder, load_tokenizer
from ordo.runs.provenance import describe_device

NAMES = ("ordo", "map_processes", "map_threads", "stream")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--text", nargs="+", required=True, help="plain text files")
    parser.add_argument("--characters", type=int, default=2000, help="characters of a document")
    parser.add_argument(
        "--copies",
        type=int,
        default=2,
        help="times the documents are taken, to make long enough work",
    )
    parser.add_argument("--vocab", type=int, default=8192, help="symbols")
    parser.add_argument("--length", type=int, default=1024, help="tokens a sequence")
    parser.add_argument("--batch", type=int, default=8, help="sequences of a batch")
    parser.add_argument(
        "--buffer", type=int, default=1000, help="sequences in the buffer of the stream"
    )
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument(
        "--rounds", type=int, default=7, help="turns of everything; medians are reported"
    )


def prepare(a: argparse.Namespace, folder: Path) -> tuple[int, int]:
    """Documents as Parquet files and a tokenizer, in the folder. Returns how many documents and characters."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    text = "\n".join(Path(file).read_text(encoding="utf-8") for file in a.text)
    documents = [text[i : i + a.characters] for i in range(0, len(text), a.characters)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=a.vocab, initial_alphabet=alphabet, special_tokens=["<eos>"], show_progress=False
    )
    tokenizer.train_from_iterator(documents, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(
        folder / "tokenizer"
    )
    (folder / "text").mkdir()
    for copy in range(a.copies):
        pq.write_table(pa.table({"text": documents}), folder / "text" / f"{copy}.parquet")
    return a.copies * len(documents), a.copies * len(text)


Turn = tuple[float, float, int]  # seconds for all documents, seconds until the first batch, tokens


def ours(a: argparse.Namespace, dataset: Any, tokenizer: Any, folder: Path) -> Turn:
    """The cache, and a shuffled batch from it."""
    start = time.perf_counter()
    documents = batches(
        dataset, "text", Encoder(tokenizer, None, tokenizer.eos_token_id), "tokenising"
    )
    cache = open_or_build(folder / "cache", len(tokenizer), documents, {})
    built = time.perf_counter() - start
    rows = PackedRows(cache, a.length)
    loader = StatefulDataLoader(
        rows, batch_sampler=StepBatchSampler(len(rows), a.batch, 0), collate_fn=lambda batch: batch
    )
    assert next(iter(loader)).shape == (a.batch, a.length)
    return built, time.perf_counter() - start, len(cache.tokens)


def mapped(
    a: argparse.Namespace, dataset: Any, tokenizer: Any, folder: Path, processes: int | None
) -> Turn:
    """The same through two maps and a DataLoader."""
    end = [tokenizer.eos_token_id]

    def encode(batch: dict[str, Any]) -> dict[str, Any]:
        return {
            "input_ids": [
                ids + end for ids in tokenizer(batch["text"], add_special_tokens=False)["input_ids"]
            ]
        }

    def pack(batch: dict[str, Any]) -> dict[str, Any]:
        joined = list(chain.from_iterable(batch["input_ids"]))
        return {
            "input_ids": [
                joined[i : i + a.length] for i in range(0, len(joined) - a.length + 1, a.length)
            ]
        }

    common: dict[str, Any] = {"batched": True, "load_from_cache_file": False, "num_proc": processes}
    start = time.perf_counter()
    done = dataset.map(
        encode,
        remove_columns=dataset.column_names,
        cache_file_name=str(folder / "ids.arrow"),
        **common,
    )
    built = time.perf_counter() - start
    packed = done.map(pack, cache_file_name=str(folder / "packed.arrow"), **common).with_format(
        "torch"
    )
    batch = next(iter(DataLoader(packed, batch_size=a.batch, shuffle=True)))["input_ids"]
    assert batch.shape == (a.batch, a.length)
    return (
        built,
        time.perf_counter() - start,
        sum(len(x) for x in done.with_format("arrow")["input_ids"].chunks for x in [x.flatten()]),
    )


def streamed(a: argparse.Namespace, source: Path, tokenizer: Any, tokens: int) -> Turn:
    """One epoch's worth of sequences, read while "training"."""
    start = time.perf_counter()
    shards = Streams(str(source), None, None).shards("train")
    cutter = Cutter(a.length, "packed", "cut", len(tokenizer))
    reader = Reader("text", Encoder(tokenizer, None, tokenizer.eos_token_id), cutter)
    rows = StreamRows(shards, reader, a.batch, a.buffer, 0)
    first, steps = 0.0, tokens // (a.batch * a.length)
    for step in range(steps):
        rows.__getitems__([step])
        first = first or time.perf_counter() - start
    read = (
        steps * a.batch + a.buffer
    )  # sequences that were tokenised for it, up to what one reading of documents holds
    return time.perf_counter() - start, first, read * a.length


def summary(turns: list[Turn], documents_per_token: float) -> dict[str, Any]:
    """Medians and [least, most] over rounds."""

    def spread(values: list[float], digits: int) -> dict[str, Any]:
        low, middle, high = (
            round(f(values), digits or None) for f in (min, statistics.median, max)
        )
        return {"median": middle, "range": [low, high]}

    rates = [tokens / seconds for seconds, _, tokens in turns]
    return {
        "tokens_per_second": spread(rates, 0),
        "documents_per_second": spread([rate * documents_per_token for rate in rates], 0),
        "seconds": spread([seconds for seconds, _, _ in turns], 2),
        "first_batch_seconds": spread([first for _, first, _ in turns], 2),
    }


def turn(a: argparse.Namespace, name: str, folder: str, tokens: int) -> Turn:
    """One variant, in a process of its own: datasets.map leaves the threads of tokenizers switched off behind it."""
    import datasets
    from datasets import config

    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity_error()
    config.HF_DATASETS_CACHE = Path(folder) / "datasets"
    text, tokenizer = Path(folder) / "text", load_tokenizer(f"{folder}/tokenizer")
    if name == "stream":
        return streamed(a, text, tokenizer, tokens)
    dataset = load_split(str(text), None, None, "train", "text")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        if name == "ordo":
            return ours(a, dataset, tokenizer, Path(place))
        return mapped(
            a, dataset, tokenizer, Path(place), a.threads if name == "map_processes" else None
        )


def run(a: argparse.Namespace) -> dict[str, Any]:
    """Times every variant in turn."""
    os.environ["RAYON_NUM_THREADS"] = str(
        a.threads
    )  # of the tokenizers, in the processes that are started below
    if a.quick:
        a.copies, a.vocab, a.length, a.buffer, a.rounds = 1, 300, 16, 4, 1
    work = Path(a.work)
    work.mkdir(parents=True, exist_ok=True)
    turns: dict[str, list[Turn]] = {name: [] for name in NAMES}
    with tempfile.TemporaryDirectory(dir=work) as folder:
        documents, characters = prepare(a, Path(folder))
        tokens = 0
        for _ in progress({str(i + 1): None for i in range(a.rounds)}, "rounds"):
            for name in NAMES:
                with workers(1) as pool:
                    turns[name].append(pool.submit(turn, a, name, folder, tokens).result())
                tokens = tokens or turns[name][-1][2]
                assert name == "stream" or turns[name][-1][2] == tokens, "the same tokens"
    out: dict[str, Any] = {
        name: summary(found, documents / tokens) for name, found in turns.items()
    }
    for name in ("map_processes", "map_threads"):
        pairs = [
            (y[0] / x[0], y[1] / x[1]) for x, y in zip(turns["ordo"], turns[name], strict=True)
        ]
        out[f"faster_than_{name}"] = round(statistics.median(x for x, _ in pairs), 3)
        out[f"faster_to_first_batch_than_{name}"] = round(statistics.median(y for _, y in pairs), 3)
    sizes = {
        "documents": documents,
        "characters": characters,
        "tokens": tokens,
        "vocab": a.vocab,
        "length": a.length,
        "batch": a.batch,
    }
    return (
        out
        | sizes
        | {
            "buffer": a.buffer,
            "threads": a.threads,
            "rounds": a.rounds,
            "device": describe_device("cpu"),
        }
    )
