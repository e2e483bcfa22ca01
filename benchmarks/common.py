"""Runs experiments exactly as train.py does, several at a time, each once."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ordo.progress import note, track
from ordo.runs.build import build
from ordo.runs.provenance import git_commit, write_json
from ordo.samplers import Sampler

T = TypeVar("T")
Run = tuple[
    str, list[str]
]  # experiment and overrides of ``python train.py experiment=... overrides``
QUICK = [
    "steps=20",
    "validate_every=10",
    "report.sequences=32",
    "report.exact_sequences=8",
    "report.draws=2",
    "report.importance_draws=2",
]
QUICK += ["report.page=false", "report.orders=0", "report.samples=0"]
CONFIGS = str(Path(__file__).resolve().parents[1] / "configs")


def compose_experiment(experiment: str, overrides: list[str]) -> Any:
    """The configuration of ``python train.py experiment=... overrides``."""
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        return compose("train", [f"experiment={experiment}", f"name={experiment}", *overrides])


def progress(work: Mapping[str, T], title: str) -> Iterator[tuple[str, T]]:
    """The items, with the time left: a bar on a terminal, a line every half minute where standard error is none."""
    yield from track(work.items(), title)


def sampler_of(choice: str, overrides: Iterable[str] = ()) -> Sampler:
    """The sampler of ``python scripts/sample.py sampler=choice overrides``."""
    return _sampler_of(choice, *overrides)


@cache
def _sampler_of(choice: str, *overrides: str) -> Sampler:
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        return build(compose("sample", [f"sampler={choice}", *overrides]).sampler, "sampler")


def _one(experiment: str, overrides: list[str], folder: str, identity: str) -> dict[str, Any]:
    from ordo.runs.run import train
    from ordo.training.module import TrainingDiverged

    begun = Path(folder) / "begun.json"
    killed = (
        begun.exists()
        and json.loads(begun.read_text()) == identity
        and (Path(folder) / "checkpoints" / "last.ckpt").exists()
    )
    if killed:
        overrides = [*overrides, f"resume={folder}"]
    else:
        shutil.rmtree(folder, ignore_errors=True)
        begun.parent.mkdir(parents=True)
        write_json(begun, identity)
    config = compose_experiment(experiment, [*overrides, f"output={folder}"])
    try:
        result = train(config)
    except TrainingDiverged as error:
        return {"estimates": {}, "fit_seconds": None, "diverged": str(error)}
    out = result.report.as_dict() if result.report is not None else {"estimates": {}}
    written = Path(folder) / "report.json"
    collapsed = json.loads(written.read_text()).get("collapsed") if written.exists() else None
    return out | {"fit_seconds": None if killed else result.seconds, "collapsed": collapsed}


def seeds_of(
    wanted: list[str], known: Container[str], seeds: int | None, default: dict[str, int]
) -> dict[str, int]:
    """Seeds of every run of a list such as ``dense=5 order``: those named, else ``seeds``, else the default, else one."""
    out = {}
    for item in wanted:
        name, _, number = item.partition("=")
        if name not in known or (number and not number.isdigit()):
            raise SystemExit(
                f"error: {item!r} is neither NAME nor NAME=SEEDS with a NAME that this benchmark knows; see --help"
            )
        out[name] = int(number) if number else seeds or default.get(name, 1)
    return out


def estimate(report: dict[str, Any], name: str, unit: str = "bits_per_token") -> float | None:
    """One figure of a report; None if the run diverged."""
    return report["estimates"][name][unit] if report["estimates"] else None


def end_with_parent() -> None:
    """Starts a watch in a worker that ends it when its parent is killed: left alone it would train on, into folders that others use."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def workers(jobs: int) -> ProcessPoolExecutor:
    """Fresh processes, ``jobs`` at a time."""
    return ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent
    )


def run_all(runs: dict[str, Run], work: str, jobs: int) -> dict[str, dict[str, Any]]:
    """runs: name -> (experiment, overrides). Returns name -> report; progress on standard error, one thread a run.

    A finished run of the same configuration below ``work`` is taken as it is, whatever the code was: its commit is printed. One that was
    killed goes on from its last checkpoint.
    """
    common = [
        "threads=1",
        "trainer.enable_progress_bar=false",
        "compare=null",
        "callbacks.samples=null",
        "callbacks.progress=null",
    ]
    reports: dict[str, dict[str, Any]] = {}
    waiting = {}
    commit = git_commit()
    with workers(jobs) as pool:
        for name, (experiment, overrides) in runs.items():
            folder = Path(work) / name
            overrides = [*overrides, *common]
            config = compose_experiment(experiment, overrides)
            config.output = ""
            identity = json.dumps(
                [experiment, OmegaConf.to_container(config, resolve=False)], sort_keys=True
            )
            marker = folder / "benchmark.json"
            if marker.exists():
                finished = json.loads(marker.read_text())
                if finished["identity"] == identity:
                    reports[name] = finished["report"]
                    note(
                        f"{name}: taken from {folder}, a finished run of commit {finished.get('commit')}"
                    )
                    continue
            waiting[pool.submit(_one, experiment, overrides, str(folder), identity)] = (
                name,
                marker,
                identity,
            )
        start, first = time.perf_counter(), len(reports)
        for done in as_completed(waiting):
            name, marker, identity = waiting[done]
            reports[name] = done.result()
            write_json(marker, {"identity": identity, "report": reports[name], "commit": commit})
            table = reports[name].get("unit") == "column"
            estimates = {
                k: round(v["nats" if table else "bits_per_token"], 4)
                for k, v in reports[name]["estimates"].items()
            }
            unit = "nats/row" if table else "bits/token"
            told = (
                reports[name].get("diverged")
                or f"{unit} {estimates}, {reports[name]['fit_seconds'] or float('nan'):.0f} s"
            )
            left = (
                (time.perf_counter() - start) / (len(reports) - first) * (len(runs) - len(reports))
            )
            eta = f"; about {left / 60:.0f} min left" if left else ""
            note(f"{len(reports)}/{len(runs)} {name}: {told}{eta}")
    return {name: reports[name] for name in runs}
