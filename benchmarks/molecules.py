"""Molecules: nats, validity, uniqueness and novelty of QM9 SMILES under laws that depend on nothing, position, token or the whole molecule.

The same transformer size (4 layers of width 128), steps and denoiser rows a step everywhere. Laws: ``fixed`` (uniformly random orders),
``position`` (learned, one for all molecules), ``vocabulary`` (a rate per token, GenMD4), ``context`` (rates from the whole molecule,
LoMDM), ``l2r``. Objectives: ``order`` (bidirectional denoiser), ``dense`` (order-causal). Nats per molecule of the test split: NELBO under
the own and under uniform orders, exact in the law's mode order, importance bound. Samples: one token a call, by the own law or by margin;
shares of them as ``ordo.metrics.molecule_quality`` says, with binomial errors of ``valid``; of strings only where RDKit is not there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import QUICK, Run, estimate, progress, run_all, seeds_of
from ordo.data import SmilesData
from ordo.metrics import canonical, has_rdkit, molecule_quality, string_quality
from ordo.progress import note
from ordo.runs.entry import existing
from ordo.runs.stored import load, load_data
from ordo.samplers import ByScore, Sampler, sample_batches

ORDER = ["denoiser=bidirectional", "objective=order"]
DENSE = ["denoiser=order_causal", "objective=dense"]
SCORE = ["objective.score.unigram=true"]
RUNS = {
    "fixed_order": ("qm9_smiles_mdm", []),
    "fixed_dense": ("qm9_smiles_mdm", DENSE),
    "position_order": ("qm9_smiles_learned_order", [*ORDER, *SCORE, "optimizer.schedule_lr=0.1"]),
    "position_dense": ("qm9_smiles_learned_order", []),
    "vocabulary_order": ("qm9_smiles_genmd4", SCORE),
    "context_order": ("qm9_smiles_lomdm", SCORE),
    "l2r_dense": ("qm9_smiles_mdm", [*DENSE, "schedule=left_to_right"]),
}  # experiment, changes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--smiles",
        type=existing,
        default="data/qm9.csv",
        help="CSV with a column smiles, or a SMILES a line",
    )
    parser.add_argument("--steps", type=int, default=2400, help="of training")
    parser.add_argument("--rows", type=int, default=64, help="denoiser rows a step")
    parser.add_argument(
        "--samples", type=int, default=1000, help="molecules drawn with every sampler"
    )
    parser.add_argument(
        "--seeds", type=int, help="seeds 0, 1, ... of every run that names no number of its own"
    )
    parser.add_argument(
        "--runs", nargs="+", default=list(RUNS), metavar="RUN[=SEEDS]", help=f"of {', '.join(RUNS)}"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")


def define(name: str, seed: int, a: argparse.Namespace) -> Run:
    """The run of one law, objective and seed."""
    experiment, changes = RUNS[name]
    changes = [
        *changes,
        "objective.draws=1",
        f"data.batch_size={a.rows}",
        f"data.path={Path(a.smiles).resolve()}",
    ]
    changes += [
        f"seed={seed}",
        f"steps={a.steps}",
        "validate_every=${steps}",
        "checkpoint_every=600",
        "report.split=test",
    ]
    # A bidirectional denoiser needs ``length`` calls for one order.
    exact, orders = (2048, 16) if name.endswith("dense") else (256, 8)
    changes += [
        "report.sequences=2048",
        f"report.exact_sequences={exact}",
        f"report.importance_draws={orders}",
    ]
    changes += [
        "report.samples=0",
        "report.orders=0",
        "report.page=false",
        f"trainer.accelerator={a.device.replace('cuda', 'gpu')}",
    ]
    return experiment, [*changes, *(QUICK if a.quick else [])]


def draw(
    folder: Path, a: argparse.Namespace, seed: int, known: dict[str, set[str]]
) -> dict[str, Any]:
    """Of one trained model: what its samples are worth, by every sampler, and the first eight of them. known: filled with training
    molecules, canonical and as they are, the first time.
    """
    module, config = load(folder)
    data = load_data(config, folder, as_trained=True)
    assert isinstance(data, SmilesData)
    if not known:
        known["strings"] = set(data.smiles["train"])
        known["canonical"] = (
            {m for m in canonical(data.smiles["train"]) if m is not None} if has_rdkit() else set()
        )
    module = module.to("cuda" if a.device == "cuda" else "cpu").eval()
    out: dict[str, Any] = {}
    for name, sampler in progress(
        {"own law": Sampler(), "margin": Sampler(ByScore("margin"))}, folder.name
    ):
        begun = time.perf_counter()
        trace = sample_batches(
            module.denoiser, sampler, a.samples, 500, schedule=module.schedule, seed=seed
        )
        seconds = time.perf_counter() - begun
        strings = data.decode(trace.tokens.cpu())
        entry = string_quality(strings, known["strings"])
        if has_rdkit():
            entry = molecule_quality(strings, known["canonical"]) | entry
            entry["valid_standard_error"] = (
                entry["valid"] * (1 - entry["valid"]) / len(strings)
            ) ** 0.5
        out[name] = entry | {
            "calls": trace.calls.double().mean().item(),
            "seconds": seconds,
            "first": strings[:8],
        }
    return out


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a = arguments
    if a.quick:
        a.samples = 16
    if not has_rdkit():
        note(
            "without RDKit there is no validity, uniqueness or novelty of molecules: pip install -e '.[molecules]'"
        )
    seeds = seeds_of(a.runs, RUNS, a.seeds, {})
    folders = {name: [f"molecules_{name}_{seed}" for seed in range(seeds[name])] for name in seeds}
    runs = {
        folder: define(name, seed, a) for name in seeds for seed, folder in enumerate(folders[name])
    }
    reports = run_all(runs, a.work, a.jobs)
    known: dict[str, set[str]] = {}
    out: dict[str, Any] = {}
    for name, mine in folders.items():
        entry: dict[str, Any] = {}
        for key, kind in (
            ("own", "own_nelbo"),
            ("uniform", "uniform_nelbo"),
            ("exact", "mode_exact"),
            ("importance", "importance"),
        ):
            entry[key] = [estimate(reports[run], kind, "nats") for run in mine]
            entry[f"{key}_standard_error"] = [
                estimate(reports[run], kind, "standard_error") for run in mine
            ]
        entry["seconds"] = [reports[run]["fit_seconds"] for run in mine]
        entry["samplers"] = [
            draw(Path(a.work) / run, a, seed, known) if reports[run]["estimates"] else {}
            for seed, run in enumerate(mine)
        ]
        out[name] = entry
    settings = {"steps": a.steps, "rows": a.rows, "samples": a.samples, "torch": torch.__version__}
    first = Path(a.work) / next(iter(runs))
    data = load_data(load(first)[1], first, as_trained=True)
    return {
        "runs": out,
        **settings,
        "data": {
            key: data.describe()[key]
            for key in ("name", "md5", "length", "vocab_size", "sequences")
        },
    }
