"""What a run has logged so far, as rows of metrics.csv, which travel with its checkpoints.

So a run that goes on ends with the metrics.csv of one that was never stopped, but for what steps
cost (tokens a second, memory), whatever was in the file when a kill hit.
"""

from __future__ import annotations

import csv
from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

Value = float | str | None  # text where the value was read from metrics.csv
Row = dict[str, Value]


def csv_logger(trainer: L.Trainer) -> CSVLogger | None:
    """The first of the run's loggers that writes metrics.csv, on the rank that writes."""
    found = (logger for logger in trainer.loggers if isinstance(logger, CSVLogger))
    return next(found, None) if trainer.is_global_zero else None


def _unlogged(trainer: L.Trainer) -> Row | None:
    """The row that Lightning logs after the hooks of a training step; None: it logs none."""
    connector = trainer._logger_connector
    metrics = connector.metrics["log"] if connector.should_update_logs else {}
    if not metrics:
        return None
    row: Row = {k: v.item() if isinstance(v, Tensor) else v for k, v in metrics.items()}
    at: Row = {
        "epoch": trainer.current_epoch,
        "step": trainer.fit_loop.epoch_loop._batches_that_stepped,
    }
    return at | row


def held(trainer: L.Trainer) -> dict[str, float]:
    """What callbacks have logged at steps of this epoch.

    Lightning repeats these values in each row, until there are new values or the epoch ends.
    """
    loop = trainer.fit_loop.epoch_loop
    if loop.batch_progress.is_last_batch:
        return {}
    kept = [v for key, v in loop._results.items() if key.startswith("on_train_batch_end.")]
    return {value.meta.name: value.value.item() for value in kept}


def logged_rows(trainer: L.Trainer, between: bool) -> list[Row] | None:
    """Everything logged so far; None where nothing writes metrics.csv.

    Args:
        between: the hooks of a training step are being called, so its row is still to come.
    """
    logger = csv_logger(trainer)
    if logger is None:
        return None
    writer = logger.experiment
    rows: list[Row] = []
    if Path(writer.metrics_file_path).is_file():
        with open(writer.metrics_file_path, encoding="utf-8", newline="") as file:
            rows = [{k: v for k, v in row.items() if v != ""} for row in csv.DictReader(file)]
    rows += writer.metrics
    if between and (row := _unlogged(trainer)) is not None:
        rows.append(row)
    return rows


def restore_rows(trainer: L.Trainer, rows: list[Row] | None) -> None:
    """Begins metrics.csv with these rows."""
    logger = csv_logger(trainer)
    if logger is not None and rows:
        logger.experiment.metrics[:0] = rows
        logger.experiment.save()
