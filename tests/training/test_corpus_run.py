"""A whole run on a tokenised corpus: training, resume, eval.py, sample.py with a template; a
changed tokenizer is refused.
"""

import numpy as np
import pytest
import torch
from tiny_runs import QUIET, call, run
from tiny_tokenizer import tiny_tokenizer

from ordo.data import DataError

TEXT = "".join(
    f'{{"text": "the quick brown fox {i} jumps over the lazy dog"}}\n' for i in range(200)
)


def places(plan):
    """Where the data lie, for eval.py, which does not take that from a checkpoint."""
    return [
        setting
        for setting in plan
        if setting.startswith(("data.source=", "data.tokenizer=", "data.cache_dir="))
    ]


def tokenizer(plan):
    """The same for sample.py, which needs the tokenizer alone."""
    return [
        setting.removeprefix("data.") for setting in plan if setting.startswith("data.tokenizer=")
    ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "a.jsonl").write_text(TEXT)
    tiny_tokenizer(folder / "tokenizer")
    plan = [
        "data=corpus",
        f"data.source={folder / 'a.jsonl'}",
        f"data.tokenizer={folder / 'tokenizer'}",
        f"data.cache_dir={folder / 'cache'}",
    ]
    plan += [
        "data.length=12",
        "data.splits={train: 'train[:80%]', validation: 'train[80%:90%]', test: 'train[90%:]'}",
    ]
    plan += ["steps=4", "checkpoint_every=2", "validate_every=2", *QUIET]
    return folder, plan, run(folder / "run", *plan)


def test_resume(corpus, tmp_path):
    _, plan, result = corpus
    run(tmp_path / "run", *plan, "steps=2", "optimizer.total_steps=4")
    resumed = run(tmp_path / "run", *plan, f"resume={tmp_path / 'run'}")
    for a, b in zip(result.module.parameters(), resumed.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_eval_and_samples(corpus, tmp_path, monkeypatch, capfd):
    folder, plan, _ = corpus
    arguments = [f"checkpoint={folder / 'run'}", *places(plan), "sequences=8", "samples=2"]
    status, _, err = call("eval.py", *arguments, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, err
    out = tmp_path / "s.txt"

    def sample(*settings):
        shared = [f"checkpoint={folder / 'run'}", *tokenizer(plan), f"out={out}", "n=3", *settings]
        return call("ordo sample", *shared, monkeypatch=monkeypatch, capfd=capfd)

    status, _, err = sample("template='the quick# fox#'")
    assert status == 0, err
    assert out.read_text().startswith("the quick")
    status, _, err = sample("blank='#'", "template='the quick# fox#'")
    assert status == 0, err
    text = out.read_text()
    assert text.count("the quick") >= 3
    assert text.count(" fox") >= 3
    status, _, err = sample("template='" + "fox " * 30 + "'")
    assert status in (1, 2)
    assert "tokens, the model 12" in err
    ids = [f"checkpoint={folder / 'run'}", f"out={tmp_path / 's.npy'}", "n=3"]
    status, _, err = call("ordo sample", *ids, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, f"ids need no tokenizer: {err}"
    assert np.load(tmp_path / "s.npy").shape == (3, 12)
    tiny_tokenizer(folder / "tokenizer", vocab_size=280)
    status, _, err = sample()
    assert status in (1, 2)
    assert "is not the one that the checkpoint was trained with" in err


STREAM = ["data.streaming=true", "data.shuffle_buffer=20"]
STREAM += ["data.splits={train: 'train[40:]', validation: 'train[:20]', test: 'train[20:40]'}"]


def test_a_stream_resumes_and_is_scored(corpus, tmp_path, monkeypatch, capfd):
    """Killed in the middle of an epoch; another buffer is refused, as are other files."""
    _, plan, _ = corpus
    plan = [*plan, *STREAM]
    whole = run(tmp_path / "whole", *plan)
    run(tmp_path / "run", *plan, "steps=2", "optimizer.total_steps=4")
    with pytest.raises(DataError, match="cannot resume the training batches"):
        run(tmp_path / "run", *plan, "data.shuffle_buffer=21", f"resume={tmp_path / 'run'}")
    resumed = run(tmp_path / "run", *plan, f"resume={tmp_path / 'run'}")
    for a, b in zip(whole.module.parameters(), resumed.module.parameters(), strict=True):
        assert torch.equal(a, b)
    arguments = [f"checkpoint={tmp_path / 'run'}", *places(plan)]
    status, _, err = call(
        "eval.py", *arguments, "sequences=8", monkeypatch=monkeypatch, capfd=capfd
    )
    assert status == 0, err
    status, _, err = call(
        "eval.py", *arguments, "sequences=null", monkeypatch=monkeypatch, capfd=capfd
    )
    assert status in (1, 2)
    assert "streaming needs limit_eval (of ordo eval sequences) as a number" in err


OF_A_STREAM = pytest.param(STREAM, marks=pytest.mark.slow)


@pytest.mark.parametrize("streaming", [[], OF_A_STREAM], ids=["cache", "stream"])
def test_sentences(corpus, tmp_path, streaming, monkeypatch, capfd):
    """One document a sequence, from end to end: training, resume, eval.py, samples without what
    pads them.
    """
    _, plan, _ = corpus
    plan = [*plan, *streaming, "data.layout=documents", "data.length=24"]
    whole = run(tmp_path / "whole", *plan)
    run(tmp_path / "run", *plan, "steps=2", "optimizer.total_steps=4")
    resumed = run(tmp_path / "run", *plan, f"resume={tmp_path / 'run'}")
    for a, b in zip(whole.module.parameters(), resumed.module.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(DataError, match="layout differ"):
        run(tmp_path / "run", *plan, "data.layout=packed", f"resume={tmp_path / 'run'}")
    arguments = [f"checkpoint={tmp_path / 'run'}", *places(plan), "sequences=8", "samples=2"]
    status, _, err = call("eval.py", *arguments, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, err
    out = tmp_path / "s.txt"
    shared = [f"checkpoint={tmp_path / 'run'}", *tokenizer(plan), f"out={out}", "n=3"]
    status, _, err = call("ordo sample", *shared, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, err
    assert "_" not in out.read_text()
    trace = tmp_path / "t.npz"
    shared = [
        f"checkpoint={tmp_path / 'run'}",
        *tokenizer(plan),
        f"out={out}",
        "n=400",
        f"trace={trace}",
    ]
    status, _, err = call("ordo sample", *shared, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, err
    drawn = (np.load(trace)["rank"] >= 0).sum(1)
    own = whole.data.val_set.lengths.double()
    assert set(drawn) == set(own.int().tolist()), "as long as documents are"
    assert abs(drawn.mean() - own.mean()) < 4 * own.std() / 20 + 1e-9
    status, _, err = call("ordo sample", *shared, "length=3", monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, err
    assert ((np.load(trace)["rank"] >= 0).sum(1) == 3).all()
    status, _, err = call("ordo sample", *shared, "length=30", monkeypatch=monkeypatch, capfd=capfd)
    assert status in (1, 2)
    assert "length=30: must be in 1..24" in err
