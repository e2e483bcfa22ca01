"""Whatever a user gets wrong is one line that names the thing and the mend, before any long work,
and leaves nothing half-written.
"""

import os
import pickle
import random
import re

import pytest
import torch
from tiny_runs import BARE, LETTERS, NAE, QUIET, SMALL, call, last, run, text_overrides

from ordo.training import TrainingDiverged

STEPS = ["steps=4", "checkpoint_every=2", "validate_every=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished tiny run on a text of its own."""
    folder = tmp_path_factory.mktemp("trained")
    run(folder / "run", *text_overrides(folder), *STEPS)
    return folder


@pytest.fixture
def script(monkeypatch, capfd):
    def of(name, *arguments):
        return call(name, *arguments, monkeypatch=monkeypatch, capfd=capfd)

    return of


def one_error(result, *patterns):
    """Exit status 1 or 2 (test_entry.py says which) and one line on standard error that has all
    patterns.
    """
    status, _, err = result
    assert status in (1, 2)
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("error: ")
    for pattern in patterns:
        assert re.search(pattern, err), f"{pattern!r} not in {err}"


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


class Opens:
    """A pickle that creates a file when it is loaded by something that executes what it reads."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


ONE_OF_EACH = "sequences: 1, importance_draws: 1, exact_sequences: 1, batch_size: 1, seed: 0"
HEADS = ["schedule=per_context_shared", "objective=order"]
FILE = ["data=file", "data.length=8"]
CASES = {
    "missing text": (
        lambda p: [*FILE, f"data.path={p}/gone"],
        ["no such file", "gone", "check path"],
    ),
    "no text named": (lambda p: FILE, ["Missing mandatory value: data.path"]),
    "empty text": (
        lambda p: [*FILE, f"data.path={write(p / 't', '')}"],
        ["is empty", "longer text"],
    ),
    "short text": (
        lambda p: [*FILE, f"data.path={write(p / 't', 'abc' * 20)}"],
        ["validation split", "has 3 characters", "at least"],
    ),
    "long sequences": (
        lambda p: ["data=file", f"data.path={write(p / 't', LETTERS)}", "data.length=9999"],
        ["length=9999", "less length"],
    ),
    "foreign character": (
        lambda p: [
            *FILE,
            f"data.path={write(p / 't', LETTERS + '€' + LETTERS)}",
            "data.alphabet='abcdefghijklmnopqrstuvwxyz '",
        ],
        ["'€'", "alphabet"],
    ),
    "unknown argument": (
        lambda p: [*NAE, "+objective.foo=1"],
        ["objective.foo=1: there is no", "Dense takes length, draws, baseline"],
    ),
    "unknown nested argument": (
        lambda p: [*NAE, "+data.task.foo=1"],
        ["data.task.foo=1: there is no", "NotAllEqual takes n_latents"],
    ),
    "bad value": (
        lambda p: [*NAE, "objective.baseline=none_such"],
        ["objective.baseline=none_such: must be learned or rloo"],
    ),
    "unknown class": (
        lambda p: [*NAE, "schedule._target_=ordo.schedules.Unknown"],
        ["schedule._target_=ordo.schedules.Unknown", "there is no Unknown in ordo.schedules"],
    ),
    "mismatch": (
        lambda p: [*NAE, "denoiser=bidirectional"],
        ["objective dense needs an order-causal denoiser", "time or order"],
    ),
    "mismatch of law": (
        lambda p: [*NAE, "schedule=kumaraswamy", "objective=order"],
        ["closed form", "time or dense"],
    ),
    "bonus without a law": (
        lambda p: [
            *NAE,
            "schedule=kumaraswamy",
            "optimizer.entropy_bonus=1",
            "optimizer.entropy_steps=9",
        ],
        ["entropy_bonus", "set it to 0"],
    ),
    "rate of no base": (
        lambda p: [*NAE, "schedule=power_table", "optimizer.base_lr=1"],
        [r"optimizer\.base_lr", "set it to null"],
    ),
    "features in order": (
        lambda p: [*NAE, *HEADS, "denoiser=order_causal"],
        ["denoiser=bidirectional", "OrderCausalTransformer has not"],
    ),
    "features divided": (
        lambda p: [*NAE, *HEADS, "denoiser=bidirectional", "trainer=fsdp", "trainer.devices=1"],
        ["use schedule=per_context, or trainer=ddp"],
    ),
    "one draw": (lambda p: [*NAE, "objective.baseline=rloo"], ["draws >= 2"]),
    "no steps": (lambda p: [*NAE, "steps=0"], ["steps=0: must be a whole number from 1"]),
    "no checkpoints": (
        lambda p: [*NAE, "checkpoint_every=0"],
        ["checkpoint_every=0: must be a whole number from 1"],
    ),
    "no threads": (lambda p: [*NAE, "threads=0"], ["threads=0", "null"]),
    "report split": (
        lambda p: [
            *NAE,
            f"report={{split: train, draws: 1, {ONE_OF_EACH}}}",
        ],
        ["report.split=train: must be val or test"],
    ),
    "report draws": (
        lambda p: [
            *NAE,
            f"report={{split: val, draws: 0, {ONE_OF_EACH}}}",
        ],
        ["report.draws=0: must be a whole number from 1"],
    ),
    "trainer argument": (
        lambda p: [*NAE, "+trainer.foo=1"],
        ["trainer.foo=1: there is no such setting"],
    ),
    "no such device": (
        lambda p: [*NAE, "trainer.accelerator=abacus"],
        ["trainer.accelerator=abacus: must be auto, cpu"],
    ),
    "width": (lambda p: [*NAE, "denoiser.width=15"], ["width 15", "heads"]),
    "resume from nothing": (
        lambda p: [*NAE, f"resume={p}/gone"],
        ["no checkpoint at", "gone", "folder of a run"],
    ),
    "resume from random bytes": (
        lambda p: [*NAE, f"resume={write(p / 'x.ckpt', random.Random(1).randbytes(999))}"],
        ["x.ckpt", "damaged"],
    ),
    "unwritable": (
        lambda p: [*NAE, f"output={write(p / 'FILE', '')}/run"],
        ["output folder", "FILE is not a folder", "set output="],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_train(name, script, tmp_path):
    overrides, patterns = CASES[name]
    output = tmp_path / "made" / "run"
    one_error(
        script(
            "train.py",
            "experiment=custom",
            f"output={output}",
            *SMALL,
            *QUIET,
            *STEPS,
            *overrides(tmp_path),
        ),
        *patterns,
    )
    assert not (tmp_path / "made").exists(), "no trace of a run that never began"


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("no_such_key=1", ["no_such_key"]),
        ("denoiser.no_such_key=1", ["no_such_key"]),
        ("objective=no_such", ["no_such", "dense", "order", "time"]),
    ],
)
def test_hydra_names_the_key(argument, named, script, tmp_path):
    status, _, err = script("train.py", f"output={tmp_path / 'run'}", argument)
    assert status == 2
    assert all(word in err for word in named)
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def damage(kind, run_folder, path):
    """A checkpoint file that is not what it should be."""
    whole = (run_folder / "checkpoints" / "last.ckpt").read_bytes()
    if kind == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "random":
        path.write_bytes(random.Random(0).randbytes(1000))
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Opens(path.parent / "EXECUTED")))
    elif kind == "torch pickle":
        torch.save({"ordo": {"format": 1}, "state_dict": Opens(path.parent / "EXECUTED")}, path)
    elif kind == "foreign":
        torch.save({"state_dict": {"weight": torch.zeros(2)}}, path)
    elif kind == "other shape":
        checkpoint = last(run_folder)
        checkpoint["state_dict"]["denoiser.head.weight"] = torch.zeros(5, 7)
        torch.save(checkpoint, path)
    return path


DAMAGES = {
    "truncated": ["cannot be read", "truncated or damaged", "another checkpoint"],
    "random": ["damaged", "nothing in it was executed"],
    "pickle": ["no checkpoint of ordo", "nothing in it was executed"],
    "torch pickle": ["no checkpoint of ordo", "nothing in it was executed"],
    "foreign": ["not written by ordo"],
    "other shape": [
        r"denoiser.head.weight has shape \(5, 7\)",
        "configuration the checkpoint was trained with",
    ],
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_checkpoint(kind, script, trained, tmp_path):
    path = damage(kind, trained / "run", tmp_path / "damaged.ckpt")
    common = [f"output={tmp_path / 'run'}", *SMALL, *QUIET, *STEPS, *text_overrides(trained)]
    one_error(
        script("train.py", "experiment=custom", f"resume={path}", *common),
        "damaged.ckpt",
        *DAMAGES[kind],
    )
    one_error(script("eval.py", f"checkpoint={path}"), "damaged.ckpt", *DAMAGES[kind])
    assert [p.name for p in tmp_path.iterdir()] == ["damaged.ckpt"], (
        "nothing was executed, nothing was written"
    )


def test_resume_with_another_model_or_other_data(script, trained, tmp_path):
    common = ["experiment=custom", f"output={tmp_path / 'run'}", f"resume={trained / 'run'}"]
    common += [*SMALL, *QUIET, "steps=6", *text_overrides(trained)]
    one_error(
        script("train.py", *common, "denoiser.width=32"),
        "has shape",
        "the model wants",
        "configuration",
    )
    one_error(
        script("train.py", *common, "denoiser.layers=2"), "blocks.1", "missing from the checkpoint"
    )
    one_error(
        script("train.py", *common, "schedule=linear"), "schedule.network", "unknown to the model"
    )
    one_error(
        script("train.py", *common, "data.batch_size=4"),
        "cannot resume the training batches",
        "same data, seed and batch_size",
    )
    one_error(script("train.py", *common, "seed=5"), "cannot resume the training batches", "seed")
    other = write(tmp_path / "other", LETTERS.replace("q", "ä"))
    one_error(script("train.py", *common, f"data.path={other}"), "vocabulary", "same text")
    assert not (tmp_path / "run").exists()


def test_eval(script, trained, tmp_path):
    run_folder = trained / "run"
    one_error(script("eval.py"), "no checkpoint given", "checkpoint=")
    one_error(script("eval.py", "checkpoint=/no/such/run"), "no checkpoint at /no/such/run")
    one_error(
        script("eval.py", f"checkpoint={run_folder}", "split=train"),
        "split=train: must be val or test",
    )
    one_error(
        script("eval.py", f"checkpoint={run_folder}", "draws=0"),
        "draws=0: must be a whole number from 1",
    )
    one_error(
        script("eval.py", f"checkpoint={run_folder}", "device=abacus"),
        "device=abacus: must be auto, cpu or cuda",
    )
    one_error(
        script("eval.py", f"checkpoint={run_folder}", f"output={write(tmp_path / 'FILE', '')}/x"),
        "output folder",
        "FILE",
    )
    one_error(
        script("eval.py", f"checkpoint={run_folder}", f"data.path={tmp_path / 'gone'}"),
        "no such file",
    )
    swapped = write(tmp_path / "swapped", LETTERS.replace("q", "ä"))
    one_error(
        script("eval.py", f"checkpoint={run_folder}", f"data.path={swapped}"), "'ä'", "alphabet"
    )
    hostile = last(run_folder)
    hostile["ordo"]["config"]["denoiser"] = {"_target_": "os.mkdir", "path": str(tmp_path / "made")}
    torch.save(hostile, tmp_path / "hostile.ckpt")
    one_error(
        script("eval.py", f"checkpoint={tmp_path / 'hostile.ckpt'}"),
        "denoiser._target_=os.mkdir",
        "a file may name",
    )
    assert not (tmp_path / "made").exists(), "nothing that a checkpoint names is called"
    assert not list(trained.rglob("report.json"))


DIVERGES = [*NAE, "steps=8", "checkpoint_every=3", "validate_every=4", "optimizer.schedule_delay=0"]
DIVERGES += ["objective._target_=tiny_runs.Breaks", *BARE]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The weights of the run without the NaN."""
    plan = [*DIVERGES, "+objective.part=loss", "+objective.step=-1"]
    return list(run(tmp_path_factory.mktemp("whole") / "run", *plan).module.parameters())


@pytest.mark.parametrize("part", ["loss", "denoiser", "schedule"])
def test_divergence(part, undisturbed, tmp_path):
    """A NaN stops training; the last checkpoint is from before the NaN and can be resumed, to the
    bits of a run without the NaN.
    """
    plan = [*DIVERGES, f"+objective.part={part}"]
    with pytest.raises(TrainingDiverged) as caught:
        run(tmp_path / "run", *plan, "+objective.step=5")
    # With a NaN gradient in step 5, the checkpoint after that step is the first to know.
    step, what = (5, "the loss") if part == "loss" else (6, f"parameter {part}")
    folder = tmp_path / "run" / "checkpoints"
    message = str(caught.value)
    assert what in message
    assert f"at or before step {step};" in message
    assert f"the last good checkpoint is in {folder} (resume={folder})" in message
    kept = last(tmp_path / "run")
    assert kept["global_step"] == 4, "from before the validation of step 4"
    assert all(torch.isfinite(value).all() for value in kept["state_dict"].values())
    resumed = run(tmp_path / "resumed", *plan, "+objective.step=-1", f"resume={folder}")
    for a, b in zip(undisturbed, resumed.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_divergence_from_the_start(script, tmp_path):
    output = tmp_path / "run"
    arguments = [
        "experiment=custom",
        f"output={output}",
        *SMALL,
        *QUIET,
        *NAE,
        "steps=8",
        "optimizer.lr=1e30",
        "optimizer.warmup_steps=0",
    ]
    one_error(
        script("train.py", *arguments),
        "NaN or infinite",
        "step [1-9]",
        "no checkpoint had been written yet",
        "Lower optimizer.lr",
    )
    assert not list(output.rglob("*.ckpt"))
