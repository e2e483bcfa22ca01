"""Building a token cache, and streaming, against ``datasets.map`` on the same documents.

All have the same tokenizer, a byte-level BPE trained on the text itself. ``ordo`` builds the cache
with ``--threads`` threads of the tokenizer. ``map_processes`` is ``datasets.map(batched=True,
num_proc=THREADS)``, ``map_threads`` the same in one process with as many threads of the tokenizer;
both write the ids to datasets' own cache. ``first_batch`` goes on to a shuffled batch of packed
sequences. The maps get there by a second map that joins and cuts (the recipe of the run_clm
examples) and a torch DataLoader. ``stream`` reads a whole epoch of sequences without any cache; its
first batch comes when the buffer of shuffling is filled. All take turns, each in a fresh process,
whose start is not counted.
"""

import os
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from benchmarks.common import workers
from ordo.data import StepBatchSampler
from ordo.data.text.sequences import Cutter, PackedRows
from ordo.data.text.shards import Reader, Streams
from ordo.data.text.source import batches, load_split
from ordo.data.text.stream import StreamRows
from ordo.data.text.token_cache import open_or_build
from ordo.data.text.tokenizer import Encoder, load_tokenizer
from ordo.progress import track
from ordo.runs.provenance import describe_device

NAMES = ("ordo", "map_processes", "map_threads", "stream")
OPTIONS = {
    "text": (None, "plain text files", {"nargs": "+", "required": True}),
    "characters": (2000, "characters of a document"),
    "copies": (2, "times the documents are taken, to make long enough work"),
    "vocab": (8192, "symbols"),
    "length": (1024, "tokens a sequence"),
    "batch": (8, "sequences of a batch"),
    "buffer": (1000, "sequences in the buffer of the stream"),
    "threads": (2, "of the CPU"),
    "rounds": (7, "turns of everything; medians are reported"),
}


