"""Token ids from training to samples, and ids as what every model can give: ordo sample."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import NAE, QUIET, call, run

from ordo.data import IdsData, StarGraph
from ordo.data.loader import data_generator
from ordo.denoisers import OrderCausalTransformer
from ordo.likelihood import order_log_prob
from ordo.runs.stored import load
from ordo.saved import OrderedModel
from ordo.schedules import Linear

STEPS = ["steps=2", "checkpoint_every=2", "validate_every=2"]
IDS = np.random.default_rng(0).integers(3, 23, (60, 6)).astype(np.uint8)
IDS[0] = 24  # the largest
FEW = ["sequences=4", "draws=1", "importance_draws=1", "exact_sequences=2", "orders=0"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on ids; the file is deleted afterwards."""
    folder = tmp_path_factory.mktemp("ids")
    np.save(folder / "ids.npy", IDS)
    run(folder / "run", "data=ids", f"data.path={folder / 'ids.npy'}", *STEPS, *QUIET)
    (folder / "ids.npy").unlink()
    return folder / "run"


@pytest.fixture
def script(tmp_path, monkeypatch, capfd):
    """Callable: name, settings -> exit status and standard error."""

    def of(name, *settings):
        settings = [*settings, "threads=1"] if "export" not in name else settings
        status, _, err = call(name, *settings, monkeypatch=monkeypatch, capfd=capfd)
        return status, err

    return of


@pytest.fixture
def sample(script, tmp_path):
    """Callable: checkpoint, name of the file, settings -> the file."""

    def of(checkpoint, out, *settings):
        arguments = [f"checkpoint={checkpoint}", f"out={tmp_path / out}", *settings]
        status, err = script("ordo sample", *arguments)
        assert status == 0, err
        return tmp_path / out

    return of


def test_ids_come_back_as_ids(trained, sample, tmp_path):
    settings = ["n=20", "seed=3", "sampler=mode_order"]
    ids = np.load(sample(trained, "s.npy", *settings))
    assert ids.shape == (20, 6)
    assert ids.dtype == np.int64
    assert 0 <= ids.min() <= ids.max() < 25
    lines = sample(trained, "s.txt", *settings).read_text().splitlines()
    assert [[int(word) for word in line.split()] for line in lines] == ids.tolist()
    with np.load(sample(trained, "s.npz", *settings, "log_prob=true")) as both:
        assert np.array_equal(both["ids"], ids)
        module, _ = load(trained)
        exact = order_log_prob(module.denoiser, torch.from_numpy(ids), module.schedule.law().mode())
        assert np.allclose(both["log_prob"], exact.numpy(), atol=1e-4)
    listed = sample(trained, "s.parquet", *settings, f"trace={tmp_path / 't.html'}")
    data = IdsData(str(listed), vocab_size=25, split=(0.8, 0.1, 0.1))
    data.setup()
    read = np.concatenate([rows.tokens for rows in (data.train_set, data.val_set, data.test_set)])
    assert sorted(read.tolist()) == sorted(ids.tolist()), "data=ids reads what was drawn"
    page = (tmp_path / "t.html").read_text()
    assert all(f'"{i}"' in page for i in ids[:8].ravel())


def test_ids_that_are_given_away_and_scored(trained, script, sample, tmp_path):
    status, err = script("ordo export", f"checkpoint={trained}", f"out={tmp_path / 'm'}")
    assert status == 0, err
    own = np.load(sample(trained, "a.npy", "n=5"))
    assert np.array_equal(np.load(sample(tmp_path / "m", "b.npy", "n=5")), own)
    assert OrderedModel.from_pretrained(tmp_path / "m").decode(torch.tensor([[1, 25, 10]])) == [
        "1 _ 10"
    ]
    np.savez(tmp_path / "other.npz", train=IDS[1:2], val=IDS[1:9], test=IDS[9:20])
    scored = ["split=test", "samples=3", f"output={tmp_path / 'eval'}", *FEW]
    shared = [f"checkpoint={trained}", *scored]
    status, err = script("eval.py", *shared, f"data.path={tmp_path / 'other.npz'}")
    assert status == 0, f"the checkpoint has 25 ids, whatever the largest of the file: {err}"
    report = json.loads((tmp_path / "eval" / "report.json").read_text())
    assert len(report["samples"]) == 3
    assert all(0 <= int(word) < 25 for text in report["samples"] for word in text.split())
    assert report["samples"][0].split()[0] in (tmp_path / "eval" / "report.html").read_text()
    np.save(tmp_path / "large.npy", IDS + 1)
    for file, message in (
        (f"data.path={tmp_path / 'large.npy'}", "row 0, position 0 has the id 25, outside of"),
        ("split=test", "a checkpoint may not say where data lie"),
    ):
        status, err = script("eval.py", *shared, file)
        assert status in (1, 2)
        assert message in err.strip().splitlines()[-1]


