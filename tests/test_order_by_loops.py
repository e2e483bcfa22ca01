"""Orders from keys in all their digits, and the gradient of the entropy of laws of orders, against
plain loops.
"""

import itertools
import math

import pytest
import torch

from ordo.data.module import Batch
from ordo.order import PlackettLuce, entropy_surrogate
from ordo.randomness import RowRandom, StepRandom, row_seeds
from ordo.schedules import FreeTable, PerVocabulary, Power
from ordo.training import OptimizerSettings
from ordo.training.optimisation import with_entropy_bonus

LOG_W = [1.0, 0.1, -0.9]


def entropy(log_w):
    """The value under Plackett-Luce, by all orders; differentiable."""
    total = torch.zeros((), dtype=torch.float64)
    for order in itertools.permutations(range(len(log_w))):
        log_p, left = torch.zeros((), dtype=torch.float64), list(order)
        for at in order:
            log_p = log_p + log_w[at] - torch.stack([log_w[other] for other in left]).logsumexp(0)
            left.remove(at)
        total = total - log_p.exp() * log_p
    return total


def test_the_baseline_of_the_entropy_leaves_its_own_sample_out():
    """With two samples a baseline that has its own half would halve the gradient."""
    log_w = torch.tensor(LOG_W, dtype=torch.float64, requires_grad=True)
    (want,) = torch.autograd.grad(entropy(log_w), log_w)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack(
        [
            torch.autograd.grad(entropy_surrogate(PlackettLuce(log_w), 2, generator), log_w)[0]
            for _ in range(4000)
        ]
    )
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - want).abs() < 4 * error).all()
    assert error.max() < 0.1 * want.abs().max(), "half of it would show"


def bonus_gradient(schedule, parameter, batch, steps=300):
    settings = OptimizerSettings(total_steps=10**9, entropy_bonus=0.6, entropy_steps=10**9)
    loss = torch.zeros((), dtype=torch.float64)
    draws = [
        torch.autograd.grad(
            with_entropy_bonus(loss, schedule, settings, 0, step, batch), parameter
        )[0]
        for step in range(steps)
    ]
    draws = torch.stack(draws).double()
    return draws.mean(0), draws.std(0) / steps**0.5


def test_the_entropy_bonus_is_a_bonus_per_position():
    """The loss is in nats per position, the weight in nats per nat of the whole order: its share of
    a position is weight / length.
    """
    schedule = Power(3, FreeTable(3))
    (table,) = schedule.parameters()
    with torch.no_grad():
        table.copy_(torch.tensor(LOG_W))
    log_w = torch.tensor(LOG_W, dtype=torch.float64, requires_grad=True)
    (want,) = torch.autograd.grad(-0.6 / 3 * entropy(log_w), log_w)
    found, error = bonus_gradient(schedule, table, Batch(torch.zeros(2, 3, dtype=torch.int64)))
    assert ((found - want).abs() < 4 * error + 1e-9).all()
    assert error.max() < 0.1 * want.abs().max()


def test_the_entropy_bonus_of_a_law_of_tokens_is_the_mean_over_sequences():
    schedule = PerVocabulary(3, 4)
    with torch.no_grad():
        schedule.table.copy_(torch.tensor([1.0, 0.3, -0.3, -1.0]))
    x = torch.tensor([[0, 1, 3], [2, 2, 0]])
    u = torch.tensor([1.0, 0.3, -0.3, -1.0], dtype=torch.float64, requires_grad=True)
    (want,) = torch.autograd.grad(-0.6 / 3 * torch.stack([entropy(u[row]) for row in x]).mean(), u)
    found, error = bonus_gradient(schedule, schedule.table, Batch(x), steps=500)
    assert (
        (found - (want - want.mean())).abs() < 4 * error + 1e-9
    ).all()  # the mean of log u moves nothing
    assert error.max() < 0.1 * want.abs().max()


def test_keys_keep_all_digits():
    """Uniform numbers near 1 that float32 cannot tell apart say who comes first, and so do keys:
    the larger u arrives earlier.
    """
    u = [1 - 3e-10, 1 - 1e-10, 1 - 2e-10, 0.5, 1 - 1e-13]
    law = PlackettLuce(torch.zeros(5))
    assert law.keys(torch.tensor([u], dtype=torch.float64)).argsort(descending=True).tolist() == [
        [4, 1, 2, 0, 3]
    ]
    assert law.draw(torch.tensor([u], dtype=torch.float64)).order.tolist() == [[4, 1, 2, 0, 3]]
    log_w = [0.7, -1.3, 0.2, 2.0, -0.4]
    want = [weight - math.log(-math.log(x)) for weight, x in zip(log_w, u, strict=True)]
    found = PlackettLuce(torch.tensor(log_w, dtype=torch.float64)).keys(
        torch.tensor([u], dtype=torch.float64)
    )[0]
    assert found.tolist() == pytest.approx(want, abs=1e-9)


def test_random_numbers_have_more_digits_than_float32():
    for u in (
        StepRandom(0).uniform(2, 50, 8, "cpu"),
        RowRandom(row_seeds(0, 50)).uniform(0, 0, 8),
        StepRandom(0).stratified(50, "cpu"),
    ):
        assert u.dtype == torch.float64
        assert (u.float().double() != u).double().mean() > 0.9
