"""All runs below some folders in one table and one picture.

    ordo train -m experiment=nae_learned_order seed=0,1,2 optimizer.lr=1e-3,3e-3 \\
        output=outputs/lr
    ordo collect outputs/lr
    ordo collect outputs/a outputs/b --metric mode_exact --group seed data.seed \\
        --output outputs/a_and_b

Seeds are taken together: the table has likelihoods with their spread, and failed runs too. Its
columns are the settings in which the runs differ. The command writes into --output: runs.csv (a
line a run, with standard errors over sequences), means.csv (a line a setting: mean, standard
deviation and number of its finished runs) and runs.png (--metric; every run, mean and deviation).
"""

from __future__ import annotations

from pathlib import Path

from ordo.runs.entry import job
from ordo.runs.parser import Parser


def main() -> None:
    parser = Parser(prog="ordo collect", description=__doc__)
    folders = "of runs, or folders that have them anywhere below"
    parser.add_argument("folders", nargs="+", type=Path, help=folders)
    metric = (
        "what sorts the table and what the picture shows: uniform_nelbo, own_nelbo (default), "
        "mode_exact or importance"
    )
    parser.add_argument("--metric", default="own_nelbo", help=metric)
    group = {"metavar": "KEY", "help": "settings over which to average; default: seed"}
    parser.add_argument("--group", nargs="*", default=["seed"], **group)
    sort = "of means.csv, ascending; default: the metric"
    parser.add_argument("--sort", metavar="COLUMN", help=sort)
    output = "folder for runs.csv, means.csv and runs.png; default: the first folder"
    parser.add_argument("--output", type=Path, help=output)
    quiet = "prints where the files have been written, and no table"
    parser.add_argument("--quiet", action="store_true", help=quiet)
    a = parser.parse_args()
    with job(a.quiet):
        from ordo.runs.collect import write

        write(a.folders, a.output or a.folders[0], a.metric, a.group, a.sort, a.quiet)
