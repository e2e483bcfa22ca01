"""train.py --multirun: one folder a sweep, the same numbers as single runs, jobs that fail or are
killed, Slurm.
"""

import logging
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf
from tiny_runs import CONFIGS, NAE, QUIET, ROOT, SMALL, KillAt, call, configuration, last

from ordo.errors import ConfigError
from ordo.report.settings import flat
from ordo.runs import sweep
from ordo.runs.checkpoint import CheckpointError
from ordo.runs.run import train

REPORT = ["report.draws=2", "report.importance_draws=2"]
TINY = [
    *SMALL,
    *(x for x in QUIET if x != "report=null"),
    *REPORT,
    *NAE,
    "steps=4",
    "validate_every=2",
    "checkpoint_every=2",
]


@pytest.fixture(autouse=True)
def fresh_logging():
    """Hydra's handler of an earlier test writes to a standard output that is closed by now."""
    logging.root.handlers = [
        handler for handler in logging.root.handlers if type(handler) is not logging.StreamHandler
    ]


def single(folder, *overrides):
    """Own NELBO, nats, of one run made without a sweep."""
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        config = compose(
            "train", ["experiment=custom", "name=one", *TINY, f"output={folder}", *overrides]
        )
    return train(config).report.estimates["own_nelbo"].nats


