"""Likelihoods, samples and pictures of a checkpoint; everything it needs to know is read from the checkpoint.

python eval.py checkpoint=outputs/NAME/TIME/checkpoints/best.ckpt split=test
"""

import sys
from pathlib import Path

import hydra
import torch
from omegaconf import DictConfig
from rich.console import Console

from ordo.data import DataError
from ordo.randomness import seeded_generator
from ordo.samplers import sample_by_order
from ordo.training.build import ConfigError, build_data
from ordo.training.checkpoint import CheckpointError, find, load
from ordo.training.provenance import provenance
from ordo.training.run import check_writable, evaluate, quiet, report_table, save_report


@hydra.main(config_path="configs", config_name="eval", version_base="1.3")
def main(config: DictConfig) -> None:
    console = Console()
    quiet()
    try:
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        path = find(config.checkpoint)
        folder = Path(config.output) if config.output else path.parent / f"eval_{config.split}"
        module, trained = load(path)
        if config.data_path is not None:
            trained.data.path = config.data_path
        data = build_data(trained)
        check_writable(folder)
        device = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
        module = module.to(device)
        report = evaluate(module, data, config)
        generator = seeded_generator(module.device, config.seed, -5)
        texts: list[str] = []
        if config.samples:
            order = module.schedule.law().draw(config.samples, generator).order
            texts = data.decode(sample_by_order(module.denoiser, order, generator).tokens.cpu())
        save_report(report, folder, samples=texts, checkpoint=str(path), trained_with=module.config, provenance=provenance())
    except (DataError, ConfigError, CheckpointError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    console.print(report_table({str(trained.name): report}, f"{path}: {config.split} data, mean ± standard error"))
    for text in texts:
        console.print(repr(text), soft_wrap=True)
    console.print(f"report and pictures: {folder}", soft_wrap=True)


if __name__ == "__main__":
    main()