def prepare(a: Namespace, folder: Path) -> tuple[int, int]:
    """Writes documents as Parquet files and a tokenizer. Returns the documents and characters."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    text = "\n".join(Path(file).read_text(encoding="utf-8") for file in a.text)
    documents = [text[i : i + a.characters] for i in range(0, len(text), a.characters)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special: dict[str, Any] = {"special_tokens": ["<eos>"], "show_progress": False}
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=a.vocab, initial_alphabet=alphabet, **special)
    tokenizer.train_from_iterator(documents, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")
    fast.save_pretrained(folder / "tokenizer")
    (folder / "text").mkdir()
    for copy in range(a.copies):
        pq.write_table(pa.table({"text": documents}), folder / "text" / f"{copy}.parquet")
    return a.copies * len(documents), a.copies * len(text)


Turn = tuple[float, float, int]  # seconds for all documents, seconds until the first batch, tokens


def ours(a: Namespace, dataset: Any, tokenizer: Any, folder: Path) -> Turn:
    """The cache, and a shuffled batch from it."""
    start = time.perf_counter()
    encoder = Encoder(tokenizer, None, tokenizer.eos_token_id)
    documents = batches(dataset, "text", encoder, "tokenising")
    cache = open_or_build(folder / "cache", len(tokenizer), documents, {})
    built = time.perf_counter() - start
    rows = PackedRows(cache, a.length)
    sampler = StepBatchSampler(len(rows), a.batch, 0)
    loader = StatefulDataLoader(rows, batch_sampler=sampler, collate_fn=lambda batch: batch)
    assert next(iter(loader)).shape == (a.batch, a.length)
    return built, time.perf_counter() - start, len(cache.tokens)


def mapped(a: Namespace, dataset: Any, tokenizer: Any, folder: Path, processes: int | None) -> Turn:
    """The same through two maps and a DataLoader."""
    end, length = [tokenizer.eos_token_id], a.length

    def encode(batch: dict[str, Any]) -> dict[str, Any]:
        found = tokenizer(batch["text"], add_special_tokens=False)["input_ids"]
        return {"input_ids": [ids + end for ids in found]}

    def pack(batch: dict[str, Any]) -> dict[str, Any]:
        joined = list(chain.from_iterable(batch["input_ids"]))
        starts = range(0, len(joined) - length + 1, length)
        return {"input_ids": [joined[i : i + length] for i in starts]}

    common: dict[str, Any] = {"batched": True, "load_from_cache_file": False, "num_proc": processes}
    start = time.perf_counter()
    once = {"remove_columns": dataset.column_names, "cache_file_name": str(folder / "ids.arrow")}
    done = dataset.map(encode, **once, **common)
    built = time.perf_counter() - start
    packed = done.map(pack, cache_file_name=str(folder / "packed.arrow"), **common)
    loader = DataLoader(packed.with_format("torch"), batch_size=a.batch, shuffle=True)
    assert next(iter(loader))["input_ids"].shape == (a.batch, length)
    first = time.perf_counter() - start
    chunks = done.with_format("arrow")["input_ids"].chunks
    return built, first, sum(len(chunk.flatten()) for chunk in chunks)


def streamed(a: Namespace, source: Path, tokenizer: Any, tokens: int) -> Turn:
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
    # Sequences that were tokenised for it, up to what one reading of documents holds.
    read = steps * a.batch + a.buffer
    return time.perf_counter() - start, first, read * a.length


def spread(values: Iterable[float], digits: int | None) -> dict[str, Any]:
    """Median and [least, most]."""
    values = list(values)
    low, high = round(min(values), digits), round(max(values), digits)
    return {"median": round(statistics.median(values), digits), "range": [low, high]}


def summary(turns: list[Turn], documents_per_token: float) -> dict[str, Any]:
    rates = [tokens / seconds for seconds, _, tokens in turns]
    return {
        "tokens_per_second": spread(rates, None),
        "documents_per_second": spread((rate * documents_per_token for rate in rates), None),
        "seconds": spread((seconds for seconds, _, _ in turns), 2),
        "first_batch_seconds": spread((first for _, first, _ in turns), 2),
    }


def turn(a: Namespace, name: str, folder: str, tokens: int) -> Turn:
    """One variant, in a process of its own.

    datasets.map leaves the threads of tokenizers switched off behind it.
    """
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
        processes = a.threads if name == "map_processes" else None
        return mapped(a, dataset, tokenizer, Path(place), processes)


def run(a: Namespace) -> dict[str, Any]:
    """Times every variant in turn."""
    # Threads of the tokenizers, in the processes that are started below.
    os.environ["RAYON_NUM_THREADS"] = str(a.threads)
    if a.quick:
        a.copies, a.vocab, a.length, a.buffer, a.rounds = 1, 300, 16, 4, 1
    work = Path(a.work)
    work.mkdir(parents=True, exist_ok=True)
    turns: dict[str, list[Turn]] = {name: [] for name in NAMES}
    with tempfile.TemporaryDirectory(dir=work) as folder:
        documents, characters = prepare(a, Path(folder))
        tokens = 0
        for _ in track(range(a.rounds), "rounds"):
            for name in NAMES:
                with workers(1) as pool:
                    turns[name].append(pool.submit(turn, a, name, folder, tokens).result())
                tokens = tokens or turns[name][-1][2]
                assert name == "stream" or turns[name][-1][2] == tokens, "the same tokens"
    out: dict[str, Any] = {n: summary(found, documents / tokens) for n, found in turns.items()}
    for name in ("map_processes", "map_threads"):
        pairs = list(zip(turns["ordo"], turns[name], strict=True))
        for key, part in ((f"faster_than_{name}", 0), (f"faster_to_first_batch_than_{name}", 1)):
            out[key] = round(statistics.median(y[part] / x[part] for x, y in pairs), 3)
    out |= {"documents": documents, "characters": characters, "tokens": tokens}
    sizes = ("vocab", "length", "batch", "buffer", "threads", "rounds")
    return out | {name: getattr(a, name) for name in sizes} | {"device": describe_device("cpu")}
