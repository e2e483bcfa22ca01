"""Table denoisers: a vocabulary for every column, and no geometry between columns."""

import itertools
import math

import pytest
import torch

from ordo.denoisers import OrderCausalTableTransformer, TableTransformer
from ordo.denoisers.cost import nll_of_order, nll_of_set
from ordo.denoisers.table import ColumnEmbedding, ColumnHead
from ordo.likelihood import enumerate_orders, order_log_prob, subset_likelihood
from ordo.objectives import Dense, OrderSpace, TimeSpace
from ordo.order import PlackettLuce
from ordo.randomness import StepRandom
from ordo.samplers import ByOrder, Sampler, sample
from ordo.schedules import FreeTable, Power

SIZES = [3, 1, 5, 2]
ORDERED = [2, 0, 4, 0]
KINDS = [TableTransformer, OrderCausalTableTransformer]
WAVES = pytest.mark.parametrize("waves", [0, 3])


def make(kind, sizes=SIZES, waves=0, ordered=ORDERED):
    torch.manual_seed(0)
    net = kind(sizes, width=16, heads=2, layers=2, ordered=ordered, waves=waves).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return net.eval().requires_grad_(False)


def all_rows(sizes=SIZES):
    return torch.tensor(list(itertools.product(*(range(size) for size in sizes))))


@WAVES
@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_of_all_rows_sum_to_one(kind, waves):
    """Along any order: each column's probabilities lie on its own values only, and the last
    column's are not lost.
    """
    net = make(kind, waves=waves)
    rows = all_rows()
    for order in itertools.permutations(range(4)):
        log_p = order_log_prob(net, rows, torch.tensor(order))
        assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_conditionals_agree_with_order_log_prob(kind):
    net = make(kind)
    rows = all_rows()
    order = torch.rand(len(rows), 4, generator=torch.Generator().manual_seed(1)).argsort(-1)
    by_rank = net.order_log_prob(rows, order)
    for k in range(4):
        log_prob = net.conditionals(rows, order, torch.full((len(rows),), k))
        at = order[:, k]
        n = torch.arange(len(rows))
        assert torch.allclose(log_prob[n, at, rows[n, at]], by_rank[:, k], atol=1e-12)
        outside = torch.arange(max(SIZES)) >= torch.tensor(SIZES)[:, None]
        assert (log_prob[:, outside] == -torch.inf).all()


@WAVES
@pytest.mark.parametrize("kind", KINDS)
def test_costs_are_those_of_the_columns(kind, waves):
    """-log mu by the method that losses use, against the logits of every column."""
    net, rows = make(kind, waves=waves), all_rows()
    if net.order_causal:
        order = torch.rand(len(rows), 4, generator=torch.Generator().manual_seed(1)).argsort(-1)
        logits, target = net(rows, order), rows.gather(1, order)
        got = nll_of_order(net, rows, order)
    else:
        where = torch.rand(rows.shape, generator=torch.Generator().manual_seed(1)) < 0.5
        z = rows.masked_fill(where, net.mask_id)
        logits, target, got = net(z)[where], rows[where], nll_of_set(net, z, rows, where)[where]
    want = -logits.log_softmax(-1).gather(-1, target[..., None])[..., 0]
    assert torch.allclose(got, want, atol=1e-12)


@WAVES
@pytest.mark.parametrize("kind", KINDS)
def test_order_of_columns_does_not_matter(kind, waves):
    """Columns moved together with what is learned about them: the same model."""
    net = make(kind, waves=waves)
    move = torch.tensor([2, 0, 3, 1])  # new column l is old column move[l]
    other = make(kind, [SIZES[i] for i in move], waves, [ORDERED[i] for i in move])
    state = net.state_dict()
    starts = torch.tensor(SIZES).cumsum(0) - torch.tensor(SIZES)
    values = torch.cat([starts[i] + torch.arange(SIZES[i]) for i in move])
    state["token.table.weight"] = torch.cat(
        [state["token.table.weight"][values], state["token.table.weight"][-1:]]
    )
    for name in ("head.weight", "head.bias"):
        state[name] = state[name][values]
    for name in ("token.waves", "head.waves"):
        if waves:
            state[name] = state[name][move]
    for name in ("position.weight", "stands_at.weight", "predicts.weight"):
        if name in state:
            first = state[name][:-4]  # "before the first position" of the order-causal denoiser
            state[name] = torch.cat([first, state[name][-4:][move]])
    other.load_state_dict(state)
    rows = all_rows()
    order = torch.rand(len(rows), 4, generator=torch.Generator().manual_seed(2)).argsort(-1)
    assert torch.allclose(
        other.order_log_prob(rows[:, move], move.argsort()[order]),
        net.order_log_prob(rows, order),
        atol=1e-12,
    )


