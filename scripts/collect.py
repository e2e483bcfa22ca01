"""All runs below some folders in one table and one picture: seeds together, likelihoods with their spread, failed runs too.

    python train.py -m experiment=nae_learned_order seed=0,1,2 optimizer.lr=1e-3,3e-3 output=outputs/lr
    python scripts/collect.py outputs/lr
    python scripts/collect.py outputs/a outputs/b --metric mode_exact --group seed data.seed --output outputs/a_and_b

Columns are the settings in which the runs differ. Into --output: runs.csv (a line a run, with standard errors over sequences), means.csv (a
line a setting: mean, standard deviation and number of its finished runs) and runs.png (--metric; every run, mean and deviation).
"""

from __future__ import annotations

import ordo.stop  # noqa: F401  first: Ctrl-C while the rest is imported

# isort: split
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from ordo import plots
from ordo.files import read_json, read_yaml, write_whole
from ordo.report import LABELS, UNITS, unit_of
from ordo.report.numbers import DECIMALS, standard_error
from ordo.report.record import read_metrics, read_report
from ordo.report.settings import differing, flat, setting_text
from ordo.runs.build import ConfigError
from ordo.runs.entry import Parser, command, job
from ordo.runs.run import check_writable

FIGURES = ("seconds", "parameters", "steps_done")


def status_of(folder: Path, config: dict[str, Any]) -> tuple[str, str]:
    """finished, no report, diverged or unfinished, and a remark."""
    if (folder / "report.json").is_file():
        return "finished", ""
    if (folder / "diverged.json").is_file():
        return "diverged", str(read_json(folder / "diverged.json").get("error", ""))
    rows = read_metrics(folder)
    steps = rows["step"] if len(rows) else []
    done = (
        f"step {max(steps) + 1} of {config.get('steps')}"
        if len(steps)
        else f"no step of {config.get('steps')} logged"
    )
    return ("no report" if config.get("report") is None else "unfinished"), done


