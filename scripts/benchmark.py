"""Everything ordo claims in numbers, re-run.

    python scripts/benchmark.py nae --seeds 5            order found on latents-and-observations, nats above the exact entropy
    python scripts/benchmark.py text --text8 FILE        bits/char of random, learned and left-to-right orders
    python scripts/benchmark.py content --text8 FILE     bits/char of laws of positions and of laws that depend on the tokens
    python scripts/benchmark.py pace --text8 FILE        time to quality: rows and seconds until time-space training's final bits/char
    python scripts/benchmark.py structure --seeds 5      learned orders against the direction of random Bayesian networks
    python scripts/benchmark.py variance --text8 FILE    variance of the gradient in log w, three estimators, equal denoiser rows
    python scripts/benchmark.py estimators --text8 FILE  variance of the law's gradient: every estimator, law and phase of training
    python scripts/benchmark.py throughput               tokens/s and memory against a plain torch.nn.TransformerEncoder step
    python scripts/benchmark.py law_cost                 seconds and memory of a step under every law of orders
    python scripts/benchmark.py steps                    training steps against the MDLM step as published
    python scripts/benchmark.py tables --data FOLDER     every metric of synthetic tables on the paper's sets
    python scripts/benchmark.py oracle                   every sampler with an exact denoiser: KL to the law against calls
    python scripts/benchmark.py sampling                 sampling speed against loops as peers write them
    python scripts/benchmark.py quality --text8 FILE     quality against calls of every sampler on trained models
    python scripts/benchmark.py sudoku --puzzles FILE    share of Sudokus solved by every sampler
    python scripts/benchmark.py molecules --smiles FILE  nats, validity and novelty of QM9 SMILES under laws of four kinds
    python scripts/benchmark.py star_graph --setting easy     share of paths in star graphs found by every law of orders
    python scripts/benchmark.py two_orders --task two_ways    gap that a law dependent on the tokens closes where no static order is good
    python scripts/benchmark.py tokenise --text FILE     building a token cache against datasets.map, and streaming

The last line on standard output is one JSON object; NAME --help explains the options, --quiet prints nothing else. Finished runs below
--work are reused, so a killed benchmark goes on.
"""

import ordo.stop  # noqa: F401  first: Ctrl-C while the rest is imported

# isort: split
import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import (
    content,
    estimators,
    law_cost,
    molecules,
    nae,
    oracle,
    pace,
    quality,
    sampling,
    star_graph,
    steps,
    structure,
    sudoku,
    tables,
    text,
    throughput,
    tokenise,
    two_orders,
    variance,
)
from ordo.runs.entry import Parser, command, job

BENCHMARKS = {
    "nae": nae,
    "text": text,
    "tables": tables,
    "structure": structure,
    "variance": variance,
    "throughput": throughput,
}
BENCHMARKS |= {
    "oracle": oracle,
    "sampling": sampling,
    "quality": quality,
    "sudoku": sudoku,
    "steps": steps,
    "pace": pace,
}
BENCHMARKS |= {
    "tokenise": tokenise,
    "content": content,
    "molecules": molecules,
    "star_graph": star_graph,
    "two_orders": two_orders,
}
BENCHMARKS |= {"estimators": estimators, "law_cost": law_cost}


def main() -> None:
    parser = Parser(description=__doc__)
    commands = parser.add_subparsers(
        dest="benchmark", required=True, metavar="{" + ",".join(BENCHMARKS) + "}"
    )
    for name, module in BENCHMARKS.items():
        sub = commands.add_parser(
            name,
            help=(module.__doc__ or "").splitlines()[0],
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        sub.add_argument(
            "--device",
            default="cpu",
            choices=["cpu", "cuda"],
            help="where models are trained and timed",
        )
        sub.add_argument(
            "--quick",
            action="store_true",
            help="a few steps only: shows that it runs, says nothing",
        )
        sub.add_argument("--work", default="outputs/benchmark", help="folder for the runs")
        sub.add_argument("--quiet", action="store_true", help="nothing but errors and the result")
        module.add_arguments(sub)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.work += "_quick"
    with job(arguments.quiet):
        result = BENCHMARKS[arguments.benchmark].run(arguments)
        print(json.dumps(result))


if __name__ == "__main__":
    command(main)
