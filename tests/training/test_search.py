"""ordo search: Hydra's sweeps as Optuna's distributions, a study that is killed, shared and
repeated, real trials.
"""

import json
import shlex
import sys
from types import SimpleNamespace

import optuna
import pandas as pd
import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tiny_runs import NAE, QUIET, SMALL, call, configuration

from ordo.commands import search
from ordo.errors import ConfigError
from ordo.runs import search as script
from ordo.runs.run import train
from ordo.training.module import TrainingDiverged

FIXED = [
    "experiment=custom",
    *SMALL,
    *(x for x in QUIET if x not in ("report=null", "compare=null")),
    *NAE,
    "report.draws=2",
]
FIXED += ["steps=4", "validate_every=2", "checkpoint_every=2"]
SPACE = ["optimizer.lr=tag(log, interval(1e-4, 1e-1))", "schedule=linear,power_table"]


def test_sweeps_as_distributions():
    fixed, space = script.read_space(
        [
            "a=1",
            "b=choice(x,'y z',3)",
            "c=interval(1,2)",
            "d=int(interval(1,8))",
            "e=tag(log,interval(1e-4,1))",
            "+f.g=tag(log,int(interval(1,8)))",
        ]
    )
    assert fixed == ["a=1"]
    assert space == {
        "b": CategoricalDistribution(("x", r"y\ z", "3")),
        "c": FloatDistribution(1, 2),
        "d": IntDistribution(1, 8),
        "e": FloatDistribution(1e-4, 1, log=True),
        "+f.g": IntDistribution(1, 8, log=True),
    }


@pytest.mark.parametrize(
    "text", ["range(2,9)", "range(2,9,3)", "range(0.1,0.5,0.1)", "range(9,1,-2)", "range(4)"]
)
def test_range_means_what_it_means_in_a_grid(text):
    """Optuna draws all values of Hydra's own grid and no others."""
    override = OverridesParser.create().parse_override(f"x={text}")
    grid = {
        round(float(line.partition("=")[2]), 9)
        for ((line,),) in BasicSweeper.split_arguments([override], 1)
    }
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = {
        round(study.ask({"x": script.distribution(override)}).params["x"], 9) for _ in range(100)
    }
    assert drawn == grid


