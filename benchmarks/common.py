"""Runs experiments exactly as ordo train does, several at a time, each once. Frame of a study.

A study trains runs of several kinds, each kind with several seeds, and reports on every kind.
"""

import json
import multiprocessing
import os
import shutil
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Collection, Container, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ordo.progress import note
from ordo.runs.parser import existing
from ordo.runs.provenance import git_commit, write_json
from ordo.runs.settings import CONFIGS

T = TypeVar("T")
Report = dict[str, Any]  # report.json of a run, and its training seconds
Run = tuple[str, list[str]]  # experiment and overrides: ``ordo train experiment=... overrides``


def words(text: str) -> list[str]:
    """Overrides that are written as on a command line."""
    return text.split()


QUICK = words(
    "steps=20 validate_every=10 report.sequences=32 report.exact_sequences=8 report.draws=2 "
    "report.importance_draws=2 report.page=false report.orders=0 report.samples=0"
)
NO_PAGE = words("report.page=false report.orders=0 report.samples=0")
NUMBERS = {  # options that many studies have, and their help
    "seeds": "seeds 0, 1, ... of every kind that names no number of its own",
    "steps": "training steps; not given: as many as the experiment has",
    "rows": "denoiser rows a step",
    "length": "characters per sequence",
    "jobs": "runs at a time, one thread each",
}
Options = Mapping[str, tuple[Any, ...]]  # name -> default, help, further arguments of argparse
TEXT8 = "data/text8", "text8 or its first megabytes", {"type": existing}
LIKELIHOODS = {
    "own": "own_nelbo",
    "uniform": "uniform_nelbo",
    "exact": "mode_exact",
    "importance": "importance",
}


def objective(space: str, of_tokens: bool = False) -> str:
    """Overrides that choose an objective as the studies were recorded with it.

    space: time (the paper's gradient), order, dense, or dense_rloo, which laws of tokens have too.
    """
    if space == "time":
        return "objective=time objective.score.baseline=rloo objective.score.antithetic=none"
    if space == "dense_rloo" or (space == "dense" and of_tokens):
        return "objective=dense_rloo"
    return f"objective={space}"


