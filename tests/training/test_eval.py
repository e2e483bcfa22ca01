"""eval.py on a checkpoint: everything it needs is in there, and its numbers are those of the
library called directly.
"""

import json
import math
import subprocess
import sys

import pytest
import torch
from tiny_runs import NAE, ROOT, call, run, text_overrides

from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.likelihood import Effort, likelihood_report, many_orders
from ordo.order import uniform_law
from ordo.runs import load, load_data
from ordo.runs.evaluation import FEWEST_ORDERS, MANY, MANY_TOKENS, many_size

NAMES = {"uniform_nelbo", "own_nelbo", "mode_exact", "importance"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eval")
    run(
        folder / "run",
        *text_overrides(folder),
        "steps=6",
        "validate_every=3",
        "optimizer.schedule_delay=0",
    )
    return folder / "run"


@pytest.fixture(scope="module")
def text(trained):
    """Where the text lies: a checkpoint may not say that."""
    return f"data.path={trained.parent / 'letters'}"


@pytest.mark.slow  # ten seconds: a process of its own
def test_nothing_on_standard_error(trained, text, tmp_path):
    command = [sys.executable, str(ROOT / "eval.py"), f"checkpoint={trained}", text, "output=out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "to look at: out/report.html" in done.stdout


def test_only_a_checkpoint(trained, text, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    arguments = [f"checkpoint={trained}", text]
    status, out, err = call("eval.py", *arguments, monkeypatch=monkeypatch, capfd=capfd)
    assert (status, err.strip()) == (0, "")
    folder = trained / "checkpoints" / "eval_test"
    assert f"to look at: {folder}/report.html" in out
    report = json.loads((folder / "report.json").read_text())
    assert set(report["estimates"]) == NAMES
    for entry in report["estimates"].values():
        assert entry["bits_per_token"] == pytest.approx(
            entry["nats"] / (8 * math.log(2)), rel=1e-12
        )
        assert entry["bits_per_token_standard_error"] == pytest.approx(
            entry["standard_error"] / (8 * math.log(2)), rel=1e-12
        )
        assert 0 < entry["standard_error"] < entry["nats"]
    assert (report["length"], report["unit"], report["entropy"]) == (8, "char", None)
    assert len(report["samples"]) == 8
    assert all(len(text) == 8 for text in report["samples"])
    assert report["trained_with"]["schedule"]["_target_"] == "ordo.schedules.Power"
    assert list(tmp_path.iterdir()) == [], "nothing is written to the working folder"
    for text in report["samples"][:4]:
        assert repr(text) in out

    module, config = load(trained)
    data = load_data(config, trained, as_trained=True)
    direct = likelihood_report(
        module.denoiser,
        module.schedule.law(),
        data.test_set.tokens.long(),
        Effort(8, 16, seed=0),
    )
    # One thread or several give sums of floats in other orders.
    for name in NAMES:
        assert report["estimates"][name]["nats"] == pytest.approx(
            direct.estimates[name].nats, rel=1e-6
        )
    for law, curve in direct.loss_by_revealed.items():
        assert report["loss_by_revealed"][law]["nats"] == pytest.approx(curve["nats"], rel=1e-5)


def test_splits(trained, text, tmp_path, monkeypatch, capfd):
    nats = {}
    for split in ("val", "test"):
        output = tmp_path / split
        arguments = [
            f"checkpoint={trained / 'checkpoints' / 'best.ckpt'}",
            f"split={split}",
            f"output={output}",
        ]
        arguments += ["threads=1", "sequences=5", text]
        status, _, err = call("eval.py", *arguments, monkeypatch=monkeypatch, capfd=capfd)
        assert (status, err) == (0, "")
        report = json.loads((output / "report.json").read_text())
        nats[split] = report["estimates"]["own_nelbo"]["nats"]
        assert report["estimates"]["own_nelbo"]["sequences"] == 5
    assert nats["val"] != nats["test"]


def test_a_text_that_has_moved(trained, tmp_path, monkeypatch, capfd):
    text = trained.parent / "letters"
    moved = tmp_path / "moved"
    text.rename(moved)
    try:
        for more, told in ((), f"add data.path={text}"), ((f"data.path={text}",), "no such file"):
            arguments = [f"checkpoint={trained}", f"output={tmp_path / 'a'}", *more]
            status, _, err = call("eval.py", *arguments, monkeypatch=monkeypatch, capfd=capfd)
            assert status in (1, 2)
            assert told in err
            assert not (tmp_path / "a").exists()
        arguments = [
            f"checkpoint={trained}",
            f"output={tmp_path / 'b'}",
            f"data.path={moved}",
            "threads=1",
            "samples=0",
        ]
        assert call("eval.py", *arguments, monkeypatch=monkeypatch, capfd=capfd)[0] == 0
        fewer = (
            tmp_path / "fewer"
        )  # another text without the letter q: token ids keep the meaning they had in training
        fewer.write_text(moved.read_text().replace("q", "a"))
        arguments[2] = f"data.path={fewer}"
        assert call("eval.py", *arguments, monkeypatch=monkeypatch, capfd=capfd)[0] == 0
        data = load_data(load(trained)[1], trained, {"path": str(fewer)})
        assert "q" in data.state_dict()["vocabulary"]
    finally:
        moved.rename(text)


def test_report_of_the_run_is_that_of_its_checkpoint(tmp_path):
    """train.py's own report, and the averaged weights where an average is kept."""
    settings = "report={split: test, sequences: null, draws: 4, samples: 0, importance_draws: 3, "
    settings += "exact_sequences: null, batch_size: 8, seed: 3}"
    plan = [
        *NAE,
        "steps=6",
        "validate_every=3",
        "callbacks=ema",
        "callbacks.ema.decay=0.5",
        "callbacks.samples=null",
        settings,
    ]
    result = run(tmp_path / "run", *plan)
    module, config = load(tmp_path / "run")
    tokens = load_data(config, tmp_path / "run", as_trained=True).test_set.tokens.long()
    direct = likelihood_report(
        module.denoiser,
        module.schedule.law(),
        tokens,
        Effort(4, 3, batch_size=8, seed=3),
        entropy=result.data.entropy,
    )
    written = json.loads((tmp_path / "run" / "report.json").read_text())
    for name in NAMES:
        assert result.report.estimates[name].nats == direct.estimates[name].nats
        assert written["estimates"][name]["nats_above_entropy"] == direct.estimates[
            name
        ].nats - 3 * math.log(2), "three fair bits"
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert torch.equal(module.denoiser.head.weight, result.module.denoiser.head.weight)


@pytest.mark.parametrize("causal", [True, False])
def test_the_picture_of_many_orders_has_a_budget(causal):
    """As many as of short sequences, then fewer of them, then fewer orders, then none; those that
    are asked for in any case.
    """
    sizes = {length: many_size(causal, length) for length in range(1, 2000)}
    for length, (orders, sequences) in sizes.items():
        assert (2 * orders + 3) * sequences * length * (1 if causal else length) <= MANY_TOKENS
        assert (orders, sequences) == (0, 0) or (orders >= FEWEST_ORDERS and sequences >= 2)
    full = [length for length, size in sizes.items() if size == MANY[causal]]
    assert full == list(range(1, 321 if causal else 123))
    for shorter, longer in zip(sizes.values(), list(sizes.values())[1:], strict=False):
        assert longer[0] <= shorter[0]
        assert longer[1] <= shorter[1] or longer[0] < shorter[0]
    assert sizes[1999] == ((64, 16) if causal else (0, 0))
    assert many_size(causal, 1999, 0)[0] == 0
    assert many_size(False, 1024, 16) == (16, 1), "what is asked for is done"


@pytest.mark.parametrize("kind", [OrderCausalTransformer, BidirectionalTransformer])
def test_what_many_orders_cost_is_what_the_budget_counts(kind, monkeypatch):
    length, seen = 12, 0
    denoiser = kind(
        vocab_size=3, length=length, width=8, heads=1, layers=2
    ).eval()  # the last one sees what is asked for alone
    monkeypatch.setattr("ordo.runs.evaluation.MANY_TOKENS", 12_000)
    orders, sequences = many_size(denoiser.order_causal, length)

    def count(module, arguments, output):
        nonlocal seen
        seen += output.shape[0] * output.shape[1]

    denoiser.blocks[0].register_forward_hook(count)
    many_orders(
        denoiser, torch.zeros(sequences, length, dtype=torch.long), uniform_law(length), orders
    )
    assert seen <= 12_000
    each = length * (1 if denoiser.order_causal else length)
    assert seen == pytest.approx((2 * orders + 3) * sequences * each, rel=0.1)
