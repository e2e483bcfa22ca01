"""Likelihoods, samples and pictures of a checkpoint, which says all that has to be known of it.

ordo eval checkpoint=outputs/NAME/TIME/checkpoints/best.ckpt split=test
"""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from ordo.runs.build import plain
from ordo.runs.checkpoint import check_data, find, read
from ordo.runs.checks import check_given, check_metrics, check_settings
from ordo.runs.entry import job
from ordo.runs.evaluation import (
    examine,
    report_table,
    result_line,
    sample_texts,
    save_evaluation,
    save_report_page,
)
from ordo.runs.provenance import provenance
from ordo.runs.run import check_writable, set_threads
from ordo.runs.settings import Eval
from ordo.runs.stored import device_of, load, load_data
from ordo.runs.trainer import quiet
from ordo.wording import show


def main(config: DictConfig) -> None:
    console = Console()
    with job(config.quiet):
        quiet()
        usage = "ordo eval checkpoint=FILE.ckpt or checkpoint=RUN_FOLDER"
        check_given(config, ("checkpoint",), usage)
        check_settings(config, Eval)
        check_metrics(config.get("metrics"), "metrics")
        set_threads(config.threads)
        path = find(config.checkpoint)
        folder = Path(config.output) if config.output else path.parent / f"eval_{config.split}"
        check_writable(folder)
        device = device_of(config.device)
        module, trained = load(path, config.trust)
        places = {name: value for name, value in plain(config.data).items() if value is not None}
        # Here `sequences` is the only limit; but a corpus may be too large to be held whole.
        corpus = "tokenizer" in (trained.get("data") or {})
        changes = {"limit_eval": config.sequences if corpus else None}
        data = load_data(trained, path, places, changes, config.trust)
        checkpoint = read(path)
        check_data(checkpoint, path, module, data)
        name = show(
            trained["name"] if isinstance(trained.get("name"), str) else path.parent.parent.name
        )
        module = module.to(device)
        done = examine(module, data, config)
        about = {
            "parameters": sum(p.numel() for p in module.parameters()),
            "steps": checkpoint["global_step"],
            "checkpoint": str(path),
            "trained_with": module.config,
            "provenance": provenance(device) | {"data": data.describe()},
        }
        save_evaluation(done, module, data, folder, **about)
        run = path.parent.parent
        save_report_page(done, data, folder, run if (run / "config.yaml").is_file() else None)
        report = done.report
        if config.quiet:
            console.print(
                result_line({name: report}, f"{path}, {config.split} data", folder), soft_wrap=True
            )
            return
        console.print(
            report_table({name: report}, f"{path}: {config.split} data, mean ± standard error")
        )
        for text in sample_texts(done, data, 4):
            console.print(repr(text), soft_wrap=True)
        console.print(
            f"to look at: {folder}/report.html; pictures and samples beside it", soft_wrap=True
        )
