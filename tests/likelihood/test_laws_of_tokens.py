"""Likelihoods against enumeration of orders, of laws of tokens and of positions; the samplers that
draw from them.
"""

import itertools

import pytest
import torch
from enumeration import (
    LENGTH,
    TOKENS,
    VOCAB,
    Static,
    by_orders,
    exact_log_prob,
    exact_nelbo,
    random_denoiser,
    rates,
    schedules,
)
from scipy import stats

from ordo.batch import Batch
from ordo.denoisers import OrderCausalTransformer
from ordo.likelihood import (
    importance_bound,
    joint_log_prob,
    nelbo,
    sampler_log_prob,
    subset_likelihood,
)
from ordo.order import PlackettLuce
from ordo.samplers import ByLaw, ByOrder, ByScore, InSteps, OnGrid, Sampler, TokenRule, sample

EVERY = torch.cartesian_prod(*[torch.arange(VOCAB)] * LENGTH)
NAMES = ["per_vocabulary", "per_context_log", "both", "base", "pooled"]


def mild():
    """Not so sure of itself that most sequences are never seen."""
    return random_denoiser(0.5).requires_grad_(False)


@pytest.mark.parametrize("name", [*NAMES, "power"])
def test_subsets_equal_orders(name):
    denoiser, schedule = random_denoiser().requires_grad_(False), schedules()[name]
    for bound in ("jump", "rate"):
        found = subset_likelihood(denoiser, schedule, TOKENS, bound)
        want = torch.stack([exact_nelbo(denoiser, schedule, x, bound) for x in TOKENS]).detach()
        assert torch.allclose(found.nelbo, want, atol=1e-10, rtol=0)
        want = torch.stack([exact_log_prob(denoiser, schedule, x) for x in TOKENS]).detach()
        assert torch.allclose(found.log_mixture, want, atol=1e-10, rtol=0)
        assert (-found.log_mixture < found.nelbo).all()


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_of_all_sequences_sum_to_one(name):
    """And less for the numbers that a bound stands for."""
    found = subset_likelihood(mild(), schedules()[name], EVERY)
    assert abs(found.log_mixture.exp().sum() - 1) < 1e-10
    assert (-found.nelbo).exp().sum() < 1 - 1e-4