def read_run(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What became of a run, its settings by dotted name, and its report (empty if it has none)."""
    config = read_yaml(folder / "config.yaml")
    status, remark = status_of(folder, config)
    report = read_report(folder / "report.json") if status == "finished" else {}
    about = {"run": str(folder), "status": status, "remark": remark}
    if report:
        about |= {
            "seconds": report.get("fit_seconds"),
            "parameters": report.get("parameters"),
            "steps_done": report.get("steps", config.get("steps")),
        }
    return about, flat(config, str(config.get("output"))), report


def collect(folders: list[Path]) -> tuple[pd.DataFrame, list[str], str]:
    """A line per run, the names of the settings in which runs differ, and the unit of the likelihoods. Raises ConfigError."""
    found = []
    for folder in folders:
        below = sorted(
            path.parent
            for path in folder.rglob("provenance.json")
            if (path.parent / "config.yaml").is_file()
        )
        if not below:
            raise ConfigError(
                f"no run below {folder}: a run is a folder with config.yaml and provenance.json, as train.py makes them"
            )
        found += [path for path in below if path not in found]
    abouts, settings, reports = zip(*map(read_run, found), strict=True)
    names = differing(list(settings))
    unit = unit_of([report for report in reports if report])
    error = standard_error(unit)
    lines = []
    for about, setting, report in zip(abouts, settings, reports, strict=True):
        line = {name: setting.get(name) for name in names} | {"status": about["status"]}
        for key in LABELS:
            entry = report["estimates"][key] if report else {}
            line |= {key: entry.get(unit), f"{key}_standard_error": entry.get(error)}
        lines.append(
            line
            | {name: about.get(name) for name in FIGURES}
            | {"run": about["run"], "remark": about["remark"]}
        )
    numbers = [*LABELS, *(f"{key}_standard_error" for key in LABELS), *FIGURES]
    return (
        pd.DataFrame(lines, dtype=object).astype(dict.fromkeys(numbers, float)),
        names,
        unit,
    )  # object: whole numbers stay whole


def means(runs: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """A line per setting: number of finished runs and of others, mean and standard deviation (over runs) of each likelihood."""
    lines = []
    keys = runs[names].map(repr).agg(" ".join, axis=1) if names else pd.Series("", runs.index)
    for _, group in runs.groupby(keys, sort=False):
        line = {name: group[name].iloc[0] for name in names}
        line |= {
            "finished": int((group["status"] == "finished").sum()),
            "others": int((group["status"] != "finished").sum()),
        }
        for key in LABELS:
            line |= {key: group[key].mean(), f"{key}_sd": group[key].std()}
        lines.append(
            line | {name: group[name].mean() for name in FIGURES} | {"runs": list(group.index)}
        )
    table = pd.DataFrame(lines, dtype=object)
    return table.astype(dict.fromkeys([*LABELS, *(f"{key}_sd" for key in LABELS), *FIGURES], float))


def sortable(column: pd.Series) -> pd.Series:
    """Numbers by size, anything else by its text."""
    numbers = pd.to_numeric(column, errors="coerce")
    return numbers if (numbers.isna() == column.isna()).all() else column.map(str)


def print_table(
    table: pd.DataFrame, runs: pd.DataFrame, names: list[str], unit: str, console: Console
) -> None:
    """Settings, runs, four likelihoods, cost; then what did not finish."""
    grid = Table()
    for name in names:
        grid.add_column(name.removesuffix("._target_"), overflow="fold")
    for title in ("runs", *LABELS.values(), *FIGURES):
        grid.add_column(title, justify="right", overflow="fold")
    digits = DECIMALS[unit]
    for _, line in table.iterrows():
        likelihoods = []
        for key in LABELS:
            first = runs.loc[line["runs"]]
            spread = (
                line[f"{key}_sd"] if line["finished"] > 1 else first[f"{key}_standard_error"].max()
            )
            likelihoods.append(
                "-" if not line["finished"] else f"{line[key]:.{digits}f} ± {spread:.{digits}f}"
            )
        others = f" (+{line['others']})" if line["others"] else ""
        cost = [f"{line[name]:.0f}" if line[name] == line[name] else "-" for name in FIGURES]
        grid.add_row(
            *(setting_text(name, line[name]) for name in names),
            f"{line['finished']}{others}",
            *likelihoods,
            *cost,
        )
    console.print(
        f"{UNITS[unit]}; ± the standard deviation over runs, for a single run its standard error over sequences"
    )
    console.print(grid)
    for _, run in runs[runs["status"] != "finished"].iterrows():
        console.print(
            f"{run['run']}: {run['status']}, {run['remark']}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument(
        "folders", nargs="+", type=Path, help="of runs, or folders that have them anywhere below"
    )
    parser.add_argument(
        "--metric",
        default="own_nelbo",
        choices=list(LABELS),
        help="what the table is sorted by and the picture shows",
    )
    parser.add_argument(
        "--group",
        nargs="*",
        default=["seed"],
        metavar="KEY",
        help="settings over which to average; default: seed",
    )
    parser.add_argument(
        "--sort", metavar="COLUMN", help="of means.csv, ascending; default: the metric"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for runs.csv, means.csv and runs.png; default: the first folder",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="no table, only where it has been written"
    )
    a = parser.parse_args()
    output = a.output or a.folders[0]
    with job(a.quiet):
        check_writable(output)
        runs, names, unit = collect(a.folders)
        unknown = [key for key in a.group if key not in names and key != "seed"]
        if unknown:
            raise ConfigError(
                f"--group {unknown[0]}: the runs do not differ in it, but in {', '.join(names) or 'nothing'}"
            )
        names = [name for name in names if name not in a.group]
        table = means(runs, names)
        sort = a.sort or a.metric
        if sort not in table or sort == "runs":
            raise ConfigError(
                f"--sort {sort}: no such column; there are {', '.join(map(str, table.columns.drop('runs')))}"
            )
        table = table.sort_values(sort, key=sortable, kind="stable")
        write_whole(
            output / "runs.csv", lambda path: runs.assign(unit=unit).to_csv(path, index=False)
        )
        write_whole(
            output / "means.csv",
            lambda path: table.drop(columns="runs").assign(unit=unit).to_csv(path, index=False),
        )
        labels = [
            ", ".join(f"{n.removesuffix('._target_')} {setting_text(n, line[n])}" for n in names)
            for _, line in table.iterrows()
        ]
        values = [runs.loc[index, a.metric].dropna() for index in table["runs"]]
        plots.save(
            plots.compare_settings(values, labels, f"{LABELS[a.metric]} ({UNITS[unit]})"),
            output / "runs.png",
        )
        console = Console(width=None if sys.stdout.isatty() else 200)
        if not a.quiet:
            print_table(table, runs, names, unit, console)
        console.print(
            f"{len(runs)} runs: {output}/runs.csv, means.csv, runs.png",
            soft_wrap=True,
            highlight=False,
        )


if __name__ == "__main__":
    command(main)
