"""Runs side by side in one HTML file, see ``ordo.commands.compare``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd

from ordo.errors import ConfigError
from ordo.files import write_whole
from ordo.report import LABELS, Record, cell, read_record, save_page
from ordo.report.comparison import comparison_page, labels
from ordo.report.paired import comparable, gain, not_comparable, paired, unit_among, unit_words
from ordo.runs.checkpoint import reading
from ordo.runs.run import check_writable


def find_records(folders: list[Path]) -> list[Record]:
    """The folders that have a report, and every run below those that have none.

    A single folder counts itself and the runs below it. Raises ConfigError.
    """
    found: list[Path] = []
    for folder in folders:
        here = [folder] if (folder / "report.json").is_file() else []
        if not here or len(folders) == 1:
            # Outputs of ordo eval lie beside the checkpoints of runs that are found already.
            below = sorted(path.parent for path in folder.rglob("report.json"))
            others = [path for path in below if path != folder]
            here += [path for path in others if "checkpoints" not in path.relative_to(folder).parts]
        if not here:
            raise ConfigError(
                f"no report.json in or below {folder}: name finished runs, folders that hold some, "
                "or outputs of ordo eval"
            )
        found += [path for path in here if path not in found]
    if len(found) < 2:
        raise ConfigError(
            f"only one run, {found[0]}: name at least two, or a folder that holds several"
        )
    return [read_record(path, run_of(path)) for path in found]


def run_of(folder: Path) -> Path:
    """The run folder of an output of ordo eval that lies beside the checkpoint; else the folder."""
    run = folder.parent.parent
    beside = not (folder / "config.yaml").is_file() and (run / "config.yaml").is_file()
    return run if beside else folder


def table(runs: dict[str, Record]) -> pd.DataFrame:
    """A line a run: likelihoods, paired differences to the first run, and their standard errors.

    Likelihoods are nats per sequence, row of a table or molecule; a difference below 0 is better.
    ``comparable`` says whether the line may be compared with the first.
    """
    first = next(iter(runs.values()))
    lines = []
    for label, record in runs.items():
        report = record.report
        line: dict[str, object] = {"run": label, "folder": str(record.folder)}
        line |= {"token": report["unit"], "comparable": comparable(first, record)}
        for key in LABELS:
            entry, difference = report["estimates"][key], paired(first, record, key)
            line |= {key: entry["nats"], f"{key}_standard_error": entry["standard_error"]}
            mean, error = difference or (None, None)
            line |= {f"{key}_difference": mean, f"{key}_difference_standard_error": error}
        lines.append(line)
    return pd.DataFrame(lines)


def show(runs: dict[str, Record]) -> None:
    """Prints a line a run, with its gain over the first, and whether runs may not be compared."""
    base = next(iter(runs.values()))
    for label, record in runs.items():
        unit = unit_among(record, runs.values())
        figure = cell(record.report, "own_nelbo", unit)
        text = f"{label}: {LABELS['own_nelbo']} {figure} {unit_words(record, runs.values())}"
        better = gain(base, record, "own_nelbo", unit) if record is not base else "-"
        print(text if better == "-" else f"{text}, gain {better}")
    line = not_comparable(runs)
    if line is not None:
        print(line, file=sys.stderr)


def write(folders: list[Path], output: Path, names: list[str] | None, quiet: bool) -> str:
    """Writes compare.html, compare.csv and the pictures, and prints a line a run; the arguments are
    the options of ``ordo compare``. Returns a line on what was written.

    Raises ConfigError.
    """
    check_writable(output)
    records = find_records(folders)
    if names and (len(names) != len(records) or len(set(names)) < len(names)):
        raise ConfigError(
            f"--labels: there are {len(records)} runs, which need as many names, each another"
        )
    runs = dict(zip(names or labels(records), records, strict=True))
    reports = {label: record.folder / "report.html" for label, record in runs.items()}
    there = {label: page for label, page in reports.items() if page.is_file()}
    links = {label: os.path.relpath(page, output) for label, page in there.items()}
    shown = " and ".join(str(record.folder) for record in records[:4])
    with reading(shown, "what the runs left there"):
        page, pictures = comparison_page(runs, links)
    write_whole(output / "compare.csv", lambda path: table(runs).to_csv(path, index=False))
    save_page(page, pictures, output, "compare.html")
    if not quiet:
        show(runs)
    return f"{len(runs)} runs: {output}/compare.html, compare.csv, pictures/"
