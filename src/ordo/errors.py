"""Errors that a user can mend, and how they are told in one line."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """Base of the errors that a user can mend; a command shows such an error in one line."""


class ConfigError(UserError, ValueError):
    """A setting names something that does not exist or does not fit."""


class UntrustedError(ValueError):
    """A file names something that ordo does not make for a file."""


class FileError(UserError, ValueError):
    """A file that is to be read has another form than ordo writes."""


def install(extra: str) -> str:
    """The command that installs an extra of pyproject.toml, in a checkout or elsewhere."""
    if (Path(__file__).resolve().parents[2] / "constraints.txt").is_file():
        return f"pip install -c constraints.txt -e '.[{extra}]'"
    return f"pip install 'ordo-diffusion[{extra}]'"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the error's type if the message is empty."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
