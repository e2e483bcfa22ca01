"""Likelihoods against enumeration, the subset DP and each other: random denoisers in float64."""

import copy
import math

import pytest
import torch

from ordo.batch import Batch
from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.likelihood import (
    Effort,
    enumerate_orders,
    importance_bound,
    likelihood_report,
    nelbo,
    order_log_prob,
    order_loss,
    subset_likelihood,
)
from ordo.order import FixedOrder, PlackettLuce, uniform_law
from ordo.randomness import StepRandom
from ordo.schedules import ArrivalTimes, FreeTable, Power

LENGTH, VOCAB = 5, 3
LAW = PlackettLuce(torch.tensor([0.4, -1.0, 0.9, 0.0, -0.3], dtype=torch.float64))
TOKENS = torch.tensor([[0, 2, 1, 1, 0], [2, 2, 0, 1, 2], [1, 0, 0, 2, 1]])


def losses_of(net, law, batch, seed=0):
    """By number revealed and by position, under one drawn order a sequence."""
    batch = Batch.of(batch)
    order = law.sample(len(batch.tokens), torch.Generator().manual_seed(seed))
    loss = order_loss(net, batch, order)
    return loss.by_revealed, loss.by_position


def denoiser(kind, length=LENGTH):
    torch.manual_seed(0)
    net = kind(VOCAB, length, width=8, heads=2, layers=1).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=1.5)
    return net.eval().requires_grad_(False)


def test_subset_dp_equals_enumeration():
    net = denoiser(BidirectionalTransformer)
    orders, subsets = enumerate_orders(net, LAW, TOKENS), subset_likelihood(net, LAW, TOKENS)
    assert torch.allclose(orders.nelbo, subsets.nelbo, atol=1e-10)
    assert torch.allclose(orders.log_mixture, subsets.log_mixture, atol=1e-10)
    fixed = FixedOrder(torch.tensor([3, 1, 4, 0, 2]))
    for exact in (enumerate_orders(net, fixed, TOKENS), subset_likelihood(net, fixed, TOKENS)):
        assert torch.allclose(exact.nelbo, -order_log_prob(net, TOKENS, fixed.order), atol=1e-10)
        assert torch.allclose(
            exact.log_mixture, order_log_prob(net, TOKENS, fixed.order), atol=1e-10
        )


def test_mixture_is_a_distribution():
    """Summed over all V^L sequences the mixture is 1: conditionals, DP and law are normalised
    together.
    """
    net = denoiser(BidirectionalTransformer, length=4)
    every = torch.cartesian_prod(*[torch.arange(VOCAB)] * 4)
    law = PlackettLuce(LAW.log_w[:4])
    assert abs(subset_likelihood(net, law, every).log_mixture.exp().sum() - 1) < 1e-10
    causal = denoiser(OrderCausalTransformer, length=4)
    assert abs(enumerate_orders(causal, law, every).log_mixture.exp().sum() - 1) < 1e-10


