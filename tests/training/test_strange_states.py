"""Going on from a stranger's checkpoint: it deletes nothing, and what is wrong is one line."""

import os

import pytest
import torch
from tiny_runs import NAE, last, run

from ordo.runs import CheckpointError

FEW = [
    *NAE,
    "validate_every=2",
    "checkpoint_every=2",
    "logger=csv",
    "schedule=power_table",
    "objective=order",
]


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strange") / "old"
    run(folder, *FEW, "steps=2")
    return folder


def keeper(checkpoint):
    return next(state for key, state in checkpoint["callbacks"].items() if "ModelCheckpoint" in key)


def names(checkpoint, path):
    score = torch.tensor(1e9)
    found = dict.fromkeys(("best_model_path", "kth_best_model_path", "last_model_path"), path)
    scores = dict.fromkeys(("current_score", "best_model_score", "kth_value"), score)
    keeper(checkpoint).update(found, best_k_models={path: score}, **scores)


@pytest.mark.parametrize("path", ["/x/..", "..", "/", ".", "/etc/passwd", "x/last.ckpt"])
def test_no_file_that_a_checkpoint_names_is_deleted(path, old, tmp_path):
    """Lightning deletes the best checkpoint for a better one, a folder with all that is in it."""
    checkpoint = last(old)
    names(checkpoint, path)
    torch.save(checkpoint, tmp_path / "x.ckpt")
    new = tmp_path / "new"
    (new / "checkpoints").mkdir(parents=True)
    (new / "mine.txt").write_text("mine")
    run(new, *FEW, "steps=4", f"resume={tmp_path / 'x.ckpt'}")
    assert (new / "mine.txt").read_text() == "mine"
    assert sorted(os.listdir(new / "checkpoints")) == ["best.ckpt", "last.ckpt"]
    assert last(new)["global_step"] == 4


def first_state(checkpoint):
    return next(iter(checkpoint["optimizer_states"][0]["state"].values()))


def weights(checkpoint, change):
    state = checkpoint["state_dict"]
    name = "denoiser.token.weight"
    state[name] = change(state[name])


STRANGE = {
    "callbacks that are a list": lambda c: c.update(callbacks=[1]),
    "a state that is a list": lambda c: c["callbacks"].update({key: [1] for key in c["callbacks"]}),
    "a state of nothing": lambda c: keeper(c).clear(),
    "a path that is a number": lambda c: keeper(c).update(best_model_path=3),
    "scores that are text": lambda c: keeper(c).update(best_k_models="x"),
    "a run that is text": lambda c: c.update(run="x"),
    "rows that are numbers": lambda c: c["run"].update(rows=[1]),
    "rows with lists": lambda c: c["run"].update(rows=[{"epoch": [1]}]),
    "metrics that are text": lambda c: c["run"].update(held={"x": "abc"}),
    "a validation that is text": lambda c: c["run"].update(validated="x"),
    "a step below 0": lambda c: c.update(global_step=-5),
    "a step beyond all": lambda c: c.update(global_step=10**30),
    "loops that are a list": lambda c: c.update(loops={"fit_loop": [1]}),
    "no optimiser": lambda c: c.pop("optimizer_states"),
    "an optimiser that is text": lambda c: c.update(optimizer_states="x"),
    "an optimiser of nothing": lambda c: c.update(optimizer_states=[{}]),
    "a state of another shape": lambda c: first_state(c).update(exp_avg=torch.zeros(99)),
    "a huge state in one number": lambda c: first_state(c).update(
        exp_avg=torch.zeros(1).expand(10**13)
    ),
    "a version that is no version": lambda c: c.update({"pytorch-lightning_version": "x.y"}),
    "sparse weights": lambda c: weights(c, torch.Tensor.to_sparse),
    "weights without numbers": lambda c: weights(c, lambda w: w.to("meta")),
    "whole numbers as weights": lambda c: weights(c, torch.Tensor.char),
    "complex numbers as weights": lambda c: weights(c, lambda w: w.to(torch.complex64)),
    "batches that are text": lambda c: c["ordo"].update(batches="x"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_states_are_told_in_one_line(name, old, tmp_path):
    checkpoint = last(old)
    STRANGE[name](checkpoint)
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"x\.ckpt") as caught:
        run(tmp_path / "new", *FEW, "steps=4", f"resume={tmp_path / 'x.ckpt'}")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "new").exists(), "nothing is left of a run that never began"
