"""Quality of synthetic tables: every metric of ordo.metrics on the paper's sets, beside what the codec alone and shuffled columns reach.

Each set: experiment=table_synthesis, then ``--draws`` tables of as many rows as the official training part (train and validation rows, the
reference of all metrics), drawn along orders of the learned law from the best checkpoint. ``limits``, all at half of the rows and so
comparable among themselves: one half of the real rows against the other half (``real``), against that half encoded and decoded
(``ceiling``), with every column shuffled by itself (``independent``), and against as many rows of the model (``model``).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.common import QUICK, Run, run_all
from ordo.data import TABLE_SETS, TableData
from ordo.likelihood import nelbo, order_log_prob
from ordo.metrics import independent_columns, table_report
from ordo.progress import note, track
from ordo.randomness import StepRandom
from ordo.runs.entry import existing
from ordo.runs.stored import load, load_data
from ordo.samplers import Sampler, sample_batches

SETS = ("adult", "default", "shoppers", "magic", "beijing")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=existing, default="data", help="folder with a folder for every set"
    )
    parser.add_argument(
        "--sets",
        nargs="+",
        default=list(SETS),
        choices=list(TABLE_SETS),
        help="tables of the paper",
    )
    parser.add_argument("--draws", type=int, default=5, help="synthetic tables a set")
    parser.add_argument("--seed", type=int, default=0, help="of the run")
    parser.add_argument(
        "--override",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="changes of experiment=table_synthesis",
    )
    parser.add_argument(
        "--split",
        default="test",
        choices=["test", "val"],
        help="held-out rows of MLE and DCR; val while choosing settings",
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")


def define(name: str, seed: int, data: Path, overrides: list[str], device: str, quick: bool) -> Run:
    changes = [
        f"data.name={name}",
        f"data.path={data / name}",
        "data.eval_batch_size=1024",
        f"seed={seed}",
        "validate_every=250",
    ]
    changes += ["report=null", f"trainer.accelerator={device.replace('cuda', 'gpu')}", *overrides]
    return "table_synthesis", [*changes, *(QUICK[:2] if quick else [])]


def scores_of_best(module: Any, tokens: Tensor) -> dict[str, float]:
    """NELBO under the own law and exact score in the mode order, nats/row, of the checkpoint that the tables are drawn from."""
    law = module.schedule.law()
    own = torch.cat(
        [
            nelbo(module.denoiser, law, batch, 8, StepRandom(1, i))
            for i, batch in enumerate(tokens.split(1024))
        ]
    )
    mode = torch.cat(
        [-order_log_prob(module.denoiser, batch, law.mode()) for batch in tokens.split(1024)]
    )
    return {"own_nelbo": own.mean().item(), "mode_exact": mode.mean().item()}


def limits(
    data: TableData, real: pd.DataFrame, table: pd.DataFrame, kinds: dict[str, str], draws: int
) -> dict[str, Any]:
    """Means over random halves of the real table; ``table``: rows of the model, at least half as many."""
    out: dict[str, list[dict[str, Any]]] = {
        "real": [],
        "ceiling": [],
        "independent": [],
        "model": [],
    }
    for i in track(range(draws), "limits"):
        order = np.random.default_rng(i).permutation(len(real))
        half = len(real) // 2
        a, b = (
            real.iloc[rows].reset_index(drop=True)
            for rows in (order[:half], order[half : 2 * half])
        )
        redrawn = data.codec.decode(data.codec.encode(b), seed=i)
        model = table.sample(half, random_state=i).reset_index(drop=True)
        for name, other in (
            ("real", b),
            ("ceiling", redrawn),
            ("independent", independent_columns(b, seed=i)),
            ("model", model),
        ):
            out[name].append(table_report(a, [other], kinds, target=None))
    return {
        name: {key: float(np.mean([r[key]["mean"] for r in reports])) for key in reports[0]}
        for name, reports in out.items()
    }


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a = arguments
    data_folder = Path(a.data).resolve()
    runs = {
        f"tables_{name}_{a.seed}": define(name, a.seed, data_folder, a.override, a.device, a.quick)
        for name in a.sets
    }
    reports = run_all(runs, a.work, a.jobs)
    out: dict[str, Any] = {}
    for name in a.sets:
        folder = Path(a.work) / f"tables_{name}_{a.seed}"
        module, config = load(folder / "checkpoints" / "best.ckpt")
        data = load_data(config, folder, as_trained=True)
        assert isinstance(data, TableData)
        # Rows held out are no part of the reference.
        held_out = data.frames["test" if a.split == "test" else "validation"]
        real = data.frames["train"]
        if a.split == "test":
            real = pd.concat([real, data.frames["validation"]], ignore_index=True)
        real = real.iloc[:500] if a.quick else real
        tables = []
        for i in track(range(a.draws), "sampling"):
            drawn = sample_batches(
                module.denoiser,
                Sampler(),
                len(real),
                4096,
                schedule=module.schedule,
                seed=1000 * a.seed + i,
            )
            tables.append(data.codec.decode(drawn.tokens, seed=i))
        target = data.target
        # The class last: alpha-precision leaves the last column out, as published evaluations do.
        kinds = {key: kind for key, kind in data.codec.kinds.items() if key != target}
        kinds |= {target: data.codec.kinds[target]} if target is not None else {}
        scores = table_report(real, tables, kinds, test=held_out, target=target, progress=track)
        out[name] = {
            key: {"mean": value["mean"], "sd": value["sd"]} for key, value in scores.items()
        }
        out[name]["limits"] = limits(data, real, tables[0], kinds, 2)
        out[name] |= scores_of_best(
            module, (data.test_set if a.split == "test" else data.val_set).tokens
        )
        out[name] |= {
            "seconds": reports[folder.name]["fit_seconds"],
            "parameters": sum(p.numel() for p in module.denoiser.parameters()),
        }
        note(f"{name}: " + ", ".join(f"{key} {value['mean']:.4f}" for key, value in scores.items()))
    return out