@pytest.mark.slow  # half a minute
def test_seeds_and_their_table(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    plan = ["-m", "experiment=custom", *TINY, "seed=0,1", "optimizer.lr=1e-3,1e-2"]
    status, out, err = call("train.py", *plan, monkeypatch=monkeypatch, capfd=capfd)
    assert (status, err) == (0, "")
    assert os.listdir(tmp_path) == ["outputs"], "nothing else in the working folder"
    (folder,) = (tmp_path / "outputs" / "custom").iterdir()
    jobs = {
        "0_seed=0,optimizer.lr=0.001",
        "1_seed=0,optimizer.lr=0.01",
        "2_seed=1,optimizer.lr=0.001",
        "3_seed=1,optimizer.lr=0.01",
    }
    assert set(os.listdir(folder)) == {"multirun.yaml", *jobs}
    assert f"outputs/custom/{folder.name}/0_seed=0,optimizer.lr=0.001" in out
    status, out, err = call(
        "ordo collect", folder, "--sort", "optimizer.lr", monkeypatch=monkeypatch, capfd=capfd
    )
    assert (status, err) == (0, "")
    table = pd.read_csv(folder / "means.csv")
    assert list(table.columns[:3]) == ["optimizer.lr", "finished", "others"], (
        "the only setting besides the seed that differs"
    )
    assert table["optimizer.lr"].tolist() == [0.001, 0.01]
    entropy = 3 * np.log(2)
    for lr, mean, sd in zip(
        table["optimizer.lr"], table["own_nelbo"], table["own_nelbo_sd"], strict=True
    ):
        own = [
            single(tmp_path / f"{lr}_{seed}", f"optimizer.lr={lr}", f"seed={seed}") - entropy
            for seed in (0, 1)
        ]
        assert mean == pytest.approx(sum(own) / 2, abs=1e-9)
        assert sd == pytest.approx(abs(own[0] - own[1]) / 2**0.5, abs=1e-9)
        assert f"{mean:.3f} ± {sd:.3f}" in out


def test_jobs_that_fail_or_diverge_stop_no_other(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    breaks = [
        "~objective.draws",
        "~objective.baseline",
        "~objective.bound",
        "~objective.unigram",
    ]
    breaks += [
        "objective._target_=tiny_runs.Breaks",
        "+objective.part=loss",
        "+objective.step=2,99",
        "optimizer.schedule_delay=0",
    ]
    plan = [
        "-m",
        "experiment=custom",
        *TINY,
        *breaks,
        "checkpoint_every=1",
        "denoiser.heads=2,3",
        "output=sweep",
    ]
    status, _, err = call("train.py", *plan, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 1
    assert err.count("error: the loss became NaN or infinite at or before step 2") == 2, (
        "at once, and at the end"
    )
    assert "configuration part 'denoiser'" in err
    assert "Traceback" not in err
    finished = {path.parent.name for path in (tmp_path / "sweep").glob("*/report.json")}
    assert finished == {"1_denoiser.heads=2,+objective.step=99"}
    status, out, _ = call("ordo collect", "sweep", monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0
    assert "sweep/0_denoiser.heads=2,+objective.step=2: diverged, the loss became NaN" in out
    table = pd.read_csv(tmp_path / "sweep" / "means.csv").set_index("objective.step")
    assert table[["finished", "others"]].to_dict("index") == {
        99: {"finished": 1, "others": 0},
        2: {"finished": 0, "others": 1},
    }


def test_a_job_that_was_killed_goes_on(tmp_path):
    plan = [*NAE, "steps=6", "checkpoint_every=2", "validate_every=3", "resume=auto"]
    child = os.fork()
    if child == 0:
        train(configuration(tmp_path / "run", *plan), [KillAt(3)])
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    assert last(tmp_path / "run")["global_step"] == 3, "from before the validation of step 3"
    begun = KillAt(100)
    train(configuration(tmp_path / "run", *plan), [begun])
    assert begun.seen == 3, "did not begin anew"
    train(configuration(tmp_path / "whole", *plan))
    a, b = (last(tmp_path / name)["state_dict"] for name in ("run", "whole"))
    assert all(torch.equal(a[key], b[key]) for key in b)
    with pytest.raises(
        CheckpointError, match="holds a run of other settings; choose another output folder"
    ):
        train(configuration(tmp_path / "run", *plan, "optimizer.lr=0.5"))


@pytest.mark.slow  # 15 seconds: three processes import everything
def test_submitit_gives_the_numbers_of_a_plain_sweep(tmp_path):
    reports = []
    for launcher in (["hydra/launcher=submitit_local"], []):
        folder = tmp_path / f"{len(launcher)}"
        folder.mkdir()
        command = [
            sys.executable,
            ROOT / "train.py",
            "-m",
            *launcher,
            "experiment=custom",
            *TINY,
            "seed=0,1",
        ]
        done = subprocess.run(
            list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert os.listdir(folder) == ["outputs"]
        (sweep_folder,) = (folder / "outputs" / "custom").iterdir()
        reports.append(
            [
                np.load(sweep_folder / f"{i}_seed={i}" / "report_values.npz")["own_nelbo"]
                for i in (0, 1)
            ]
        )
        assert len(list(sweep_folder.glob(".submitit/*/*_log.out"))) == (2 if launcher else 0)
    for a, b in zip(*reports, strict=True):
        assert np.array_equal(a, b)


def test_slurm(tmp_path, monkeypatch, capfd):
    """What is handed to sbatch, caught by one of our own; the jobs themselves do not run."""
    import submitit

    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    for name, line in (
        ("srun", "true"),
        ("sbatch", 'cp "$1" caught.sh; echo "Submitted batch job 7"'),
        ("squeue", "true"),
        ("sacct", "true"),
    ):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    done = JobReturn(status=JobStatus.COMPLETED)
    monkeypatch.setattr(submitit.SlurmJob, "results", lambda self: [done])
    plan = [
        "-m",
        "experiment=custom",
        "hydra/launcher=slurm",
        "hydra.launcher.partition=big",
        "seed=0,1,2",
        "output=sweep",
    ]
    status, _, err = call("train.py", *plan, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, err
    script = (tmp_path / "caught.sh").read_text()
    for option in (
        "partition=big",
        "array=0-2",
        "time=240",
        "gpus-per-node=1",
        "cpus-per-task=8",
        "mem=32GB",
        "job-name=ordo",
        "signal=USR2@120",
    ):
        assert f"#SBATCH --{option}" in script, option
    assert str(tmp_path / "sweep" / ".submitit") in script.replace("=sweep", f"={tmp_path}/sweep")
    assert set(os.listdir(tmp_path)) == {"bin", "caught.sh", "sweep"}


def test_the_launcher_that_is_not_installed(monkeypatch, capsys):
    monkeypatch.setattr(sweep, "find_spec", lambda name: None)
    sweep.check_launcher(["-m", "seed=0,1", "hydra/launcher=basic"])
    with pytest.raises(SystemExit, match="2"):
        sweep.check_launcher(["-m", "hydra/launcher=slurm"])
    told = r"error: hydra/launcher=slurm needs the submitit launcher: pip install .*\[slurm\]'\n"
    assert re.fullmatch(told, capsys.readouterr().err)


def test_folders_of_jobs_are_one_level_and_short(tmp_path, monkeypatch, capfd):
    """Values with slashes, and a sweep over what names the folder."""
    seen = []

    def stop(config):
        seen.append(config.output)
        raise ConfigError("stop")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ordo.commands.train.train", stop)
    for changes in (
        ["data.path=/a/b,/c/d", f"name={'x' * 90}", "output=s"],
        ["experiment=custom,nae_learned_order"],
    ):
        call("train.py", "-m", *changes, monkeypatch=monkeypatch, capfd=capfd)
    assert seen[:2] == ["s/0_data.path=-a-b", "s/1_data.path=-c-d"]
    assert [path.split("/")[1] for path in seen[2:]] == ["custom", "nae_learned_order"]
    assert all(len(path.split("/")) == 4 for path in seen[2:])


def test_settings_that_repeat_others_are_known():
    """ordo collect leaves out settings that are ${...} of others: those are all that the
    configurations have.
    """
    for parts in (
        [],
        ["data=nae", "denoiser=bidirectional", "objective=order"],
        ["denoiser=table", "data=table", "logger=wandb"],
    ):
        with initialize_config_dir(CONFIGS, version_base="1.3"):
            config = compose("train", ["experiment=custom", "name=n", "output=OUT", *parts])
        with_other = compose_with(
            config,
            {
                "steps": 17,
                "validate_every": 19,
                "checkpoint_every": 23,
                "name": "m",
                "output": "ELSE",
            },
        )
        one, other = (
            flat(OmegaConf.to_container(c, resolve=True), c.output) for c in (config, with_other)
        )
        assert {key for key in one if one[key] != other.get(key)} == {
            "steps",
            "validate_every",
            "checkpoint_every",
            "name",
        }


def compose_with(config, changes):
    other = config.copy()
    for key, value in changes.items():
        other[key] = value
    for shared in (config, other):
        sizes = {"length": 3 if shared is config else 4, "vocab_size": 2}
        shared.shape = sizes | dict.fromkeys(["vocab_sizes", "ordered", "coordinates", "given"])
    return other
