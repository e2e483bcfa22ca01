"""One training run, from a composed configuration to a report."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ordo import plots
from ordo.data import SequenceData
from ordo.likelihood import LikelihoodReport, likelihood_report
from ordo.training.build import best_precision, build, build_data, build_module
from ordo.training.checkpoint import check_resume
from ordo.training.module import OrderDiffusion
from ordo.training.provenance import save_run_record, write_json

LABELS = {
    "uniform_nelbo": "NELBO, uniform orders",
    "own_nelbo": "NELBO, own order law",
    "mode_exact": "exact -log p, mode order",
    "importance": "importance bound, own law",
}


@dataclass
class Result:
    """What a run leaves in memory: the trained module, its data, the report on ``report.split``, and seconds of fitting."""

    module: OrderDiffusion
    data: SequenceData
    report: LikelihoodReport | None
    seconds: float


def quiet() -> None:
    """Lightning's advertisements and known harmless warnings are no news to a user."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed", "lightning.pytorch.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in (
        ".*does not have many workers.*",
        ".*number of training batches.*",
        ".*set_vital.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*`weights_only` was not set.*",
        ".*The dirpath has changed from.*",
        ".*IterableDataset.*__len__.*",
    ):
        warnings.filterwarnings("ignore", pattern)


def check_writable(folder: Path) -> None:
    """Raises OSError with the mend before any long work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise OSError(f"cannot write to the output folder {folder} ({error.strerror}); set output=FOLDER to one that can be written") from error


def fit(config: DictConfig, folder: Path) -> tuple[OrderDiffusion, SequenceData, L.Trainer, float]:
    """Builds everything, checks a ``resume`` path, trains."""
    data = build_data(config)
    module = build_module(config)
    resume = check_resume(config.resume, module) if config.resume else None
    save_run_record(folder, config, data.describe())
    callbacks = [build(c, f"callbacks.{name}") for name, c in (config.callbacks or {}).items() if c is not None]
    loggers = [build(c, f"logger.{name}") for name, c in (config.logger or {}).items() if c is not None]
    options: dict[str, Any] = OmegaConf.to_container(config.trainer, resolve=True)  # type: ignore[assignment]
    if options.get("precision") == "auto":
        options["precision"] = best_precision(str(options.get("accelerator", "auto")))
    trainer = L.Trainer(**options, callbacks=callbacks, logger=loggers or False, use_distributed_sampler=False)
    start = time.perf_counter()
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    seconds = time.perf_counter() - start
    for logger in loggers:
        if type(logger).__name__ == "WandbLogger":
            import wandb

            wandb.finish(quiet=True)
    return module, data, trainer, seconds


def evaluate(module: OrderDiffusion, data: SequenceData, settings: DictConfig, progress: bool = True) -> LikelihoodReport:
    """The likelihood report of a module on ``settings.split`` of its data. Raises ValueError for an unknown split."""
    if settings.split not in ("val", "test"):
        raise ValueError(f"split={settings.split!r}: choose val or test")
    loader = data.val_dataloader() if settings.split == "val" else data.test_dataloader()
    tokens = torch.cat(list(loader))
    if settings.sequences is not None and settings.sequences < len(tokens):
        tokens = tokens[torch.linspace(0, len(tokens) - 1, settings.sequences).round().long()]
    module.eval()

    def watch(batches: Iterable[Any], description: str) -> Iterable[Any]:
        return track(batches, description, transient=True, console=Console(stderr=True)) if progress else batches

    return likelihood_report(
        module.denoiser,
        module.schedule.law(),
        tokens.to(module.device),
        draws=settings.draws,
        importance_draws=settings.importance_draws,
        exact_sequences=settings.exact_sequences,
        batch_size=settings.batch_size,
        seed=settings.seed,
        unit=data.unit,
        entropy=data.entropy,
        progress=watch,
    )


def report_table(reports: dict[str, LikelihoodReport], title: str) -> Table:
    """A row per likelihood, a column per model: mean +- standard error."""
    any_report = next(iter(reports.values()))
    table = Table(title=title)
    table.add_column("nats above the entropy" if any_report.entropy is not None else f"bits per {any_report.unit}")
    for name in reports:
        table.add_column(name, justify="right")
    for key, label in LABELS.items():
        cells = []
        for report in reports.values():
            entry = report.as_dict()["estimates"][key]
            if report.entropy is not None:
                cells.append(f"{entry['nats_above_entropy']:.3f} ± {entry['standard_error']:.3f}")
            else:
                cells.append(f"{entry['bits_per_token']:.4f} ± {entry['bits_per_token_standard_error']:.4f}")
        table.add_row(label, *cells)
    return table


def save_report(report: LikelihoodReport, folder: Path, **extra: Any) -> None:
    """``report.json`` and ``loss_by_revealed.png``."""
    write_json(folder / "report.json", report.as_dict() | extra)
    curves = {name: (curve["nats"], curve["standard_error"]) for name, curve in report.loss_by_revealed.items()}
    plots.save(plots.loss_by_revealed(curves), folder / "loss_by_revealed.png")


def train(config: DictConfig) -> Result:
    """The whole main job of one model, into ``config.output``. Prints nothing but progress; ``train.py`` shows the tables."""
    quiet()
    folder = Path(config.output)
    check_writable(folder)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    module, data, trainer, seconds = fit(config, folder)
    report = None
    if config.report is not None and trainer.is_global_zero:
        report = evaluate(module, data, config.report, progress=bool(config.trainer.get("enable_progress_bar", True)))
        save_report(report, folder, fit_seconds=seconds, parameters=sum(p.numel() for p in module.parameters()))
    return Result(module, data, report, seconds)


def comparison(config: DictConfig) -> DictConfig:
    """The configuration of the run's ``compare`` partner: the same with ``compare.changes`` merged over it, in a folder of its own."""
    other = config.copy()
    with open_dict(other):
        for key, change in config.compare.changes.items():
            # A part that names its own _target_ replaces; settings merge.
            other[key] = change if "_target_" in change else OmegaConf.merge(other[key], change)
        other.compare = None
        other.resume = None
        other.output = str(Path(config.output) / "compared_with")
    return other
