"""Quality against calls of every sampler on trained models: text8, or latents and observations.

Three models have equal size and training: ``random_set`` (random orders, bidirectional),
``random_causal`` (random orders, order-causal) and ``learned`` (order-causal, its own learned
order).

``nats``: -log p of test sequences; exact for deterministic rules, the NELBO where orders are drawn
one position at a time, else absent. ``ngram_divergence``: Jensen-Shannon divergence, nats, of
samples from real sequences, beside that of as many real sequences (text: 4-grams pooled; NAE:
triples of neighbouring columns, by place). ``unigram_entropy``: nats. ``possible`` (NAE): share of
samples that the law can produce. ``calls``: mean denoiser calls a sequence. ``off_law``: nats a
token, see ``order_surprise``.
"""

import math
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks import nae, text
from benchmarks.common import TEXT8, Run, numbers, objective, run_all, words
from benchmarks.samplers import sampler_of
from ordo import plots
from ordo.data import TaskData
from ordo.denoisers import Denoiser
from ordo.likelihood import nelbo, sampler_log_prob
from ordo.metrics import ngram_divergence, unigram_entropy
from ordo.progress import track
from ordo.randomness import StepRandom
from ordo.runs.stored import load, load_data
from ordo.samplers import ByLaw, InSteps, Sampler, best_sizes, order_surprise, sample_batches
from ordo.schedules import Schedule

# Model -> kind of the studies text and nae. nae has no bidirectional model of random orders.
MODELS = {
    "random_set": {"text": "fixed_order", "nae": "fixed"},
    "random_causal": {"text": "fixed_dense", "nae": "fixed"},
    "learned": {"text": "network_dense", "nae": "dense"},
}
SET_MODEL = f"{objective('order')} objective.draws=1 denoiser=bidirectional".split()
SHOWN = {  # families of samplers in the picture
    "random_causal": words(
        "law top_k_confidence top_k_margin top_k_entropy entropy_bounded remdm_cap"
    ),
    "random_set": ["top_k_margin", "path_planning"],
    "learned": ["law", "mode"],
}
WHOLE = words("first_hitting mode_order left_to_right right_to_left bisection dilated klass")
VALUED = {  # sampler -> key and values of its ``how_many``
    "threshold": ("confidence", (0.5, 0.7, 0.9)),
    "factor": ("factor", (0.5, 1.0, 2.0)),
    "entropy_bounded": ("gamma", (0.1, 0.5, 2.0)),
    "punt": ("kl", (0.01, 0.1)),
}
BUDGETED = words(
    "top_k_confidence top_k_margin top_k_entropy maskgit ancestral ancestral_cosine "
    "ancestral_equal_mass remdm_cap remdm_rescale remdm_confidence"
)
OPTIONS = {
    "task": ("text", "what the models are trained on", {"choices": ["text", "nae"]}),
    "text8": (Path(TEXT8[0]), *TEXT8[1:]),  # a Path: need not be there for --task nae
    "models": (list(MODELS), "whose samples are scored", {"choices": list(MODELS)}),
    "samples": (1024, "sequences drawn with every sampler"),
    "scored": (512, "test sequences whose -log p is taken"),
    "calls": ([2, 4, 8, 16, 32], "denoiser calls a sequence"),
    "picture": (None, "PNG of nats and divergence against calls"),
    **numbers(jobs=2),
}


def define(model: str, a: Namespace) -> tuple[str, Run]:
    """Folder and training run of a model: those of the studies text and nae, where they have it."""
    kind = MODELS[model][a.task]
    if a.task == "text":
        return f"text_{kind}_32_0", text.STUDY.define_run(kind, 0, a)
    experiment, changes = nae.STUDY.define_run(kind, 0, a)
    if model == "random_set":
        return "nae_fixed_set_0", (experiment, [*changes, *SET_MODEL])
    return f"nae_{kind}_0", (experiment, changes)


