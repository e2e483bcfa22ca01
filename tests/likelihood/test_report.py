"""The report against enumeration of all orders, in float64."""

import itertools
import math

import pytest
import torch

from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.likelihood import Effort, enumerate_orders, likelihood_report
from ordo.order import FixedOrder, PlackettLuce, uniform_law

LENGTH, VOCAB, SEEDS = 4, 3, 24
LAW = PlackettLuce(torch.tensor([0.8, -1.0, 0.3, -0.2], dtype=torch.float64))
TOKENS = torch.cartesian_prod(*[torch.arange(VOCAB)] * LENGTH)  # all 81 sequences


def denoiser(kind):
    torch.manual_seed(2)
    net = kind(VOCAB, LENGTH, width=8, heads=2, layers=1).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=1.2)
    return net.eval().requires_grad_(False)


@pytest.fixture(
    scope="module",
    params=[BidirectionalTransformer, OrderCausalTransformer],
    ids=["bidirectional", "order_causal"],
)
def case(request):
    net = denoiser(request.param)
    settings = {
        "draws": 16,
        "importance_draws": 24,
        "exact_sequences": 81,
        "batch_size": 81,
    }
    return net, [
        likelihood_report(net, LAW, TOKENS, Effort(**settings, seed=seed), entropy=1.25)
        for seed in range(SEEDS)
    ]


def meets(values, exact):
    """The mean over seeds within 4 of its standard errors, which are small enough to tell."""
    values = torch.tensor(values, dtype=torch.float64)
    error = values.std(0) / SEEDS**0.5
    assert (error < 0.03 * exact).all()
    assert ((values.mean(0) - exact).abs() < 4 * error).all()


def test_nelbos(case):
    net, reports = case
    own, uniform = (
        enumerate_orders(net, LAW, TOKENS),
        enumerate_orders(net, uniform_law(LENGTH), TOKENS),
    )
    assert own.nelbo.mean() - uniform.nelbo.mean() != pytest.approx(0, abs=0.05), (
        "they can be told apart"
    )
    meets([report.estimates["own_nelbo"].nats for report in reports], own.nelbo.mean())
    meets([report.estimates["uniform_nelbo"].nats for report in reports], uniform.nelbo.mean())


def test_mode_is_exact(case):
    net, reports = case
    exact = enumerate_orders(net, FixedOrder(torch.tensor([0, 2, 3, 1])), TOKENS).nelbo
    for report in reports:
        assert report.estimates["mode_exact"].nats == pytest.approx(exact.mean().item(), abs=1e-10)
        assert report.estimates["mode_exact"].standard_error == pytest.approx(
            (exact.var() / len(exact)).sqrt().item(), abs=1e-10
        )
        assert report.estimates["mode_exact"].sequences == 81


def test_importance_lies_between(case):
    """Above the exact mixture in expectation, and of the way there from the NELBO at most a fifth
    left with 24 orders.
    """
    net, reports = case
    exact = enumerate_orders(net, LAW, TOKENS)
    values = torch.tensor([report.estimates["importance"].nats for report in reports])
    mixture, bound = -exact.log_mixture.mean(), exact.nelbo.mean()
    assert (
        mixture - 4 * values.std() / SEEDS**0.5 < values.mean() < mixture + 0.2 * (bound - mixture)
    )


def test_curves(case):
    """The loss by number revealed sums to the NELBO; its first entry is the loss of the first
    position of an order.
    """
    net, reports = case
    for name, law in (("own", LAW), ("uniform", uniform_law(LENGTH))):
        meets(
            [sum(report.loss_by_revealed[name]["nats"]) for report in reports],
            enumerate_orders(net, law, TOKENS).nelbo.mean(),
        )
        order = torch.eye(LENGTH, dtype=torch.long).argsort(
            descending=True
        )  # position i first in row i
        first = torch.stack(
            [-net.order_log_prob(TOKENS, order[i].expand_as(TOKENS))[:, 0] for i in range(LENGTH)]
        )
        exact = (law.log_w.softmax(-1) @ first).mean()
        meets([report.loss_by_revealed[name]["nats"][0] for report in reports], exact)


def test_loss_by_position(case):
    """Against enumeration: of every position by itself, and in sum the NELBO."""
    net, reports = case
    orders = torch.tensor(list(itertools.permutations(range(LENGTH))))
    p = LAW.log_prob(orders).exp()
    exact = torch.zeros(LENGTH, dtype=torch.float64)
    for order, weight in zip(orders, p, strict=True):
        exact[order] -= weight * net.order_log_prob(TOKENS, order.expand(len(TOKENS), -1)).mean(0)
    assert exact.sum().item() == pytest.approx(
        enumerate_orders(net, LAW, TOKENS).nelbo.mean().item()
    )
    meets([report.loss_by_position["own"]["nats"] for report in reports], exact)


def test_units(case):
    _, reports = case
    report = reports[0]
    out = report.as_dict()
    for name, entry in out["estimates"].items():
        assert entry["nats_above_entropy"] == entry["nats"] - 1.25
        assert entry["bits_per_token"] == pytest.approx(
            entry["nats"] / 4 / 0.6931471805599453, rel=1e-12
        )
        assert entry["bits_per_token"] == pytest.approx(report.bits_per_token(name), rel=1e-12)
        assert entry["nats_per_token"] == entry["nats"] / 4
        assert entry["bits_per_token_standard_error"] / entry["bits_per_token"] == pytest.approx(
            entry["standard_error"] / entry["nats"]
        )
    assert set(out["estimates"]) == {"uniform_nelbo", "own_nelbo", "mode_exact", "importance"}


def test_fewer_whole_orders_for_a_bidirectional_denoiser():
    tokens = TOKENS.repeat(2, 1)
    for kind, some in ((BidirectionalTransformer, 64), (OrderCausalTransformer, 162)):
        report = likelihood_report(denoiser(kind), LAW, tokens, Effort(1, 1))
        assert [
            report.estimates[name].sequences for name in ("own_nelbo", "mode_exact", "importance")
        ] == [162, some, some]
    one = likelihood_report(denoiser(BidirectionalTransformer), LAW, tokens[:1], Effort(1, 1))
    assert math.isnan(one.estimates["own_nelbo"].standard_error), (
        "one sequence has no standard error"
    )
    assert "nats_above_entropy" not in one.as_dict()["estimates"]["own_nelbo"]


@pytest.mark.parametrize("setting", ["draws", "importance_draws", "batch_size", "exact_sequences"])
def test_refuses(setting):
    with pytest.raises(ValueError, match="positive"):
        Effort(**{setting: 0})
    with pytest.raises(ValueError, match="no sequences"):
        likelihood_report(denoiser(BidirectionalTransformer), LAW, TOKENS[:0])
