"""The experiment of the paper (arXiv 2511.19152, section 4) on its own tables, and beyond it.

    python scripts/reproduce_paper.py --data FOLDER --jobs 2
    python scripts/reproduce_paper.py --data FOLDER --sets adult --objectives time

The first command runs all five sets with three seeds; it reads FOLDER/adult/adult.data and so on.
The second runs the paper's recipe alone, on one set.

The runs are {fixed linear schedule (MDM), learned per-column schedules (MDM(LS))} x {time, order,
dense} x sets x seeds, each with 3000 steps of 256 denoiser rows and at most 90,000 parameters. A
killed call goes on where it was. The script writes into --work: results.csv (a line a run),
tables.md, and a picture of the learned schedules of every set (the paper's Figures 2b and 5). Test
rows are scored with the weights of least validation NELBO, the number in the paper's table. The
last line on standard output is one JSON object.
"""

from __future__ import annotations

import ordo.stop  # noqa: F401  first: Ctrl-C while the rest is imported

# isort: split
import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import QUICK, Run, accelerator, add_options, objective, run_all
from ordo import plots
from ordo.errors import ConfigError
from ordo.files import write_whole
from ordo.progress import note
from ordo.runs.checkpoint import read
from ordo.runs.entry import command, job
from ordo.runs.parser import Parser, existing
from ordo.runs.stored import load

LAWS = {"fixed": "schedule=linear", "learned": "schedule=power_table"}
OBJECTIVES = ("time", "order", "dense")
SETS = ("adult", "default", "beijing", "shoppers", "magic")
# Width of the denoisers: 79,000 to 89,000 parameters with two heads.
WIDTH = {"adult": 44, "default": 32, "beijing": 44, "shoppers": 40, "magic": 36, "news": 16}
# Learning rate of log w: the noisier the gradient, the smaller the steps.
RATE = {"time": 0.05, "order": 0.05, "dense": 0.3}
# Best validation loss in the paper, nats/row, fixed and learned. The discretisation is unpublished:
# only signs and ratios compare.
PAPER = {
    "adult": (13.1861, 13.1524),
    "default": (19.4247, 18.3272),
    "beijing": (16.7610, 17.0060),
    "shoppers": (16.4246, 16.4604),
    "magic": (12.6114, 12.4712),
    "news": (49.9699, 48.9401),
}
ESTIMATES = {
    "uniform_nelbo": "uniform NELBO",
    "own_nelbo": "own NELBO",
    "mode_exact": "exact, mode order",
    "importance": "importance bound",
}
OPTIONS = {
    "data": ("data", "folder with a folder for every set", {"type": existing}),
    "sets": (list(SETS), "tables of the paper; default: all but news", {"choices": list(WIDTH)}),
    "objectives": (list(OBJECTIVES), "estimators; default: all", {"choices": OBJECTIVES}),
    "seeds": (3, "seeds 0, 1, ...; default: 3"),
    "steps": (3000, "of training; default: 3000, the paper's"),
    "width": (None, "of the denoiser; default: at most 90,000 parameters", {"type": int}),
    "override": (
        (),
        "changes of every run; use another --work with them",
        {"nargs": "*", "metavar": "KEY=VALUE"},
    ),
    "jobs": (2, "runs at a time, one thread each; default: 2"),
    "device": ("cpu", "where to train; default: cpu", {"choices": ["cpu", "cuda"]}),
    "work": ("outputs/paper", "folder for the runs, results.csv, tables.md and pictures"),
    "quick": (False, "a few steps only: shows that it runs, says nothing"),
    "quiet": (False, "prints errors and the result, nothing else"),
}


@dataclass(frozen=True)
class Case:
    """One run of the matrix."""

    set: str
    objective: str
    law: str
    seed: int

    def name(self, width: int | None) -> str:
        wide = f"_w{width}" if width else ""
        return f"{self.set}_{self.objective}_{self.law}_{self.seed}{wide}"


