"""All runs below some folders in one table and one picture, see ``ordo.commands.collect``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from ordo import plots
from ordo.errors import ConfigError
from ordo.files import read_json, read_yaml, write_whole
from ordo.report import LABELS, UNITS, unit_of
from ordo.report.numbers import DECIMALS, standard_error
from ordo.report.record import read_metrics, read_report
from ordo.report.settings import differing, flat, setting_text
from ordo.runs.run import check_writable

FIGURES = ("seconds", "parameters", "steps_done")


def status_of(folder: Path, config: dict[str, Any]) -> tuple[str, str]:
    """finished, no report, diverged or unfinished, and a remark."""
    if (folder / "report.json").is_file():
        return "finished", ""
    if (folder / "diverged.json").is_file():
        return "diverged", str(read_json(folder / "diverged.json").get("error", ""))
    rows = read_metrics(folder)
    steps, of = rows["step"] if len(rows) else [], config.get("steps")
    done = f"step {max(steps) + 1} of {of}" if len(steps) else f"no step of {of} logged"
    return ("no report" if config.get("report") is None else "unfinished"), done


def read_run(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What became of a run, its settings by dotted name, and its report (empty if it has none)."""
    config = read_yaml(folder / "config.yaml")
    status, remark = status_of(folder, config)
    report = read_report(folder / "report.json") if status == "finished" else {}
    about = {"run": str(folder), "status": status, "remark": remark}
    if report:
        about |= {"seconds": report.get("fit_seconds"), "parameters": report.get("parameters")}
        about["steps_done"] = report.get("steps", config.get("steps"))
    return about, flat(config, str(config.get("output"))), report


def collect(folders: list[Path]) -> tuple[pd.DataFrame, list[str], str]:
    """A line per run, the names of the settings that differ, and the unit of the likelihoods.

    Raises ConfigError.
    """
    found = []
    for folder in folders:
        every = sorted(path.parent for path in folder.rglob("provenance.json"))
        below = [path for path in every if (path / "config.yaml").is_file()]
        if not below:
            raise ConfigError(
                f"no run below {folder}: a run is a folder with config.yaml and provenance.json, "
                "as ordo train makes them"
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
        line |= {name: about.get(name) for name in FIGURES}
        lines.append(line | {"run": about["run"], "remark": about["remark"]})
    numbers = [*LABELS, *(f"{key}_standard_error" for key in LABELS), *FIGURES]
    table = pd.DataFrame(lines, dtype=object)  # object: whole numbers stay whole
    return table.astype(dict.fromkeys(numbers, float)), names, unit


def means(runs: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """A line per setting: number of finished and of other runs, mean and deviation over runs."""
    lines = []
    keys = runs[names].map(repr).agg(" ".join, axis=1) if names else pd.Series("", runs.index)
    for _, group in runs.groupby(keys, sort=False):
        line = {name: group[name].iloc[0] for name in names}
        finished = int((group["status"] == "finished").sum())
        line |= {"finished": finished, "others": len(group) - finished}
        for key in LABELS:
            line |= {key: group[key].mean(), f"{key}_sd": group[key].std()}
        line |= {name: group[name].mean() for name in FIGURES}
        lines.append(line | {"runs": list(group.index)})
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
        first, finished = runs.loc[line["runs"]], line["finished"]
        likelihoods = []
        for key in LABELS:
            error = first[f"{key}_standard_error"].max()
            spread = line[f"{key}_sd"] if finished > 1 else error
            figure = f"{line[key]:.{digits}f} ± {spread:.{digits}f}"
            likelihoods.append(figure if finished else "-")
        others = f" (+{line['others']})" if line["others"] else ""
        cost = [f"{line[name]:.0f}" if line[name] == line[name] else "-" for name in FIGURES]
        grid.add_row(
            *(setting_text(name, line[name]) for name in names),
            f"{finished}{others}",
            *likelihoods,
            *cost,
        )
    console.print(
        f"{UNITS[unit]}; ± the standard deviation over runs, for a single run its standard error "
        "over sequences"
    )
    console.print(grid)
    plain: dict[str, Any] = {"soft_wrap": True, "highlight": False, "markup": False}
    for _, run in runs[runs["status"] != "finished"].iterrows():
        console.print(f"{run['run']}: {run['status']}, {run['remark']}", **plain)


def write(
    folders: list[Path], output: Path, metric: str, group: list[str], sort: str | None, quiet: bool
) -> None:
    """Writes runs.csv, means.csv and runs.png, and prints the table; the arguments are the options
    of ``ordo collect``.

    Raises ConfigError for a name that the runs do not have.
    """
    check_writable(output)
    if metric not in LABELS:
        raise ConfigError(f"--metric {metric}: choose from {', '.join(LABELS)}")
    runs, names, unit = collect(folders)
    unknown = [key for key in group if key not in names and key != "seed"]
    if unknown:
        differ = ", ".join(names) or "nothing"
        raise ConfigError(f"--group {unknown[0]}: the runs do not differ in it, but in {differ}")
    names = [name for name in names if name not in group]
    table = means(runs, names)
    sort = sort or metric
    if sort not in table or sort == "runs":
        there = ", ".join(map(str, table.columns.drop("runs")))
        raise ConfigError(f"--sort {sort}: no such column; there are {there}")
    table = table.sort_values(sort, key=sortable, kind="stable")
    written = {"runs.csv": runs, "means.csv": table.drop(columns="runs")}
    for name, frame in written.items():
        frame = frame.assign(unit=unit)
        write_whole(output / name, lambda path, frame=frame: frame.to_csv(path, index=False))
    labels = [
        ", ".join(f"{n.removesuffix('._target_')} {setting_text(n, line[n])}" for n in names)
        for _, line in table.iterrows()
    ]
    values = [runs.loc[index, metric].dropna() for index in table["runs"]]
    title = f"{LABELS[metric]} ({UNITS[unit]})"
    plots.save(plots.compare_settings(values, labels, title), output / "runs.png")
    console = Console(width=None if sys.stdout.isatty() else 200)
    if not quiet:
        print_table(table, runs, names, unit, console)
    told = f"{len(runs)} runs: {output}/runs.csv, means.csv, runs.png"
    console.print(told, soft_wrap=True, highlight=False)
