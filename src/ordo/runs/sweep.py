"""Jobs of ``ordo train --multirun``: where a sweep and each of its jobs live."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ordo.errors import install
from ordo.files import read_yaml
from ordo.runs.entry import WRONG, cleanup
from ordo.runs.names import own_folder

NAME_CHARACTERS = 100  # of a folder's name at most 255 bytes are allowed


class SweepFolder(Callback):
    """Lets ``hydra.sweep.dir`` be ``${output}``, whose ``${hydra:...}`` needs the HydraConfig.
    Hydra sets the HydraConfig for single jobs only.

    No other sweep has that folder, and where no job begins, nothing is left of it.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        HydraConfig.instance().set_config(config)
        cleanup.enter_context(own_folder(config, but="multirun.yaml"))


def check_launcher(arguments: Sequence[str]) -> None:
    """Exits (2) with the mend if the command line asks for a launcher that is not installed. Hydra
    would only say that it finds no YAML.
    """
    for argument in arguments:
        if (
            re.fullmatch(r"hydra/launcher=(slurm|submitit_\w+)", argument)
            and find_spec("submitit") is None
        ):
            needs = f"{argument} needs the submitit launcher"
            print(f"error: {needs}: {install('slurm')}", file=sys.stderr)
            sys.exit(WRONG)


def job_folder() -> Path:
    """The folder of the sweep's job that runs in this process: NUMBER_SETTINGS in the sweep's
    folder, with the settings in which its jobs differ.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)  # absolute
    if folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    record = (
        folder / "multirun.yaml"
    )  # absent where jobs differ in what names the folder, such as the experiment
    given = OverridesParser.create().parse_overrides(
        read_yaml(record)["hydra"]["overrides"]["task"] if record.is_file() else []
    )
    swept = {override.get_key_element() for override in given if override.is_sweep_override()}
    overrides = {
        override.partition("=")[0]: override
        for override in hydra.overrides.task
        if not override.startswith("output=")
    }
    own = ",".join(override for key, override in overrides.items() if key in swept or not given)
    readable = re.sub(r"[^\w=.,+~-]+", "-", own)[:NAME_CHARACTERS]
    return folder / (f"{hydra.job.num}_{readable}" if readable else str(hydra.job.num))
