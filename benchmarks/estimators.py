"""Total variance of every estimator of a law's gradient, on every kind of law, over training.

For each data set and law a small denoiser is trained under its own law (order space; dense for the
order-causal one), and kept before the first step (``untrained``), after half of the steps and after
all of them. Then the gradient of the NELBO (nats per sequence) in all of the law's parameters is
estimated many times, each time from ``--rows`` denoiser rows on the same fresh sequences, and the
variances of its entries are added up.

``signal`` is the norm of the mean gradient, less what noise adds to its square; ``entropy_share``
is what is left of the order law's entropy. An estimator is an objective, options, and a number of
draws of each sequence. Laws: ``position`` (a table of log w), ``vocabulary``, ``context``,
``posterior``, and ``dense`` (a table, order-causal denoiser).
"""

import copy
import itertools
import json
import math
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import TEXT8, compose_experiment, objective
from benchmarks.timing import SPACES
from benchmarks.variance import WARM, endless, total_variance
from ordo.batch import Batch
from ordo.files import write_json
from ordo.objectives import LawTooSharp, ScoreFunction
from ordo.progress import note, track
from ordo.randomness import StepRandom
from ordo.runs.build import build_data, build_module
from ordo.runs.parser import existing
from ordo.schedules import AveragedSchedule
from ordo.training.plain import train_steps

PHASES = ("untrained", "half", "trained")
SMALL = "denoiser.width=48 denoiser.layers=2"
DATA = {
    "nae": f"data=nae {SMALL} denoiser.positions=learned",
    "adult": f"data=table data.name=adult {SMALL} denoiser.waves=8",
    "text8": f"data=text8 data.length=32 {SMALL} denoiser.positions=both",
}
ORDER = objective("order")
LAWS = {
    "position": f"schedule=power_table {ORDER} optimizer.schedule_lr=0.05",
    "vocabulary": f"schedule=per_vocabulary {ORDER} optimizer.schedule_lr=0.02",
    "context": f"schedule=per_context {ORDER} optimizer.schedule_lr=2e-3",
    "posterior": f"schedule=order_posterior {ORDER} optimizer.schedule_lr=2e-3",
    "dense": f"schedule=power_table {objective('dense_rloo')} optimizer.schedule_lr=0.05",
}
SCORES = {  # name: draws, options of the score function
    "rloo 2": (2, {}),
    "rloo 4": (4, {}),
    "ema 1": (1, {"baseline": "ema"}),
    "learned 1": (1, {"baseline": "learned"}),
    "learned unigram 1": (1, {"baseline": "learned", "unigram": True}),
}
RELAX = {
    "relax rloo 2": (2, {"relax": True}),
    "relax learned unigram 1": (1, {"relax": True, "baseline": "learned", "unigram": True}),
}
MIRROR = {
    "mirror rloo 4": (4, {"antithetic": "mirror"}),
    "mirror ema 2": (2, {"antithetic": "mirror", "baseline": "ema"}),
}
OPTIONS = {
    "text8": (None, *TEXT8[1:]),
    "adult": (None, "the folder of the Adult table", {"type": existing, "metavar": "FOLDER"}),
    "laws": (list(LAWS), "whose gradients", {"choices": list(LAWS)}),
    "steps": (600, "of training"),
    "rows": (64, "denoiser rows a gradient estimate"),
    "repeats": (60, "gradient estimates a figure"),
    "seed": (0, "of models, data and estimates"),
    "table": (None, "write the compact table there too, Markdown", {"metavar": "FILE"}),
}


def objectives_of(law: str, length: int, vocab_size: int) -> dict[str, Any]:
    """All estimators that fit a law, by name."""
    if law == "dense":
        dense, counts = SPACES["dense"], {"unigram": True, "vocab_size": vocab_size}
        return {
            "dense learned 1": dense(length),
            "dense learned unigram 1": dense(length, **counts),
            "dense rloo 2": dense(length, 2, "rloo"),
            "dense rloo unigram 2": dense(length, 2, "rloo", **counts),
        }
    sizes: dict[str, Any] = {"length": length, "vocab_size": vocab_size}
    out = {}
    for space, scores in (("order", SCORES | RELAX), ("time", SCORES | MIRROR)):
        kind = SPACES[space]
        for name, (draws, options) in scores.items():
            out[f"{space} {name}"] = kind(draws, score=ScoreFunction(**options, **sizes))
    if law != "position":
        for name in ("rloo 2", "rloo 4"):
            out[f"order rate {name}"] = SPACES["order"](SCORES[name][0], "rate")
    return out


def configuration(data: str, law: str, a: Namespace) -> Any:
    dense = law == "dense"
    kinds = ("table", "table_causal") if data == "adult" else ("bidirectional", "order_causal")
    changes = f"{DATA[data]} {LAWS[law]} denoiser={kinds[dense]} seed={a.seed} steps={a.steps}"
    changes += f" data.batch_size={a.rows // 2}"
    changes += "" if dense else " objective.draws=2 objective.score.baseline=rloo"
    path = path_of(data, a)
    where = [] if path is None else [f"data.path={path}"]
    return compose_experiment("custom", [*changes.split(), *where])


def path_of(data: str, a: Namespace) -> Path | None:
    return {"adult": a.adult, "text8": a.text8}.get(data)