@pytest.mark.parametrize("kind", [BidirectionalTransformer, OrderCausalTransformer])
def test_likelihoods_given_positions(kind):
    """log p(rest | known): against order_log_prob of whole orders, by hand; every estimate and the
    report of it.
    """
    net = denoiser(kind)
    known = torch.tensor([[0, 1, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]).bool()
    order = torch.tensor([2, 4, 0, 1, 3])
    moved = torch.tensor([[4, 1, 2, 0, 3], [3, 2, 4, 0, 1], [2, 4, 0, 1, 3]])
    steps = net.order_log_prob(TOKENS, moved)
    by_hand = torch.stack([steps[i, n:].sum() for i, n in enumerate((2, 1, 0))])
    assert torch.allclose(order_log_prob(net, Batch(TOKENS, known), order), by_hand, atol=1e-12)
    fixed = FixedOrder(order)
    estimate = torch.stack(
        [
            nelbo(net, fixed, Batch(TOKENS, known), draws=25, random=StepRandom(step=s))
            for s in range(100)
        ]
    )
    error = estimate.std(0) / 10
    assert ((estimate.mean(0) + by_hand).abs() < 4 * error + 1e-9).all()
    assert torch.allclose(
        importance_bound(net, fixed, Batch(TOKENS, known), 2)[:, -1], by_hand, atol=1e-12
    )
    losses, by_position = losses_of(net, fixed, Batch(TOKENS, known))
    assert torch.equal(by_position.isnan(), known)
    assert torch.allclose(by_position.nansum(1), losses.nansum(1))
    assert by_position[0, 2].item() == pytest.approx(-steps[0, 2].item()), (
        "decoded first of those not known"
    )
    assert losses.isnan().sum(1).tolist() == [2, 1, 0]
    assert torch.allclose(-losses.nansum(1), by_hand, atol=1e-12)
    report = likelihood_report(net, fixed, Batch(TOKENS, known), Effort(exact_sequences=3))
    assert report.estimates["mode_exact"].nats == pytest.approx(-by_hand.mean().item(), abs=1e-12)
    assert report.length == 4
    curve = report.loss_by_revealed["own"]["nats"]
    assert curve == pytest.approx(losses.nanmean(0).tolist())
    always = likelihood_report(
        net,
        fixed,
        Batch(TOKENS, torch.tensor([0, 1, 0, 0, 0]).bool().expand(3, -1)),
        Effort(exact_sequences=2),
    )
    positions = always.loss_by_position["own"]["nats"]
    assert [math.isnan(value) for value in positions] == [False, True, False, False, False], (
        "a place keeps its number"
    )
    assert len(always.loss_by_revealed["own"]["nats"]) == 4
    assert {name: estimate.length for name, estimate in always.estimates.items()} == dict.fromkeys(
        always.estimates, 4.0
    )
    with pytest.raises(ValueError, match="every position is given"):
        likelihood_report(net, fixed, Batch(TOKENS, torch.ones_like(known)))
    law, whole = PlackettLuce(LAW.log_w), torch.ones_like(known)
    assert (nelbo(net, law, Batch(TOKENS, whole)) == 0).all()


SET_KIND = pytest.param(BidirectionalTransformer, marks=pytest.mark.slow)  # half a minute


@pytest.mark.parametrize("kind", [SET_KIND, OrderCausalTransformer])
def test_estimates_meet_exact_values(kind):
    net = denoiser(kind)
    exact = enumerate_orders(net, LAW, TOKENS)
    estimate = torch.stack(
        [nelbo(net, LAW, TOKENS, draws=200, random=StepRandom(step=s)) for s in range(40)]
    )
    assert ((estimate.mean(0) - exact.nelbo).abs() < 4 * estimate.std(0) / 40**0.5).all()
    by_rank = torch.stack(
        [losses_of(net, LAW, TOKENS.repeat(10, 1), s)[0].view(10, 3, -1).mean(0) for s in range(40)]
    )
    total = by_rank.sum(-1)
    assert ((total.mean(0) - exact.nelbo).abs() < 4 * total.std(0) / 40**0.5).all()
    bounds = importance_bound(
        net, LAW, TOKENS.repeat(200, 1), draws=32, generator=torch.Generator().manual_seed(0)
    ).view(200, 3, 32)
    mean, error = bounds.mean(0), bounds.std(0) / 200**0.5
    assert ((mean[:, 0] + exact.nelbo).abs() < 4 * error[:, 0]).all(), "one sample is the NELBO"
    assert (mean[:, [0, 1, 3, 7, 15]] < mean[:, [1, 3, 7, 15, 31]]).all(), "rising in K"
    assert (mean[:, -1] < exact.log_mixture + 4 * error[:, -1]).all(), "below the mixture"
    assert (exact.log_mixture - mean[:, -1] < 0.5 * (exact.log_mixture + exact.nelbo)).all(), (
        "and near it"
    )


def test_draws_of_one_sequence_are_spread_over_ranks():
    """With as many draws as positions every number of revealed tokens is scored once: under a fixed
    order the estimate is exact.
    """
    net = denoiser(BidirectionalTransformer)
    fixed = FixedOrder(torch.tensor([3, 1, 4, 0, 2]))
    exact = -order_log_prob(net, TOKENS, fixed.order)
    assert torch.allclose(
        nelbo(net, fixed, TOKENS, draws=LENGTH, random=StepRandom(seed=5)), exact, atol=1e-9
    )


def test_law_without_next_choice_probabilities():
    """ArrivalTimes draws the next token instead of summing; the mean is the same."""
    net = denoiser(BidirectionalTransformer)
    schedule = Power(LENGTH, FreeTable(LENGTH))
    with torch.no_grad():
        schedule.network.table.copy_(LAW.log_w)
    exact = subset_likelihood(net, LAW, TOKENS).nelbo
    estimate = torch.stack(
        [
            nelbo(net, ArrivalTimes(schedule), TOKENS, draws=200, random=StepRandom(step=s))
            for s in range(40)
        ]
    )
    assert ((estimate.mean(0) - exact).abs() < 4 * estimate.std(0) / 40**0.5).all()


def test_impossible_requests():
    with pytest.raises(ValueError, match="order of revealing"):
        subset_likelihood(denoiser(OrderCausalTransformer), LAW, TOKENS)
    with pytest.raises(ValueError, match="orders"):
        enumerate_orders(
            denoiser(BidirectionalTransformer), LAW, torch.zeros(1, 9, dtype=torch.long)
        )
    with pytest.raises(ValueError, match="subset"):
        subset_likelihood(
            denoiser(BidirectionalTransformer), LAW, torch.zeros(1, 15, dtype=torch.long)
        )


@pytest.mark.parametrize("kind", [SET_KIND, OrderCausalTransformer])
def test_padded_sequences_have_the_likelihoods_of_shorter_ones(kind):
    """Each row against the same row cut to its length; what the padding holds does not matter."""
    length = 6
    torch.manual_seed(0)
    denoiser = kind(3, length, width=8, heads=2, layers=2).double().eval()
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.8)
    log_w = torch.randn(length, dtype=torch.float64)
    tokens = torch.randint(3, (3, length))
    known = torch.tensor([[0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]]).bool()
    lengths = torch.tensor([4, 6, 1])
    law, order = PlackettLuce(log_w), torch.randperm(length)
    batch = Batch(tokens, known, lengths)
    got = order_log_prob(denoiser, batch, order)
    gone = torch.arange(length) >= lengths[:, None]
    said = Batch(tokens.masked_fill(gone, 2), known | gone, lengths)
    assert torch.equal(got, order_log_prob(denoiser, said, order))
    value = nelbo(denoiser, law, batch, 8, StepRandom())
    assert torch.equal(value, nelbo(denoiser, law, said, 8, StepRandom()))
    for a, b in zip(
        losses_of(denoiser, law, batch, 1), losses_of(denoiser, law, said, 1), strict=True
    ):
        assert torch.equal(a.nan_to_num(-1.0), b.nan_to_num(-1.0))
    assert batch.decoded.sum(1).tolist() == said.decoded.sum(1).tolist() == [3, 5, 1]
    by_rank, by_position = losses_of(denoiser, law, batch, 1)
    draws, many = 1000, batch.repeat(100)
    mean = torch.stack(
        [nelbo(denoiser, law, batch, draws // 10, StepRandom(step=step)) for step in range(10)]
    )
    generator = torch.Generator().manual_seed(2)
    log_p = importance_bound(denoiser, law, many, 10, generator)[:, -1].view(100, -1)
    bound = log_p.logsumexp(0) - math.log(100)
    short = copy.copy(denoiser)  # the same weights, for sequences of another length
    for i, n in enumerate(lengths.tolist()):
        short.length = n
        x, part = Batch(tokens[None, i, :n], known[None, i, :n]), PlackettLuce(log_w[:n])
        assert torch.allclose(got[i], order_log_prob(short, x, order[order < n])[0], atol=1e-12)
        assert (~by_rank[i].isnan()).sum() == (~by_position[i].isnan()).sum() == n - x.given.sum()
        assert by_position[i, n:].isnan().all()
        assert torch.allclose(by_rank[i].nansum(), by_position[i].nansum(), atol=1e-12)
        want = nelbo(short, part, x, draws, StepRandom(seed=1))[0]
        assert abs(mean[:, i].mean() - want) < 4 * 2**0.5 * mean[:, i].std() / 10**0.5 + 1e-12
        generator = torch.Generator().manual_seed(3)
        cut = importance_bound(short, part, x.repeat(100), 10, generator)[:, -1]
        cut = cut.logsumexp(0) - math.log(100)
        assert abs(bound[i] - cut) < 0.05
    short.length = 1
    assert torch.allclose(
        by_rank[2].nansum(),
        -order_log_prob(short, tokens[2:, :1], torch.tensor([0])),
        atol=1e-12,
    )


def test_report_of_padded_sequences():
    """Bits per token are of the tokens there are."""
    torch.manual_seed(0)
    denoiser = OrderCausalTransformer(3, 6, width=8, heads=2, layers=1).double().eval()
    tokens, lengths = torch.randint(3, (8, 6)), torch.tensor([6, 1, 2, 3, 3, 4, 5, 6])
    batch = Batch(tokens, None, lengths)
    effort = Effort(importance_draws=2, batch_size=3)
    report = likelihood_report(denoiser, uniform_law(6), batch, effort)
    assert report.length == lengths.double().mean()
    mode = -order_log_prob(denoiser, batch, torch.arange(6))
    assert report.estimates["mode_exact"].nats == pytest.approx(mode.mean().item(), abs=1e-9)
    assert report.bits_per_token("mode_exact") == pytest.approx(
        (mode.sum() / lengths.sum() / math.log(2)).item(), abs=1e-9
    )


class Methods(torch.nn.Module):
    """A denoiser of one's own: the two methods that likelihoods need, and no call."""

    order_causal = False

    def __init__(self, net):
        super().__init__()
        self.__dict__["net"] = net
        self.vocab_size, self.length, self.mask_id = net.vocab_size, net.length, net.mask_id
        self.device = net.device

    def conditionals(self, tokens, order, n_revealed, present=None):
        return self.net.conditionals(tokens, order, n_revealed, present)

    def order_log_prob(self, tokens, order, present=None):
        return self.net.order_log_prob(tokens, order, present)


def test_a_denoiser_of_two_methods_has_the_same_likelihoods():
    net = denoiser(BidirectionalTransformer)
    known = torch.tensor([[0, 1, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]).bool()
    batch = Batch(TOKENS, known, torch.tensor([5, 4, 3]))
    for law in (LAW, FixedOrder(torch.tensor([3, 1, 4, 0, 2]))):
        want, found = (nelbo(d, law, batch, 20, StepRandom()) for d in (net, Methods(net)))
        assert torch.allclose(want, found, atol=1e-10)
