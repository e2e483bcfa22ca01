"""Quality of synthetic tables: every metric of ordo.metrics on the paper's sets, and its limits.

For each set, experiment=table_synthesis is trained. Then ``--draws`` tables are drawn from the best
checkpoint along orders of the learned law. They have as many rows as the official training part
(train and validation rows), which is the reference of all metrics.

``limits`` compares one half of the real rows with other tables of as many rows, so that they
compare among themselves: the other half of the real rows (``real``), that half encoded and decoded
(``ceiling``), that half with every column shuffled by itself (``independent``), and rows of the
model (``model``).
"""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.common import QUICK, Run, accelerator, numbers, run_all
from ordo.data import TABLE_SETS, TableData
from ordo.likelihood import nelbo, order_log_prob
from ordo.metrics import independent_columns, table_report
from ordo.progress import note, track
from ordo.randomness import StepRandom
from ordo.runs.parser import existing
from ordo.runs.stored import load, load_data
from ordo.samplers import Sampler, sample_batches

SETS = ("adult", "default", "shoppers", "magic", "beijing")
CHANGES = {"nargs": "*", "metavar": "KEY=VALUE"}
OPTIONS = {
    "data": ("data", "folder with a folder for every set", {"type": existing}),
    "sets": (list(SETS), "tables of the paper", {"choices": list(TABLE_SETS)}),
    "draws": (5, "synthetic tables a set"),
    "seed": (0, "of the run"),
    "override": ((), "changes of experiment=table_synthesis", CHANGES),
    "split": ("test", "held-out rows; val while choosing settings", {"choices": ["test", "val"]}),
    **numbers(jobs=2),
}


def define(name: str, a: Namespace) -> Run:
    changes = [f"data.name={name}", f"data.path={Path(a.data).resolve() / name}"]
    changes += f"data.eval_batch_size=1024 seed={a.seed} validate_every=250 report=null".split()
    quick = QUICK[:2] if a.quick else []
    return "table_synthesis", [*changes, accelerator(a.device), *a.override, *quick]


def scores_of_best(module: Any, tokens: Tensor) -> dict[str, float]:
    """NELBO under the own law and exact score in the mode order, nats/row."""
    denoiser, law = module.denoiser, module.schedule.law()
    parts = list(enumerate(tokens.split(1024)))
    own = torch.cat([nelbo(denoiser, law, batch, 8, StepRandom(1, i)) for i, batch in parts])
    mode = torch.cat([-order_log_prob(denoiser, batch, law.mode()) for _, batch in parts])
    return {"own_nelbo": own.mean().item(), "mode_exact": mode.mean().item()}


def limits(
    data: TableData, real: pd.DataFrame, table: pd.DataFrame, kinds: dict[str, str], draws: int
) -> dict[str, Any]:
    """Metrics of the module's docstring, means over ``draws`` random halves of the real table.

    Args:
        table: rows of the model, at least half as many as the real ones.
        kinds: column -> its kind.
    """
    out: dict[str, list[dict[str, Any]]] = {}
    for i in track(range(draws), "limits"):
        order = np.random.default_rng(i).permutation(len(real))
        half = len(real) // 2
        a = real.iloc[order[:half]].reset_index(drop=True)
        b = real.iloc[order[half : 2 * half]].reset_index(drop=True)
        others = {
            "real": b,
            "ceiling": data.codec.decode(data.codec.encode(b), seed=i),
            "independent": independent_columns(b, seed=i),
            "model": table.sample(half, random_state=i).reset_index(drop=True),
        }
        for name, other in others.items():
            out.setdefault(name, []).append(table_report(a, [other], kinds, target=None))
    return {
        name: {key: float(np.mean([r[key]["mean"] for r in reports])) for key in reports[0]}
        for name, reports in out.items()
    }


def evaluate(folder: Path, a: Namespace) -> dict[str, Any]:
    """All figures of a set, with its finished run."""
    module, config = load(folder / "checkpoints" / "best.ckpt")
    data = load_data(config, folder, as_trained=True)
    assert isinstance(data, TableData)
    # Rows held out are no part of the reference.
    test = a.split == "test"
    held_out = data.frames["test" if test else "validation"]
    parts = [data.frames["train"], *([data.frames["validation"]] if test else [])]
    real = pd.concat(parts, ignore_index=True)
    real = real.iloc[:500] if a.quick else real
    tables = []
    for i in track(range(a.draws), "sampling"):
        how = {"schedule": module.schedule, "seed": 1000 * a.seed + i}
        drawn = sample_batches(module.denoiser, Sampler(), len(real), 4096, **how)
        tables.append(data.codec.decode(drawn.tokens, seed=i))
    target = data.target
    # The class comes last: alpha-precision leaves the last column out, as published evaluations do.
    kinds = {key: kind for key, kind in data.codec.kinds.items() if key != target}
    kinds |= {target: data.codec.kinds[target]} if target is not None else {}
    scores = table_report(real, tables, kinds, test=held_out, target=target, progress=track)
    out: dict[str, Any] = {
        key: {"mean": value["mean"], "sd": value["sd"]} for key, value in scores.items()
    }
    out["limits"] = limits(data, real, tables[0], kinds, 2)
    out |= scores_of_best(module, (data.test_set if test else data.val_set).tokens)
    return out | {"parameters": sum(p.numel() for p in module.denoiser.parameters())}


def run(a: Namespace) -> dict[str, Any]:
    runs = {f"tables_{name}_{a.seed}": define(name, a) for name in a.sets}
    reports = run_all(runs, a.work, a.jobs)
    out: dict[str, Any] = {}
    for name, folder in zip(a.sets, runs, strict=True):
        entry = evaluate(Path(a.work) / folder, a)
        out[name] = entry | {"seconds": reports[folder]["fit_seconds"]}
        means = {k: v["mean"] for k, v in entry.items() if isinstance(v, dict) and "mean" in v}
        note(f"{name}: " + ", ".join(f"{key} {value:.4f}" for key, value in means.items()))
    return out
