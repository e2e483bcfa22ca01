"""Runs with laws that depend on the tokens: trained, resumed, reported, drawn from; their entropy
bonus and their averages.
"""

import json
from pathlib import Path

import pytest
import torch
from enumeration import (
    LENGTH,
    VOCAB,
    Additive,
    every_order,
    exact_nelbo,
    random_denoiser,
    schedules,
)
from tiny_runs import NAE, call, last, run, run_and_kill

from ordo.batch import Batch
from ordo.likelihood import Effort, likelihood_report, subset_likelihood
from ordo.order import PlackettLuce
from ordo.runs.stored import load
from ordo.schedules import AveragedSchedule, FreeTable, LogBound, PerContext, Power
from ordo.training.optimisation import OptimizerSettings, with_entropy_bonus

PARTS = [*NAE, "denoiser=bidirectional"]
SMALL_NETWORKS = [f"schedule.{name}.width=8" for name in ("forward_network", "reverse_network")]
STEPS = [
    "steps=6",
    "checkpoint_every=2",
    "validate_every=3",
    "optimizer.schedule_delay=1",
    "optimizer.warmup_steps=1",
]
REPORT = "report={split: val, weights: last, sequences: 8, draws: 2, importance_draws: 2, "
REPORT += (
    "exact_sequences: 4, orders: 2, samples: 3, page: true, metrics: {}, batch_size: 8, seed: 0}"
)
TOKENS = torch.randint(VOCAB, (5, LENGTH), generator=torch.Generator().manual_seed(0))


BIDIRECTIONAL = [
    "schedule=per_context",
    "objective=order",
    "denoiser=bidirectional",
    *SMALL_NETWORKS,
]
CAUSAL = [
    "schedule=order_posterior",
    "objective=dense_rloo",
    "denoiser=order_causal",
    *SMALL_NETWORKS,
]
SHARED = ["schedule=per_context_shared", "objective=order", "denoiser=bidirectional"]


OWN = pytest.param(BIDIRECTIONAL, marks=pytest.mark.slow)  # as SHARED, a quarter of a minute


