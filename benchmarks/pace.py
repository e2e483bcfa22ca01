"""Time to quality: rows and CPU seconds until a run is as good on validation pieces as time-space training is at its end. text8 pieces.

All runs train the same transformer size for the same number of denoiser rows, as ``benchmarks.text`` defines them; the value is the NELBO of
each model's own order law on the same validation pieces every time, with the same draws.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import lightning as L

from benchmarks import text
from benchmarks.common import run_all
from ordo.runs.entry import existing
from ordo.runs.provenance import write_json

RUNS = ("fixed_time", "fixed_order", "fixed_dense", "network_dense")
TARGET = "fixed_time"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--text8", type=existing, default="data/text8", help="text8 or its first megabytes"
    )
    parser.add_argument("--length", type=int, default=32, help="characters per sequence")
    parser.add_argument("--steps", type=int, default=2400, help="of training")
    parser.add_argument("--rows", type=int, default=64, help="denoiser rows a step")
    parser.add_argument(
        "--every", type=int, default=100, help="steps between validations: how finely rows are told"
    )
    parser.add_argument("--seeds", type=int, default=2, help="runs of every kind")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")


class Clock(L.Callback):
    """CPU seconds of the process in training steps, written with the step at every validation; loading and validating do not count."""

    def __init__(self, path: str):
        self.path, self.seconds, self.begun = Path(path), 0.0, 0.0
        self.at: dict[str, float] = {}

    def on_train_batch_start(self, *_: Any) -> None:
        self.begun = time.process_time()

    def on_train_batch_end(self, *_: Any) -> None:
        self.seconds += time.process_time() - self.begun

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.at[str(trainer.global_step)] = self.seconds
        write_json(self.path, self.at)

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "at": self.at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds, self.at = state_dict["seconds"], state_dict["at"]


def curve(folder: Path) -> dict[str, list[Any]]:
    """Steps, bits per token and CPU seconds of every validation of a run."""
    clock = json.loads((folder / "clock.json").read_text())
    values: dict[int, float] = {}
    for path in (folder / "csv").glob("metrics*.csv"):  # several, where the run was resumed
        with open(path) as file:
            # Lightning numbers the steps of a log from 0.
            values |= {
                int(row["step"]) + 1: float(row["val/bits_per_token"])
                for row in csv.DictReader(file)
                if row["val/bits_per_token"]
            }
    steps = sorted(values)
    return {
        "step": steps,
        "bits": [values[s] for s in steps],
        "cpu_seconds": [clock[str(s)] for s in steps],
    }


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a = arguments
    every = 10 if a.quick else a.every
    runs = {}
    for seed in range(a.seeds):
        for name in RUNS:
            experiment, changes = text.define(
                name, seed, a.text8, a.device, a.quick, a.length, a.steps, a.rows
            )
            folder = f"pace_{name}_{a.length}_{seed}"
            changes += [
                f"validate_every={every}",
                "trainer.limit_val_batches=4",
                "data.eval_batch_size=256",
                "data.limit_eval=1024",
            ]
            changes += [
                "report=null",
                "+callbacks.clock._target_=benchmarks.pace.Clock",
                f"+callbacks.clock.path={Path(a.work) / folder / 'clock.json'}",
            ]
            runs[folder] = (experiment, changes)
    run_all(runs, a.work, a.jobs)
    out: dict[str, Any] = {"rows_a_step": a.rows, "target": [], "runs": {name: [] for name in RUNS}}
    for seed in range(a.seeds):
        curves = {name: curve(Path(a.work) / f"pace_{name}_{a.length}_{seed}") for name in RUNS}
        target, end = curves[TARGET]["bits"][-1], curves[TARGET]["cpu_seconds"][-1]
        out["target"].append(target)
        for name, found in curves.items():
            first = next((i for i, bits in enumerate(found["bits"]) if bits <= target), None)
            reached = {} if first is None else {
                "steps": found["step"][first],
                "rows": found["step"][first] * a.rows,
                "share_of_rows": found["step"][first] / curves[TARGET]["step"][-1],
                "share_of_cpu_seconds": found["cpu_seconds"][first] / end,
            }  # fmt: skip
            out["runs"][name].append({"reached": reached, "final_bits": found["bits"][-1], **found})
    return out
