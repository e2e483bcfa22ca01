"""Every study behind the numbers of ordo, re-run: each is benchmarks/NAME.py, its page NAME.md.

    python scripts/benchmark.py nae --seeds 5
    python scripts/benchmark.py text --text8 FILE --work FOLDER

The last line on standard output is one JSON object; --quiet prints nothing else. NAME --help
explains the options. Finished runs below --work are reused, so a killed benchmark goes on.
"""

import ordo.stop  # noqa: F401  first: Ctrl-C while the rest is imported

# isort: split
import argparse
import json
import sys
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import add_options, words
from ordo.runs.entry import command, job
from ordo.runs.parser import Parser

NAMES = words(
    "nae text tables structure variance throughput oracle sampling quality sudoku steps pace "
    "tokenise content molecules star_graph two_orders estimators law_cost calls"
)
OPTIONS = {
    "device": ("cpu", "where models are trained and timed", {"choices": ["cpu", "cuda"]}),
    "quick": (False, "a few steps only: shows that it runs, says nothing"),
    "work": ("outputs/benchmark", "folder for the runs"),
    "quiet": (False, "prints errors and the result, nothing else"),
}


def make_parser(loaded: Collection[str] = NAMES) -> tuple[Parser, dict[str, Any]]:
    """The parser, and name -> what runs the study.

    loaded: studies whose options are to be known. Every one that is imported makes this process
    larger, and with it the least peak of memory that a study can measure in a child.
    """
    parser = Parser(description=__doc__)
    names = "{" + ",".join(NAMES) + "}"
    commands = parser.add_subparsers(dest="benchmark", required=True, metavar=names)
    form = argparse.ArgumentDefaultsHelpFormatter
    studies = {}
    for name in NAMES:
        if name not in loaded:
            commands.add_parser(name)
            continue
        module = import_module(f"benchmarks.{name}")
        about = (module.__doc__ or "").splitlines()[0]
        sub = commands.add_parser(name, help=about, formatter_class=form)
        study = studies[name] = getattr(module, "STUDY", module)
        add_options(sub, OPTIONS)
        add_options(sub, study.all_options() if study is not module else module.OPTIONS)
    return parser, studies


def main() -> None:
    asked = [each for each in sys.argv[1:] if each in NAMES][:1]
    helped = {"-h", "--help"} & {*sys.argv[1:]}
    parser, studies = make_parser(asked or (NAMES if helped else ()))
    a = parser.parse_args()
    if a.quick:
        a.work += "_quick"
    with job(a.quiet):
        print(json.dumps(studies[a.benchmark].run(a)))


if __name__ == "__main__":
    command(main)
