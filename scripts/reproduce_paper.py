"""The paper's experiment (arXiv 2511.19152, section 4) on its own tables, and beyond it: fixed against learned orders in three objectives.

    python scripts/reproduce_paper.py --data FOLDER --jobs 2                       all five sets, three seeds; FOLDER/adult/adult.data ...
    python scripts/reproduce_paper.py --data FOLDER --sets adult --objectives time     the paper's recipe alone, on one set

{fixed linear schedule (MDM), learned per-column schedules (MDM(LS))} x {time, order, dense} x sets x seeds, each 3000 steps of 256
denoiser rows with at most 90,000 parameters. A killed call goes on where it was. Into --work: results.csv (a line a run), tables.md, and a
picture of the learned schedules of every set (the paper's Figures 2b and 5). Test rows are scored with the weights of least validation
NELBO, the number in the paper's table. The last line on standard output is one JSON object.
"""

from __future__ import annotations

import ordo.stop  # noqa: F401  first: Ctrl-C while the rest is imported

# isort: split
import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import QUICK, Run, run_all
from ordo import plots
from ordo.errors import ConfigError
from ordo.files import write_whole
from ordo.progress import note
from ordo.runs.checkpoint import read
from ordo.runs.entry import Parser, command, existing, job
from ordo.runs.stored import load

LAWS = {"fixed": "schedule=linear", "learned": "schedule=power_table"}
OBJECTIVES = ("time", "order", "dense")
SETS = ("adult", "default", "beijing", "shoppers", "magic")
WIDTH = {
    "adult": 44,
    "default": 32,
    "beijing": 44,
    "shoppers": 40,
    "magic": 36,
    "news": 16,
}  # with two heads: 79,000 to 89,000 parameters
RATE = {
    "time": 0.05,
    "order": 0.05,
    "dense": 0.3,
}  # of log w: the noisier the gradient, the smaller the steps
PAPER = {  # best validation loss, nats/row at an unpublished discretisation: only signs and ratios compare
    "fixed": {
        "adult": 13.1861,
        "default": 19.4247,
        "beijing": 16.7610,
        "shoppers": 16.4246,
        "magic": 12.6114,
        "news": 49.9699,
    },
    "learned": {
        "adult": 13.1524,
        "default": 18.3272,
        "beijing": 17.0060,
        "shoppers": 16.4604,
        "magic": 12.4712,
        "news": 48.9401,
    },
}


def define(
    name: str, law: str, objective: str, seed: int, data: Path, a: argparse.Namespace
) -> Run:
    """One run of the matrix."""
    draws = (
        2 if law == "learned" else 1
    )  # leave-one-out needs two; the denoiser rows of a step stay equal
    changes = [
        LAWS[law],
        f"objective={objective}",
        f"denoiser={'table_causal' if objective == 'dense' else 'table'}",
    ]
    if objective == "dense":
        changes[1] = "objective=dense_rloo" if law == "learned" else "objective=dense"
    changes += [
        f"objective.draws={draws}",
        f"data.batch_size={256 // draws}",
        f"optimizer.schedule_lr={RATE[objective]}",
    ]
    changes += ["objective.score.baseline=rloo"] if objective == "order" else []
    if law == "learned" and objective == "time":
        changes += ["schedule.bound=4"]  # sharper laws would hide columns from random times
    changes += [
        f"data.name={name}",
        f"data.path={data / name}",
        "data.eval_batch_size=1024",
        f"seed={seed}",
        f"steps={a.steps}",
    ]
    changes += [f"denoiser.width={a.width or WIDTH[name]}", "denoiser.heads=2", "denoiser.waves=0"]
    changes += [f"trainer.accelerator={a.device.replace('cuda', 'gpu')}"]
    changes += ["validate_every=250", "checkpoint_every=1000"]
    # A bidirectional denoiser needs a call per column for every order.
    exact, importance = (4096, 16) if objective == "dense" else (1000, 8)
    changes += [
        "report.split=test",
        "report.weights=best",
        "report.sequences=null",
        f"report.exact_sequences={exact}",
        f"report.importance_draws={importance}",
    ]
    return "table_learned_order", [*changes, *a.override, *(QUICK if a.quick else [])]