@pytest.mark.slow  # a quarter of a minute
def test_a_real_search_and_its_best_run_again(tmp_path, monkeypatch, capfd):
    command = [*FIXED, *SPACE, "--trials", 3, "--output", tmp_path / "s"]
    status, out, err = call("ordo search", *command, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, err
    table = pd.read_csv(tmp_path / "s" / "trials.csv")
    assert table["state"].tolist() == ["complete"] * 3
    for number, value, error in zip(
        table["trial"], table["own_nelbo"], table["standard_error"], strict=True
    ):
        report = json.loads((tmp_path / "s" / "trials" / str(number) / "report.json").read_text())[
            "estimates"
        ]["own_nelbo"]
        assert (value, error) == (report["nats"], report["standard_error"])
    best = (tmp_path / "s" / "best.txt").read_text()
    assert best == out
    ordo, name, *overrides = shlex.split(best)
    assert (ordo, name) == ("ordo", "train")
    assert (
        call(
            "train.py",
            *overrides,
            f"output={tmp_path / 'again'}",
            monkeypatch=monkeypatch,
            capfd=capfd,
        )[0]
        == 0
    )
    again = json.loads((tmp_path / "again" / "report.json").read_text())["estimates"]["own_nelbo"][
        "nats"
    ]
    assert again == table["own_nelbo"].min()
    status, again, err = call("ordo search", *command, monkeypatch=monkeypatch, capfd=capfd)
    assert (status, again, err) == (0, best, ""), "nothing left to do"
    status, _, err = call("ordo search", *command, "steps=5", monkeypatch=monkeypatch, capfd=capfd)
    assert status in (1, 2)
    assert "has a search with other settings; repeat its command, or choose another --output" in err


@pytest.fixture
def fake(monkeypatch, capfd):
    """script.main with a function of the settings in the place of training; returns its table."""
    monkeypatch.setattr(script.plots, "save", lambda figure, path: None)
    whole, composed = script.compose, {}

    def compose(name, overrides):
        """As Hydra's, which takes most of the time of a trial: lr and output are put in later."""
        own = [each for each in overrides if each.startswith(("optimizer.lr=", "output="))]
        shared = (name, *(each for each in overrides if each not in own))
        if shared not in composed:
            composed[shared] = whole(name, overrides)
        config = composed[shared].copy()
        config.merge_with_dotlist(own)
        return config

    monkeypatch.setattr(script, "compose", compose)

    def nelbo(config):
        return (config.optimizer.lr - 0.01) ** 2 * 1e4 + (
            config.schedule._target_ == "ordo.schedules.Linear"
        )

    def trained(config, callbacks):
        nats = (trained.law or nelbo)(config)
        entry = SimpleNamespace(nats=nats, standard_error=0.1, sequences=16, length=trained.length)
        folder = script.Path(config.output)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(
            json.dumps({"estimates": {"own_nelbo": {"standard_error": 0.1}}, "fit_seconds": 1})
        )
        return SimpleNamespace(
            report=SimpleNamespace(estimates={"own_nelbo": entry}, vocab_size=2, unit="token")
        )

    trained.law, trained.length = None, 6.0
    monkeypatch.setattr(script, "train", trained)

    def main(folder, *arguments):
        monkeypatch.setattr(
            sys, "argv", ["search", *map(str, [*FIXED, *SPACE, *arguments, "--output", folder])]
        )
        capfd.readouterr()
        try:
            search.main()
        except SystemExit:
            return capfd.readouterr().err.splitlines()[-1]
        return pd.read_csv(folder / "trials.csv")

    main.trained = trained
    return main


def test_an_interrupted_study_proposes_what_it_would_have(fake, tmp_path):
    whole = fake(tmp_path / "whole", "--trials", 14)
    assert len(whole) == 14
    fake(tmp_path / "parts", "--trials", 5)

    def interrupt(config):
        raise KeyboardInterrupt

    fake.trained.law = interrupt
    with pytest.raises(KeyboardInterrupt):
        fake(tmp_path / "parts", "--trials", 14)
    fake.trained.law = None
    assert fake(tmp_path / "parts", "--trials", 14).equals(whole), (
        "the trial that was killed goes on"
    )
    other = fake(tmp_path / "other", "--trials", 2, "--seed", 1)
    assert other["optimizer.lr"][0] != whole["optimizer.lr"][0]
    assert whole["optimizer.lr"].nunique() == 14, "seeds do not repeat"


def test_two_workers_share_a_study(tmp_path):
    fixed, space = script.read_space([*FIXED, *SPACE])
    first, second = (script.Search(tmp_path, fixed, space, 0, False) for _ in range(2))
    taken = [worker.next(3) for worker in (first, second, first)]
    assert [frozen.number for frozen, _, _ in taken] == [0, 1, 2], (
        "a trial whose worker lives is left to it"
    )
    assert len({frozen.params["optimizer.lr"] for frozen, _, _ in taken}) == 3
    assert second.next(3) is None, "no more than asked for, running ones counted"
    taken[1][2].release()  # as when its process is killed
    assert second.next(3)[0].number == 1
    taken[0][1].report(5.5, step=2)
    first.study.tell(0, state=optuna.trial.TrialState.PRUNED)
    table = second.table()
    assert table["state"].tolist() == ["pruned", "running", "running"]
    assert table["own_nelbo"].isna().all(), "what was reported on the way is no result"


def test_trials_that_diverge_or_fail(fake, tmp_path):
    def law(config):
        if config.optimizer.lr > 0.01:
            raise TrainingDiverged("the loss became NaN")
        return float("nan") if config.optimizer.lr > 0.003 else 1.0

    fake.trained.law = law
    table = fake(tmp_path / "a", "--trials", 12)
    assert (table["state"] == "complete").equals(table["optimizer.lr"] <= 0.003)
    assert set(table["state"]) == {"complete", "pruned"}

    def fails(config):
        raise ConfigError("parts do not fit")

    fake.trained.law = fails
    assert fake(tmp_path / "b", "--trials", 3) == "error: parts do not fit"
    fake.trained.law = None
    assert fake(tmp_path / "b", "--trials", 3)["state"].tolist() == ["fail", *["complete"] * 3]
    fake.trained.length = 7.0
    assert "scores other data" in fake(tmp_path / "b", "--trials", 4)


def test_pruning(tmp_path):
    """Behind the median of five earlier trials at step 2, a real run ends there; ahead of it, it
    does not.
    """
    for value, stops in ((-1.0, True), (99.0, False)):
        study = optuna.create_study(pruner=optuna.pruners.MedianPruner())
        for _ in range(5):
            earlier = study.ask()
            earlier.report(value, 2)
            study.tell(earlier, value)
        trial, folder = study.ask(), tmp_path / str(value)
        config = configuration(folder, *NAE, "steps=4", "validate_every=2", "checkpoint_every=2")
        if stops:
            with pytest.raises(optuna.TrialPruned, match="behind the median at step 2"):
                train(config, [script.Pruning(trial)])
        else:
            train(config, [script.Pruning(trial)])
        reported = study.trials[-1].intermediate_values
        logged = (
            pd.read_csv(folder / "csv" / "metrics.csv")["val/nelbo"].dropna().tolist()
            if not stops
            else []
        )
        assert list(reported) == ([2] if stops else [2, 4])
        assert list(reported.values())[: len(logged)] == pytest.approx(logged)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed=0"], "nothing to search"),
        (
            [SPACE[0], "report.split=test"],
            "report.split=test: settings are chosen on validation data",
        ),
        ([SPACE[0], "report=null"], "a search needs the report"),
        (["schedule=linear,nonsense"], "nonsense"),
        (["optimizer.nonsense=interval(0,1)"], "optimizer.nonsense"),
        (["seed=range(3,3)"], "seed=range(3,3)"),
        (["optimizer.lr=interval(1,0)"], "optimizer.lr=interval(1,0)"),
        (["optimizer.lr=tag(x,interval(0,1))"], "the only tag is log"),
        (["optimizer.lr=tag(log,interval(0,1))"], "optimizer.lr=tag(log,interval(0,1))"),
        (["optimizer.lr=glob(*)"], "give choice"),
        (["optimizer.lr=choice(1"], "optimizer.lr=choice(1"),
        ([SPACE[0], "output=x"], "a search sets output itself"),
        ([SPACE[0], "hydra/launcher=slurm"], "no effect here"),
        ([SPACE[0], "--trials", "0"], "argument --trials: 0: must be a whole number from 1"),
    ],
)
def test_errors_before_any_work(arguments, message, tmp_path, monkeypatch, capfd):
    command = ["experiment=custom", "data=nae", *arguments, "--output", tmp_path / "s"]
    status, _, err = call("ordo search", *command, monkeypatch=monkeypatch, capfd=capfd)
    assert status in (1, 2)
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_without_optuna(monkeypatch, capfd):
    monkeypatch.setattr("ordo.commands.search.find_spec", lambda name: None)
    status, _, err = call("ordo search", "a=1,2", monkeypatch=monkeypatch, capfd=capfd)
    assert (status, err) == (
        2,
        "error: ordo search needs Optuna 4 or newer: "
        "pip install -c constraints.txt -e '.[search]'\n",
    )
