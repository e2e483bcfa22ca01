"""Nats, validity, uniqueness and novelty of QM9 SMILES under four kinds of laws of orders.

Every run has the same transformer size (4 layers of width 128), steps and denoiser rows. Laws:
``fixed`` (uniformly random orders), ``position`` (one learned order for all molecules),
``vocabulary`` (a rate per token, GenMD4), ``context`` (rates from the whole molecule, LoMDM),
``l2r`` (left to right). Objectives: ``order`` (bidirectional denoiser), ``dense`` (order-causal).

Likelihoods are nats per molecule of the test split: the NELBO under the own and under uniform
orders, the exact score in the law's mode order, the importance bound. Samples are drawn one token a
call, by the own law or by margin. The shares of them are explained at
``ordo.metrics.molecule_quality``; the error of ``valid`` is binomial. Without RDKit the shares are
those of strings only.
"""

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import NO_PAGE, Run, Runs, Study, numbers, objective
from ordo.data import SmilesData
from ordo.metrics import canonical, has_rdkit, molecule_quality, string_quality
from ordo.progress import note, track
from ordo.runs.parser import existing
from ordo.runs.stored import load, load_data
from ordo.samplers import ByScore, Sampler, sample_batches

ORDER = f"denoiser=bidirectional {objective('order')}"
DENSE = f"denoiser=order_causal {objective('dense')}"
SCORE = "objective.score.unigram=true"
RUNS = {  # experiment, changes
    "fixed_order": ("qm9_smiles_mdm", ""),
    "fixed_dense": ("qm9_smiles_mdm", DENSE),
    "position_order": ("qm9_smiles_learned_order", f"{ORDER} {SCORE} optimizer.schedule_lr=0.1"),
    "position_dense": ("qm9_smiles_learned_order", ""),
    "vocabulary_order": ("qm9_smiles_genmd4", SCORE),
    "context_order": ("qm9_smiles_lomdm", SCORE),
    "l2r_dense": ("qm9_smiles_mdm", f"{DENSE} schedule=left_to_right"),
}
OPTIONS = {
    "smiles": ("data/qm9.csv", "CSV with a column smiles, or a SMILES a line", {"type": existing}),
    "samples": (1000, "molecules drawn with every sampler"),
    **numbers(steps=2400, rows=64, seeds=None, jobs=1),
}


def folder(name: str, seed: int, a: Namespace) -> str:
    return f"molecules_{name}_{seed}"


def define(name: str, seed: int, a: Namespace) -> Run:
    experiment, changes = RUNS[name]
    # A bidirectional denoiser needs ``length`` calls for one order.
    exact, orders = (2048, 16) if name.endswith("dense") else (256, 8)
    changes += f" objective.draws=1 data.batch_size={a.rows} steps={a.steps}"
    changes += " validate_every=${steps} checkpoint_every=600 report.split=test"
    changes += f" report.sequences=2048 report.exact_sequences={exact}"
    changes += f" report.importance_draws={orders}"
    return experiment, [*changes.split(), *NO_PAGE, f"data.path={Path(a.smiles).resolve()}"]


def draw(
    folder: Path, a: Namespace, seed: int, known: dict[str, set[str]]
) -> dict[str, dict[str, Any]]:
    """What the samples of one trained model are worth, by sampler, and the first eight samples.

    Args:
        known: training molecules, as they are and canonical; filled when it is empty.
    """
    module, config = load(folder)
    data = load_data(config, folder, as_trained=True)
    assert isinstance(data, SmilesData)
    if not known:
        known["strings"] = set(data.smiles["train"])
        molecules = canonical(data.smiles["train"]) if has_rdkit() else []
        known["canonical"] = {molecule for molecule in molecules if molecule is not None}
    module = module.to(a.device).eval()
    samplers = {"own law": Sampler(), "margin": Sampler(ByScore("margin"))}
    out = {}
    for name, sampler in track(samplers.items(), folder.name):
        begun = time.perf_counter()
        how = {"schedule": module.schedule, "seed": seed}
        trace = sample_batches(module.denoiser, sampler, a.samples, 500, **how)
        seconds = time.perf_counter() - begun
        strings = data.decode(trace.tokens.cpu())
        entry: dict[str, Any] = dict(string_quality(strings, known["strings"]))
        if has_rdkit():
            entry = molecule_quality(strings, known["canonical"]) | entry
            valid = entry["valid"]
            entry["valid_standard_error"] = (valid * (1 - valid) / len(strings)) ** 0.5
        calls = trace.calls.double().mean().item()
        out[name] = entry | {"calls": calls, "seconds": seconds, "first": strings[:8]}
    return out


def summary(found: dict[str, Runs], a: Namespace) -> dict[str, Any]:
    a.samples = 16 if a.quick else a.samples
    if not has_rdkit():
        note(
            "there is no RDKit: validity, uniqueness and novelty of molecules are left out; "
            "pip install -e '.[molecules]'"
        )
    known: dict[str, set[str]] = {}
    out: dict[str, Any] = {}
    for name, runs in found.items():
        seeds = {folder: seed for seed, folder in enumerate(runs.folders)}
        samplers = runs.each(lambda folder, seeds=seeds: draw(folder, a, seeds[folder], known), {})
        out[name] = runs.estimates("nats")
        out[name] |= {"seconds": runs.listed("fit_seconds"), "samplers": samplers}
    first = next(iter(found.values())).folders[0]
    about = load_data(load(first)[1], first, as_trained=True).describe()
    keys = ("name", "md5", "length", "vocab_size", "sequences")
    settings = {"steps": a.steps, "rows": a.rows, "samples": a.samples, "torch": torch.__version__}
    return {"runs": out} | settings | {"data": {key: about[key] for key in keys}}


STUDY = Study(folder, RUNS, define, summary, OPTIONS, flag="runs")
