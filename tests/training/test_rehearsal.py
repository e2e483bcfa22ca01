"""What only the end of a run reads is tried before its first step, and told in one line."""

import pytest
import torch
from omegaconf import OmegaConf
from tiny_runs import NAE, QUIET, SMALL, call

from ordo.data import DataError, EvenParity, TaskData
from ordo.runs.checks import rehearse

PLAN = [
    "experiment=custom",
    *SMALL,
    *QUIET,
    *NAE,
    "steps=2",
    "validate_every=2",
    "checkpoint_every=2",
]
SMALLEST = "split: val, sequences: 4, draws: 1, importance_draws: 1, exact_sequences: 1, "
SMALLEST += "batch_size: 4, seed: 0"
REPORT = f"report={{{SMALLEST}, samples: 2, page: true"


class Mine(TaskData):
    """Data of one's own, to be spoiled."""

    def __init__(self, task, spoil, **settings):
        super().__init__(EvenParity(4), batch_size=8, eval_size=8)
        self.spoil = spoil
        if spoil == "entropy":
            del self.entropy
        if spoil == "precedence":
            self.precedence = 5
        if spoil == "labels":
            self.labels = ["a"]
        if spoil == "unit":
            self.unit = None

    def decode(self, tokens):
        if self.spoil == "decode":
            raise IndexError("no such token")
        return super().decode(tokens) if self.spoil != "few texts" else ["one"]

    def describe(self):
        return super().describe() | ({"t": torch.zeros(1)} if self.spoil == "describe" else {})

    def state_dict(self):
        if self.spoil == "state_dict":
            raise KeyError("vocabulary")
        return super().state_dict()


class Fails:
    """A metric."""

    def __init__(self, how):
        self.how = how

    def __call__(self, samples, real, data):
        return {"raises": lambda: {}["missing"], "text": lambda: {"a": "b"}, "list": lambda: [1.0]}[
            self.how
        ]()


def train(*arguments, monkeypatch, capfd, folder):
    """One line of a run that never began."""
    output = folder / "made" / "run"
    status, _, err = call(
        "train.py", *PLAN, f"output={output}", *arguments, monkeypatch=monkeypatch, capfd=capfd
    )
    assert status in (1, 2), err
    assert len(err.splitlines()) == 1, err
    assert not (folder / "made").exists()
    return err


SPOILT = {
    "entropy": "Mine: entropy fails on two rows (AttributeError",
    "decode": "Mine: decode fails on two rows (IndexError: no such token)",
    "few texts": "Mine: decode must give a text for each",
    "describe": "Mine: describe fails on two rows (TypeError",
    "labels": "Mine: labels must give a name for every position",
    "unit": "Mine: unit must give",
    "precedence": "Mine: precedence",
    "state_dict": "Mine: state_dict fails on two rows (KeyError",
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_data_that_the_report_could_not_read(spoil):
    data = Mine(None, spoil)
    data.setup("fit")
    report = OmegaConf.create({"split": "val", "samples": 2})
    with pytest.raises(DataError) as caught:
        rehearse(data, report)
    assert str(caught.value).startswith(SPOILT[spoil])
    assert len(str(caught.value).splitlines()) == 1


def test_before_the_first_step(monkeypatch, capfd, tmp_path):
    shared = {"monkeypatch": monkeypatch, "capfd": capfd, "folder": tmp_path}
    mine = ["data._target_=test_rehearsal.Mine", "+data.spoil=entropy"]
    assert "Mine: entropy fails on two rows" in train(*mine, f"{REPORT}}}", **shared)
    for how in ("raises", "text", "list"):
        metric = f"metrics: {{mine: {{_target_: test_rehearsal.Fails, how: {how}}}}}"
        assert "report.metrics.mine" in train(f"{REPORT}, {metric}}}", **shared)
    partner = "compare={label: a, own_label: b, changes: {denoiser: {"
    partner += "_target_: ordo.denoisers.BidirectionalTransformer, %s}}}"
    sizes = "vocab_size: 2, length: 6, width: 16, heads: 2, layers: 1"
    assert "objective dense needs an order-causal denoiser" in train(partner % sizes, **shared)


def test_a_folder_that_is_not_there(monkeypatch, capfd, tmp_path):
    for script, arguments, told in (
        (
            "scripts/reproduce_paper.py",
            ["--data", "/nope"],
            "argument --data: /nope: there is no such file or folder",
        ),
        (
            "scripts/reproduce_paper.py",
            ["--data", tmp_path, "--work", tmp_path / "work"],
            "it has no folder adult",
        ),
        (
            "scripts/reproduce_paper.py",
            ["--seeds", "0"],
            "argument --seeds: 0: must be a whole number from 1",
        ),
        (
            "scripts/benchmark.py",
            ["text", "--text8", "/nope"],
            "argument --text8: /nope: there is no",
        ),
        (
            "scripts/benchmark.py",
            ["nae", "--jobs", "abc"],
            "argument --jobs: abc: must be a whole number from 1",
        ),
        (
            "ordo search",
            ["optimizer.lr=choice(1,2)", "--trials", "-1"],
            "argument --trials: -1: must be",
        ),
        (
            "ordo search",
            ["optimizer.lr=choice(1,2)", "--seed", "-1"],
            "argument --seed: -1: must be a whole number from 0",
        ),
        ("ordo collect", [tmp_path / "gone"], "no run below"),
        ("ordo compare", [tmp_path / "gone", tmp_path / "too"], "no report.json in or below"),
    ):
        status, out, err = call(script, *arguments, monkeypatch=monkeypatch, capfd=capfd)
        assert (status, out, len(err.splitlines())) == (2, "", 1), (script, err)
        assert told in err
        assert list(tmp_path.iterdir()) == []
