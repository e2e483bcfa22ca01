"""Losses by position and number revealed, and of many orders, against scores token by token and
order by order, in float64.
"""

import itertools
import math

import pytest
import torch

from ordo.batch import Batch
from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.likelihood import (
    Effort,
    OrderLoss,
    enumerate_orders,
    likelihood_report,
    many_orders,
    order_log_prob,
    order_loss,
)
from ordo.likelihood.report import position_and_revealed
from ordo.order import FixedOrder, PlackettLuce, uniform_law
from ordo.schedules import ArrivalTimes, AveragedLaw

LENGTH, VOCAB = 4, 3
LAW = PlackettLuce(torch.tensor([0.8, -1.0, 0.3, -0.2], dtype=torch.float64))
KINDS = pytest.mark.parametrize("kind", [BidirectionalTransformer, OrderCausalTransformer])
TOKENS = torch.randint(VOCAB, (6, LENGTH), generator=torch.Generator().manual_seed(1))
KNOWN = torch.tensor(
    [[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
).bool()
LENGTHS = torch.tensor([4, 3, 4, 2, 1, 4])


def denoiser(kind):
    torch.manual_seed(2)
    net = kind(VOCAB, LENGTH, width=8, heads=2, layers=1).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=1.2)
    return net.eval().requires_grad_(False)


def token_by_token(net, order, known, lengths):
    """{(row, position): (loss, number revealed)}, from one call of ``conditionals`` a token, with
    given ones first and none absent.
    """
    out = {}
    for row in range(len(TOKENS)):
        n = LENGTH if lengths is None else int(lengths[row])
        given = [p for p in order[row].tolist() if p < n and known is not None and known[row, p]]
        rest = [p for p in order[row].tolist() if p < n and p not in given]
        gone = [p for p in order[row].tolist() if p >= n]
        whole = torch.tensor([given + rest + gone])
        present = (
            {}
            if net.order_causal or lengths is None
            else {"present": torch.arange(LENGTH)[None] < n}
        )
        for k, position in enumerate(rest):
            log_mu = net.conditionals(
                TOKENS[row : row + 1], whole, torch.tensor([len(given) + k]), **present
            )
            out[row, position] = -log_mu[0, position, TOKENS[row, position]].item(), k
    return out


@KINDS
@pytest.mark.parametrize("given", [(None, None), (KNOWN, None), (None, LENGTHS), (KNOWN, LENGTHS)])
def test_losses_by_position_and_number_revealed_are_those_of_single_tokens(kind, given):
    net = denoiser(kind)
    order = LAW.sample(len(TOKENS), torch.Generator().manual_seed(3))
    by_hand = token_by_token(net, order, *given)
    drawn = order_loss(net, Batch(TOKENS, *given), order)
    assert {(i, j) for i, j in (~drawn.by_position.isnan()).nonzero().tolist()} == set(by_hand)
    for (row, position), (loss, k) in by_hand.items():
        assert drawn.by_position[row, position].item() == pytest.approx(loss, abs=1e-10)
        assert drawn.revealed[row, position] == k
        assert drawn.by_revealed[row, k].item() == pytest.approx(loss, abs=1e-10)
    # In two batches of unequal size, as the report has them.
    parts = [
        order_loss(net, Batch(TOKENS, *given).rows(s), order[s]) for s in (slice(0, 4), slice(4, 6))
    ]
    table = position_and_revealed(parts)
    assert table["edges"].tolist() == [0, 1, 2, 3, 4]
    for position, k in itertools.product(range(LENGTH), range(LENGTH)):
        here = [loss for (_, p), (loss, n) in by_hand.items() if (p, n) == (position, k)]
        assert table["count"][position, k] == len(here)
        assert table["nats"][position, k].item() == (
            pytest.approx(sum(here) / len(here)) if here else pytest.approx(math.nan, nan_ok=True)
        )


@KINDS
def test_the_report_has_the_expectation_over_orders(kind):
    """Against all orders with their probabilities, for all sequences of the vocabulary."""
    net, seeds = denoiser(kind), 12
    tokens = torch.cartesian_prod(*[torch.arange(VOCAB)] * LENGTH)
    orders = torch.tensor(list(itertools.permutations(range(LENGTH))))
    p, loss, mass = (
        LAW.log_prob(orders).exp(),
        torch.zeros(LENGTH, LENGTH).double(),
        torch.zeros(LENGTH, LENGTH).double(),
    )
    for order, weight in zip(orders, p, strict=True):
        each = -net.order_log_prob(tokens, order.expand(len(tokens), -1)).mean(0)
        for k, position in enumerate(order.tolist()):
            loss[position, k] += weight * each[k]
            mass[position, k] += weight
    reports = [likelihood_report(net, LAW, tokens, Effort(1, 1, 81, seed=s)) for s in range(seeds)]
    tables = [report.loss_by_position_and_revealed["own"] for report in reports]
    count = torch.stack([table["count"] for table in tables]).double()
    assert (count.sum((1, 2)) == 81 * LENGTH).all()
    error = (81 * mass * (1 - mass) * seeds).sqrt()
    assert ((count.sum(0) - 81 * seeds * mass).abs() < 4 * error).all()
    total = torch.stack([table["nats"].nan_to_num() * table["count"] for table in tables])
    assert ((total.mean(0) / 81 - loss).abs() < 5 * total.std(0) / seeds**0.5 / 81).all()


def test_long_sequences_are_binned_and_stay_out_of_the_json():
    n, length = 50, 70
    generator = torch.Generator().manual_seed(0)
    revealed = torch.rand(n, length, generator=generator).argsort(1)
    loss = torch.rand(n, length, generator=generator, dtype=torch.float64)
    loss[:, 3] = math.nan
    table = position_and_revealed([OrderLoss(loss, loss, revealed)])
    edges = table["edges"].tolist()
    assert (edges[0], edges[-1], len(edges)) == (0, 70, 33)
    assert set(table["edges"].diff().tolist()) == {2, 3}
    for position, b in ((0, 0), (5, 31), (69, 17), (3, 2)):
        here = [
            loss[i, position]
            for i in range(n)
            if edges[b] <= revealed[i, position] < edges[b + 1] and position != 3
        ]
        assert table["count"][position, b] == len(here)
        assert table["nats"][position, b].item() == pytest.approx(
            sum(here) / len(here) if here else math.nan, nan_ok=True
        )
    torch.manual_seed(0)
    for long in (32, 33):
        net = OrderCausalTransformer(VOCAB, long, width=8, heads=2, layers=1)
        report = likelihood_report(
            net, uniform_law(long), torch.zeros(2, long).long(), Effort(1, 1)
        )
        saved = report.as_dict().get("loss_by_position_and_revealed")
        arrays = report.arrays()
        assert arrays["own_position_revealed_nats"].shape == (long, 32)
        assert arrays["uniform_position_revealed_edges"][-1] == long
        assert torch.equal(arrays["own_nelbo"], report.values["own_nelbo"])
        if long == 32:
            assert saved["own"]["count"] == arrays["own_position_revealed_count"].tolist()
        else:
            assert saved is None


@KINDS
@pytest.mark.parametrize("given", [(None, None), (KNOWN, LENGTHS)])
def test_many_orders_are_order_log_prob_of_each(kind, given):
    net, n = denoiser(kind), 40
    orders = list(itertools.permutations(range(LENGTH)))
    log_p = torch.stack(
        [order_log_prob(net, Batch(TOKENS, *given), torch.tensor(order)) for order in orders]
    )
    nll = -log_p.mean(1)
    many = many_orders(net, Batch(TOKENS, *given), LAW, n, 0, batch_size=4)
    named = {
        "left to right": (0, 1, 2, 3),
        "right to left": (3, 2, 1, 0),
        "mode order": (0, 2, 3, 1),
    }
    assert many.named == pytest.approx(
        {name: nll[orders.index(order)].item() for name, order in named.items()}
    )
    for drawn, law in ((many.uniform, uniform_law(LENGTH)), (many.own, LAW)):
        which = (drawn[:, None] - nll).abs().argmin(1)
        assert torch.allclose(nll[which], drawn, atol=1e-12), "every one is the loss of some order"
        exact = law.log_prob(torch.tensor(orders)).exp()
        mean, error = exact @ nll, ((exact @ (nll - exact @ nll) ** 2) / n).sqrt()
        assert abs(drawn.mean() - mean) < 4 * error, "drawn from the law"
    assert many.importance == pytest.approx(-(log_p[which].exp().mean(0).log().mean()).item()), (
        "by sequence, over the law's orders"
    )
    again = many_orders(net, Batch(TOKENS, *given), LAW, n, 0, batch_size=100)
    assert torch.allclose(many.uniform, again.uniform, atol=1e-12)
    assert not torch.equal(many.uniform, many_orders(net, Batch(TOKENS, *given), LAW, n, 1).uniform)


def test_many_orders_of_a_fixed_order_and_its_marks():
    net = denoiser(OrderCausalTransformer)
    fixed = FixedOrder(torch.tensor([2, 0, 3, 1]))
    many = many_orders(net, TOKENS, fixed, 3)
    exact = -order_log_prob(net, TOKENS, fixed.order).mean().item()
    assert many.own.tolist() == pytest.approx([exact] * 3)
    marks = many.marks()
    assert marks["mode order"] == pytest.approx(exact)
    assert marks["NELBO, own order law"] == pytest.approx(
        enumerate_orders(net, fixed, TOKENS).nelbo.mean().item()
    )
    assert marks["importance bound, 3 own orders"] == pytest.approx(exact)
    assert marks["NELBO, uniform orders"] == pytest.approx(many.uniform.mean().item())
    with pytest.raises(ValueError, match="no sequences"):
        many_orders(net, TOKENS[:0], LAW)
    with pytest.raises(ValueError, match="orders=0"):
        many_orders(net, TOKENS, LAW, 0)


def test_cost_is_what_the_docstring_says():
    for kind, calls in ((OrderCausalTransformer, 1), (BidirectionalTransformer, LENGTH)):
        net, rows = denoiser(kind), []
        embed = net.embed
        net.embed = lambda ids, *rest, e=embed, r=rows: r.append(len(ids)) or e(ids, *rest)
        many_orders(net, TOKENS, LAW, 5)
        assert sum(rows) == calls * len(TOKENS) * (2 * 5 + 3)


def test_an_order_of_mean_ranks_is_called_that():
    """It need not be the mode: of three sequences of the order 0, 1, 2, 3 and two of 1, 2, 3, 0 it
    is 1, 0, 2, 3, which none has.
    """
    net = denoiser(OrderCausalTransformer)
    log_w = torch.tensor([[60.0, 40, 20, 0]] * 3 + [[0.0, 60, 40, 20]] * 2, dtype=torch.float64)
    law = AveragedLaw(log_w)
    assert law.mode().tolist() == [1, 0, 2, 3]
    assert set(map(tuple, law.sample(200, torch.Generator().manual_seed(0)).tolist())) == {
        (0, 1, 2, 3),
        (1, 2, 3, 0),
    }
    exact = -order_log_prob(net, TOKENS, torch.tensor([1, 0, 2, 3])).mean().item()
    many = many_orders(net, TOKENS, law, 3)
    assert many.named["order of mean ranks"] == pytest.approx(exact)
    assert "mode order" not in many.marks()
    assert (ArrivalTimes.mode_name, PlackettLuce.mode_name, FixedOrder.mode_name) == (
        "order of mean ranks",
        "mode order",
        "mode order",
    )
