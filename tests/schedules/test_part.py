"""The law of the positions that are decoded, against that of all positions by enumeration and by
draws.
"""

import itertools
import math

import pytest
import torch

from ordo.batch import Batch
from ordo.order import FixedOrder, PlackettLuce
from ordo.schedules import ArrivalTimes, AveragedLaw, FreeTable, Kumaraswamy, Power, SchedulePart

POSITIONS = torch.tensor([1, 2, 4])
LOG_W = torch.tensor([0.3, -1.0, 0.8, 2.0, 0.1], dtype=torch.float64)


def marginal(law):
    """{order of POSITIONS, numbered from 0: probability} of a law with ``log_prob``, summed over
    all orders.
    """
    out = {}
    for order in itertools.permutations(range(law.length)):
        kept = tuple(POSITIONS.tolist().index(p) for p in order if p in POSITIONS.tolist())
        out[kept] = out.get(kept, 0.0) + float(law.log_prob(torch.tensor([order])).exp())
    return out


def test_plackett_luce():
    law = PlackettLuce(LOG_W)
    part = law.part(POSITIONS)
    for order, p in marginal(law).items():
        assert abs(float(part.log_prob(torch.tensor([order])).exp()) - p) < 1e-12
    # And it is the law of these where the others are given: what a draw says of its own
    # probability.
    known = torch.ones(4, 5, dtype=torch.bool)
    known[:, POSITIONS] = False
    draw = law.draw(
        torch.rand(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
        Batch(torch.zeros(4, 5, dtype=torch.long), known),
    )
    order = torch.searchsorted(POSITIONS, draw.order[:, 2:].contiguous())
    assert torch.allclose(part.log_prob(order), draw.score.sum(-1))


def test_fixed_order():
    law = FixedOrder(torch.tensor([3, 4, 0, 2, 1]))
    assert law.part(POSITIONS).order.tolist() == [2, 1, 0]


def test_average_over_sequences():
    log_w = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    part = AveragedLaw(log_w).part(POSITIONS)
    exact = torch.stack([PlackettLuce(row).part(POSITIONS).precedence() for row in log_w]).mean(0)
    assert torch.allclose(part.precedence(), exact)
    whole = AveragedLaw(log_w).precedence()[POSITIONS][:, POSITIONS]
    assert torch.allclose(part.precedence(), whole)


@pytest.mark.parametrize("kind", [Power, Kumaraswamy])
def test_arrival_times(kind):
    """Draws of the part against draws of the whole, of which the others are struck out."""
    schedule = (
        Power(5, FreeTable(5)) if kind is Power else Kumaraswamy(5, FreeTable(5), FreeTable(5))
    )
    with torch.no_grad():
        for p in schedule.parameters():
            p.normal_(generator=torch.Generator().manual_seed(1))
    n, generator = 20000, torch.Generator().manual_seed(2)
    rank = ArrivalTimes(schedule).sample(n, generator).argsort(-1)[:, POSITIONS]
    own = SchedulePart(schedule, POSITIONS)
    part = ArrivalTimes(own).sample(n, generator).argsort(-1)
    for i, j in itertools.permutations(range(3), 2):
        a, b = ((r[:, i] < r[:, j]).double().mean() for r in (rank, part))
        assert abs(float(a - b)) < 4 * math.sqrt(0.5 / n)
    assert torch.equal(
        own.alpha(torch.linspace(0, 1, 5)), schedule.alpha(torch.linspace(0, 1, 5))[:, POSITIONS]
    )
    u = torch.rand(50, 5, dtype=torch.float64, generator=generator)
    known = torch.ones(50, 5, dtype=torch.bool)
    known[:, POSITIONS] = False
    batch = Batch(torch.zeros(50, 5, dtype=torch.long), known)
    whole, alone = ArrivalTimes(schedule).draw(u, batch), ArrivalTimes(own).draw(u[:, POSITIONS])
    assert torch.equal(torch.searchsorted(POSITIONS, whole.order[:, 2:].contiguous()), alone.order)
    assert torch.allclose(whole.score[:, 2:], alone.score), "given positions change nothing"
    law = own.law()
    assert (abs(law.expected_rank() - (part + 1).double().mean(0)) < 0.05).all()
    assert torch.equal(
        ArrivalTimes(schedule).part(POSITIONS).keys(torch.full((2, 3), 0.3)),
        own.inverse(torch.full((2, 3), 0.3)),
    )
