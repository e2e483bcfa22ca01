"""Fetching files: a file arrives whole and checked, or not at all."""

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
    """Compares two md5 sums. Raises ChecksumError if they differ."""
    if actual != expected.lower():
        raise ChecksumError(
            f"{name}: wrong md5: expected {expected}, got {actual}; the file is damaged or another "
            "one: fetch it again, "
            "or give the md5 of the file that is meant"
        )


def by_hand(url: str, target: Path) -> str:
    """Shell command that puts the file at ``url``, zipped or not, where the library finds it."""
    if not url.endswith(".zip"):
        return f"mkdir -p {target.parent} && curl -L -o {target} {url}"
    archive = target.with_suffix(".zip")
    fetching = f"mkdir -p {target.parent} && curl -L -o {archive} {url}"
    return f"{fetching} && unzip -j {archive} '*{target.name}' -d {target.parent}"


def fetch(url: str, target: Path, md5: str | None, timeout: float = 60.0) -> None:
    """Downloads a file to ``target``, whole or not at all.

    The work is done in a temporary folder beside the target. Only a whole file with the right md5
    is moved to ``target``, and a failure leaves nothing behind.

    Args:
        url: address of the file, or of a zip archive that holds a file called ``target.name``.
        target: where the file goes.
        md5: expected md5 of the file; None: not checked.
        timeout: in seconds.

    Raises:
        MissingDataError: the address cannot be reached; the message has the command that fetches
            the file by hand.
        DataError: the archive is damaged or lacks the file.
        ChecksumError: the file's md5 is not ``md5``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
        fetched, wanted = Path(folder) / "fetched", Path(folder) / target.name
        try:
            with (
                urllib.request.urlopen(url, timeout=timeout) as response,
                fetched.open("wb") as out,
            ):
                shutil.copyfileobj(response, out)
        except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
            raise MissingDataError(
                f"cannot fetch {url} ({error}); get it elsewhere by: {by_hand(url, target)}"
            ) from error
        if url.endswith(".zip"):
            try:
                with zipfile.ZipFile(fetched) as content:
                    member = next(
                        (name for name in content.namelist() if Path(name).name == target.name),
                        target.name,
                    )
                    with content.open(member) as inside, wanted.open("wb") as out:
                        shutil.copyfileobj(inside, out)
            except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
                raise DataError(
                    f"{url}: the archive ({fetched.stat().st_size} bytes) is damaged or cut "
                    f"short ({error}); try again, or by hand: {by_hand(url, target)}"
                ) from error
        else:
            fetched.rename(wanted)
        if md5 is not None:
            with wanted.open("rb") as file:
                check_md5(
                    f"{target.name} from {url}", hashlib.file_digest(file, "md5").hexdigest(), md5
                )
        os.replace(wanted, target)
