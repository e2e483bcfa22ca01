"""Options of the commands that Hydra does not read: errors in one line, with a suggestion."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, NoReturn

from ordo.runs.entry import EXIT_CODES, WRONG
from ordo.runs.explain import closest
from ordo.settings import Count, Positive, Seed, Threads, Whole, argument

RANGES = {int: Count, float: Positive}
NAMED = {"--seed": Seed, "--threads": Threads, "--delay": Whole}


def existing(path: str) -> str:
    """For ``type=`` of argparse: a file or folder that is there."""
    if not Path(path).exists():
        raise argparse.ArgumentTypeError(f"{path}: there is no such file or folder")
    return path


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line, with a suggestion, and whose help explains the
    exit codes.

    ``type=int`` means a number of at least 1, or what ``NAMED`` says of the option; ``type=float``
    means a number above 0. For others there is ``type=argument(...)``, see ``ordo.settings``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **{"formatter_class": argparse.RawDescriptionHelpFormatter, "epilog": EXIT_CODES}
            | options
        )

    def add_argument(self, *names: Any, **options: Any) -> Any:
        if options.get("type") in RANGES:
            options["type"] = argument(NAMED.get(names[0], RANGES[options["type"]]))
        return super().add_argument(*names, **options)

    def error(self, message: str) -> NoReturn:
        hint = ""
        if unknown := re.search(r"unrecognized arguments: (\S+)", message):
            meant = closest(
                unknown[1].partition("=")[0],
                [name for action in self._actions for name in action.option_strings],
            )
            hint = f"; did you mean {meant}?" if meant else f"; see {self.prog} --help"
        elif wrong := re.search(r"invalid choice: '?([^' ]+)'? \(choose from (.*)\)", message):
            meant = closest(wrong[1], re.findall(r"[\w.]+", wrong[2]))
            hint = f"; did you mean {meant}?" if meant else ""
        self.exit(WRONG, f"error: {message}{hint}\n")