def define(case: Case, data: Path, a: argparse.Namespace) -> Run:
    """The training run of a case. The denoiser rows of a step are equal in all cases."""
    learned, dense, space = case.law == "learned", case.objective == "dense", case.objective
    draws = 2 if learned else 1  # leave-one-out needs two
    changes = f"{LAWS[case.law]} {objective('dense_rloo' if dense and learned else space)}"
    changes += f" denoiser={'table_causal' if dense else 'table'} objective.draws={draws}"
    changes += f" data.batch_size={256 // draws} optimizer.schedule_lr={RATE[space]}"
    changes += " objective.score.baseline=rloo" if space == "order" else ""
    # Sharper laws would hide columns from random times.
    changes += " schedule.bound=4" if learned and space == "time" else ""
    changes += f" data.name={case.set} data.eval_batch_size=1024 seed={case.seed} steps={a.steps}"
    changes += f" denoiser.width={a.width or WIDTH[case.set]} denoiser.heads=2 denoiser.waves=0"
    changes += f" {accelerator(a.device)} validate_every=250 checkpoint_every=1000"
    # A bidirectional denoiser needs a call per column for every order.
    exact, importance = (4096, 16) if dense else (1000, 8)
    changes += " report.split=test report.weights=best report.sequences=null"
    changes += f" report.exact_sequences={exact} report.importance_draws={importance}"
    path, quick = f"data.path={data / case.set}", QUICK if a.quick else []
    return "table_learned_order", [*changes.split(), path, *a.override, *quick]


def best_validation(folder: Path) -> float:
    """The least validation NELBO of the run (own law), nats/row: what the paper's table has."""
    logs = [pd.read_csv(path) for path in sorted((folder / "csv").glob("metrics*.csv"))]
    return float(pd.concat(logs)["val/nelbo"].min())


def values_of(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "report_values.npz") as values:
        return dict(values)


def paired(better: Path, worse: Path) -> dict[str, Any]:
    """Learned order against fixed order on the same test rows, nats/row.

    The difference is the learned model's exact score along its mode order minus the least of what
    the fixed model offers: its exact score along random orders, along the order of the file, and
    its importance bound.
    """
    learned, fixed = values_of(better), values_of(worse)
    rows = fixed["exact_rows"]
    assert np.array_equal(rows, learned["exact_rows"])
    own = fixed["own_nelbo"][rows]
    rivals = {"own_nelbo": own} | {key: fixed[key] for key in ("mode_exact", "importance")}
    name = min(rivals, key=lambda key: rivals[key].mean())
    difference = learned["mode_exact"] - rivals[name]
    return {
        "difference": float(difference.mean()),
        "standard_error": float(difference.std(ddof=1) / len(difference) ** 0.5),
        "rival": name,
        "against_own_nelbo": float((learned["mode_exact"] - own).mean()),
    }


def result(folder: Path, report: dict[str, Any], case: Case) -> dict[str, Any]:
    """One line of results.csv."""
    if not report["estimates"]:
        return asdict(case) | {"diverged": report["diverged"]}
    out = asdict(case) | {"best_validation": best_validation(folder)}
    for key, entry in report["estimates"].items():
        out |= {key: entry["nats"], f"{key}_se": entry["standard_error"]}
    module, _ = load(folder)
    law: Any = module.schedule.law()
    entropy, _ = law.entropy(samples=1024, generator=torch.Generator().manual_seed(0))
    parameters = sum(p.numel() for p in module.denoiser.parameters())
    out |= {"order_entropy": float(entropy), "parameters": parameters}
    return out | {"seconds": report["fit_seconds"]}