def test_a_static_law_has_its_own_likelihood():
    denoiser, log_w = (
        mild(),
        torch.randn(LENGTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64),
    )
    want = subset_likelihood(denoiser, PlackettLuce(log_w), TOKENS)
    for bound in ("jump", "rate"):
        found = subset_likelihood(denoiser, Static(log_w), TOKENS, bound)
        assert torch.allclose(found.nelbo, want.nelbo, atol=1e-10, rtol=0)
        assert torch.allclose(found.log_mixture, want.log_mixture, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_orders_one_by_one(name, all_orders):
    """p(x, pi) of every order; with given positions of the orders of the others."""
    denoiser, schedule = mild(), schedules()[name]
    for x in TOKENS:
        orders = all_orders(LENGTH)
        rows = x.expand(len(orders), -1)
        assert torch.allclose(
            joint_log_prob(denoiser, schedule, rows, orders),
            by_orders(denoiser, schedule, x)[1],
            atol=1e-10,
        )
    known = torch.tensor([0, 1, 0, 0]).bool()
    orders = torch.tensor([[1, *order] for order in itertools.permutations([0, 2, 3])])
    batch = Batch(x.expand(6, -1), known.expand(6, -1))
    found = joint_log_prob(denoiser, schedule, batch, orders.flip(1).roll(1, 1))
    want = by_orders(denoiser, schedule, x, [1])[1]
    assert torch.allclose(found.sort().values, want.sort().values, atol=1e-10)
    # Padding: that of the shorter sequence, in any order of what is absent.
    batch = Batch(x[None], None, torch.tensor([3]))
    found = joint_log_prob(denoiser, schedule, batch, torch.tensor([3, 1, 0, 2]))
    want = by_orders(denoiser, schedule, x[:3])[1][
        list(itertools.permutations(range(3))).index((1, 0, 2))
    ]
    assert abs(found[0] - want) < 1e-10


@pytest.mark.parametrize("name", ["per_context_log", "both"])
def test_importance_bound_has_its_limits(name):
    """Minus the NELBO of bound jump at one order, log p(x) at many, rising between them."""
    denoiser, schedule, copies = mild(), schedules()[name], 60
    x = TOKENS.repeat(copies, 1)
    values = importance_bound(denoiser, schedule, x, 300, torch.Generator().manual_seed(0)).view(
        copies, len(TOKENS), -1
    )
    exact = subset_likelihood(denoiser, schedule, TOKENS)
    error = values.std(0) / copies**0.5
    mean = values.mean(0)
    assert ((mean[:, 0] + exact.nelbo).abs() < 4 * error[:, 0]).all()
    assert ((mean[:, -1] - exact.log_mixture).abs() < 4 * error[:, -1] + 0.02).all()
    gap = exact.nelbo + exact.log_mixture
    assert (error[:, 0] < 0.5 * gap).all(), "something to tell apart"
    assert (mean[:, [0, 3, 30, 299]].diff(dim=1) > 0).all()


def test_importance_bound_of_the_posterior_is_exact_at_one_order():
    """A forward law that is the posterior of orders: both sides of the bound meet. Two positions
    have one choice.
    """
    denoiser, reverse = (
        random_denoiser(length=2).requires_grad_(False),
        schedules(2)["per_context_log"],
    )
    x = torch.tensor([[0, 1], [2, 2]])
    log_p = torch.stack([by_orders(denoiser, reverse, row)[1] for row in x]).detach()

    def log_w(tokens, present=None):  # decoded first with the posterior's odds
        return torch.stack([log_p[(x == row).all(1)][0] for row in tokens])

    reverse.log_w = log_w
    values = importance_bound(denoiser, reverse, x, 3, torch.Generator().manual_seed(0))
    assert torch.allclose(values, log_p.logsumexp(1)[:, None].expand(-1, 3), atol=1e-10)
    assert torch.allclose(
        subset_likelihood(denoiser, reverse, x).nelbo, -log_p.logsumexp(1), atol=1e-10
    )


def number(tokens):
    """The number of each sequence in EVERY."""
    return (tokens * VOCAB ** torch.arange(LENGTH - 1, -1, -1)).sum(1)


def g_test(tokens, p):
    return g_test_of(number(tokens), p)


def g_test_of(drawn, p):
    """drawn: numbers of outcomes, whose probabilities are p."""
    seen = torch.bincount(drawn, minlength=len(p)).double()
    expected, rare = len(drawn) * p, len(drawn) * p < 5
    seen, expected = (
        torch.cat([y[~rare], y[rare].sum(0, keepdim=True)]) if rare.any() else y
        for y in (seen, expected)
    )
    assert len(seen) > 20
    return stats.power_divergence(seen.numpy(), expected.numpy(), lambda_="log-likelihood").pvalue


@pytest.mark.parametrize("name", NAMES)
def test_samples_follow_the_joint_law(name):
    """20,000 draws by the rates against the exact probabilities of all 81 sequences, and of each in
    its 24 orders.

    Orders tell most: rates that are not drawn anew at every step change them, and hardly the
    sequences. The law without its tilt or its rates is another.
    """
    denoiser, schedule = mild(), schedules()[name]
    orders = torch.tensor(list(itertools.permutations(range(LENGTH))))
    rows = EVERY.repeat_interleave(len(orders), 0), orders.repeat(len(EVERY), 1)
    each = joint_log_prob(denoiser, schedule, *rows).exp()
    p = subset_likelihood(denoiser, schedule, EVERY).log_mixture.exp()
    assert torch.allclose(each.view(len(EVERY), -1).sum(1), p, atol=1e-10)
    trace = sample(denoiser, Sampler(ByLaw()), 20_000, schedule=schedule)
    assert (trace.calls == LENGTH).all()
    assert g_test(trace.tokens, p) > 1e-4
    turn = (trace.order[:, None] == orders).all(-1).int().argmax(1)
    assert g_test_of(number(trace.tokens) * len(orders) + turn, each) > 1e-4
    if name != "base":  # its weights are within a factor of three, but for positions
        assert g_test(sample(denoiser, Sampler(ByScore("random")), 20_000).tokens, p) < 1e-4, (
            "the law tells"
        )


def test_first_positions_follow_the_rates():
    denoiser, schedule = mild(), schedules()["both"]
    first = sample(denoiser, Sampler(ByLaw()), 20_000, schedule=schedule).rank.argmin(1)
    for temperature in (1.0, 0.5):
        rho = rates(denoiser, schedule, torch.full((1, LENGTH), VOCAB))[0].sum(-1) ** (
            1 / temperature
        )
        first = sample(
            denoiser, Sampler(ByLaw(temperature)), 20_000, schedule=schedule
        ).rank.argmin(1)
        seen = torch.bincount(first, minlength=LENGTH).double()
        assert (
            stats.chisquare(seen.numpy(), (20_000 * rho / rho.sum()).detach().numpy()).pvalue > 1e-4
        )


@pytest.mark.parametrize("name", NAMES)
def test_exact_where_the_order_is_a_function_of_what_is_revealed(name):
    """Largest rate first: samples follow the exact likelihood, which sums to 1 and is the chain
    rule along a loop's own path.
    """
    denoiser, schedule, sampler = mild(), schedules()[name], Sampler(ByLaw(0))
    log_p = sampler_log_prob(denoiser, sampler, EVERY, schedule).total_log_prob
    assert abs(log_p.exp().sum() - 1) < 1e-10
    assert g_test(sample(denoiser, sampler, 20_000, schedule=schedule).tokens, log_p.exp()) > 1e-4
    for x, found in zip(EVERY[::7], log_p[::7], strict=True):
        z, total = torch.full((LENGTH,), VOCAB), 0.0
        for _ in range(LENGTH):
            rho = rates(denoiser, schedule, z[None])[0]
            position = int(rho.sum(-1).argmax())
            total += float((rho[position, x[position]] / rho[position].sum()).log().detach())
            z[position] = x[position]
        assert abs(total - float(found)) < 1e-10
    with pytest.raises(ValueError, match="subset_likelihood"):
        sampler_log_prob(denoiser, Sampler(ByLaw()), TOKENS, schedule)


def test_given_and_absent_positions_in_sampling():
    """Infilling: the law of the others from what is given on; padding: that of the shorter
    sequence; rows are their own.
    """
    denoiser, schedule = mild(), schedules()["both"]
    given, known = (
        TOKENS[:1].expand(20_000, -1),
        torch.tensor([[0, 1, 1, 0]]).bool().expand(20_000, -1),
    )
    trace = sample(denoiser, Sampler(ByLaw()), schedule=schedule, given=given, known=known)
    assert (trace.tokens == given)[known].all()
    p = torch.zeros(VOCAB, VOCAB, dtype=torch.float64)
    for a, b in itertools.product(range(VOCAB), repeat=2):
        p[a, b] = (
            by_orders(denoiser, schedule, torch.tensor([a, *TOKENS[0, 1:3], b]), [1, 2])[1]
            .logsumexp(0)
            .exp()
        )
    seen = torch.bincount(trace.tokens[:, 0] * VOCAB + trace.tokens[:, 3], minlength=9).double()
    assert stats.chisquare(seen.numpy(), (20_000 * p.flatten()).detach().numpy()).pvalue > 1e-4
    trace = sample(
        denoiser, Sampler(ByLaw()), 20_000, schedule=schedule, lengths=torch.full((20_000,), 2)
    )
    p = torch.stack(
        [
            exact_log_prob(denoiser, schedule, torch.tensor(x))
            for x in itertools.product(range(VOCAB), repeat=2)
        ]
    ).exp()
    seen = torch.bincount(trace.tokens[:, 0] * VOCAB + trace.tokens[:, 1], minlength=9).double()
    assert stats.chisquare(seen.numpy(), (20_000 * p).detach().numpy()).pvalue > 1e-4
    whole = sample(denoiser, Sampler(ByLaw()), 12, schedule=schedule)
    assert torch.equal(
        whole.tokens[5:],
        sample(denoiser, Sampler(ByLaw()), 7, schedule=schedule, first_row=5).tokens,
    )


def test_samples_of_an_order_causal_denoiser():
    """Every sequence as often as the sum over orders of p(x, pi) says, and all importance bounds
    below.
    """
    denoiser = random_denoiser(0.4, kind=OrderCausalTransformer).requires_grad_(False)
    schedule = schedules()["pooled"]
    orders = torch.tensor(list(itertools.permutations(range(LENGTH))))
    each = [joint_log_prob(denoiser, schedule, EVERY, order.expand_as(EVERY)) for order in orders]
    log_p = torch.stack(each).logsumexp(0)
    assert log_p.exp().sum().item() == pytest.approx(1.0)
    for x in TOKENS:
        found = joint_log_prob(denoiser, schedule, x.expand(len(orders), -1), orders)
        assert torch.allclose(found, by_orders(denoiser, schedule, x)[1].detach(), atol=1e-10)
    trace = sample(denoiser, Sampler(ByLaw()), 20_000, schedule=schedule)
    assert g_test(trace.tokens, log_p.exp()) > 1e-4
    mode = sampler_log_prob(denoiser, Sampler(ByLaw(0)), EVERY, schedule).total_log_prob
    assert mode.exp().sum().item() == pytest.approx(1.0)
    x = TOKENS.repeat(60, 1)
    bound = importance_bound(denoiser, schedule, x, 40, torch.Generator().manual_seed(0))
    bound = bound.view(60, len(TOKENS), -1)
    mean, error = bound.mean(0), bound.std(0) / 60**0.5
    want = torch.stack([exact_nelbo(denoiser, schedule, row) for row in TOKENS]).detach()
    assert ((mean[:, 0] + want).abs() < 4 * error[:, 0]).all()
    want = log_p[number(TOKENS)]
    assert ((mean[:, -1] - want).abs() < 4 * error[:, -1] + 0.01).all()


def test_what_is_refused():
    denoiser, laws = mild(), schedules()
    with pytest.raises(ValueError, match="depends on the tokens"):
        sample(denoiser, Sampler(ByScore(), OnGrid(4)), 2, schedule=laws["per_context"])
    causal = random_denoiser(kind=OrderCausalTransformer)
    for call in (nelbo, importance_bound, subset_likelihood):
        with pytest.raises(ValueError, match=r"bidirectional|enumerate_orders"):
            call(causal, laws["both"], TOKENS)
    with pytest.raises(ValueError, match="stops at 14"):
        subset_likelihood(denoiser, laws["both"], torch.zeros(1, 15, dtype=torch.long))
    # What needs no law works with any schedule.
    for sampler in (
        Sampler(ByOrder()),
        Sampler(ByScore(), InSteps(2)),
        Sampler(ByLaw(), InSteps(2), TokenRule(0.5)),
    ):
        assert (sample(denoiser, sampler, 3, schedule=laws["both"]).tokens < VOCAB).all()