def best_validation(folder: Path) -> float:
    """The least validation NELBO of the run (own law), nats/row: what the paper's table has."""
    logs = [pd.read_csv(path) for path in sorted((folder / "csv").glob("metrics*.csv"))]
    return float(pd.concat(logs)["val/nelbo"].min())


def values_of(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "report_values.npz") as values:
        return dict(values)


def paired(better: Path, worse: Path) -> dict[str, Any]:
    """Learned order against fixed order on the same test rows, nats/row: the learned model's exact score along its mode order minus the
    least of what the fixed model offers: its exact score along random orders, along the order of the file, and its importance bound.
    """
    learned, fixed = values_of(better), values_of(worse)
    rows = fixed["exact_rows"]
    assert np.array_equal(rows, learned["exact_rows"])
    rivals = {
        "own_nelbo": fixed["own_nelbo"][rows],
        "mode_exact": fixed["mode_exact"],
        "importance": fixed["importance"],
    }
    name = min(rivals, key=lambda key: rivals[key].mean())
    difference = learned["mode_exact"] - rivals[name]
    error = float(difference.std(ddof=1) / len(difference) ** 0.5)
    against_nelbo = float((learned["mode_exact"] - rivals["own_nelbo"]).mean())
    return {
        "difference": float(difference.mean()),
        "standard_error": error,
        "rival": name,
        "against_own_nelbo": against_nelbo,
    }


