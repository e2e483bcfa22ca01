"""How improbable a sampler's orders are, against enumeration."""

import itertools

import pytest
import torch

from ordo.denoisers import ChainOracle
from ordo.order import FixedOrder, PlackettLuce
from ordo.samplers import ByLaw, ByOrder, InSteps, Sampler, order_surprise, sample
from ordo.schedules import FreeTable, Kumaraswamy, Power

LENGTH = 4
ORACLE = ChainOracle.of_chain(LENGTH, 2, 0.2)
LOG_W = torch.tensor([2.0, 0.5, -0.5, -2.0])


def schedule():
    power = Power(LENGTH, FreeTable(LENGTH))
    with torch.no_grad():
        next(power.network.parameters()).copy_(LOG_W)
    return power


def expected_log_prob(positions):
    """Of the law's own orders of these positions, by enumeration."""
    law = PlackettLuce(LOG_W[positions])
    orders = torch.tensor(list(itertools.permutations(range(len(positions)))))
    return (law.log_prob(orders).exp() * law.log_prob(orders)).sum()


def test_against_enumeration():
    law, n = schedule().law(), 20_000
    for sampler, order in (
        (Sampler(ByOrder([3, 2, 1, 0])), [3, 2, 1, 0]),
        (Sampler(ByLaw(0)), [0, 1, 2, 3]),
        (Sampler(ByOrder([1, 0, 3, 2]), InSteps(2)), [1, 0, 3, 2]),
    ):
        trace = sample(ORACLE, sampler, n, schedule=schedule())
        exact = (
            expected_log_prob(range(LENGTH)) - law.log_prob(torch.tensor([order]))
        ).item() / LENGTH
        assert order_surprise(trace, law) == pytest.approx(exact, abs=0.02)
    assert order_surprise(sample(ORACLE, Sampler(), n, schedule=schedule()), law) == pytest.approx(
        0, abs=0.02
    )
    assert (
        order_surprise(sample(ORACLE, Sampler(ByOrder()), n), PlackettLuce(torch.zeros(LENGTH)))
        == 0
    ), "all orders are equal"


def test_with_given_positions():
    n = 20_000
    known = torch.tensor([False, True, False, False]).expand(n, -1)
    trace = sample(
        ORACLE,
        Sampler(ByOrder([3, 2, 1, 0])),
        given=torch.zeros(n, LENGTH, dtype=torch.int64),
        known=known,
    )
    exact = (
        expected_log_prob([0, 2, 3])
        - PlackettLuce(LOG_W[[0, 2, 3]]).log_prob(torch.tensor([[2, 1, 0]]))[0]
    )
    assert order_surprise(trace, schedule().law()) == pytest.approx(exact.item() / 3, abs=0.02)


def test_other_laws():
    trace = sample(ORACLE, Sampler(ByOrder()), 5)
    assert order_surprise(trace, FixedOrder(torch.arange(LENGTH))) == 0
    assert order_surprise(trace, FixedOrder(torch.tensor([1, 0, 2, 3]))) == float("inf")
    known = torch.tensor([False, True, False, False]).expand(5, -1)
    given = sample(
        ORACLE, Sampler(ByOrder()), given=torch.zeros(5, LENGTH, dtype=torch.int64), known=known
    )
    assert order_surprise(given, FixedOrder(torch.tensor([0, 2, 3, 1]))) == 0, (
        "given positions do not count"
    )
    assert order_surprise(given, FixedOrder(torch.tensor([2, 0, 3, 1]))) == float("inf")
    short = sample(ORACLE, Sampler(ByOrder()), 5, lengths=torch.tensor([2] * 5))
    assert order_surprise(short, FixedOrder(torch.tensor([3, 0, 2, 1]))) == 0, "nor absent ones"
    assert (
        order_surprise(trace, Kumaraswamy(LENGTH, FreeTable(LENGTH), FreeTable(LENGTH)).law())
        is None
    )