def table(title: str, columns: list[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    """Lines of a table of Markdown with a title."""
    cells = ["| " + " | ".join(map(str, row)) + " |" for row in (columns, *rows)]
    return [f"## {title}", "", cells[0], "|---" * len(columns) + "|", *cells[1:]]


def best_rows(results: pd.DataFrame) -> Iterator[list[str]]:
    for (name, space), part in results.groupby(["set", "objective"], sort=False):
        best = {law: part.loc[part["law"] == law, "best_validation"].dropna() for law in LAWS}
        cells = [f"{v.mean():.3f} ({v.min():.3f}, {v.max():.3f})" for v in best.values()]
        fixed, learned = PAPER[str(name)]
        theirs = f"{learned / fixed:.4f}" if space == "time" else ""
        ratio = f"{best['learned'].mean() / best['fixed'].mean():.4f}"
        yield [str(name), str(space), *cells, ratio, theirs]


def scored_rows(results: pd.DataFrame) -> Iterator[list[str]]:
    for case, part in results.groupby(["set", "objective", "law"], sort=False):
        mean = part[[*ESTIMATES, "order_entropy", "parameters", "seconds"]].mean()
        cells = [f"{mean[key]:.3f}" for key in ESTIMATES]
        cost = f"{mean['parameters']:.0f}", f"{mean['seconds']:.0f}"
        yield [*map(str, case), *cells, f"{mean['order_entropy']:.1f}", *cost]


def paired_rows(comparisons: list[dict[str, Any]]) -> Iterator[list[str]]:
    for c in comparisons:
        gap = f"{c['difference']:.3f} ± {c['standard_error']:.3f}"
        in_errors = f"{c['difference'] / c['standard_error']:.1f}"
        own = f"{c['against_own_nelbo']:.3f}"
        yield [c["set"], c["objective"], c["seed"], gap, in_errors, c["rival"], own]


def markdown(results: pd.DataFrame, comparisons: list[dict[str, Any]]) -> str:
    """The tables of tables.md."""
    lines = table(
        "Best validation NELBO, nats/row: mean over seeds (least, most); learned / fixed beside "
        "the paper's",
        ["set", "objective", *LAWS, "learned / fixed", "the paper's"],
        best_rows(results),
    )
    cost = ["order entropy", "parameters", "seconds"]
    columns = ["set", "objective", "law", *ESTIMATES.values(), *cost]
    lines += ["", *table("Test rows, nats/row: mean over seeds", columns, scored_rows(results)), ""]
    columns = ["set", "objective", "seed", "difference ± s.e.", "in s.e.", "against"]
    lines += table(
        "Learned order's exact score minus the best number of the fixed order, paired over test "
        "rows, nats/row",
        [*columns, "against own NELBO"],
        paired_rows(comparisons),
    )
    return "\n".join(lines) + "\n"


def draw_schedules(folder: Path, path: Path) -> None:
    """alpha_l(t) of every column of a learned run."""
    module, _ = load(folder)
    names = [column["name"] for column in read(folder)["TableData"]["codec"]["columns"]]
    t = torch.linspace(0, 1, 201, dtype=torch.float64)
    with torch.no_grad():
        plots.save(plots.schedule_curves(t, module.schedule.alpha(t), names), path)


def main() -> None:
    parser = Parser(description=__doc__)
    add_options(parser, OPTIONS)
    a = parser.parse_args()
    with job(a.quiet):
        reproduce(a)


def reproduce(a: argparse.Namespace) -> None:
    """Runs what is missing, and writes tables and pictures."""
    work = Path(a.work + ("_quick" if a.quick else ""))
    data = Path(a.data).resolve()
    absent = [name for name in a.sets if not (data / name).exists()]
    if absent:
        raise ConfigError(
            f"--data {a.data}: it has no folder {absent[0]}; choose others with --sets"
        )
    matrix = product(a.sets, range(a.seeds), a.objectives, LAWS)
    cases = [Case(name, space, law, seed) for name, seed, space, law in matrix]
    runs = {case.name(a.width): define(case, data, a) for case in cases}
    reports = run_all(runs, str(work), a.jobs)
    lines = [result(work / run, reports[run], case) for run, case in zip(runs, cases, strict=True)]
    results = pd.DataFrame(lines)
    write_whole(work / "results.csv", lambda path: results.to_csv(path, index=False))
    comparisons = []
    for case in (case for case in cases if case.law == "learned"):
        run, rival = (replace(case, law=law).name(a.width) for law in ("learned", "fixed"))
        if reports[run]["estimates"] and reports[rival]["estimates"]:
            about = {"set": case.set, "objective": case.objective, "seed": case.seed}
            comparisons.append(about | paired(work / run, work / rival))
        if case.seed == 0 and reports[run]["estimates"]:
            draw_schedules(work / run, work / f"schedules_{case.set}_{case.objective}.png")
    text = markdown(results, comparisons)
    write_whole(work / "tables.md", lambda path: path.write_text(text, encoding="utf-8"))
    note(f"{work}/results.csv, tables.md, schedules_*.png")
    records = json.loads(results.to_json(orient="records"))
    print(json.dumps({"results": records, "comparisons": comparisons}))


if __name__ == "__main__":
    command(main)