@pytest.mark.parametrize(
    "parts", [OWN, CAUSAL, SHARED], ids=["bidirectional", "order_causal", "shared"]
)
def test_a_run_leaves_what_others_leave(parts, tmp_path, monkeypatch, capfd):
    plan = [*NAE, *parts, *STEPS, "callbacks.order.every=2"]
    plan += [
        "callbacks.samples={_target_: ordo.training.SampleWriter, folder: '${output}', n: 2}",
        "optimizer.entropy_bonus=0.1",
    ]
    plan += ["optimizer.entropy_steps=5"]
    result = run(tmp_path / "run", *plan, REPORT)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert {"uniform_nelbo", "own_nelbo", "mode_exact", "importance"} == set(report["estimates"])
    assert all(value["nats"] > 0 for value in report["estimates"].values())
    assert len(report["samples"]) == 3
    assert (tmp_path / "run" / "samples.txt").read_text().count("step 6") == 2
    for name in (
        "report.html",
        "order_over_training.npz",
        "pictures/order.png",
        "pictures/schedule.png",
        "pictures/loss_by_revealed.png",
    ):
        assert (tmp_path / "run" / name).is_file(), name
    again, _ = load(tmp_path / "run")
    tokens = torch.zeros(2, again.denoiser.length, dtype=torch.long)
    assert torch.equal(again.schedule.law(tokens).log_w, result.module.schedule.law(tokens).log_w)
    arguments = [f"checkpoint={tmp_path / 'run'}", "n=4", f"out={tmp_path / 's.txt'}", "threads=1"]
    status, _, err = call(
        "ordo sample", *arguments, "sampler=ancestral", monkeypatch=monkeypatch, capfd=capfd
    )
    assert (status, "sampler=first_hitting" in err) == (2, True), err
    status, _, err = call("ordo sample", *arguments, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, err
    assert len((tmp_path / "s.txt").read_text().splitlines()) == 4
    evaluated = [
        f"checkpoint={tmp_path / 'run'}",
        "sequences=4",
        "draws=1",
        "importance_draws=1",
        "exact_sequences=2",
        "orders=2",
    ]
    status, _, err = call(
        "eval.py", *evaluated, "samples=1", "threads=1", monkeypatch=monkeypatch, capfd=capfd
    )
    assert status == 0, err


LEARNED_BASELINE = [
    "objective.draws=1",
    "objective.score.baseline=learned",
    "objective.score.unigram=true",
    "objective.score.relax=true",
]


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(["schedule=per_vocabulary", "objective=time"], marks=pytest.mark.slow),
        pytest.param(["schedule=per_context", *SMALL_NETWORKS], marks=pytest.mark.slow),
        ["schedule=per_vocabulary", *LEARNED_BASELINE],
        [
            *CAUSAL,
            "schedule.base={_target_: ordo.schedules.FreeTable, length: '${shape.length}'}",
            "optimizer.base_lr=0.1",
        ],
    ],
)
def test_a_killed_run_goes_on_as_if_nothing_had_been(parts, tmp_path):
    plan = [*PARTS, "objective=order", *parts, *STEPS]
    run(tmp_path / "whole", *plan)
    assert run_and_kill(tmp_path / "killed", 5, *plan) == -9
    run(tmp_path / "killed", *plan, f"resume={tmp_path / 'killed'}")
    whole, killed = (last(tmp_path / name)["state_dict"] for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert ("objective.score.frequencies.counts" in whole) == (parts[-1] == LEARNED_BASELINE[-1])
    assert (Path(tmp_path) / "killed" / "checkpoints" / "last.ckpt").is_file()


def test_the_law_waits(tmp_path):
    """Both networks keep every bit during the delay, and move in the step after it."""
    plan = [
        *PARTS,
        "schedule=per_context",
        "objective=order",
        *SMALL_NETWORKS,
        "schedule.floor=0.1",
        "validate_every=99",
    ]
    plan += [
        "optimizer.schedule_delay=3",
        "optimizer.entropy_bonus=0.1",
        "optimizer.entropy_steps=100",
    ]
    found = [
        run(tmp_path / str(n), *plan, f"steps={n}").module.schedule.state_dict() for n in (1, 3, 4)
    ]
    for name in found[0]:
        assert torch.equal(found[0][name], found[1][name]), name
    for network in ("forward_network", "reverse_network"):
        assert not torch.equal(found[1][f"{network}.weight"], found[2][f"{network}.weight"])


@pytest.mark.parametrize("name", [pytest.param("per_vocabulary", marks=pytest.mark.slow), "both"])
def test_the_report_against_exact_values(name):
    denoiser, schedule, tokens = (
        random_denoiser(0.5).requires_grad_(False),
        schedules()[name],
        TOKENS[:3],
    )
    exact = subset_likelihood(denoiser, schedule, tokens)
    reports = [
        likelihood_report(denoiser, schedule, tokens.repeat(20, 1), Effort(8, 40, seed=seed))
        for seed in range(12)
    ]
    own, importance = (
        torch.tensor([r.estimates[key].nats for r in reports])
        for key in ("own_nelbo", "importance")
    )
    bound, mixture = exact.nelbo.mean(), -exact.log_mixture.mean()
    assert abs(own.mean() - bound) < 4 * own.std() / 12**0.5
    assert (
        mixture - 4 * importance.std() / 12**0.5
        < importance.mean()
        < mixture + 0.3 * (bound - mixture)
    )
    want = torch.stack([exact_nelbo(denoiser, schedule, x, "jump") for x in tokens]).detach()
    assert torch.allclose(exact.nelbo, want)
    # Losses are in orders of each sequence's own law.
    curves = torch.tensor([report.loss_by_position["own"]["nats"] for report in reports])
    loss = torch.zeros(LENGTH, dtype=torch.float64)
    orders = torch.tensor(every_order(range(LENGTH)))
    for x in tokens:
        rows = x.expand(len(orders), -1)
        q = schedule.law(Batch(rows)).log_prob(orders).exp().detach()
        by_position = torch.zeros(rows.shape, dtype=torch.float64).scatter(
            1, orders, -denoiser.order_log_prob(rows, orders)
        )
        loss += (q[:, None] * by_position).sum(0) / len(tokens)
    assert ((curves.mean(0) - loss).abs() < 4 * curves.std(0) / 12**0.5).all()


def test_entropy_bonus_is_the_mean_entropy_given_the_sequence():
    """Its gradient against enumeration of orders."""
    torch.manual_seed(0)
    network = Additive()
    schedule = PerContext(LENGTH, network, Additive(), LogBound())
    orders = torch.tensor(every_order(range(LENGTH)))
    entropy = torch.zeros((), dtype=torch.float64)
    for x in TOKENS:
        log_q = schedule.law(Batch(x.expand(len(orders), -1))).log_prob(orders)
        entropy = entropy - (log_q.exp() * log_q).sum() / len(TOKENS)
    (want,) = torch.autograd.grad(entropy, network.table)
    settings = OptimizerSettings(total_steps=10, entropy_bonus=1.0, entropy_steps=10**9)
    zero, found = torch.zeros((), dtype=torch.float64), []
    for step in range(400):
        loss = with_entropy_bonus(zero, schedule, settings, 0, step, Batch(TOKENS))
        found.append(-LENGTH * torch.autograd.grad(loss, network.table)[0])
    found = torch.stack(found)
    error = found.std(0) / 400**0.5
    seen = error > 1e-12
    assert ((found.mean(0) - want).abs()[seen] < 4.5 * error[seen]).all()
    assert (want[~seen].abs() < 1e-9).all()
    assert error.max() < 0.2 * want.abs().max()


def test_entropy_bonus_is_of_what_is_decoded():
    """A weight of a given position moves nothing, nor does one of padding; other weights do."""
    table = FreeTable(LENGTH).double()
    settings = OptimizerSettings(total_steps=10, entropy_bonus=1.0, entropy_steps=10**9)
    with torch.no_grad():
        table.table.copy_(torch.linspace(-1, 1, LENGTH))
    known = (torch.arange(LENGTH) == 0).expand(5, -1)
    for batch, none in (
        (Batch(TOKENS, known), 0),
        (Batch(TOKENS, None, torch.full((5,), LENGTH - 1)), LENGTH - 1),
    ):
        loss = with_entropy_bonus(
            torch.zeros((), dtype=torch.float64), Power(LENGTH, table), settings, 0, 0, batch
        )
        (gradient,) = torch.autograd.grad(loss, table.table)
        assert abs(gradient[none]) < 1e-12
        assert gradient.abs().sort().values[1] > 1e-4


def test_an_averaged_schedule_is_the_mixture_over_sequences():
    schedule = schedules()["both"]
    shown = AveragedSchedule(schedule, Batch(TOKENS))
    laws = [PlackettLuce(row) for row in schedule.log_w(TOKENS).detach()]
    law = shown.law()
    assert torch.allclose(
        law.expected_rank(), torch.stack([each.expected_rank() for each in laws]).mean(0)
    )
    assert torch.allclose(
        law.precedence(), torch.stack([each.precedence() for each in laws]).mean(0)
    )
    assert law.mode().tolist() == law.expected_rank().argsort().tolist()
    entropy, error = law.entropy(40_000, torch.Generator().manual_seed(0))
    assert abs(entropy - torch.stack([each.entropy()[0] for each in laws]).mean()) < 4 * error
    assert 0 < error < 0.05
    rank = law.sample(40_000, torch.Generator().manual_seed(0)).argsort(-1).double() + 1
    assert torch.allclose(rank.mean(0), law.expected_rank(), atol=0.03)
    t = torch.tensor([0.1, 0.5, 1.0])
    want = torch.stack([(1 - t[:, None].double() ** each.log_w.exp()) for each in laws]).mean(0)
    assert torch.allclose(shown.alpha(t), want, atol=1e-6)
