"""Settings searched with Optuna, see ``ordo.commands.search``."""

from __future__ import annotations

import json
import math
import shlex
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import optuna
import pandas as pd
from filelock import FileLock, Timeout
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from ordo import plots
from ordo.errors import ConfigError, first_line
from ordo.files import write_whole
from ordo.interrupt import Stopped, number_of
from ordo.likelihood import LikelihoodReport
from ordo.objectives import LawTooSharp
from ordo.progress import clock, note
from ordo.runs.entry import USER_ERRORS
from ordo.runs.run import check_run, check_writable, train
from ordo.runs.settings import CONFIGS
from ordo.training.module import TrainingDiverged

Numbers = FloatDistribution | IntDistribution
Space = dict[str, Numbers | CategoricalDistribution]


def numbers(low: float, high: float, step: float | None = None, log: bool = False) -> Numbers:
    """Whole numbers if both ends are whole."""
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log, step=1 if step is None else int(step))
    return FloatDistribution(low, high, log=log, step=step)


def distribution(override: Override) -> Numbers | CategoricalDistribution:
    """What a sweep of Hydra's grammar is to Optuna. Raises ConfigError."""
    value: Any = override.value()
    if not isinstance(value, IntervalSweep | RangeSweep | ChoiceSweep):
        raise ConfigError(f"{override.input_line}: give choice(...), range(...) or interval(...)")
    if value.tags - {"log"} or (value.tags and not isinstance(value, IntervalSweep)):
        raise ConfigError(
            f"{override.input_line}: the only tag is log, of an interval: tag(log, interval(a,b))"
        )
    try:
        if isinstance(value, IntervalSweep):
            ends: Any = value.start, value.end
            return numbers(*ends, log="log" in value.tags)
        if isinstance(value, RangeSweep):
            points = sorted(value.range())
            return numbers(points[0], points[-1], abs(value.step))
        return CategoricalDistribution([str(choice) for choice in override.sweep_string_iterator()])
    except (ValueError, IndexError) as error:
        raise ConfigError(f"{override.input_line}: {first_line(error)}") from error


def read_space(overrides: list[str]) -> tuple[list[str], Space]:
    """The overrides that all trials share, and the distribution of every other key.

    Raises ConfigError.
    """
    fixed, space = [], {}
    parser = OverridesParser.create()
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise ConfigError(f"{text}: {first_line(error)}") from error
        key = override.get_key_element()
        if key.lstrip("+~") in ("output", "resume", "overwrite", "compare"):
            raise ConfigError(
                f"{override.input_line}: a search sets {key} itself; its folder is --output"
            )
        if key.startswith(("hydra/", "hydra.")) and key != "hydra.searchpath":
            raise ConfigError(
                f"{override.input_line}: settings of Hydra have no effect here, where trials are "
                "run one by one"
            )
        if override.is_sweep_override():
            space[key] = distribution(override)
        else:
            fixed.append(str(override.input_line))
    if not space:
        raise ConfigError(
            "nothing to search: give at least one key=choice(...), key=range(...) or "
            "key=interval(...)"
        )
    return fixed, space


def configuration(overrides: list[str], folder: Path) -> DictConfig:
    """The configuration of a trial, which goes on where it was if it had been killed.

    Raises ConfigError, HydraException.
    """
    name = [] if any(override.startswith("name=") for override in overrides) else ["name=search"]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("train", [*overrides, *name, f"output={folder}", "resume=auto"])
    config.compare = None
    if config.report is None:
        raise ConfigError("report=null: a search needs the report on the validation split")
    check_run(config)
    if config.report.split != "val":
        raise ConfigError(
            "report.split=test: settings are chosen on validation data; evaluate the chosen ones "
            "once with ordo eval split=test"
        )
    return config


