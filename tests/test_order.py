"""Plackett-Luce closed forms against enumeration of all orders, to 1e-10, and samples against
probabilities.
"""

import math

import pytest
import torch

from ordo.batch import Batch
from ordo.order import FixedOrder, PlackettLuce, entropy_surrogate, uniform_law

LENGTH = 5
LOG_W = torch.tensor([0.3, -1.2, 2.0, 0.0, 0.7], dtype=torch.float64)


def brute_log_prob(order, log_w):
    """The definition, one order at a time, in plain Python."""
    w = [math.exp(v) for v in log_w.tolist()]
    total = 0.0
    for i, position in enumerate(order):
        total += math.log(w[position] / sum(w[j] for j in order[i:]))
    return total


@pytest.fixture
def enumerated(all_orders):
    orders = all_orders(LENGTH)
    log_prob = torch.tensor(
        [brute_log_prob(o, LOG_W) for o in orders.tolist()], dtype=torch.float64
    )
    return orders, log_prob


def test_log_prob_is_the_definition(enumerated):
    orders, log_prob = enumerated
    assert torch.allclose(PlackettLuce(LOG_W).log_prob(orders), log_prob, atol=1e-10)
    assert abs(log_prob.exp().sum() - 1) < 1e-10


def test_prefix_log_prob_marginalises_the_suffix(enumerated):
    orders, log_prob = enumerated
    law = PlackettLuce(LOG_W)
    for k in range(LENGTH + 1):
        got = law.prefix_log_prob(orders, k)
        for row in (0, 17, 63, 119):
            same = (orders[:, :k] == orders[row, :k]).all(-1)
            assert abs(got[row] - log_prob[same].logsumexp(0)) < 1e-10


def test_precedence_rank_and_mode(enumerated):
    orders, log_prob = enumerated
    law, p = PlackettLuce(LOG_W), log_prob.exp()
    rank = orders.argsort(-1)
    before = torch.stack([(rank[:, i : i + 1] < rank).double().T @ p for i in range(LENGTH)])
    assert torch.allclose(law.precedence(), before, atol=1e-10)
    assert torch.allclose(law.expected_rank(), (rank + 1).double().T @ p, atol=1e-10)
    assert torch.equal(law.mode(), orders[log_prob.argmax()])


def test_entropy_exact_and_monte_carlo(enumerated):
    _, log_prob = enumerated
    exact, error = PlackettLuce(LOG_W).entropy()
    assert error == 0
    assert abs(exact + (log_prob.exp() * log_prob).sum()) < 1e-10
    assert abs(uniform_law(8).entropy()[0] - math.lgamma(9)) < 1e-10
    mean, error = uniform_law(20).entropy(samples=500, generator=torch.Generator().manual_seed(0))
    assert abs(mean - math.lgamma(21)) < 1e-9
    log_w = torch.linspace(-2, 2, 15, dtype=torch.float64)
    mean, error = PlackettLuce(log_w).entropy(4000, torch.Generator().manual_seed(0))
    assert 0 < error < 0.1
    assert abs(mean - PlackettLuce(log_w)._entropy_by_subsets()) < 4 * error


def test_next_log_prob():
    revealed = torch.tensor([[False, True, False, False, True]])
    got = PlackettLuce(LOG_W).next_log_prob(revealed)[0].exp()
    w = LOG_W.exp() * ~revealed[0]
    assert torch.allclose(got, w / w.sum(), atol=1e-10)
    assert (
        PlackettLuce(LOG_W).next_log_prob(torch.ones(1, LENGTH, dtype=torch.bool)) == -torch.inf
    ).all()


def test_gauge_changes_nothing(enumerated):
    orders, _ = enumerated
    law, shifted = PlackettLuce(LOG_W), PlackettLuce(LOG_W + 7.5)
    assert torch.allclose(law.log_prob(orders), shifted.log_prob(orders), atol=1e-10)
    assert abs(shifted.gauge_fixed().log_w.mean()) < 1e-12


def test_samples_follow_the_law(enumerated):
    orders, log_prob = enumerated
    n = 60_000
    drawn = PlackettLuce(LOG_W).sample(n, torch.Generator().manual_seed(3))
    code = (drawn * LENGTH ** torch.arange(LENGTH)).sum(-1)
    reference = (orders * LENGTH ** torch.arange(LENGTH)).sum(-1)
    observed = (code[:, None] == reference).sum(0).double()
    expected = n * log_prob.exp()
    chi2 = ((observed - expected) ** 2 / expected)[expected > 5].sum()
    dof = int((expected > 5).sum()) - 1
    assert chi2 < dof + 5 * math.sqrt(2 * dof)
    # an ascending sort (the order of masking) must fail the same test
    observed = (
        (((drawn.flip(-1)) * LENGTH ** torch.arange(LENGTH)).sum(-1)[:, None] == reference)
        .sum(0)
        .double()
    )
    assert ((observed - expected) ** 2 / expected)[expected > 5].sum() > 100 * dof


