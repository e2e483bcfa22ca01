"""Exports a checkpoint as a folder to give away or to push to the Hugging Face hub.

``OrderedModel.from_pretrained`` reads the folder.

python scripts/export.py checkpoint=outputs/NAME/TIME out=my_model
"""

from __future__ import annotations

import ordo.stop  # noqa: F401  first: Ctrl-C while the rest is imported

# isort: split
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from ordo.errors import ConfigError
from ordo.exporting import export
from ordo.progress import note
from ordo.runs.checks import check_settings
from ordo.runs.entry import command, job
from ordo.runs.run import check_writable, quiet
from ordo.runs.settings import Export
from ordo.saved import OrderedModel


@hydra.main(config_path="../configs", config_name="export", version_base="1.3")
def main(config: DictConfig) -> None:
    with job(config.quiet):
        quiet()
        for key in ("checkpoint", "out"):
            if OmegaConf.is_missing(config, key):
                usage = "python scripts/export.py checkpoint=RUN_FOLDER out=FOLDER"
                raise ConfigError(f"no {key} given; {usage}")
        check_settings(config, Export)
        out = Path(config.out)
        if out.exists():
            raise ConfigError(f"out={out} is there already; name a new folder")
        check_writable(out.parent)
        model = OrderedModel.of_checkpoint(config.checkpoint, config.trust)
        told = export(model, out, config["values"])  # config.values is a method
        if told is not None:
            note(told)
    size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters, {size:.1f} MB: {out}", file=sys.stderr)


if __name__ == "__main__":
    command(main, Path(__file__).resolve().parents[1] / "configs" / "export.yaml")
