"""Checkpoints and saved models of earlier versions load, with the numbers that they had.

The files were written by version 0.1.0 at commit b8c7b73. values.json has log-probabilities by the
code of that commit.
"""

import json
from pathlib import Path

import pytest
import torch
from tiny_runs import NAE, QUIET, last, run

from ordo.likelihood import order_log_prob
from ordo.objectives import Dense, OrderSpace, ScoreFunction
from ordo.runs import load, load_data
from ordo.saved import OrderedModel
from ordo.training.older import renewed

KEPT = Path(__file__).parents[1] / "kept"
VALUES = json.loads((KEPT / "values.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", VALUES)
def test_a_kept_model(name):
    """A task, a text with averaged weights, a table, and a law with heads on the denoiser's
    features.
    """
    want = torch.tensor(VALUES[name], dtype=torch.float64)
    module, _ = load(KEPT / f"{name}.ckpt")
    tokens = torch.arange(2)[:, None].repeat(1, module.denoiser.length)
    order = torch.arange(module.denoiser.length)
    for model in (
        module,
        OrderedModel.of_checkpoint(KEPT / f"{name}.ckpt"),
        OrderedModel.from_pretrained(KEPT / name),
    ):
        with torch.no_grad():
            got = order_log_prob(model.denoiser, tokens, order).double()
        torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def test_a_kept_run_goes_on(tmp_path):
    """With the data and settings that it had: from step 4 to step 6, the weights move, and the data
    are the same.
    """
    plan = [
        "steps=6",
        "checkpoint_every=2",
        "validate_every=2",
        *QUIET,
        *NAE,
        "schedule=power_table",
        "objective=order",
    ]
    old = torch.load(KEPT / "nae.ckpt", weights_only=True)
    run(tmp_path / "run", *plan, f"resume={KEPT / 'nae.ckpt'}")
    new = last(tmp_path / "run")
    assert (old["global_step"], new["global_step"]) == (4, 6)
    assert not torch.equal(
        old["state_dict"]["denoiser.head.weight"], new["state_dict"]["denoiser.head.weight"]
    )
    again = load_data(load(KEPT / "nae.ckpt")[1], KEPT / "nae.ckpt")
    assert torch.equal(
        again.test_set.tokens,
        load_data(load(tmp_path / "run")[1], tmp_path / "run").test_set.tokens,
    )


def test_statistics_of_older_objectives():
    """Those with a counterpart are renamed, others start anew; nothing else is touched."""
    score = OrderSpace(1, score=ScoreFunction("learned", unigram=True, length=3, vocab_size=2))
    own = {f"objective.{name}": x for name, x in score.state_dict().items()} | {"w": torch.ones(2)}
    old = {
        "objective.score.second": torch.rand(6, 6),
        "objective.score.cross": torch.rand(6),
        "objective.score.counts": torch.rand(3, 2),
        "w": torch.rand(2),
    }
    found = renewed(old, own)
    assert {name: x.shape for name, x in found.items()} == {n: x.shape for n, x in own.items()}
    assert torch.equal(found["objective.score.regression.cross"][0], old["objective.score.cross"])
    assert torch.equal(found["objective.score.frequencies.counts"], old["objective.score.counts"])
    own = {f"objective.{name}": x for name, x in Dense(3).state_dict().items()}
    old = {f"objective.{name}": torch.rand(3) for name in ("mean_to_go", "cross", "seen", "counts")}
    assert renewed(old, own).keys() == own.keys()
    assert all((x == 0).all() for x in renewed(old, own).values())
    assert renewed(own, own).keys() == own.keys()
    strange = {"objective.other": torch.rand(3)}
    assert renewed(strange, own) == strange, "what is not known is left for the check to refuse"
