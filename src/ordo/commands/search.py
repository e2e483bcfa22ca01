"""Searches settings of ordo train with Optuna, for the least NELBO on the validation split.

    ordo search experiment=nae_learned_order steps=500 \\
        'optimizer.lr=tag(log, interval(1e-4, 1e-2))' 'denoiser.width=choice(64,128)' \\
        'optimizer.warmup_steps=range(50,401,50)' --trials 20 --output outputs/search

The NELBO is that of the model's own order law. What is searched is written as Hydra writes sweeps:
choice(a,b) or a,b; range(start,stop,step) without stop; interval(a,b), of whole numbers
int(interval(a,b)); on a log scale tag(log, interval(a,b)). Every other override holds for all
trials.

The same command started again goes on, also with more --trials. Commands that are started several
times at once, also on machines that share the folder, all work on one study. A trial is the run
OUTPUT/trials/NUMBER; a trial that diverges counts as pruned. The command writes trials.csv,
history.png and best.txt, a command for ordo train, into OUTPUT.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ordo.errors import ConfigError, install
from ordo.runs.entry import job
from ordo.runs.parser import Parser


def main() -> None:
    parser = Parser(prog="ordo search", description=__doc__)
    overrides = "of ordo train; those with choice, range or interval are searched"
    parser.add_argument("overrides", nargs="+", metavar="KEY=VALUE", help=overrides)
    trials = "of the whole study, not counting failed ones"
    parser.add_argument("--trials", type=int, default=20, help=trials)
    parser.add_argument("--output", default="outputs/search", help="folder of the study")
    seed = "of the proposals; that of training is seed=..."
    parser.add_argument("--seed", type=int, default=0, help=seed)
    prune = "stop trials whose validation NELBO is behind the median at the same step"
    parser.add_argument("--prune", action="store_true", help=prune)
    quiet = "prints errors and the command of the best trial, nothing else"
    parser.add_argument("--quiet", action="store_true", help=quiet)
    a = parser.parse_intermixed_args()
    with job(a.quiet):
        if find_spec("optuna") is None:
            raise ConfigError(f"ordo search needs Optuna 4 or newer: {install('search')}")
        from ordo.runs.search import write

        write(a.overrides, Path(a.output), a.trials, a.seed, a.prune, a.quiet)
