"""Quality of synthetic tables: every metric of ordo.metrics on the paper's sets, beside what the codec alone and shuffled columns reach.

Each set: experiment=table_synthesis, then ``--draws`` tables of as many rows as the official training part (train and validation rows, the
reference of all metrics), drawn along orders of the learned law from the best checkpoint. ``ceiling``: one half of the real rows against
the other half, encoded and decoded; ``real``: against the other half as it is; ``independent``: every column shuffled by itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.common import QUICK, Run, run_all
from ordo.data import TableData
from ordo.metrics import independent_columns, table_report
from ordo.randomness import seeded_generator
from ordo.samplers import sample_many
from ordo.training.build import build_data
from ordo.training.checkpoint import load

SETS = ("adult", "default", "shoppers", "magic", "beijing")
NO_DISTANCES = 1000  # rows for the metrics by distances where they are not asked for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default="data", help="folder with a folder for every set")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--draws", type=int, default=5, help="synthetic tables a set")
    parser.add_argument("--seed", type=int, default=0, help="of the run")
    parser.add_argument("--override", nargs="*", default=[], metavar="KEY=VALUE", help="changes of experiment=table_synthesis")
    parser.add_argument(
        "--split", default="test", choices=["test", "val"], help="held-out rows of MLE and DCR; val while choosing settings"
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")


def define(name: str, seed: int, data: Path, overrides: list[str], split: str, device: str, quick: bool) -> Run:
    changes = [f"data.name={name}", f"data.path={data / name}", "data.eval_batch_size=1024", f"seed={seed}", "validate_every=250"]
    changes += [f"report.split={split}", "report.sequences=null", f"trainer.accelerator={device.replace('cuda', 'gpu')}", *overrides]
    return "table_synthesis", [*changes, *(QUICK if quick else [])]


def draw_tables(folder: Path, draws: int, n: int | None = None) -> tuple[TableData, pd.DataFrame, list[pd.DataFrame]]:
    """The run's data, its reference table, and synthetic tables of as many rows, or n."""
    module, config = load(folder / "checkpoints" / "best.ckpt")
    data = build_data(config)
    assert isinstance(data, TableData)
    real = pd.concat([data.frames["train"], data.frames["validation"]], ignore_index=True)
    tables = []
    for i in range(draws):
        generator = seeded_generator(module.device, module.seed, i, -9)
        tokens, _ = sample_many(module.denoiser, module.schedule.law(), n or len(real), generator)
        tables.append(data.codec.decode(tokens, seed=i))
    return data, real, tables


def limits(data: TableData, real: pd.DataFrame, kinds: dict[str, str], draws: int, rows: int) -> dict[str, Any]:
    """What halves of the real table, the codec, and shuffled columns score."""
    out: dict[str, list[dict[str, Any]]] = {"real": [], "ceiling": [], "independent": []}
    for i in range(draws):
        order = np.random.default_rng(i).permutation(len(real))
        half = len(real) // 2
        a, b = (real.iloc[rows_].reset_index(drop=True) for rows_ in (order[:half], order[half : 2 * half]))
        redrawn = data.codec.decode(data.codec.encode(b), seed=i)
        for name, table in (("real", b), ("ceiling", redrawn), ("independent", independent_columns(b, seed=i))):
            out[name].append(table_report(a, [table], kinds, rows=min(rows, half)))
    return {name: {key: float(np.mean([r[key]["mean"] for r in reports])) for key in reports[0]} for name, reports in out.items()}


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a = arguments
    data_folder = Path(a.data).resolve()
    runs = {f"tables_{name}_{a.seed}": define(name, a.seed, data_folder, a.override, a.split, a.device, a.quick) for name in a.sets}
    reports = run_all(runs, a.work, a.jobs)
    out: dict[str, Any] = {}
    for name in a.sets:
        report = reports[f"tables_{name}_{a.seed}"]
        data, real, tables = draw_tables(Path(a.work) / f"tables_{name}_{a.seed}", a.draws, 500 if a.quick else None)
        real = real.iloc[:500] if a.quick else real
        target = data.target
        # The class last: alpha-precision leaves the last column out, as published evaluations do.
        kinds = {key: kind for key, kind in data.codec.kinds.items() if key != target}
        kinds |= {target: data.codec.kinds[target]} if target is not None else {}
        held_out = data.frames["test" if a.split == "test" else "validation"]
        scores = table_report(real, tables, kinds, test=held_out, target=target)
        out[name] = {key: {"mean": value["mean"], "sd": value["sd"]} for key, value in scores.items()}
        out[name] |= {"limits": limits(data, real, kinds, 2 if a.quick else a.draws, NO_DISTANCES)}
        out[name] |= {"nats": {key: report["estimates"][key]["nats"] for key in report["estimates"]}, "seconds": report["fit_seconds"]}
        print(f"{name}: " + ", ".join(f"{key} {value['mean']:.4f}" for key, value in scores.items()), flush=True)
    return out
