"""The floor under next-choice probabilities: every revealed set, extreme weights, padding; and what
it is mixed from.
"""

import itertools

import pytest
import torch
from enumeration import VOCAB, Additive

from ordo.order import PlackettLuce
from ordo.schedules import FreeTable, LogBound, NormSig, PerContext, Power
from ordo.schedules.bounds import with_floor

LENGTH = 4
SETS = torch.tensor(list(itertools.product([False, True], repeat=LENGTH)))[
    :-1
]  # revealed; never all


@pytest.mark.parametrize("floor", [0.01, 0.3, 0.9])
def test_no_choice_falls_below_the_floor(floor):
    generator = torch.Generator().manual_seed(0)
    for scale in (0.0, 1.0, 30.0, 300.0):
        log_w = scale * torch.randn(LENGTH, dtype=torch.float64, generator=generator)
        raised = with_floor(log_w, floor)
        assert raised.exp().sum() == pytest.approx(LENGTH)
        assert raised.exp().min() >= floor * (1 - 1e-12)
        p = PlackettLuce(raised).next_log_prob(SETS).exp()
        assert p[~SETS].min() >= floor / LENGTH * (1 - 1e-12)
        w = (log_w - log_w.max()).exp()
        assert torch.allclose(raised.exp(), (1 - floor) * w / w.mean() + floor)
    assert p[0].min() == pytest.approx(floor / LENGTH, rel=1e-6), "and a sharp law comes down to it"


def test_no_floor_changes_nothing():
    torch.manual_seed(0)
    table = FreeTable(LENGTH, init_std=3.0)
    assert torch.equal(Power(LENGTH, table).log_w(), Power(LENGTH, table, floor=0.0).log_w())
    log_w = torch.randn(3, LENGTH)
    assert with_floor(log_w, 0.0) is log_w


def test_laws_keep_the_floor_in_both_directions_and_pass_gradients():
    torch.manual_seed(0)
    tokens = torch.randint(VOCAB, (len(SETS), LENGTH))
    revealed = tokens.masked_fill(~SETS, VOCAB)
    power = Power(LENGTH, FreeTable(LENGTH, init_std=20.0), floor=0.2)
    context = PerContext(
        LENGTH, Additive(LENGTH, 20.0), Additive(LENGTH, 20.0), LogBound(), floor=0.2
    )
    posterior = PerContext(
        LENGTH, Additive(LENGTH, 20.0), Additive(LENGTH, 20.0), LogBound(), floor=0.2
    )
    for log_w in (
        power.log_w(),
        context.log_w(tokens),
        context.log_r(revealed),
        posterior.log_w(tokens),
        posterior.log_r(revealed),
    ):
        assert PlackettLuce(log_w).next_log_prob(SETS).exp()[~SETS].min() >= 0.2 / LENGTH * (
            1 - 1e-12
        )
    gradients = torch.autograd.grad(
        power.log_w()[0] + context.log_w(tokens).sum(),
        [*power.parameters(), context.forward_network.table],
    )
    assert all(torch.isfinite(g).all() and g.abs().max() > 0 for g in gradients)
    t = torch.rand(5, dtype=torch.float64)
    assert torch.allclose(1 - power.alpha(t), t[:, None] ** power.log_w().exp())


def test_padding_is_no_position():
    """A shorter sequence has the weights that it has alone; what padding holds does not matter;
    none there is no NaN.
    """
    torch.manual_seed(0)
    log_w = torch.randn(3, LENGTH, dtype=torch.float64)
    present = torch.arange(LENGTH) < torch.tensor([[4], [2], [0]])
    found = with_floor(log_w, 0.1, present)
    assert torch.equal(found[0], with_floor(log_w[0], 0.1))
    assert torch.allclose(found[1, :2], with_floor(log_w[1, :2], 0.1))
    assert torch.equal(found[1, :2], with_floor(log_w + 5.0 * ~present, 0.1, present)[1, :2])
    present = torch.arange(LENGTH) < torch.tensor([[4], [2], [1]])
    raw = torch.randn(3, LENGTH, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(
        with_floor(NormSig()(raw, present), 0.1, present)[present].sum(), raw
    )
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("floor", [-0.1, 1.0, 2.0])
def test_bad_floors(floor):
    with pytest.raises(ValueError, match=r"floor=.* must be a number from 0 to below 1"):
        Power(LENGTH, FreeTable(LENGTH), floor=floor)
    with pytest.raises(ValueError, match=r"floor=.* must be a number from 0 to below 1"):
        PerContext(LENGTH, Additive(), Additive(), LogBound(), floor=floor)