def test_ids_of_a_text_and_of_a_task(sample, script, tmp_path):
    run(tmp_path / "run", *NAE, *STEPS, *QUIET)
    ids = np.load(sample(tmp_path / "run", "s.npy", "n=7"))
    text = sample(tmp_path / "run", "s.txt", "n=7").read_text().splitlines()
    assert ["".join(map(str, row)) for row in ids] == text
    for out, message in (
        ("s.csv", "the model is of text, choose .txt, .npy or .npz"),
        ("s.parquet", "the model is of text, choose .txt, .npy or .npz"),
    ):
        status, err = script(
            "ordo sample", f"checkpoint={tmp_path / 'run'}", f"out={tmp_path / out}"
        )
        assert (status, len(err.splitlines())) == (2, 1)
        assert message in err
        assert not (tmp_path / out).exists()


def test_ids_of_a_table(sample, tmp_path):
    frame = pd.DataFrame({"a": list("xyz") * 30, "b": list("pq") * 45})
    frame.to_csv(tmp_path / "t.csv", index=False)
    parts = ["data=table", f"data.path={tmp_path / 't.csv'}", "denoiser=table_causal"]
    result = run(tmp_path / "run", *parts, *STEPS, *QUIET)
    ids = np.load(sample(tmp_path / "run", "s.npy", "n=30"))
    drawn = pd.read_csv(sample(tmp_path / "run", "s.csv", "n=30"))
    assert np.array_equal(result.data.codec.encode(drawn).numpy(), ids)
    page = tmp_path / "t.html"
    given = ["n=30", "+given.a=y", f"trace={page}", "log_prob=true"]
    with np.load(sample(tmp_path / "run", "s.npz", *given)) as both:
        assert (both["ids"][:, 0] == 1).all()
    assert page.is_file()


def test_ids_of_a_model_saved_without_a_word_on_its_data(sample, script, tmp_path):
    sizes = {"vocab_size": 40, "length": 5, "width": 16, "heads": 2, "layers": 1}
    denoiser = {"_target_": "ordo.denoisers.OrderCausalTransformer", **sizes}
    OrderedModel(denoiser, {"_target_": "ordo.schedules.Linear", "length": 5}).save_pretrained(
        tmp_path / "m"
    )
    assert isinstance(OrderedModel.from_pretrained(tmp_path / "m").schedule, Linear)
    assert isinstance(OrderedModel.from_pretrained(tmp_path / "m").denoiser, OrderCausalTransformer)
    ids = np.load(sample(tmp_path / "m", "s.npy", "n=9", f"trace={tmp_path / 't.gif'}"))
    assert ids.shape == (9, 5)
    assert 0 <= ids.min() <= ids.max() < 40
    assert (tmp_path / "t.gif").read_bytes()[:3] == b"GIF"
    listed = pd.read_parquet(sample(tmp_path / "m", "s.parquet", "n=9"))
    assert np.array_equal(np.stack(listed["ids"]), ids)
    for settings, message in (
        (["out=s.txt"], "nothing is known, choose .parquet, .npy or .npz"),
        ([f"out={tmp_path / 'x.npy'}", "log_prob=true"], "for log_prob=true choose .npz"),
        ([f"out={tmp_path / 'x.npy'}", "template=a"], "template is for text and Sudokus"),
        ([f"out={tmp_path / 'x.npy'}", "impute=x.csv"], "impute is for tables and Sudokus"),
        ([f"out={tmp_path / 'x.npy'}", "+given.a=1"], "given is for tables"),
        ([f"out={tmp_path / 'x.npy'}", "delimiter=';'"], "delimiter is for tables"),
    ):
        status, err = script("ordo sample", f"checkpoint={tmp_path / 'm'}", *settings)
        assert (status, len(err.splitlines())) == (2, 1), err
        assert message in err
    assert not (tmp_path / "x.npy").exists()


def test_a_model_of_paths_gets_graphs(sample, tmp_path):
    """The graph of every row is one that the task draws, and has a path; the path is decoded."""
    task = StarGraph(degree=2, path_length=3, shortest=3, after=2, n_nodes=8)
    sizes = [f"data.task.{name}={value}" for name, value in vars(task).items() if name[0] != "_"]
    run(tmp_path / "run", "data=star_graph", *sizes, "data.eval_size=8", *STEPS, *QUIET)
    ids = np.load(sample(tmp_path / "run", "s.npy", "n=6", f"trace={tmp_path / 't.npz'}"))
    known = task.known.numpy()
    solved = task.sample(6, data_generator(3, 0))
    assert torch.isfinite(task.log_prob(solved)).all()
    assert np.array_equal(ids[:, known], solved.numpy()[:, known])
    assert len({tuple(row) for row in ids[:, known].tolist()}) == 6
    assert np.array_equal(
        np.load(tmp_path / "t.npz")["rank"] < 0, np.broadcast_to(known, (6, len(known)))
    )
    other = np.load(sample(tmp_path / "run", "s.npy", "n=6", "seed=1"))
    assert not np.array_equal(other[:, known], ids[:, known])
