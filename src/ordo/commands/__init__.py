"""The commands: ``ordo train``, ``ordo sample`` and others, see ``ordo --help``.

Each is a module of this package with a function ``main``. A module is imported when the command
line has been read, because the import takes seconds.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ordo.leaving import leave_quietly

WITH_YAML = {  # commands whose settings Hydra reads: key=value
    "train": "trains a model, and reports on it",
    "eval": "likelihoods, samples and pictures of a checkpoint",
    "sample": "draws samples of a checkpoint or of an exported model",
    "export": "makes a folder of a checkpoint, to give away or to push to the hub",
}
WITH_OPTIONS = {  # commands with options: --name value
    "compare": "sets runs side by side in one page",
    "collect": "sets the runs of a sweep into one table and one picture",
    "search": "searches settings with Optuna",
}
COMMANDS = WITH_YAML | WITH_OPTIONS


def usage() -> str:
    """What ``ordo --help`` prints."""
    lines = [f"  {name:9}{text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "Masked diffusion models that learn their decoding order.",
            "",
            "  ordo COMMAND ...",
            "",
            *lines,
            "",
            "ordo COMMAND --help explains the settings of a command. ordo train without settings",
            "trains on text that comes with Python, in a minute, without a network.",
        ]
    )


def start(name: str, called: Sequence[str] | None = None) -> None:
    """Runs a command with the arguments in ``sys.argv`` and exits with its code.

    Args:
        called: what a user types to run the command; None: ``python`` and the file.
    """
    leave_quietly()  # Ctrl-C while the rest is imported
    from ordo.runs.entry import command
    from ordo.runs.settings import CONFIGS

    shown = ("python", sys.argv[0]) if called is None else tuple(called)
    if name in WITH_YAML:
        command(with_hydra(name), CONFIGS / f"{name}.yaml", called=shown)
    else:
        command(lambda: importlib.import_module(f"ordo.commands.{name}").main(), called=shown)


def with_hydra(name: str) -> Callable[[], Any]:
    """The main function of a command, to which Hydra hands the composed settings."""
    import hydra

    from ordo.runs.settings import CONFIGS

    if name == "train":
        from ordo.runs.sweep import check_launcher

        check_launcher(sys.argv[1:])

    @hydra.main(config_path=str(CONFIGS), config_name=name, version_base="1.3")
    def main(config: Any) -> Any:
        return importlib.import_module(f"ordo.commands.{name}").main(config)

    return main


def main() -> None:
    """``ordo COMMAND arguments``."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
    elif name == "--version":
        from ordo import __version__

        print(__version__)
    elif name not in COMMANDS:
        from ordo.runs.explain import closest

        meant = closest(name, COMMANDS)
        hint = f"did you mean ordo {meant}?" if meant else f"choose from {', '.join(COMMANDS)}"
        print(f"error: ordo {name}: there is no such command; {hint}", file=sys.stderr)
        sys.exit(2)
    else:
        # Lightning starts the other processes of trainer=ddp by the file in sys.argv[0].
        sys.argv = [str(Path(__file__).with_name(f"{name}.py")), *arguments]
        start(name, ("ordo", name))