def result(folder: Path, report: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """One line of results.csv."""
    if not report["estimates"]:
        return about | {"diverged": report["diverged"]}
    out = about | {"best_validation": best_validation(folder)}
    for key, entry in report["estimates"].items():
        out |= {key: entry["nats"], f"{key}_se": entry["standard_error"]}
    module, _ = load(folder)
    entropy, _ = module.schedule.law().entropy(
        samples=1024, generator=torch.Generator().manual_seed(0)
    )  # type: ignore[attr-defined]
    return out | {
        "order_entropy": float(entropy),
        "parameters": sum(p.numel() for p in module.denoiser.parameters()),
        "seconds": report["fit_seconds"],
    }


def row(*cells: Any) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def markdown(results: pd.DataFrame, comparisons: list[dict[str, Any]]) -> str:
    """The tables of tables.md."""
    lines = [
        "## Best validation NELBO, nats/row: mean over seeds (least, most); learned / fixed beside the paper's",
        "",
    ]
    lines += [row("set", "objective", *LAWS, "learned / fixed", "the paper's"), "|---" * 6 + "|"]
    cases = results[["set", "objective"]].drop_duplicates().itertuples(index=False)
    for name, objective in cases:
        part = results[(results["set"] == name) & (results["objective"] == objective)]
        best = {law: part.loc[part["law"] == law, "best_validation"].dropna() for law in LAWS}
        cells = [f"{v.mean():.3f} ({v.min():.3f}, {v.max():.3f})" for v in best.values()]
        theirs = (
            f"{PAPER['learned'][name] / PAPER['fixed'][name]:.4f}" if objective == "time" else ""
        )
        lines.append(
            row(
                name,
                objective,
                *cells,
                f"{best['learned'].mean() / best['fixed'].mean():.4f}",
                theirs,
            )
        )
    keys = {
        "uniform_nelbo": "uniform NELBO",
        "own_nelbo": "own NELBO",
        "mode_exact": "exact, mode order",
        "importance": "importance bound",
    }
    lines += ["", "## Test rows, nats/row: mean over seeds", ""]
    lines += [
        row("set", "objective", "law", *keys.values(), "order entropy", "parameters", "seconds"),
        "|---" * 10 + "|",
    ]
    for name, objective, law in (
        results[["set", "objective", "law"]].drop_duplicates().itertuples(index=False)
    ):
        part = results[
            (results["set"] == name) & (results["objective"] == objective) & (results["law"] == law)
        ]
        cells = [f"{part[key].mean():.3f}" for key in keys] + [
            f"{part['order_entropy'].mean():.1f}"
        ]
        lines.append(
            row(
                name,
                objective,
                law,
                *cells,
                f"{part['parameters'].mean():.0f}",
                f"{part['seconds'].mean():.0f}",
            )
        )
    lines += [
        "",
        "## Learned order's exact score minus the best number of the fixed order, paired over test rows, nats/row",
        "",
    ]
    lines += [
        row(
            "set",
            "objective",
            "seed",
            "difference ± s.e.",
            "in s.e.",
            "against",
            "against own NELBO",
        ),
        "|---" * 7 + "|",
    ]
    for c in comparisons:
        gap = f"{c['difference']:.3f} ± {c['standard_error']:.3f}"
        in_errors = f"{c['difference'] / c['standard_error']:.1f}"
        lines.append(
            row(
                c["set"],
                c["objective"],
                c["seed"],
                gap,
                in_errors,
                c["rival"],
                f"{c['against_own_nelbo']:.3f}",
            )
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
    parser.add_argument(
        "--data", type=existing, default="data", help="folder with a folder for every set"
    )
    parser.add_argument(
        "--sets",
        nargs="+",
        default=list(SETS),
        choices=list(WIDTH),
        help="tables of the paper; default: all but news",
    )
    parser.add_argument(
        "--objectives",
        nargs="+",
        default=list(OBJECTIVES),
        choices=OBJECTIVES,
        help="estimators; default: all",
    )
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument(
        "--steps", type=int, default=3000, help="of training; default: 3000, the paper's"
    )
    parser.add_argument(
        "--width",
        type=int,
        help="of the denoiser; default: the paper's size, at most 90,000 parameters",
    )
    parser.add_argument(
        "--override",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="changes of every run; use another --work with them",
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument(
        "--device", default="cpu", choices=["cpu", "cuda"], help="where to train; default: cpu"
    )
    parser.add_argument(
        "--work",
        default="outputs/paper",
        help="folder for the runs, results.csv, tables.md and pictures",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few steps only: shows that it runs, says nothing"
    )
    parser.add_argument("--quiet", action="store_true", help="nothing but errors and the result")
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
    about, runs = {}, {}
    for name in a.sets:
        for seed in range(a.seeds):
            for objective in a.objectives:
                for law in LAWS:
                    run = f"{name}_{objective}_{law}_{seed}" + (f"_w{a.width}" if a.width else "")
                    about[run] = {"set": name, "objective": objective, "law": law, "seed": seed}
                    runs[run] = define(name, law, objective, seed, data, a)
    reports = run_all(runs, str(work), a.jobs)
    results = pd.DataFrame([result(work / run, reports[run], about[run]) for run in runs])
    write_whole(work / "results.csv", lambda path: results.to_csv(path, index=False))
    comparisons = []
    for run, entry in about.items():
        rival = run.replace("_learned_", "_fixed_")
        if entry["law"] == "learned" and reports[run]["estimates"] and reports[rival]["estimates"]:
            comparisons.append(
                {k: entry[k] for k in ("set", "objective", "seed")}
                | paired(work / run, work / rival)
            )
    write_whole(
        work / "tables.md",
        lambda path: path.write_text(markdown(results, comparisons), encoding="utf-8"),
    )
    for name in a.sets:
        for objective in a.objectives:
            run = f"{name}_{objective}_learned_0" + (f"_w{a.width}" if a.width else "")
            if reports[run]["estimates"]:
                draw_schedules(work / run, work / f"schedules_{name}_{objective}.png")
    note(f"{work}/results.csv, tables.md, schedules_*.png")
    print(
        json.dumps(
            {"results": json.loads(results.to_json(orient="records")), "comparisons": comparisons}
        )
    )


if __name__ == "__main__":
    command(main)