@WAVES
def test_columns_one_by_one(waves):
    """Embeddings and heads against a loop over columns and values."""
    torch.manual_seed(0)
    head, embedding = (
        kind(SIZES, 8, ORDERED, waves).double() for kind in (ColumnHead, ColumnEmbedding)
    )
    for parameter in (*head.parameters(), *embedding.parameters()):
        torch.nn.init.normal_(parameter)
    x = torch.randn(6, 4, 8, dtype=torch.float64)
    logits, start = head(x), 0
    for column, size in enumerate(SIZES):
        for value in range(size):
            wave = torch.zeros(8, dtype=torch.float64), torch.zeros(8, dtype=torch.float64)
            for k in range(1, waves + 1 if value < ORDERED[column] else 1):
                factor = math.cos(math.pi * k * (value + 0.5) / ORDERED[column]) / math.sqrt(k)
                wave = (
                    wave[0] + factor * head.waves[column, k - 1],
                    wave[1] + factor * embedding.waves[column, k - 1],
                )
            own = x[:, column] @ (head.weight[start + value] + wave[0]) + head.bias[start + value]
            assert torch.allclose(logits[:, column, value], own)
            vector = embedding(torch.tensor([value]), torch.tensor([column]))[0]
            assert torch.allclose(vector, embedding.table.weight[start + value] + wave[1])
        start += size
        single = head.of(x[:, column], torch.full((6,), column))
        assert torch.allclose(single.exp(), logits[:, column].exp())
    assert torch.equal(
        embedding(torch.tensor([5]), torch.tensor([-1]))[0], embedding.table.weight[-1]
    ), "the mask"


def test_values_of_different_columns_are_different_tokens():
    for kind in KINDS:
        net = make(kind, [2, 2, 2], ordered=None)
        a, b = torch.tensor([[0, 1, 0]]), torch.tensor([[1, 0, 0]])
        order = torch.tensor([0, 1, 2])
        assert net.order_log_prob(a, order[None])[0, 2] != net.order_log_prob(b, order[None])[0, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_objectives_agree_with_enumeration(kind):
    """The mean of every estimator that fits equals the enumerated NELBO within four standard
    errors; gradients are finite.
    """
    net = make(kind).requires_grad_(True)
    schedule = Power(4, FreeTable(4, init_std=0.0))
    with torch.no_grad():
        schedule.network.table.copy_(torch.tensor([0.7, -0.4, 0.2, -0.5]))
    rows = torch.tensor([[2, 0, 4, 1]])
    exact = enumerate_orders(net, schedule.law(), rows).nelbo.item()
    if kind is TableTransformer:
        assert subset_likelihood(
            net, PlackettLuce(schedule.law().log_w), rows
        ).nelbo.item() == pytest.approx(exact, abs=1e-9)
    objectives = [OrderSpace(2)] + (
        [Dense(4, 2, "rloo")] if kind.order_causal else [TimeSpace(2, t_min=1e-4)]
    )
    for objective in objectives:
        out = objective(net, schedule, rows.expand(4000, -1), StepRandom(seed=3))
        error = out.nelbo.std().item() / 4000**0.5
        assert abs(out.nelbo.mean().item() - exact) < 4 * error, type(objective).__name__
        out.loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_follow_the_model(kind):
    """Frequencies of all 30 rows against their exact probability under the order of sampling."""
    net = make(kind)
    order = torch.tensor([2, 0, 3, 1])
    samples = sample(net, Sampler(ByOrder(order.tolist())), 8_000)
    rows = all_rows()
    p = order_log_prob(net, rows, order).exp()
    index = (samples.tokens[:, None] == rows).all(-1).double()
    assert (index.sum(-1) == 1).all(), "nothing outside the vocabularies"
    expected = 8_000 * p
    chi_square = ((index.sum(0) - expected).square() / expected).sum().item()
    assert chi_square < 29 + 4 * (2 * 29) ** 0.5
    by_row = order_log_prob(net, samples.tokens, order)
    assert torch.allclose(samples.total_log_prob, by_row)


def test_bad_sizes():
    with pytest.raises(ValueError, match="must be a list, every item a whole number from 1"):
        TableTransformer([2, 0])
    for sizes in (None, []):
        with pytest.raises(ValueError, match="use it with data=table"):
            TableTransformer(sizes)
    with pytest.raises(ValueError, match="from 0 to the vocabulary's size"):
        TableTransformer([2, 3], ordered=[3, 0])
