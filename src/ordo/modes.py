"""Who may read a file that was written."""

from __future__ import annotations

import os
from pathlib import Path


def readable(path: Path) -> None:
    """Gives a file or folder the mode of a new one; safetensors lets nobody else read its files."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