def trained(config: Any, steps: int) -> tuple[Any, Any, dict[str, Any]]:
    """Data, module, and the module's weights in every phase."""
    data, module = build_data(config), build_module(config)
    weights = {"untrained": copy.deepcopy(module.state_dict())}
    begun, phases = time.perf_counter(), {steps // 2: "half", steps: "trained"}
    parts = module.denoiser, module.schedule, module.objective
    loader = data.train_dataloader()
    for step, _ in train_steps(*parts, loader, module.settings, config.seed):
        if step in phases:
            weights[phases[step]] = copy.deepcopy(module.state_dict())
    note(f"trained in {time.perf_counter() - begun:.0f} s")
    return data, module, weights


def measure(
    estimator: Any, module: Any, batches: list[torch.Tensor], warm: int, rows: int
) -> dict[str, float | None]:
    """Total variance of d NELBO / d (parameters of the law), its error, and the mean gradient.

    Args:
        batches: tokens; the first ``warm`` batches only fit running means and regressions.
    """
    parameters = [p for p in module.schedule.parameters() if p.requires_grad]
    gradients = []
    # What is measured is measured on the same batches, whether or not there is something to fit.
    first = 0 if list(estimator.buffers()) else warm
    begun = time.perf_counter()
    try:
        for step in range(first, len(batches)):
            begun = time.perf_counter() if step == warm else begun
            tokens = batches[step][: rows // estimator.draws]
            out = estimator(module.denoiser, module.schedule, tokens, StepRandom(1, step))
            if step >= warm:
                found = torch.autograd.grad(out.loss * tokens.shape[1], parameters)
                gradients.append(torch.cat([g.flatten().double() for g in found]))
    except LawTooSharp:
        return {"variance": None, "standard_error": None, "signal": None, "milliseconds": None}
    # Time of the law's gradient alone: the denoiser is frozen.
    milliseconds = 1000 * (time.perf_counter() - begun) / len(gradients)
    mean, figures = total_variance(gradients)
    square = mean.square().sum().item() - figures["variance"] / len(gradients)
    return {**figures, "signal": max(square, 0.0) ** 0.5, "milliseconds": milliseconds}


def one(data_name: str, law: str, a: Namespace, folder: Path) -> list[dict[str, Any]]:
    """The figures of one data set and law.

    They are kept below the folder, so that a benchmark that was killed goes on.
    """
    kept, warm = folder / f"{data_name}_{law}.json", 2 if a.quick else WARM
    path = path_of(data_name, a)
    identity: dict[str, Any] = {"path": path and str(path)}
    settings = ("steps", "rows", "repeats", "seed", "quick")
    identity |= {key: getattr(a, key) for key in settings}
    if kept.exists() and (old := json.loads(kept.read_text()))["identity"] == identity:
        return old["results"]
    config = configuration(data_name, law, a)
    data, module, weights = trained(config, a.steps)
    # Not the batches it was trained on.
    config.data.seed, config.data.batch_size = a.seed + 1, a.rows
    batches = list(itertools.islice(endless(build_data(config)), warm + a.repeats))
    results = []
    for phase in track(PHASES, f"{data_name}, {law}"):
        module.load_state_dict(weights[phase])
        module.eval()
        module.denoiser.requires_grad_(False)
        schedule: Any = module.schedule
        if schedule.depends_on_tokens:
            schedule = AveragedSchedule(schedule, Batch.of(batches[0]))
        entropy = float(schedule.law().entropy(512)[0]) / math.lgamma(data.length + 1)
        about = {"data": data_name, "law": law, "phase": phase, "entropy_share": entropy}
        for name, estimator in objectives_of(law, data.length, data.vocab_size).items():
            figures = measure(estimator, module, batches, warm, a.rows)
            results.append(about | {"estimator": name} | figures)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(kept, {"identity": identity, "results": results})
    return results


def compact(results: list[dict[str, Any]], laws: list[str]) -> str:
    """Markdown: for each law a table of estimators by data and phase.

    Cells are variances relative to leave-one-out at two draws of the same law.
    """
    lines = []
    for law in laws:
        mine = [r for r in results if r["law"] == law]
        columns = list(dict.fromkeys((r["data"], r["phase"]) for r in mine))
        base = "dense rloo 2" if law == "dense" else "order rloo 2"
        cells = {(r["data"], r["phase"], r["estimator"]): r["variance"] for r in mine}
        titles = [f"{data}, {phase}" for data, phase in columns]
        lines += ["| " + " | ".join([law, *titles]) + " |", "|---" * (1 + len(columns)) + "|"]
        for estimator in dict.fromkeys(r["estimator"] for r in mine):
            row = []
            for at in columns:
                value, unit = cells[*at, estimator], cells[*at, base]
                row.append("too sharp" if value is None else f"{value / unit:.2f}" if unit else "-")
            lines.append("| " + " | ".join([estimator, *row]) + " |")
        lines.append("")
    return "\n".join(lines)


def run(a: Namespace) -> dict[str, Any]:
    torch.set_num_threads(1)
    if a.quick:
        a.steps, a.repeats, a.rows = 4, 3, 8
    a.text8, a.adult = (path and Path(path).resolve() for path in (a.text8, a.adult))
    wanted = [name for name in DATA if name == "nae" or path_of(name, a)]
    folder = Path(a.work) / "estimators"
    results = [result for data in wanted for law in a.laws for result in one(data, law, a, folder)]
    table = compact(results, a.laws)
    note(table)
    if a.table:
        Path(a.table).write_text(table)
    settings = {key: getattr(a, key) for key in ("rows", "steps", "repeats", "seed")}
    return settings | {"torch": torch.__version__, "results": results}
