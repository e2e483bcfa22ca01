"""A checksum of a whole checkpoint file, kept in the comment that ends a zip archive.

Torch writes a zip archive, whose own checksums (CRC) cover the records alone. The comment has a
CRC-32 of every byte that torch wrote, headers and padding included, so one wrong byte is found
anywhere. Other programs read such a file as before.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import torch

MARK = b"ordo crc32 "
SIZE = len(MARK) + 8
END = b"PK\x05\x06"  # begins the last record of a zip archive: 22 bytes, then the comment
END_SIZE, CHUNK = 22, 1 << 20


class _Counted:
    """A file that only grows, with the CRC-32 of what was written."""

    def __init__(self, file: BinaryIO):
        self.file, self.crc = file, 0

    def write(self, content: Any) -> int:
        self.crc = zlib.crc32(content, self.crc)
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def save(content: Any, path: Path) -> None:
    """``torch.save``, and the checksum in the archive's comment, which torch leaves empty."""
    with open(path, "wb+") as file:
        counted = _Counted(file)
        try:
            torch.save(content, counted)  # type: ignore[arg-type]
        except RuntimeError as error:  # torch's own words on a disk that is full
            reason = error.__context__ if isinstance(error.__context__, OSError) else error
            raise OSError(
                f"{path} cannot be written: {str(reason).partition(chr(10))[0]}"
            ) from error
        file.seek(-2, 2)
        if file.read() != b"\0\0":
            raise OSError(f"{path} was not written as a zip archive without a comment")
        file.seek(-2, 2)
        file.write(struct.pack("<H", SIZE) + MARK + f"{counted.crc:08x}".encode())


def damage(path: Path) -> str | None:
    """What is wrong with a file, in a few words; None: nothing, or the file is no zip archive.

    A checkpoint from before there were checksums has the CRC of its records checked.
    """
    size = path.stat().st_size
    if size < END_SIZE + SIZE:
        return None
    with open(path, "rb") as file:
        file.seek(-END_SIZE - SIZE, 2)
        tail = file.read()
        at = tail.rfind(END)
        comment = tail[at + END_SIZE :] if at >= 0 else tail[END_SIZE:]
        if at >= 0 and tail[at + END_SIZE - 2 : at + END_SIZE] != struct.pack("<H", len(comment)):
            return "its end is cut off or wrong"
        if not comment or not (at == 0 or comment.startswith(MARK)):
            return _records(path) if zipfile.is_zipfile(path) else None
        file.seek(0)
        left, crc = size - SIZE - 2, 0
        while left:
            crc = zlib.crc32(file.read(min(CHUNK, left)), crc)
            left -= min(CHUNK, left)
    crc = zlib.crc32(b"\0\0", crc)  # what torch wrote where the comment's length stands now
    right = struct.pack("<H", SIZE) + MARK + f"{crc:08x}".encode()
    return None if tail[END_SIZE - 2 :] == right else "its checksum is wrong"


def _records(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, NotImplementedError):
        return "its table of contents is damaged"
    return None if bad is None else f"the checksum of its record {bad} is wrong"
