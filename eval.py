"""Likelihoods, samples and pictures of a checkpoint; everything it needs to know is read from the checkpoint.

python eval.py checkpoint=outputs/NAME/TIME/checkpoints/best.ckpt split=test
"""

import ordo.stop  # noqa: F401  first: Ctrl-C while the rest is imported

# isort: split
from pathlib import Path

import hydra
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ordo.training.build import ConfigError, build_data
from ordo.training.checkpoint import check_data, find, load, read
from ordo.training.entry import command, job
from ordo.training.evaluation import check_report, examine, report_table, result_line, sample_texts, save_evaluation, save_report_page
from ordo.training.provenance import provenance
from ordo.training.run import check_writable, quiet, set_threads


@hydra.main(config_path="configs", config_name="eval", version_base="1.3")
def main(config: DictConfig) -> None:
    console = Console()
    with job(config.quiet):
        quiet()
        if OmegaConf.is_missing(config, "checkpoint"):
            raise ConfigError("no checkpoint given; python eval.py checkpoint=FILE.ckpt or checkpoint=RUN_FOLDER")
        check_report(config)
        set_threads(config.threads)
        path = find(config.checkpoint)
        folder = Path(config.output) if config.output else path.parent / f"eval_{config.split}"
        check_writable(folder)
        device = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
        if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
            raise ConfigError(f"device={device}: choose auto, cpu, or cuda where there is a GPU")
        module, trained = load(path)
        if config.data_path is not None:
            key = next((key for key in ("path", "source") if key in trained.data), None)
            if key is None:
                raise ConfigError(f"data_path={config.data_path}: the data of {path} are made, not read from a file")
            trained.data[key] = config.data_path
        if "limit_eval" in trained.data:  # here `sequences` is the only limit; a corpus may be too large to be held whole
            trained.data.limit_eval = config.sequences if "tokenizer" in trained.data else None
        data = build_data(trained)
        check_data(path, module, data)
        module = module.to(device)
        done = examine(module, data, config)
        about = {"checkpoint": str(path), "trained_with": module.config, "provenance": provenance(device) | {"data": data.describe()}}
        parameters = sum(p.numel() for p in module.parameters())
        save_evaluation(done, module, data, folder, parameters=parameters, steps=read(path)["global_step"], **about)
        run = path.parent.parent
        save_report_page(done, data, folder, run if (run / "config.yaml").is_file() else None)
        report = done.report
        if config.quiet:
            console.print(result_line({str(trained.name): report}, f"{path}, {config.split} data", folder), soft_wrap=True)
            return
        console.print(report_table({str(trained.name): report}, f"{path}: {config.split} data, mean ± standard error"))
        for text in sample_texts(done, data, 4):
            console.print(repr(text), soft_wrap=True)
        console.print(f"to look at: {folder}/report.html; pictures and samples beside it", soft_wrap=True)


if __name__ == "__main__":
    command(main, Path(__file__).resolve().parent / "configs" / "eval.yaml")