def test_sharp_laws_stay_finite():
    law = PlackettLuce(torch.linspace(-300, 300, 40, dtype=torch.float64))
    order = law.sample(8, torch.Generator().manual_seed(0))
    assert torch.equal(order, torch.arange(39, -1, -1).expand(8, -1))
    assert law.log_prob(order).abs().max() < 1e-5
    assert law.entropy(16)[0].isfinite()


def test_entropy_surrogate_gradient():
    log_w = torch.tensor([0.5, -0.4, 0.1, 1.0], dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(PlackettLuce(log_w).entropy()[0], log_w)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack(
        [
            torch.autograd.grad(entropy_surrogate(PlackettLuce(log_w), 64, generator), log_w)[0]
            for _ in range(400)
        ]
    )
    error = draws.std(0) / math.sqrt(400)
    assert ((draws.mean(0) - exact).abs() < 4 * error).all()
    assert exact.abs().max() > 10 * error.max()


def test_entropy_surrogate_of_what_is_decoded():
    """Half of the rows are given position 0 and end before position 4: the mean of two entropies,
    each by its own enumeration.
    """
    log_w = torch.tensor([0.5, -0.4, 0.1, 1.0, 0.7], dtype=torch.float64, requires_grad=True)
    whole, part = PlackettLuce(log_w).entropy()[0], PlackettLuce(log_w[1:4]).entropy()[0]
    (exact,) = torch.autograd.grad((whole + part) / 2, log_w)
    first = torch.arange(64) < 32
    known, lengths = first[:, None] & (torch.arange(5) == 0), torch.where(first, 4, 5)
    generator, draws = torch.Generator().manual_seed(0), []
    batch = Batch(torch.zeros(64, 5, dtype=torch.long), known, lengths)
    for _ in range(400):
        loss = entropy_surrogate(PlackettLuce(log_w), 64, generator, batch)
        draws.append(torch.autograd.grad(loss, log_w)[0])
    error = torch.stack(draws).std(0) / math.sqrt(400)
    assert ((torch.stack(draws).mean(0) - exact).abs() < 4 * error).all()
    assert exact.abs().max() > 10 * error.max()


def test_fixed_order():
    law = FixedOrder(torch.tensor([2, 0, 1]))
    assert law.step_log_prob(torch.tensor([[2, 0, 1], [2, 1, 0]])).tolist() == [
        [0, 0, 0],
        [0, -math.inf, -math.inf],
    ]
    revealed = torch.tensor([[False, False, True], [False, False, False], [True, True, True]])
    assert law.next_log_prob(revealed).exp().tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert law.expected_rank().tolist() == [2, 3, 1]
    sharp = PlackettLuce(torch.tensor([0.0, -600.0, 600.0]))
    assert torch.allclose(sharp.precedence(), law.precedence())


def test_a_law_for_every_row():
    """What a law of n rows says of each is what that row's own law says."""
    generator = torch.Generator().manual_seed(0)
    log_w = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    law, each = PlackettLuce(log_w), [PlackettLuce(row) for row in log_w]
    u = torch.rand(6, 5, generator=generator, dtype=torch.float64)
    known = torch.rand(6, 5, generator=generator) < 0.3
    lengths = torch.tensor([5, 3, 4, 1, 5, 2])
    batch = Batch(torch.zeros(6, 5, dtype=torch.long), known, lengths)
    draw = law.draw(u, batch)
    revealed = torch.rand(6, 5, generator=generator) < 0.5
    for i, own in enumerate(each):
        row = slice(i, i + 1)
        alone = own.draw(u[row], batch.rows(row))
        assert torch.equal(draw.order[row], alone.order)
        assert torch.allclose(draw.score[row], alone.score)
        assert torch.allclose(law.step_log_prob(draw.order)[row], own.step_log_prob(alone.order))
        assert torch.allclose(law.next_log_prob(revealed)[row], own.next_log_prob(revealed[row]))
        assert torch.equal(law.keys(u)[row], own.keys(u[row]))
        assert torch.equal(law.keys(u, 0)[row], own.keys(u[row], 0))
        assert torch.allclose(law.precedence()[i], own.precedence())
        assert torch.allclose(law.expected_rank()[i], own.expected_rank())
        assert torch.equal(law.mode()[i], own.mode())


@pytest.mark.parametrize(
    "bad", [torch.zeros(2, 3, 1), torch.tensor([0.0, float("nan")]), torch.tensor([])]
)
def test_bad_log_w(bad):
    with pytest.raises(ValueError, match="log_w"):
        PlackettLuce(bad)


def test_bad_fixed_order():
    with pytest.raises(ValueError, match="permutation"):
        FixedOrder(torch.tensor([0, 0, 1]))