def samplers(
    length: int, calls: list[int], order_causal: bool, profile: list[float]
) -> dict[str, Sampler]:
    """Name, with the budget where there is one -> sampler."""
    out = {name: sampler_of(name) for name in WHOLE}
    for name, (key, values) in VALUED.items():
        for value in values:
            out[f"{name} {value}"] = sampler_of(name, f"sampler.how_many.{key}={value}")
    for k in (k for k in calls if k <= length):

        def budget(name: str, calls: int, part: str = "how_many", k: int = k) -> None:
            out[f"{name}, {k}"] = sampler_of(name, f"sampler.{part}.calls={calls}")

        for name in BUDGETED:
            budget(name, k)
        best = InSteps(shape=best_sizes(torch.tensor(profile), k))
        out[f"law, {k}"] = Sampler(ByLaw(), InSteps(k))
        out[f"law in best steps, {k}"] = Sampler(ByLaw(), best)
        out[f"mode, {k}"] = Sampler(ByLaw(0), InSteps(k))
        if k > 1:
            budget("forward_backward", k // 2)
        if k > 4:
            budget("remdm_loop", k)
        if k * 8 >= length:
            budget("semi_autoregressive", k * 8 // length)
        if not order_causal:
            budget("path_planning", k, "revise")
    return out


def minus_log_p(
    denoiser: Denoiser, sampler: Sampler, schedule: Schedule, tokens: Tensor
) -> dict[str, Any]:
    """nats a sequence with their standard error and kind: exact, bound, or none at all."""
    where, one = sampler.where, sampler.order_known and sampler.how_many.single
    if sampler.deterministic:
        kind = "exact"
        values = -sampler_log_prob(denoiser, sampler, tokens, schedule).total_log_prob
    elif one and isinstance(where, ByLaw) and where.temperature == 1:
        kind, values = "bound", nelbo(denoiser, schedule.law(), tokens, 16, StepRandom())
    else:
        return {"nats": None, "standard_error": None, "kind": None}
    error = (values.std() / math.sqrt(len(values))).item()
    return {"nats": values.mean().item(), "standard_error": error, "kind": kind}


def evaluate(folder: Path, a: Namespace, profile: list[float]) -> dict[str, Any]:
    """Every sampler on one trained model."""
    module, config = load(folder)
    data = load_data(config, folder, as_trained=True)
    module = module.to(a.device)
    denoiser, schedule = module.denoiser, module.schedule
    real = data.test_set.tokens.long()
    some = torch.linspace(0, len(real) - 1, min(a.scored, len(real))).round().long()
    scored = real[some].to(denoiser.device)
    law = data.task if isinstance(data, TaskData) else None
    if law is not None:
        real = law.sample(20_000, torch.Generator().manual_seed(1))
        fresh = law.sample(a.samples, torch.Generator().manual_seed(2))
        ngram = {"n": 3, "by_position": True}
    else:
        fresh = data.val_set.tokens.long()[: a.samples]
        ngram = {"n": 4, "by_position": False}

    def compare(tokens: Tensor) -> dict[str, Any]:
        divergence = ngram_divergence(tokens, real, **ngram)
        return {"ngram_divergence": divergence, "unigram_entropy": unigram_entropy(tokens)}

    out: dict[str, Any] = {"real": compare(fresh) | {"samples": len(fresh)}}
    chosen = samplers(data.length, a.calls, denoiser.order_causal, profile)
    for name, sampler in track(chosen.items(), folder.name):
        begun = time.perf_counter()
        trace = sample_batches(denoiser, sampler, a.samples, 512, schedule=schedule, seed=1)
        entry = {"calls": trace.calls.double().mean().item(), **compare(trace.tokens)}
        entry["off_law"] = order_surprise(trace, schedule.cpu().law())
        entry["sampling_seconds"] = time.perf_counter() - begun
        schedule.to(denoiser.device)
        if law is not None:
            possible = law.log_prob(trace.tokens) > -torch.inf
            entry["possible"] = possible.double().mean().item()
        out[name] = entry | minus_log_p(denoiser, sampler, schedule, scored)
    return out


def picture(out: dict[str, Any]) -> Figure:
    """-log p and n-gram divergence against calls, of the families of samplers in ``SHOWN``."""
    panels: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for key, label in (
        ("nats", "-log p of test sequences (nats)"),
        ("ngram_divergence", "n-gram divergence of samples (nats)"),
    ):
        panels[label] = {}
        for model, family in ((m, family) for m, some in SHOWN.items() for family in some):
            entries = [
                entry
                for name, entry in out.get(model, {}).items()
                if name.split(",")[0].rstrip(".0123456789 ") == family
            ]
            points = sorted((e["calls"], e[key]) for e in entries if e.get(key) is not None)
            if points:
                panels[label][f"{model}: {family}"] = [x for x, _ in points], [y for _, y in points]
    return plots.against_calls(panels)


def run(a: Namespace) -> dict[str, Any]:
    if a.quick:
        a.samples, a.scored, a.calls = 16, 8, [4]
    runs = {model: define(model, a) for model in a.models}
    reports = run_all(dict(runs.values()), a.work, a.jobs)
    out: dict[str, Any] = {}
    for model, (name, _) in runs.items():
        profile = reports[name]["loss_by_revealed"]["own"]["nats"]
        out[model] = evaluate(Path(a.work) / name, a, profile)
    if a.picture:
        plots.save(picture(out), a.picture)
    settings = {"samples": a.samples, "scored": a.scored, "torch": torch.__version__}
    entropy = next(iter(reports.values()))["entropy"]
    return {"task": a.task, "models": out, "entropy": entropy, **settings}
