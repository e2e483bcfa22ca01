"""Runs side by side in one HTML file: likelihoods with paired differences, overlaid curves, schedules, orders, samples.

    python scripts/compare.py outputs/A/TIME outputs/B/TIME            # runs, or outputs of eval.py
    python scripts/compare.py outputs/SWEEP --output outputs/SWEEP     # every finished run below a folder

Into --output: compare.html, compare.csv and the pictures. The first run is the baseline: a gain above 0 is better than it.
"""

from __future__ import annotations

import ordo.stop  # noqa: F401  first: Ctrl-C while the rest is imported

# isort: split
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
from ordo.runs.entry import Parser, command, job
from ordo.runs.run import check_writable


def find_records(folders: list[Path]) -> list[Record]:
    """Of the folders that have a report, and of every run below those that have none; of a single folder both. Raises ConfigError."""
    found: list[Path] = []
    for folder in folders:
        here = [folder] if (folder / "report.json").is_file() else []
        if (
            not here or len(folders) == 1
        ):  # outputs of eval.py, which lie beside checkpoints, are of runs that are there already
            below = sorted(path.parent for path in folder.rglob("report.json"))
            here += [
                path
                for path in below
                if path != folder and "checkpoints" not in path.relative_to(folder).parts
            ]
        if not here:
            raise ConfigError(
                f"no report.json in or below {folder}: name finished runs, folders that hold some, or outputs of eval.py"
            )
        found += [path for path in here if path not in found]
    if len(found) < 2:
        raise ConfigError(
            f"only one run, {found[0]}: name at least two, or a folder that holds several"
        )
    return [read_record(path, run_of(path)) for path in found]


def run_of(folder: Path) -> Path:
    """The run folder of an output of eval.py that lies beside the checkpoint; else the folder itself."""
    run = folder.parent.parent
    return (
        run
        if not (folder / "config.yaml").is_file() and (run / "config.yaml").is_file()
        else folder
    )


def table(runs: dict[str, Record]) -> pd.DataFrame:
    """A line a run: likelihoods in nats per sequence, a table's row or a molecule, and paired differences to the first (below 0 is better),
    with standard errors; and whether the line may be compared with the first.
    """
    first = next(iter(runs.values()))
    lines = []
    for label, record in runs.items():
        line: dict[str, object] = {
            "run": label,
            "folder": str(record.folder),
            "token": record.report["unit"],
        }
        line |= {"comparable": comparable(first, record)}
        for key in LABELS:
            entry = record.report["estimates"][key]
            difference = paired(first, record, key)
            line |= {key: entry["nats"], f"{key}_standard_error": entry["standard_error"]}
            line |= {
                f"{key}_difference": difference and difference[0],
                f"{key}_difference_standard_error": difference and difference[1],
            }
        lines.append(line)
    return pd.DataFrame(lines)


def show(runs: dict[str, Record]) -> None:
    """A line a run, with its unit, and how much better it is than the first; and whether runs may not be compared."""
    base = next(iter(runs.values()))
    for label, record in runs.items():
        unit = unit_among(record, runs.values())
        better = gain(base, record, "own_nelbo", unit) if record is not base else "-"
        text = f"{label}: {LABELS['own_nelbo']} {cell(record.report, 'own_nelbo', unit)} {unit_words(record, runs.values())}"
        print(text if better == "-" else f"{text}, gain {better}")
    line = not_comparable(runs)
    if line is not None:
        print(line, file=sys.stderr)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        help="of runs or of eval.py, or folders that have them anywhere below",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("outputs/compared"),
        help="folder to write into; default: outputs/compared",
    )
    parser.add_argument(
        "--labels",
        nargs="+",
        metavar="NAME",
        help="of the runs, in their order; default: the settings in which they differ",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="nothing but errors and where it has been written"
    )
    a = parser.parse_args()
    with job(a.quiet):
        check_writable(a.output)
        records = find_records(a.folders)
        if a.labels and (len(a.labels) != len(records) or len(set(a.labels)) < len(a.labels)):
            raise ConfigError(
                f"--labels: there are {len(records)} runs, which need as many names, each another"
            )
        runs = dict(zip(a.labels or labels(records), records, strict=True))
        pages = {label: record.folder / "report.html" for label, record in runs.items()}
        links = {
            label: os.path.relpath(page, a.output)
            for label, page in pages.items()
            if page.is_file()
        }
        with reading(
            " and ".join(str(record.folder) for record in records[:4]), "what the runs left there"
        ):
            page, pictures = comparison_page(runs, links)
        write_whole(a.output / "compare.csv", lambda path: table(runs).to_csv(path, index=False))
        save_page(page, pictures, a.output, "compare.html")
        if not a.quiet:
            show(runs)
    print(f"{len(runs)} runs: {a.output}/compare.html, compare.csv, pictures/")


if __name__ == "__main__":
    command(main)