def check_space(fixed: list[str], space: Space, folder: Path) -> None:
    """Composes every choice once, with the other keys at their first value.

    Raises ConfigError, HydraException.
    """
    choices = {
        key: list(d.choices) if isinstance(d, CategoricalDistribution) else [d.low]
        for key, d in space.items()
    }
    first = {key: values[0] for key, values in choices.items()}
    for key, values in choices.items():
        for value in values:
            configuration([*fixed, *assignments(first | {key: value})], folder)


def assignments(parameters: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in parameters.items()]


class Pruning(L.Callback):
    """Reports the validation NELBO to the trial, and stops a run that is behind.

    A run is behind if its NELBO is above the median of earlier trials at the same step.
    """

    def __init__(self, trial: Trial):
        self.trial = trial

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.trial.report(float(trainer.callback_metrics["val/nelbo"]), trainer.global_step)
        if self.trial.should_prune():
            raise optuna.TrialPruned(f"behind the median at step {trainer.global_step}")


class Search:
    """One worker on a study that lives in ``folder``.

    A lock that the living worker holds tells a running trial from one that was killed.
    """

    def __init__(
        self,
        folder: Path,
        fixed: list[str],
        space: Space,
        seed: int,
        prune: bool,
        quiet: bool = False,
    ):
        self.folder, self.fixed, self.space = folder, fixed, space
        self.seed, self.prune, self.quiet = seed, prune, quiet
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(folder / "locks" / "study")
        with self.lock:
            self.study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(folder / "study.log"))),
                study_name="search",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(),
            )
            kept = {key: repr(d) for key, d in sorted(space.items())}
            identity = {"fixed": sorted(fixed), "space": kept, "seed": seed, "prune": prune}
            if self.study.user_attrs.setdefault("identity", identity) != identity:
                raise ConfigError(
                    f"{folder} has a search with other settings; repeat its command, or choose "
                    "another --output"
                )
            self.study.set_user_attr("identity", identity)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def life(self, number: int) -> FileLock | None:
        """The lock of a trial, taken; None if another worker lives on it."""
        lock = FileLock(self.folder / "locks" / str(number), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock

    def next(self, trials: int) -> tuple[FrozenTrial, Trial | None, FileLock] | None:
        """A trial that was killed, to go on with, or else a new one; None if there are enough."""
        with self.lock:
            for killed in self.trials(TrialState.RUNNING):
                if lock := self.life(killed.number):
                    return killed, None, lock
            counted = self.trials(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
            if len(counted) >= trials:
                return None
            # Seeded by the trial's number: a study that was interrupted proposes what it would
            # have, and two workers never propose the same.
            numbered = np.random.SeedSequence([self.seed, len(self.trials())])
            seed = int(numbered.generate_state(1)[0])
            self.study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            trial = self.study.ask(dict(self.space))
            lock = self.life(trial.number)
            assert lock is not None
            return self.trials()[trial.number], trial, lock

    def run(self, frozen: FrozenTrial, trial: Trial | None) -> str:
        """Trains one trial and tells the study. Returns a line on it.

        Raises USER_ERRORS other than divergence.
        """
        number = frozen.number
        folder = self.folder / "trials" / str(number)
        config = configuration([*self.fixed, *assignments(frozen.params)], folder)
        config.quiet, config.label = self.quiet, f"{config.name} trial {number}"
        # A trial that goes on is not pruned any more: it has no Trial to report to.
        pruning = [Pruning(trial)] if self.prune and trial is not None else []
        try:
            nats = self.checked(number, train(config, pruning).report)
        except (TrainingDiverged, LawTooSharp, optuna.TrialPruned) as error:
            self.study.tell(number, state=TrialState.PRUNED)
            return f"trial {number}: stopped, {first_line(error)}"
        except USER_ERRORS:
            self.study.tell(number, state=TrialState.FAIL)
            raise
        self.study.tell(number, nats)
        best = self.study.best_trial
        return (
            f"trial {number}: {nats:.4f} nats (least so far {best.value:.4f}, trial {best.number})"
        )

    def checked(self, number: int, report: LikelihoodReport | None) -> float:
        """The NELBO of a trial; an error if it scores other data than the trials before."""
        assert report is not None
        own = report.estimates["own_nelbo"]
        scored = {"sequences": own.sequences, "length": own.length}
        scored |= {"symbols": report.vocab_size, "unit": report.unit}
        with self.lock:
            if self.study.user_attrs.get("scored", scored) != scored:
                raise ConfigError(
                    f"trial {number} scores other data ({scored}) than those before: search no "
                    "settings of the data's form"
                )
            self.study.set_user_attr("scored", scored)
        if not math.isfinite(own.nats):
            raise TrainingDiverged("the validation NELBO is not finite")
        return own.nats

    def table(self) -> pd.DataFrame:
        """A line per trial; NELBO in nats a sequence."""
        lines = []
        for trial in self.trials():
            line: dict[str, Any] = {"trial": trial.number, "state": trial.state.name.lower()}
            line |= dict.fromkeys(("own_nelbo", "standard_error", "seconds"))
            if trial.state == TrialState.COMPLETE:
                path = self.folder / "trials" / str(trial.number) / "report.json"
                report = json.loads(path.read_text(encoding="utf-8"))
                # The value of a pruned trial is its last validation, which scores fewer sequences.
                line |= {"own_nelbo": trial.value, "seconds": report["fit_seconds"]}
                line["standard_error"] = report["estimates"]["own_nelbo"]["standard_error"]
            lines.append(line | trial.params)
        return pd.DataFrame(lines)

    def save(self) -> None:
        """trials.csv, history.png and, once a trial has finished, best.txt."""
        with self.lock:
            table = self.table()
            write_whole(self.folder / "trials.csv", lambda path: table.to_csv(path, index=False))
            done = table[table["state"].isin(["complete", "pruned"])].astype({"own_nelbo": float})
            numbers, values = done["trial"].to_numpy(), done["own_nelbo"].to_numpy()
            title = "validation NELBO, own law (nats/sequence)"
            plots.save(plots.search_history(numbers, values, title), self.folder / "history.png")
            if self.trials(TrialState.COMPLETE):
                text = self.command() + "\n"
                best = self.folder / "best.txt"
                write_whole(best, lambda path: path.write_text(text, encoding="utf-8"))

    def command(self) -> str:
        """Trains the best trial again."""
        settings = [*self.fixed, *assignments(self.study.best_params)]
        return shlex.join(["ordo", "train", *settings])


def write(
    overrides: list[str], folder: Path, trials: int, seed: int, prune: bool, quiet: bool
) -> None:
    """Runs trials until the study has enough, and prints the command of the best one; the arguments
    are the options of ``ordo search``.

    Raises ConfigError, and what ``ordo.runs.entry.USER_ERRORS`` lists.
    """
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    check_writable(folder)
    fixed, space = read_space(overrides)
    check_space(fixed, space, folder)
    search = Search(folder, fixed, space, seed, prune, quiet)
    begun, done = time.perf_counter(), 0
    while (work := search.next(trials)) is not None:
        frozen, trial, lock = work
        note(f"trial {frozen.number}: {' '.join(assignments(frozen.params))}")
        try:
            told = search.run(frozen, trial)
        except KeyboardInterrupt as stop:
            told = f"{str(stop) or 'interrupted'}; the same command started again goes on"
            raise Stopped(told, number_of(stop)) from None
        finally:
            lock.release()
            search.save()
        done += 1
        to_do = max(0, trials - len(search.trials(TrialState.COMPLETE, TrialState.PRUNED)))
        left = clock((time.perf_counter() - begun) / done * to_do)
        note(f"{told}; about {left} left" if to_do else told)
    search.save()
    running = search.trials(TrialState.RUNNING)
    if running:
        note(f"{len(running)} trials still run in other processes")
    finished = search.trials(TrialState.COMPLETE)
    none = f"no trial finished; see {folder / 'trials.csv'}"
    print(search.command() if finished else none)
