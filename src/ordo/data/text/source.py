"""Where a corpus comes from, through ``datasets``: a data set of the hub, or local files.

Errors of the hub and of file readers become one line that names the mend.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ordo.data.errors import DataError, MissingDataError
from ordo.data.text.token_cache import Encoded
from ordo.data.text.tokenizer import Encoder
from ordo.progress import track

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

LOADERS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
BATCH = 1000  # documents tokenised at once
SLICES = "data.splits={train: 'train[:98%]', validation: 'train[98%:99%]', test: 'train[99%:]'}"


def located(source: str) -> tuple[str, dict[str, Any]]:
    """Arguments of ``datasets.load_dataset``: the first one, and the keywords that say which files.

    Raises DataError.
    """
    path = Path(source)
    if not path.exists():
        return source, {}
    files = sorted(p for p in path.rglob("*") if p.suffix in LOADERS) if path.is_dir() else [path]
    kinds = {LOADERS.get(p.suffix) for p in files}
    if len(kinds) != 1 or None in kinds:
        raise DataError(f"{source} must hold files of one kind, one of {', '.join(LOADERS)}")
    kind = str(kinds.pop())
    named: dict[str, Any] = {"data_files": {"train": [str(p) for p in files]}}
    # Reading line by line would lose the line ends.
    return kind, named | ({"sample_by": "document"} if kind == "text" else {})


def load_split(
    source: str, config: str | None, revision: str | None, split: str, column: str
) -> Dataset:
    """A split of a hub data set or of local files. Raises DataError, MissingDataError."""
    import datasets  # seconds to import, and only corpora need it

    kind, files = located(source)
    load: Any = datasets.load_dataset
    try:
        dataset = (
            load(kind, split=split, **files)
            if files
            else load(kind, config, revision=revision, split=split)
        )
    except Exception as error:  # the hub and the file readers raise errors of many libraries
        raise explained(error, source, split) from error
    check_column(source, column, dataset.column_names)
    return dataset


def check_column(source: str, column: str, found: list[str]) -> None:
    """Raises DataError."""
    if column not in found:
        raise DataError(
            f"{source} has no column {column!r}; it has {', '.join(found)}: set data.column"
        )


def chain(error: BaseException) -> list[BaseException]:
    """The error, the error that caused it, and so on."""
    out = [error]
    while (cause := out[-1].__cause__) is not None:
        out.append(cause)
    return out


def reason(error: BaseException) -> str:
    """First line of an error's message, or the error's type."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def explained(error: BaseException, source: str, split: str, slices: str = SLICES) -> DataError:
    """What went wrong in opening or reading a data set, and the mend, in one line."""
    import pyarrow as pa
    from datasets.exceptions import DatasetGenerationError

    causes, told = chain(error), reason(error)
    names = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    if "gated" in str(error).lower():
        return MissingDataError(
            f"no data set {source!r}: it is gated ({told}); accept its terms on its page of the "
            "hub, then log in: hf auth login"
        )
    if names & {
        "ConnectionError",
        "ConnectError",
        "TimeoutException",
        "Timeout",
        "OfflineModeIsEnabled",
        "LocalEntryNotFoundError",
    }:
        return MissingDataError(
            f"no data set {source!r} here, and the hub cannot be reached ({told}); try again on "
            "a network, without HF_HUB_OFFLINE, or give data.source a local file or folder"
        )
    if isinstance(error, DatasetGenerationError) or isinstance(
        causes[-1], (pa.ArrowInvalid, UnicodeError)
    ):
        return damaged(source, causes[-1])
    if isinstance(error, ValueError) and ("split" in told.lower() or "instruction" in told.lower()):
        return DataError(
            f"{source}, split {split!r}: {told}; local files have one split, train: set {slices}"
        )
    if isinstance(error, ValueError) and "config" in told.lower():
        return DataError(f"{source}: {' '.join(str(error).split())}: set data.config")
    return MissingDataError(
        f"no data set {source!r} ({told}); give data.source the name of one on the hub (hf auth "
        "login for private ones), "
        "or a local file or folder"
    )


def damaged(source: str, error: BaseException) -> DataError:
    """Names the first local file that cannot be read."""
    import datasets

    kind, named = located(source)
    load: Any = datasets.load_dataset
    for file in named.get("data_files", {}).get("train", []):
        try:
            stream = load(kind, **(named | {"data_files": [file]}), split="train", streaming=True)
            for _ in stream.with_format("arrow").iter(BATCH):
                pass
        except Exception as found:
            return DataError(
                f"{file} is damaged or no {kind} file of UTF-8 text ({reason(found)}): mend it or "
                "take it away"
            )
    where = (
        "delete what the hub's cache (HF_HOME) has of it, it is fetched again"
        if not named
        else "mend it or take it away"
    )
    return DataError(
        f"{source}: a file is damaged or not like the others ({reason(error)}): {where}"
    )


def with_text(table: pa.Table, column: str) -> list[str]:
    """The documents of an Arrow table that are not empty, without a byte-order mark."""
    texts = (
        text.removeprefix("\ufeff") for text in table[column].to_pylist() if isinstance(text, str)
    )
    return [text for text in texts if text.strip()]


def batches(dataset: Dataset, column: str, encode: Encoder, description: str) -> Iterator[Encoded]:
    """All documents that are not empty, tokenised, a batch at a time.

    The next batch is being tokenised while the caller uses this one.
    """
    tables = dataset.select_columns([column]).with_format("arrow").iter(BATCH)
    total = -(-len(dataset) // BATCH)
    with ThreadPoolExecutor(1) as thread:
        waiting = None
        for table in track(tables, description, total):
            texts = with_text(table, column)
            if not texts:
                continue
            begun = thread.submit(encode, texts)
            if waiting is not None:
                yield waiting.result()
            waiting = begun
        if waiting is not None:
            yield waiting.result()
