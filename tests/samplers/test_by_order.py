"""The sampler's joint law against the enumerated mixture over all orders."""

import math

import pytest
import torch

from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.likelihood import enumerate_orders
from ordo.order import FixedOrder, PlackettLuce
from ordo.samplers import sample_by_order

LENGTH, VOCAB, N = 3, 3, 30_000
LAW = PlackettLuce(torch.tensor([1.2, -0.9, 0.1], dtype=torch.float64))
EVERY = torch.cartesian_prod(*[torch.arange(VOCAB)] * LENGTH)
KINDS = [BidirectionalTransformer, OrderCausalTransformer]


def denoiser(kind):
    torch.manual_seed(3)
    net = kind(VOCAB, LENGTH, width=8, heads=2, layers=1).double()
    for parameter in net.parameters():  # far from its mild initialisation, so that orders matter
        torch.nn.init.normal_(parameter, std=1.5)
    net.head.weight.data *= 0.2  # but no sequence all but certain
    return net.eval().requires_grad_(False)


def chi_square(tokens, probability):
    """The statistic over all sequences, those that are expected less than 5 times counted as one, and its 1 - 1e-6 quantile."""
    code = (tokens * VOCAB ** torch.arange(LENGTH - 1, -1, -1)).sum(-1)
    seen = torch.bincount(code, minlength=VOCAB**LENGTH).double()
    expected = len(tokens) * probability
    rare = expected < 5
    seen = torch.cat([seen[~rare], seen[rare].sum(0, keepdim=True)])
    expected = torch.cat([expected[~rare], expected[rare].sum(0, keepdim=True).clamp(min=1e-9)])
    assert len(expected) > 10, "the denoiser leaves something to test"
    df = len(expected) - 1
    quantile = df * (1 - 2 / (9 * df) + 4.75 * math.sqrt(2 / (9 * df))) ** 3  # Wilson & Hilferty
    return ((seen - expected) ** 2 / expected).sum(), quantile


@pytest.mark.parametrize("kind", KINDS)
def test_joint_distribution(kind):
    net = denoiser(kind)
    mixture = enumerate_orders(net, LAW, EVERY).log_mixture.exp()
    generator = torch.Generator().manual_seed(0)
    samples = sample_by_order(net, LAW.draw(N, generator).order, generator)
    statistic, quantile = chi_square(samples.tokens, mixture)
    assert statistic < quantile
    ascending = sample_by_order(net, PlackettLuce(-LAW.log_w).draw(N, generator).order, generator)
    statistic, quantile = chi_square(ascending.tokens, mixture)
    assert statistic > 2 * quantile, "orders the wrong way round are found out"


@pytest.mark.parametrize("kind", KINDS)
def test_any_fixed_order(kind):
    net = denoiser(kind)
    order = torch.tensor([2, 0, 1])
    samples = sample_by_order(net, order.expand(N, -1), torch.Generator().manual_seed(1))
    statistic, quantile = chi_square(samples.tokens, enumerate_orders(net, FixedOrder(order), EVERY).log_mixture.exp())
    assert statistic < quantile


@pytest.mark.parametrize("kind", KINDS)
def test_log_prob_is_that_of_the_denoiser(kind):
    net = denoiser(kind)
    order = LAW.draw(200, torch.Generator().manual_seed(2)).order
    samples = sample_by_order(net, order, torch.Generator().manual_seed(3))
    assert torch.equal(samples.order, order)
    assert torch.allclose(samples.log_prob, net.order_log_prob(samples.tokens, order), atol=1e-12)
    assert samples.nfe == LENGTH


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_fixes_the_samples(kind):
    net, order = denoiser(kind), LAW.draw(100, torch.Generator().manual_seed(4)).order
    first, again, other = (sample_by_order(net, order, torch.Generator().manual_seed(seed)).tokens for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("kind", KINDS)
def test_given_tokens(kind):
    """Rows with different known positions: the drawn part follows the exact conditional along the order used, and is scored with it."""
    net = denoiser(kind)
    generator = torch.Generator().manual_seed(2)
    known = torch.tensor([[False, True, False], [True, False, True], [False, False, False]]).repeat_interleave(N // 3, 0)
    given = torch.tensor([2, 1, 0]).expand(N, -1)
    order = torch.tensor([2, 0, 1]).expand(N, -1)
    samples = sample_by_order(net, order, generator, given, known)
    assert torch.equal(samples.tokens[known], given[known])
    for part, used, free in ((0, [1, 2, 0], [2, 0]), (1, [2, 0, 1], [1]), (2, [2, 0, 1], [2, 0, 1])):
        rows = slice(part * (N // 3), (part + 1) * (N // 3))
        tokens = samples.tokens[rows]
        assert samples.order[rows].eq(torch.tensor(used)).all()
        by_rank = net.order_log_prob(tokens, torch.tensor(used).expand(len(tokens), -1))
        n_given = 3 - len(free)
        assert torch.allclose(samples.log_prob[rows, n_given:], by_rank[:, n_given:])
        assert (samples.log_prob[rows, :n_given] == 0).all()
        possible = EVERY[(torch.tensor([2, 1, 0]) == EVERY).logical_or(torch.tensor([i in free for i in range(3)])).all(-1)]
        p = net.order_log_prob(possible, torch.tensor(used).expand(len(possible), -1))[:, n_given:].sum(-1).exp()
        assert p.sum().item() == pytest.approx(1)
        seen = (tokens[:, None] == possible).all(-1).double().mean(0)
        error = (p * (1 - p) / (N // 3)).sqrt()
        assert ((seen - p).abs() < 4.5 * error + 1e-4).all()
    assert samples.nfe == 3
    assert sample_by_order(net, order[:5], generator, given[:5], known[:5]).nfe == 2, "nobody waits for what all rows know"
    with pytest.raises(ValueError, match="come together"):
        sample_by_order(net, order, generator, given)
