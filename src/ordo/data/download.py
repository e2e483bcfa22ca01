"""Fetching files: whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tempfile
import urllib.request
import zipfile
import zlib
from pathlib import Path

from ordo.data.errors import ChecksumError, DataError, MissingDataError

TEXT8_URL = "http://mattmahoney.net/dc/text8.zip"
TEXT8_MD5 = "3bea1919949baf155f99411df5fada7e"


def check_md5(name: str, actual: str, expected: str) -> None:
    """Compares two md5 sums.

    Raises:
        ChecksumError: they differ.
    """
    if actual != expected.lower():
        raise ChecksumError(
            f"{name}: wrong md5: expected {expected}, got {actual}; the file is damaged or another one: fetch it again, "
            "or give the md5 of the file that is meant"
        )


def by_hand(url: str, target: Path) -> str:
    """Shell command that puts the zipped file at ``url`` where the library looks for it."""
    archive = target.with_suffix(".zip")
    return f"mkdir -p {target.parent} && curl -L -o {archive} {url} && unzip {archive} {target.name} -d {target.parent}"


def fetch_zipped(url: str, target: Path, md5: str, timeout: float = 60.0) -> None:
    """Downloads a zip archive and writes its member ``target.name`` to ``target``, atomically.

    Nothing is left behind on failure: the work is done in a temporary folder beside the target, and only a file with
    the right md5 is moved to its place.

    Raises:
        MissingDataError: the address cannot be reached; the message has the command that fetches the file by hand.
        DataError: the archive is damaged or lacks the member.
        ChecksumError: the unzipped file's md5 is not ``md5``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
        archive, unzipped = Path(folder) / "archive.zip", Path(folder) / target.name
        try:
            with urllib.request.urlopen(url, timeout=timeout) as response, archive.open("wb") as out:
                shutil.copyfileobj(response, out)
        except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
            raise MissingDataError(f"cannot fetch {url} ({error}); get it elsewhere by: {by_hand(url, target)}") from error
        try:
            with zipfile.ZipFile(archive) as content, content.open(target.name) as member, unzipped.open("wb") as out:
                shutil.copyfileobj(member, out)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
            raise DataError(
                f"{url}: the archive ({archive.stat().st_size} bytes) is damaged or cut short ({error}); try again, "
                f"or by hand: {by_hand(url, target)}"
            ) from error
        with unzipped.open("rb") as file:
            check_md5(f"{target.name} from {url}", hashlib.file_digest(file, "md5").hexdigest(), md5)
        os.replace(unzipped, target)
