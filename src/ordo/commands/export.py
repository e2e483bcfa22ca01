"""Exports a checkpoint as a folder to give away or to push to the Hugging Face hub.

``OrderedModel.from_pretrained`` reads the folder.

ordo export checkpoint=outputs/NAME/TIME out=my_model
"""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import DictConfig

from ordo.errors import ConfigError
from ordo.exporting import export
from ordo.progress import note
from ordo.runs.checks import check_given, check_settings
from ordo.runs.entry import job
from ordo.runs.run import check_writable
from ordo.runs.settings import Export
from ordo.runs.trainer import quiet
from ordo.saved import OrderedModel


def main(config: DictConfig) -> None:
    with job(config.quiet):
        quiet()
        usage = "ordo export checkpoint=RUN_FOLDER out=FOLDER"
        check_given(config, ("checkpoint", "out"), usage)
        check_settings(config, Export)
        out = Path(config.out)
        if out.exists():
            raise ConfigError(f"out={out} is there already; name a new folder")
        check_writable(out.parent)
        model = OrderedModel.of_checkpoint(config.checkpoint, config.trust)
        told = export(model, out, config["values"], config.weights)  # config.values is a method
        if told is not None:
            note(told)
    size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters, {size:.1f} MB: {out}", file=sys.stderr)
