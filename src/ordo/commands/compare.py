"""Runs side by side in one HTML file.

The file has likelihoods with paired differences, overlaid curves, schedules, orders and samples.

    ordo compare outputs/A/TIME outputs/B/TIME            # runs, or outputs of ordo eval
    ordo compare outputs/SWEEP --output outputs/SWEEP     # every finished run below

The command writes compare.html, compare.csv and the pictures into --output. The first run is the
baseline: a gain above 0 is better than it.
"""

from __future__ import annotations

from pathlib import Path

from ordo.runs.entry import job
from ordo.runs.parser import Parser


def main() -> None:
    parser = Parser(prog="ordo compare", description=__doc__)
    runs = "of runs or of ordo eval, or folders that have them anywhere below"
    parser.add_argument("folders", nargs="+", type=Path, help=runs)
    output = Path("outputs/compared")
    written = f"folder to write into; default: {output}"
    parser.add_argument("--output", type=Path, default=output, help=written)
    named = "of the runs, in their order; default: the settings in which they differ"
    parser.add_argument("--labels", nargs="+", metavar="NAME", help=named)
    quiet = "prints errors and where the page has been written, nothing else"
    parser.add_argument("--quiet", action="store_true", help=quiet)
    a = parser.parse_args()
    with job(a.quiet):
        from ordo.runs.compare_runs import write

        written = write(a.folders, a.output, a.labels, a.quiet)
    print(written)