def compose_experiment(experiment: str, overrides: list[str]) -> Any:
    """The configuration of ``ordo train experiment=... overrides``."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("train", [f"experiment={experiment}", f"name={experiment}", *overrides])


def _one(experiment: str, overrides: list[str], folder: Path, identity: str) -> Report:
    from ordo.runs.run import train
    from ordo.training.module import TrainingDiverged

    begun = folder / "begun.json"
    killed = (
        begun.exists()
        and json.loads(begun.read_text()) == identity
        and (folder / "checkpoints" / "last.ckpt").exists()
    )
    if killed:
        overrides = [*overrides, f"resume={folder}"]
    else:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(begun, identity)
    config = compose_experiment(experiment, [*overrides, f"output={folder}"])
    try:
        result = train(config)
    except TrainingDiverged as error:
        return {"estimates": {}, "fit_seconds": None, "diverged": str(error)}
    out = result.report.as_dict() if result.report is not None else {"estimates": {}}
    written = folder / "report.json"
    collapsed = json.loads(written.read_text()).get("collapsed") if written.exists() else None
    return out | {"fit_seconds": None if killed else result.seconds, "collapsed": collapsed}


def seeds_of(
    wanted: list[str], known: Container[str], seeds: int | None, default: Mapping[str, int]
) -> dict[str, int]:
    """The number of seeds of every kind in a list such as ``dense=5 order``.

    The number is the one that the item names, else ``seeds``, else the default, else one.
    """
    out = {}
    for item in wanted:
        name, _, number = item.partition("=")
        if name not in known or (number and not number.isdigit()):
            raise SystemExit(
                f"error: {item!r} is neither NAME nor NAME=SEEDS with a NAME that this benchmark "
                "knows; see --help"
            )
        out[name] = int(number) if number else seeds or default.get(name, 1)
    return out


def end_with_parent() -> None:
    """Starts a watch in a worker that ends the worker when its parent is killed.

    A worker left alone would train on, into folders that others use.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def workers(jobs: int) -> ProcessPoolExecutor:
    """Fresh processes, ``jobs`` at a time."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent)


def run_all(runs: Mapping[str, Run], work: str, jobs: int) -> dict[str, Report]:
    """The report of every run, by name. Tells its progress on standard error; a run has one thread.

    A finished run of the same configuration below ``work`` is taken as it is, whatever the code
    was, and its commit is printed. A run that was killed goes on from its last checkpoint.
    """
    common = "threads=1 trainer.enable_progress_bar=false compare=null callbacks.samples=null"
    common += " callbacks.progress=null"
    reports: dict[str, Report] = {}
    waiting = {}
    commit = git_commit()
    with workers(jobs) as pool:
        for name, (experiment, overrides) in runs.items():
            folder = Path(work) / name
            overrides = [*overrides, *common.split()]
            config = compose_experiment(experiment, overrides)
            config.output = ""
            plain = OmegaConf.to_container(config, resolve=False)
            identity = json.dumps([experiment, plain], sort_keys=True)
            marker = folder / "benchmark.json"
            if marker.exists():
                old = json.loads(marker.read_text())
                if old["identity"] == identity:
                    reports[name] = old["report"]
                    commit_then = old.get("commit")
                    note(f"{name}: taken from {folder}, a finished run of commit {commit_then}")
                    continue
            future = pool.submit(_one, experiment, overrides, folder, identity)
            waiting[future] = name, marker, identity
        start, first = time.perf_counter(), len(reports)
        for done in as_completed(waiting):
            name, marker, identity = waiting[done]
            reports[name] = done.result()
            write_json(marker, {"identity": identity, "report": reports[name], "commit": commit})
            a_run = (time.perf_counter() - start) / (len(reports) - first)
            left = a_run * (len(runs) - len(reports))
            eta = f"; about {left / 60:.0f} min left" if left else ""
            note(f"{len(reports)}/{len(runs)} {name}: {_told(reports[name])}{eta}")
    return {name: reports[name] for name in runs}


def _told(report: Report) -> str:
    """A line on a finished run."""
    if "diverged" in report:
        return report["diverged"]
    table = report.get("unit") == "column"
    key, unit = ("nats", "nats/row") if table else ("bits_per_token", "bits/token")
    estimates = {name: round(e[key], 4) for name, e in report["estimates"].items()}
    return f"{unit} {estimates}, {report['fit_seconds'] or float('nan'):.0f} s"


@dataclass(frozen=True)
class Runs:
    """The runs of one kind: a folder and a report for every seed."""

    folders: list[Path]
    reports: list[Report]

    def listed(self, key: str) -> list[Any]:
        """What every report has under ``key``, or None."""
        return [report.get(key) for report in self.reports]

    def estimates(self, unit: str, **names: str) -> dict[str, list[float | None]]:
        """Likelihoods and their standard errors, a list over seeds; None for a run that diverged.

        Args:
            unit: ``bits_per_token``, ``nats`` or ``nats_above_entropy``.
            names: key of the result -> likelihood of the report; not given: ``LIKELIHOODS``.
        """
        bits = "bits_per_token_standard_error"
        error = bits if unit == "bits_per_token" else "standard_error"
        return {
            key + ending: [r["estimates"].get(name, {}).get(field) for r in self.reports]
            for key, name in (names or LIKELIHOODS).items()
            for ending, field in (("", unit), ("_standard_error", error))
        }

    def each(self, measure: Callable[[Path], T], diverged: Any = None) -> list[T]:
        """``measure`` of the folder of every run; ``diverged`` in place of a run that diverged."""
        pairs = zip(self.folders, self.reports, strict=True)
        return [measure(f) if report["estimates"] else diverged for f, report in pairs]


@dataclass(frozen=True)
class Study:
    """Runs of several kinds, each with several seeds, and what is reported of them.

    Args:
        folder: (kind, seed, options) -> name of the run's folder.
        kinds: names of the kinds.
        define: (kind, seed, options) -> experiment and overrides, besides seed and device.
        summary: (runs by kind, options) -> the JSON that the benchmark prints.
        options: options of the command, ``seeds`` and ``jobs`` among them.
        seeds: kind -> number of seeds if the command names none.
        flag: option that chooses kinds.
        quick: overrides of ``--quick`` besides ``QUICK``.
    """

    folder: Callable[[str, int, Namespace], str]
    kinds: Collection[str]
    define: Callable[[str, int, Namespace], Run]
    summary: Callable[[dict[str, Runs], Namespace], dict[str, Any]]
    options: Options
    seeds: Mapping[str, int] = field(default_factory=dict)
    flag: str = "kinds"
    quick: str = ""

    def all_options(self) -> Options:
        about = f"of {', '.join(self.kinds)}"
        form = {"metavar": f"{self.flag.removesuffix('s').upper()}[=SEEDS]"}
        return {**self.options, self.flag: (list(self.kinds), about, form)}

    def define_run(self, kind: str, seed: int, options: Namespace) -> Run:
        """One run. An option that ``options`` does not have is at its default."""
        defaults = {name: default for name, (default, *_) in self.options.items()}
        a = Namespace(**defaults | vars(options))
        experiment, changes = self.define(kind, seed, a)
        quick = [*QUICK, *self.quick.split()] if a.quick else []
        return experiment, [*changes, f"seed={seed}", accelerator(a.device), *quick]

    def train(self, a: Namespace) -> dict[str, Runs]:
        """Trains all runs, seed 0 of every kind first."""
        seeds = seeds_of(getattr(a, self.flag), self.kinds, a.seeds, self.seeds)
        every = range(max(seeds.values()))
        pairs = [(kind, seed) for seed in every for kind in seeds if seed < seeds[kind]]
        names = {pair: self.folder(*pair, a) for pair in pairs}
        runs = {name: self.define_run(*pair, a) for pair, name in names.items()}
        reports = run_all(runs, a.work, a.jobs)
        mine = {kind: [names[kind, seed] for seed in range(n)] for kind, n in seeds.items()}
        return {
            kind: Runs([Path(a.work) / name for name in some], [reports[name] for name in some])
            for kind, some in mine.items()
        }

    def run(self, a: Namespace) -> dict[str, Any]:
        return self.summary(self.train(a), a)


def numbers(**defaults: int | None) -> Options:
    """Options of ``NUMBERS``, which are whole numbers, with these defaults."""
    return {name: (default, NUMBERS[name], {"type": int}) for name, default in defaults.items()}


def add_options(parser: ArgumentParser, options: Options) -> None:
    """Adds options; the type of a number, of a list and of a flag is that of the default."""
    for name, (default, about, *further) in options.items():
        how: dict[str, Any] = {"default": default, "help": about}
        several = isinstance(default, list)
        kind = type(default[0] if several else default)
        how |= {"nargs": "+"} if several else {}
        how |= {"action": "store_true"} if kind is bool else {}
        how |= {"type": kind} if kind is int else {}
        parser.add_argument(f"--{name}", **how | dict(*further))


def accelerator(device: str) -> str:
    """The override that trains on ``cpu`` or ``cuda``."""
    return f"trainer.accelerator={device.replace('cuda', 'gpu')}"
