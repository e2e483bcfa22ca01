"""Whose an output folder is, what becomes of an earlier run in it, and what goes on with a run."""

import json
import multiprocessing
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import zipfile

import lightning as L
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from tiny_runs import NAE, configuration, last, run, text_overrides

from ordo.errors import ConfigError, FileError
from ordo.files import alive, partial_of, remove_partials, write_whole
from ordo.runs import checksum, folder
from ordo.runs.checkpoint import CheckpointError, NoCheckpoint, find, read, step_of
from ordo.runs.folder import FILES, alone_in, clear
from ordo.runs.run import comparison, train
from ordo.settings import SettingError

PLAN = [*NAE, "steps=4", "validate_every=2", "checkpoint_every=2", "callbacks.order.pictures=false"]
REPORT = "report={split: val, weights: best, sequences: 8, draws: 1, importance_draws: 1, "
REPORT += "exact_sequences: 4, batch_size: 8, seed: 0, page: false}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of four steps, to copy."""
    path = tmp_path_factory.mktemp("trained") / "run"
    run(path, *PLAN)
    return path


@pytest.fixture
def copy(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def files_of(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_a_used_folder_is_refused(copy, tmp_path):
    before = files_of(copy)
    with pytest.raises(
        ConfigError,
        match=r"holds a run already \(config.yaml\): resume=.* goes on with it, overwrite=true del",
    ):
        run(copy, *PLAN, "seed=1")
    with pytest.raises(ConfigError, match="holds a run already"):
        run(copy, *PLAN, f"resume={shutil.copytree(copy, tmp_path / 'other')}")
    for wrong in ("auto", copy, copy / "checkpoints" / "best.ckpt"):
        with pytest.raises(ConfigError, match="overwrite=true"):
            run(copy, *PLAN, f"resume={wrong}", "overwrite=true")
    assert files_of(copy) == before


def test_overwriting_leaves_nothing_of_the_run_before(copy, trained):
    """As in a new folder; a file of the user's own stays, and a wrong setting deletes nothing."""
    for name in FILES:
        (copy / name).write_text("old")
    (copy / "report_1.json").write_text("old")
    (copy / "compared_with").mkdir()
    (copy / "checkpoints" / "eval_val").mkdir()
    (copy / "notes.txt").write_text("mine")
    before = files_of(copy)
    with pytest.raises(ConfigError):
        run(copy, *PLAN, "overwrite=true", "denoiser.heads=3")
    assert files_of(copy) == before
    run(copy, *PLAN, "overwrite=true")
    assert sorted(files_of(copy)) == sorted([*files_of(trained), "notes.txt"])
    assert torch.equal(
        *(last(path)["state_dict"]["denoiser.head.weight"] for path in (copy, trained))
    )


def test_clearing_takes_no_other_files(tmp_path):
    own = [
        "report_final.json",
        "report_2_mine.json",
        "report_2026-01-01.html",
        "drawn_1.csv",
        "config_1.yaml",
        "samples_of_mine.txt",
    ]
    own += ["data/x", "reports/report.json"]
    for name in (*own, "report_1.json", "diverged_12.json", "hpc_ckpt_3.ckpt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    clear(tmp_path)
    assert sorted(files_of(tmp_path)) == sorted(own)


def test_a_run_that_was_killed_before_its_first_checkpoint(copy, trained):
    shutil.rmtree(copy / "checkpoints")
    (copy / "samples.txt").write_text("step 2\told\n")
    with pytest.raises(
        NoCheckpoint,
        match="was stopped before its first checkpoint: begin it again with overwrite=true",
    ):
        run(copy, *PLAN, f"resume={copy}")
    record = copy / "config.yaml"
    record.write_text(
        record.read_text().replace(str(trained), str(copy))
    )  # as if it had been made there
    plan = [*PLAN, "resume=auto"]
    with pytest.raises(CheckpointError, match="holds a run of other settings"):
        run(copy, *plan, "seed=3")
    assert (copy / "samples.txt").exists()
    run(copy, *plan)
    assert not (copy / "samples.txt").exists(), "what it left is not mixed with the run that begins"


def keep_busy(path, ready, done):
    with alone_in(path):
        ready.set()
        done.wait(30)


def test_two_runs_in_one_folder(tmp_path):
    """The second is refused while the first lives; a file names the first. Its end, or its death,
    frees the folder.
    """
    processes = multiprocessing.get_context("fork")
    for end in ("done", "killed"):
        ready, done = processes.Event(), processes.Event()
        first = processes.Process(target=keep_busy, args=(tmp_path / "run", ready, done))
        first.start()
        assert ready.wait(30)
        told = json.loads((tmp_path / "run" / ".running.json").read_text())
        assert (told["host"], told["process"]) == (platform.node(), first.pid)
        for more in ([], ["overwrite=true"], ["resume=auto"]):
            with pytest.raises(
                ConfigError, match=f"process {first.pid} is at work in .*run: wait for its end"
            ):
                run(tmp_path / "run", *PLAN, *more)
        if end == "done":
            done.set()
        else:
            first.kill()
        first.join()
        with alone_in(tmp_path / "run"):
            pass
        assert os.listdir(tmp_path) == ["run"] * (end == "killed"), (
            "an empty folder goes with who made it"
        )


def test_a_run_of_another_host(tmp_path, monkeypatch):
    """Nobody here sees whether it lives. A job of Slurm that begins again elsewhere goes on."""
    record = tmp_path / ".running.json"
    record.write_text(json.dumps({"host": "elsewhere", "process": 1, "job": "17"}))
    with pytest.raises(
        ConfigError,
        match=r"process 1 of the host elsewhere .* delete .*\.running\.json if that process is",
    ):
        run(tmp_path, *PLAN)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with alone_in(tmp_path):
        assert json.loads(record.read_text())["host"] == platform.node()
    assert os.listdir(tmp_path) == []


def test_a_job_that_lightning_puts_back_into_the_queue(copy, monkeypatch):
    for number in (2, 10):
        shutil.copy(copy / "checkpoints" / "last.ckpt", copy / f"hpc_ckpt_{number}.ckpt")
    with pytest.raises(ConfigError, match="holds a run already"):
        run(copy, *PLAN)

    class Slurm:
        detect = staticmethod(lambda: True)

    monkeypatch.setattr(folder, "SLURMEnvironment", Slurm)
    with pytest.raises(ConfigError, match="holds a run already"):  # the job's first start
        run(copy, *PLAN)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert folder.requeued(copy) == copy / "hpc_ckpt_10.ckpt"
    run(copy, *PLAN, "steps=6")
    assert last(copy)["global_step"] == 6
    steps = pd.read_csv(copy / "csv" / "metrics.csv")["step"]
    assert steps.is_monotonic_increasing, "it went on, and did not begin anew"
    assert steps.min() < 4 <= steps.max()
    run(copy, *PLAN, "overwrite=true")
    assert last(copy)["global_step"] == 4
    assert not list(copy.glob("hpc_ckpt*"))


def test_remains_of_killed_writers_go(tmp_path):
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    dead, living = int(gone.stdout), os.getppid()
    assert alive(living)
    assert not alive(dead)
    (tmp_path / "checkpoints").mkdir()
    paths = {
        n: tmp_path / "checkpoints" / f".partial-{platform.node()}-{n}-last.ckpt"
        for n in (dead, living)
    }
    for path in (*paths.values(), tmp_path / ".partial-elsewhere-1-x"):
        path.touch()
    remove_partials(tmp_path)
    assert [paths[dead].exists(), paths[living].exists()] == [False, True]
    assert (tmp_path / ".partial-elsewhere-1-x").exists()
    assert str(os.getpid()) in partial_of(tmp_path / "x").name
    with pytest.raises(OSError, match="full"):
        write_whole(tmp_path / "x", lambda path: (path.touch(), exec("raise OSError('full')")))
    assert not list(tmp_path.glob(f"*{os.getpid()}*"))


def flipped(content, at, bit):
    changed = bytearray(content)
    changed[at] ^= 1 << bit
    return bytes(changed)


@pytest.mark.parametrize("old", [False, True], ids=["with a checksum", "from before"])
def test_a_wrong_byte(old, copy):
    """One wrong byte is found anywhere in the file, or, without a checksum of the whole, anywhere
    in its records.
    """
    path = copy / "checkpoints" / "last.ckpt"
    if old:
        torch.save(torch.load(path, weights_only=True), path)
    content, draw = path.read_bytes(), random.Random(0)
    places = [draw.randrange(len(content)) for _ in range(10)]
    if old:
        with zipfile.ZipFile(path) as archive:
            records = [info for info in archive.infolist() if info.file_size > 64]
        places = [content.index(info.filename.encode()) + 300 for info in draw.sample(records, 1)]
        starts = [info.header_offset + 30 + len(info.filename) + 64 for info in records]
        places = [
            start + draw.randrange(info.file_size - 64)
            for start, info in zip(starts, records, strict=True)
        ][:10]
    read(path)
    for at in places:
        path.write_bytes(flipped(content, at, draw.randrange(8)))
        with pytest.raises(
            CheckpointError, match=r"is damaged \(.*\); use another checkpoint|cannot be read"
        ):
            read(path)
    path.write_bytes(content[:-1])
    if not old:
        with pytest.raises(CheckpointError, match="is damaged"):
            run(copy, *PLAN, f"resume={copy}")


def test_every_bit_of_a_small_file(tmp_path):
    path, other = tmp_path / "x", tmp_path / "y"
    checksum.save({"a": torch.arange(3)}, path)
    assert checksum.damage(path) is None
    assert torch.load(path, weights_only=True, mmap=True)["a"].tolist() == [0, 1, 2]
    content = path.read_bytes()
    for at in range(0, len(content), 3):
        other.write_bytes(flipped(content, at, at % 8))
        assert checksum.damage(other) is not None, at


def test_best_weights_that_no_validation_can_choose(tmp_path, monkeypatch):
    """Refused before the first step; another run's checkpoints in the working folder are none of
    this one's.
    """
    monkeypatch.chdir(tmp_path)
    run(tmp_path, *PLAN)
    wrong = {
        "steps=1": "set validate_every=1 or less",
        "+trainer.fast_dev_run=true": "fast_dev_run keeps no checkpoints",
        "trainer.limit_val_batches=0": "leaves validation out",
    }
    for setting, mend in wrong.items():
        with pytest.raises(
            ConfigError,
            match=f"report.weights=best needs a validation. .*{mend}.*, or set report.weights=last",
        ):
            run(tmp_path / "new", *PLAN, REPORT, setting)
        assert not (tmp_path / "new").exists()
    by_epochs = ["trainer.check_val_every_n_epoch=5", "trainer.val_check_interval=1.0"]
    with pytest.raises(
        CheckpointError, match="no validation came"
    ):  # which nobody could know before
        run(tmp_path / "new", *PLAN, REPORT, *by_epochs, "data.batches_per_epoch=3")
    assert run(tmp_path / "one", *PLAN, REPORT, "steps=3").report is not None


def test_settings_that_cannot_be_read(copy):
    """One line and nothing lost, whether the run goes on for its report or by itself."""
    for text in ("{a: [", "- a"):
        (copy / "config.yaml").write_text(text)
        before = files_of(copy)
        for resume in (copy, "auto"):
            with pytest.raises(
                FileError, match=r"config\.yaml (is no YAML file|holds no settings)"
            ):
                run(copy, *PLAN, f"resume={resume}")
        assert files_of(copy) == before


def test_an_empty_name_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "last.ckpt").touch()
    with pytest.raises(NoCheckpoint, match="is empty"):
        find("")
    with pytest.raises(SettingError, match="resume='': must be text that is not empty"):
        run(tmp_path / "run", *PLAN, "resume=''")
    assert step_of("") is None


class Spoils(L.Callback):
    """From step 4 on weights grow, so that the first validation is the best one."""

    def on_train_batch_start(self, trainer, pl_module, *_):
        if trainer.global_step >= 3:
            for parameter in pl_module.denoiser.parameters():
                parameter.data.mul_(1.3)


SLOWER = [pytest.param(how, marks=pytest.mark.slow) for how in ("renamed", "same")]


@pytest.mark.parametrize("how", ["new", *SLOWER])
def test_the_best_so_far_goes_on(how, tmp_path):
    """The weights of the report are those of the best validation of the whole run."""
    plan = [*text_overrides(tmp_path), "steps=12", "validate_every=3", "checkpoint_every=3"]
    plan += ["optimizer.total_steps=12", "trainer.limit_val_batches=1"]

    def go(name, *more):
        return train(configuration(tmp_path / name, *plan, *more), [Spoils()])

    whole = go("whole", REPORT)
    best = read(tmp_path / "whole" / "checkpoints" / "best.ckpt")
    assert best["global_step"] == 3
    old = tmp_path / "old"
    go("old", "steps=9")
    if how == "renamed":
        old = old.rename(tmp_path / "renamed")
    target = tmp_path / "new" if how == "new" else old
    resumed = go(target.name, REPORT, f"resume={old}")
    again = read(target / "checkpoints" / "best.ckpt")
    assert again["global_step"] == best["global_step"]
    assert all(
        torch.equal(again["state_dict"][key], value) for key, value in best["state_dict"].items()
    )
    assert resumed.report.estimates["own_nelbo"].nats == whole.report.estimates["own_nelbo"].nats


def test_a_checkpoint_alone(copy, tmp_path, capsys):
    """Without best.ckpt beside it, that one is forgotten, aloud."""
    shutil.copy(copy / "checkpoints" / "last.ckpt", tmp_path / "last.ckpt")
    run(tmp_path / "new", *PLAN, "steps=6", f"resume={tmp_path / 'last.ckpt'}")
    assert read(tmp_path / "new" / "checkpoints" / "best.ckpt")["global_step"] == 6
    assert (
        "the best checkpoint up to step 4 is not beside the one to go on from"
        in capsys.readouterr().err
    )


def test_averages_left_and_begun(tmp_path, capsys):
    """Training goes on from the weights that the optimiser's state belongs to."""
    ema = ["callbacks=ema", "callbacks.ema.decay=0.9", "callbacks.samples=null"]
    plan = [*PLAN, "validate_every=100", "optimizer.total_steps=8"]
    run(tmp_path / "plain", *plan, "steps=8")
    run(tmp_path / "ema", *plan, *ema)
    run(tmp_path / "left", *plan, "steps=8", f"resume={tmp_path / 'ema'}")
    assert (
        "the weights that were averaged up to step 4 (callbacks=ema) are left"
        in capsys.readouterr().err
    )
    one, other = (last(tmp_path / name)["state_dict"] for name in ("plain", "left"))
    assert all(torch.equal(one[key], other[key]) for key in one), (
        "averaging never touches the weights themselves"
    )
    run(tmp_path / "plain4", *plan)
    run(tmp_path / "begun", *plan, *ema, "steps=8", f"resume={tmp_path / 'plain4'}")
    assert "up to step 4 no averages of weights were kept" in capsys.readouterr().err
    raw = last(tmp_path / "begun")["current_model_state"]
    assert all(torch.equal(one[key], raw[key]) for key in one)


def test_early_stopping_stays_stopped(tmp_path, capsys):
    """A run that was ended early and killed in its report trains no further, unless it gets more
    patience.
    """
    plan = [*PLAN, "steps=20", "callbacks.order=null"]

    def go(name, patience, *more):
        train(
            configuration(tmp_path / name, *plan, *more),
            [EarlyStopping("val/nelbo", min_delta=100, patience=patience)],
        )
        return last(tmp_path / name)["global_step"]

    assert go("run", 2) == 6
    assert go("run", 2, f"resume={tmp_path / 'run'}") == 6
    assert "early stopping had ended the run at step 6" in capsys.readouterr().err
    assert go("run", 4, f"resume={tmp_path / 'run'}") == 10


def test_metrics_and_samples_of_lost_steps_are_told_once(tmp_path):
    """Resumed from its middle, a run has lines of the steps of one run, in a new folder and in its
    own.
    """
    plan = [*PLAN, "steps=6", "trainer.log_every_n_steps=1", "optimizer.total_steps=6"]
    plan += ["callbacks.samples={_target_: ordo.training.SampleWriter, folder: '${output}', n: 2}"]
    run(tmp_path / "run", *plan)
    lines, rows = (
        (tmp_path / "run" / "samples.txt").read_text(),
        (tmp_path / "run" / "csv" / "metrics.csv").read_text(),
    )
    assert re.findall(r"(?m)^step (\d+)", lines) == ["2", "2", "4", "4", "6", "6"]
    assert pd.read_csv(tmp_path / "run" / "csv" / "metrics.csv")["step"].tolist() == [
        0,
        1,
        1,
        2,
        3,
        3,
        4,
        5,
        5,
    ]
    run(tmp_path / "half", *plan, "steps=4")
    shutil.copy(
        tmp_path / "run" / "samples.txt", tmp_path / "half" / "samples.txt"
    )  # as a kill at step 6 would leave it
    for target in ("new", "half"):
        run(tmp_path / target, *plan, f"resume={tmp_path / 'half'}")
        assert (tmp_path / target / "samples.txt").read_text() == lines
        assert (tmp_path / target / "csv" / "metrics.csv").read_text() == rows


def test_the_partner_of_a_run_goes_on_with_it(copy, tmp_path):
    """From where it was; from the start if it had not come so far."""
    compare = "compare={label: x, own_label: y, changes: {}}"

    def partner(*more):
        other = comparison(configuration(tmp_path / "new", *PLAN, compare, *more))
        return other.resume, other.overwrite

    assert partner("resume=auto") == ("auto", False)
    assert partner() == partner(f"resume={copy}") == (None, True)
    shutil.copytree(copy, copy / "compared_with")
    assert (
        partner(f"resume={copy}")
        == partner(f"resume={copy / 'checkpoints' / 'best.ckpt'}")
        == (str(copy / "compared_with"), False)
    )
