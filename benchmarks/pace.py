"""Time to quality: rows and CPU seconds until a run is as good as time-space training at its end.

The runs are those of ``benchmarks.text`` on text8: all train the same transformer size for the same
number of denoiser rows. The value is the NELBO of each model's own order law on the same validation
pieces every time, with the same draws.
"""

import csv
import json
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import lightning as L

from benchmarks import text
from benchmarks.common import Run, numbers, run_all
from ordo.runs.provenance import write_json

RUNS = ("fixed_time", "fixed_order", "fixed_dense", "network_dense")
TARGET = "fixed_time"
OPTIONS = {
    **text.STUDY.options,
    **numbers(seeds=2, jobs=1),
    "every": (100, "steps between validations: how finely rows are told"),
}


class Clock(L.Callback):
    """Writes the CPU seconds of training steps, with the step, at every validation.

    Loading and validating do not count.
    """

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
    seconds = [clock[str(step)] for step in steps]
    return {"step": steps, "bits": [values[step] for step in steps], "cpu_seconds": seconds}


def define(name: str, seed: int, folder: Path, a: Namespace) -> Run:
    experiment, changes = text.STUDY.define_run(name, seed, a)
    changes += [f"validate_every={10 if a.quick else a.every}", "trainer.limit_val_batches=4"]
    changes += ["data.eval_batch_size=256", "data.limit_eval=1024", "report=null"]
    changes += ["+callbacks.clock._target_=benchmarks.pace.Clock"]
    return experiment, [*changes, f"+callbacks.clock.path={folder / 'clock.json'}"]


def reached(curve: dict[str, list[Any]], target: dict[str, list[Any]], rows: int) -> dict[str, Any]:
    """Where a run is first as good as the target at its end; empty if it never is."""
    value = target["bits"][-1]
    for step, bits, seconds in zip(*curve.values(), strict=True):
        if bits <= value:
            return {
                "steps": step,
                "rows": step * rows,
                "share_of_rows": step / target["step"][-1],
                "share_of_cpu_seconds": seconds / target["cpu_seconds"][-1],
            }
    return {}


def run(a: Namespace) -> dict[str, Any]:
    folders = {
        (seed, name): Path(a.work) / f"pace_{name}_{a.length}_{seed}"
        for seed in range(a.seeds)
        for name in RUNS
    }
    runs = {folder.name: define(name, seed, folder, a) for (seed, name), folder in folders.items()}
    run_all(runs, a.work, a.jobs)
    out: dict[str, Any] = {"rows_a_step": a.rows, "target": [], "runs": {name: [] for name in RUNS}}
    for seed in range(a.seeds):
        curves = {name: curve(folders[seed, name]) for name in RUNS}
        target = curves[TARGET]
        out["target"].append(target["bits"][-1])
        for name, found in curves.items():
            first = reached(found, target, a.rows)
            entry = {"reached": first, "final_bits": found["bits"][-1], **found}
            out["runs"][name].append(entry)
    return out
