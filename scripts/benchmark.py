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
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import add_options, words
from ordo.runs.entry import Parser, command, job

NAMES = words(
    "nae text tables structure variance throughput oracle sampling quality sudoku steps pace "
    "tokenise content molecules star_graph two_orders estimators law_cost"
)


def main() -> None:
    parser = Parser(description=__doc__)
    names = "{" + ",".join(NAMES) + "}"
    commands = parser.add_subparsers(dest="benchmark", required=True, metavar=names)
    form = argparse.ArgumentDefaultsHelpFormatter
    studies = {}
    for name in NAMES:
        module = import_module(f"benchmarks.{name}")
        about = (module.__doc__ or "").splitlines()[0]
        sub = commands.add_parser(name, help=about, formatter_class=form)
        device = {"choices": ["cpu", "cuda"], "help": "where models are trained and timed"}
        sub.add_argument("--device", default="cpu", **device)
        quick = "a few steps only: shows that it runs, says nothing"
        sub.add_argument("--quick", action="store_true", help=quick)
        sub.add_argument("--work", default="outputs/benchmark", help="folder for the runs")
        quiet = "prints errors and the result, nothing else"
        sub.add_argument("--quiet", action="store_true", help=quiet)
        study = getattr(module, "STUDY", None)
        add_options(sub, study.all_options() if study else module.OPTIONS)
        studies[name] = study or module
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.work += "_quick"
    with job(arguments.quiet):
        print(json.dumps(studies[arguments.benchmark].run(arguments)))


if __name__ == "__main__":
    command(main)
