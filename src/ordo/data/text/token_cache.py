"""Token ids of a corpus on disk, read as memory maps.

A cache is written whole or not at all, by one process at a time.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from ordo.data.errors import DataError

FORMAT = 1  # version of the files; part of every key


class TokenCache:
    """The tokens of all documents, one after the other, and where each document ends.

    ``tokens`` (total,) uint16 or uint32 and ``ends`` (documents,) uint64 are memory maps: opening
    costs the same whatever the size. Raises DataError for files that do not fit each other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.about: dict[str, Any] = json.loads(
                (folder / "about.json").read_text(encoding="utf-8")
            )
            total, documents, dtype = (
                self.about["tokens"],
                self.about["documents"],
                np.dtype(self.about["dtype"]),
            )
            for name, size in (("tokens.bin", total * dtype.itemsize), ("ends.bin", documents * 8)):
                found = (folder / name).stat().st_size
                if found != size:
                    raise DataError(
                        f"{folder / name} has {found} bytes and should have {size}: delete the "
                        "folder, it is built again"
                    )
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{folder} is no whole token cache ({error}): delete it, it is built again"
            ) from error
        self.tokens = (
            np.memmap(folder / "tokens.bin", dtype, "r", shape=(total,))
            if total
            else np.empty(0, dtype)
        )
        self.ends = (
            np.memmap(folder / "ends.bin", np.uint64, "r", shape=(documents,))
            if documents
            else np.empty(0, np.uint64)
        )

    def __reduce__(self) -> tuple[object, ...]:
        # A copy in another process opens the files: pickling a memory map would copy its content.
        return TokenCache, (self.folder,)


def check_ids(ids: np.ndarray, vocab_size: int) -> None:
    """Raises DataError for an id outside of the vocabulary."""
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < vocab_size:
        raise DataError(
            f"the tokenizer gave the id {int(ids.max())}, outside of its {vocab_size} ids"
        )


def smallest(vocab_size: int) -> np.dtype:
    """uint16 or uint32: the smaller one that holds all ids."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)


# Ids of documents, one after the other, and how many each document has.
Encoded = tuple[np.ndarray, np.ndarray]


def open_or_build(
    folder: Path, vocab_size: int, documents: Iterable[Encoded], about: Mapping[str, object]
) -> TokenCache:
    """The cache in ``folder``. If it is not there, it is built first, from batches of documents.

    A second process that wants the same cache waits for the first. A build that is killed leaves a
    folder ``.NAME.partial``, which the next build removes. ``documents`` is read only if the cache
    has to be built. Raises DataError if the disk is full or not writable.
    """
    if not folder.exists():
        partial = folder.with_name(f".{folder.name}.partial")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_name(f".{folder.name}.lock")):
                if not folder.exists():  # another process was faster
                    shutil.rmtree(partial, ignore_errors=True)
                    try:
                        partial.mkdir()
                        _write(partial, vocab_size, documents, about)
                        os.replace(partial, folder)
                    finally:  # under the lock: the folder is nobody else's
                        shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            mend = "free the disk or set data.cache_dir to another folder"
            raise DataError(f"cannot write the token cache {folder} ({error}); {mend}") from error
    return TokenCache(folder)


def _write(
    folder: Path, vocab_size: int, documents: Iterable[Encoded], about: Mapping[str, object]
) -> None:
    dtype = smallest(vocab_size)
    total = count = 0
    with open(folder / "tokens.bin", "wb") as tokens, open(folder / "ends.bin", "wb") as ends:
        for ids, sizes in documents:
            check_ids(ids, vocab_size)
            tokens.write(ids.astype(dtype).tobytes())
            ends.write((total + np.cumsum(sizes)).astype(np.uint64).tobytes())
            total, count = total + len(ids), count + len(sizes)
        for file in (tokens, ends):
            file.flush()
            os.fsync(file.fileno())
    described = {**about, "tokens": total, "documents": count, "dtype": dtype.name}
    (folder / "about.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
