"""Quality against calls of every sampler, on trained models: text8 pieces, or latents-and-observations (NAE).

Three models of equal size and training: ``random_set`` (random orders, bidirectional), ``random_causal`` (random orders, order-causal) and
``learned`` (order-causal, its own learned order). ``nats``: -log p of test sequences, exact for deterministic rules, the NELBO where
orders are drawn one position at a time, else absent. ``ngram_divergence``: Jensen-Shannon, nats, of samples from real sequences (text:
4-grams pooled; NAE: triples of neighbouring columns, by place), beside that of as many real sequences. ``unigram_entropy``: nats.
``possible`` (NAE): share of samples that the law can produce. ``calls``: mean denoiser calls a sequence. ``off_law``: nats a token, see
``order_surprise``.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks import nae, text
from benchmarks.common import Run, progress, run_all, sampler_of
from ordo import plots
from ordo.data import TaskData
from ordo.denoisers import Denoiser
from ordo.likelihood import nelbo, sampler_log_prob
from ordo.metrics import ngram_divergence, unigram_entropy
from ordo.randomness import StepRandom
from ordo.runs.entry import existing
from ordo.runs.stored import load, load_data
from ordo.samplers import ByLaw, InSteps, Sampler, best_sizes, order_surprise, sample_batches
from ordo.schedules import Schedule

MODELS = ("random_set", "random_causal", "learned")
RUNS = {  # the runs of the benchmarks text and nae, where there are such
    "text": dict(
        zip(
            MODELS,
            ("text_fixed_order_32_0", "text_fixed_dense_32_0", "text_network_dense_32_0"),
            strict=True,
        )
    ),
    "nae": dict(zip(MODELS, ("nae_fixed_set_0", "nae_fixed_0", "nae_dense_0"), strict=True)),
}
SHOWN = [
    ("random_causal", family)
    for family in (
        "law",
        "top_k_confidence",
        "top_k_margin",
        "top_k_entropy",
        "entropy_bounded",
        "remdm_cap",
    )
]
SHOWN += [
    ("random_set", "top_k_margin"),
    ("random_set", "path_planning"),
    ("learned", "law"),
    ("learned", "mode"),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--task", default="text", choices=["text", "nae"], help="what the models are trained on"
    )
    parser.add_argument(
        "--text8", type=existing, default=Path("data/text8"), help="text8 or its first megabytes"
    )
    parser.add_argument(
        "--models", nargs="+", default=list(MODELS), choices=MODELS, help="whose samples are scored"
    )
    parser.add_argument(
        "--samples", type=int, default=1024, help="sequences drawn with every sampler"
    )
    parser.add_argument(
        "--scored", type=int, default=512, help="test sequences whose -log p is taken"
    )
    parser.add_argument(
        "--calls", type=int, nargs="+", default=[2, 4, 8, 16, 32], help="denoiser calls a sequence"
    )
    parser.add_argument("--picture", help="PNG of nats and divergence against calls")
    parser.add_argument(
        "--jobs", type=int, default=2, help="training runs at a time, one thread each"
    )


def define(task: str, model: str, text8: str, device: str, quick: bool) -> Run:
    """The training run of a model: those of the benchmarks text and nae."""
    if task == "text":
        return text.define(
            {
                "random_set": "fixed_order",
                "random_causal": "fixed_dense",
                "learned": "network_dense",
            }[model],
            0,
            text8,
            device,
            quick,
        )
    if model == "random_set":
        experiment, changes = nae.define("fixed", 0, device, quick)
        return experiment, [
            *changes,
            "objective=order",
            "objective.draws=1",
            "denoiser=bidirectional",
        ]
    return nae.define({"random_causal": "fixed", "learned": "dense"}[model], 0, device, quick)


# Names of the results -> configs/sampler and what is changed of it.
CHOICES = {
    f"top_k_{score}": ("top_k", [f"sampler.where.score={score}"])
    for score in ("confidence", "margin", "entropy")
}
CHOICES |= {"maskgit": ("maskgit", []), "ancestral": ("ancestral", [])}
CHOICES |= {
    f"ancestral_{spacing}": ("ancestral", [f"sampler.how_many.spacing={spacing}"])
    for spacing in ("cosine", "equal_mass")
}
RESCALE = "sampler.revise.kind=rescale"
CHOICES |= {
    "remdm_cap": ("remdm", []),
    "remdm_rescale": ("remdm", [RESCALE]),
    "remdm_confidence": (
        "remdm",
        [RESCALE, "sampler.revise.eta=0.5", "sampler.revise.confidence=true"],
    ),
}
LOOP = ["sampler.how_many.hold=[0.9,0.4]", "sampler.revise.loop=true"]


def samplers(
    length: int, calls: list[int], order_causal: bool, profile: list[float]
) -> dict[str, Sampler]:
    """Name, with the budget where there is one -> sampler."""
    out = {name: sampler_of(name) for name in ("first_hitting", "mode_order", "bisection", "klass")}
    for name, choice in (
        ("left_to_right", "given_order"),
        ("right_to_left", "given_order"),
        ("dilated", "bisection"),
    ):
        out[name] = sampler_of(choice, [f"sampler.where.order={name}"])
    choices = [("threshold", "confidence", (0.5, 0.7, 0.9)), ("factor", "factor", (0.5, 1.0, 2.0))]
    choices += [("entropy_bounded", "gamma", (0.1, 0.5, 2.0)), ("punt", "kl", (0.01, 0.1))]
    out |= {
        f"{name} {value}": sampler_of(name, [f"sampler.how_many.{key}={value}"])
        for name, key, values in choices
        for value in values
    }
    for k in (k for k in calls if k <= length):
        budget = [f"sampler.how_many.calls={k}"]
        for name, (choice, changes) in CHOICES.items():
            out[f"{name}, {k}"] = sampler_of(choice, [*budget, *changes])
        out[f"law, {k}"] = Sampler(ByLaw(), InSteps(k))
        out[f"law in best steps, {k}"] = Sampler(
            ByLaw(), InSteps(shape=best_sizes(torch.tensor(profile), k))
        )
        out[f"mode, {k}"] = Sampler(ByLaw(0), InSteps(k))
        if k > 1:
            out[f"forward_backward, {k}"] = sampler_of(
                "forward_backward", [f"sampler.how_many.calls={k // 2}"]
            )
        if k > 4:
            out[f"remdm_loop, {k}"] = sampler_of("remdm", [*budget, *LOOP])
        if k * 8 >= length:
            out[f"semi_autoregressive, {k}"] = sampler_of(
                "top_k", ["sampler.block=8", f"sampler.how_many.calls={k * 8 // length}"]
            )
        if not order_causal:
            out[f"path_planning, {k}"] = sampler_of("path_planning", [f"sampler.revise.calls={k}"])
    return out


def minus_log_p(
    denoiser: Denoiser, sampler: Sampler, schedule: Schedule, tokens: Tensor
) -> dict[str, Any]:
    """nats a sequence with their standard error and kind: exact, bound, or none at all."""
    if sampler.deterministic:
        values, kind = (
            -sampler_log_prob(denoiser, sampler, tokens, schedule).total_log_prob,
            "exact",
        )
    elif (
        sampler.order_known
        and sampler.how_many.single
        and isinstance(sampler.where, ByLaw)
        and sampler.where.temperature == 1
    ):
        values, kind = nelbo(denoiser, schedule.law(), tokens, 16, StepRandom()), "bound"
    else:
        return {"nats": None, "standard_error": None, "kind": None}
    return {
        "nats": values.mean().item(),
        "standard_error": (values.std() / math.sqrt(len(values))).item(),
        "kind": kind,
    }


def evaluate(folder: Path, a: argparse.Namespace, profile: list[float]) -> dict[str, Any]:
    """Every sampler on one trained model."""
    module, config = load(folder)
    data = load_data(config, folder, as_trained=True)
    module = module.to(a.device)
    denoiser, schedule = module.denoiser, module.schedule
    real = data.test_set.tokens.long()
    scored = real[torch.linspace(0, len(real) - 1, min(a.scored, len(real))).round().long()].to(
        denoiser.device
    )
    if isinstance(data, TaskData):
        real = data.task.sample(20_000, torch.Generator().manual_seed(1))
        fresh = data.task.sample(a.samples, torch.Generator().manual_seed(2))
        ngram = {"n": 3, "by_position": True}
    else:
        fresh = data.val_set.tokens.long()[: a.samples]
        ngram = {"n": 4, "by_position": False}
    out: dict[str, Any] = {
        "real": {
            "ngram_divergence": ngram_divergence(fresh, real, **ngram),
            "unigram_entropy": unigram_entropy(fresh),
            "samples": len(fresh),
        }
    }
    for name, sampler in progress(
        samplers(data.length, a.calls, denoiser.order_causal, profile), folder.name
    ):
        begun = time.perf_counter()
        trace = sample_batches(denoiser, sampler, a.samples, 512, schedule=schedule, seed=1)
        entry = {
            "calls": trace.calls.double().mean().item(),
            "ngram_divergence": ngram_divergence(trace.tokens, real, **ngram),
            "unigram_entropy": unigram_entropy(trace.tokens),
            "off_law": order_surprise(trace, schedule.cpu().law()),
            "sampling_seconds": time.perf_counter() - begun,
        }
        schedule.to(denoiser.device)
        if isinstance(data, TaskData):
            entry["possible"] = (
                (data.task.log_prob(trace.tokens) > -torch.inf).double().mean().item()
            )
        out[name] = entry | minus_log_p(denoiser, sampler, schedule, scored)
    return out


def picture(out: dict[str, Any]) -> Figure:
    """-log p and n-gram divergence against calls, of the families of samplers that are ``SHOWN``."""
    panels: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for key, label in (
        ("nats", "-log p of test sequences (nats)"),
        ("ngram_divergence", "n-gram divergence of samples (nats)"),
    ):
        panels[label] = {}
        for model, family in SHOWN:
            entries = [
                e
                for name, e in out.get(model, {}).items()
                if name.split(",")[0].rstrip(".0123456789 ") == family
            ]
            points = sorted((e["calls"], e[key]) for e in entries if e.get(key) is not None)
            if points:
                panels[label][f"{model}: {family}"] = [x for x, _ in points], [y for _, y in points]
    return plots.against_calls(panels)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    a = arguments
    if a.quick:
        a.samples, a.scored, a.calls = 16, 8, [4]
    names = {model: RUNS[a.task][model] for model in a.models}
    reports = run_all(
        {names[model]: define(a.task, model, a.text8, a.device, a.quick) for model in a.models},
        a.work,
        a.jobs,
    )
    out: dict[str, Any] = {}
    for model, name in names.items():
        profile = reports[name]["loss_by_revealed"]["own"]["nats"]
        out[model] = evaluate(Path(a.work) / name, a, profile)
    if a.picture:
        plots.save(picture(out), a.picture)
    entropy = next(iter(reports.values()))["entropy"]
    return {
        "task": a.task,
        "models": out,
        "entropy": entropy,
        "samples": a.samples,
        "scored": a.scored,
        "torch": torch.__version__,
    }
