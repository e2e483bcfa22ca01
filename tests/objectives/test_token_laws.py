"""Laws that depend on the tokens: the reverse gap, the special cases they contain, the networks
behind them.
"""

import math
from typing import Any

import pytest
import torch
from enumeration import (
    KNOWN,
    LENGTH,
    LENGTHS,
    T_MIN,
    TOKENS,
    VOCAB,
    Static,
    exact_nelbo,
    pooled,
    random_denoiser,
    schedules,
)

from ordo.batch import Batch
from ordo.denoisers import OrderCausalTransformer
from ordo.likelihood import enumerate_orders, joint_log_prob
from ordo.objectives import Dense, OrderSpace, TimeSpace
from ordo.objectives.reverse import order_terms, step_terms
from ordo.order import PlackettLuce
from ordo.randomness import StepRandom
from ordo.schedules import (
    FreeTable,
    Linear,
    LogBound,
    NormSig,
    PerContext,
    PerVocabulary,
    Power,
    TokenNetwork,
    TokenSchedule,
)

BATCH = Batch(TOKENS, KNOWN, LENGTHS)


def causal():
    return random_denoiser(0.7, kind=OrderCausalTransformer).requires_grad_(False)


def test_the_reverse_gap():
    """At least 0, and 0 where the reverse law is the forward law; that of the jump bound also up to
    scale.
    """
    generator = torch.Generator().manual_seed(0)
    log_w, log_r = (torch.randn(500, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    masked = torch.rand(500, 6, generator=generator) < 0.5
    cost = torch.zeros(500, 6, dtype=torch.float64)
    law = PlackettLuce(log_w)
    some = masked.sum(1) > 1
    for bound in ("jump", "rate"):
        terms, gap = step_terms(law, cost, torch.where(masked, log_r, 0.0), masked, bound)
        assert torch.allclose(terms.sum(-1), gap)
        assert (gap[some] > 0).all()
        assert (gap >= -1e-12).all()
        same = torch.where(masked, log_w, 0.0)
        assert step_terms(law, cost, same, masked, bound)[1].abs().max() < 1e-12
    scaled = torch.where(masked, log_w + 1.0, 0.0)
    jump, rate = (step_terms(law, cost, scaled, masked, bound)[1] for bound in ("jump", "rate"))
    assert jump.abs().max() < 1e-12
    assert torch.allclose(rate, masked.any(1).double() * (math.e - 2.0))


def test_equal_weights_of_tokens_are_the_univariate_schedule():
    """Term by term: per_vocabulary with equal u, and the linear schedule."""
    denoiser, schedule = random_denoiser(), PerVocabulary(LENGTH, VOCAB)
    for batch in (Batch(TOKENS), BATCH):
        for make in (
            lambda: OrderSpace(2),
            lambda: OrderSpace(2, "rate"),
            lambda: TimeSpace(2, T_MIN),
            lambda: TimeSpace(2, T_MIN, "analytic"),
        ):
            for step in range(3):
                random = StepRandom(step=step)
                want = make()(denoiser, Linear(LENGTH), batch, random).by_position
                out = make()(denoiser, schedule, batch, random).by_position
                assert torch.allclose(out, want, atol=1e-10, rtol=0)


class Constant(torch.nn.Module):
    def __init__(self, values):
        super().__init__()
        self.values = torch.nn.Parameter(values)

    def forward(self, tokens, present=None):
        return self.values.expand(tokens.shape)


def test_constant_features_are_weights_of_positions():
    """per_context whose networks look at no token, and Power: values, gradients in the weights."""
    denoiser, order_causal = random_denoiser().requires_grad_(False), causal()
    table = FreeTable(LENGTH, init_std=0.8).double()
    power = Power(LENGTH, table)
    log_w = power.log_w().detach()
    forward: Any = Constant(log_w.clone())
    schedule = PerContext(LENGTH, forward, forward, LogBound())
    x = TOKENS[0]
    value = exact_nelbo(denoiser, schedule, x)
    want = enumerate_orders(denoiser, power.law(), x[None]).nelbo[0]
    assert abs(value - want) < 1e-10
    (gradient,) = torch.autograd.grad(value, forward.values)
    (expected,) = torch.autograd.grad(want, table.table)
    assert torch.allclose(gradient - gradient.mean(), expected, atol=1e-10, rtol=0)
    assert abs(gradient.sum()) < 1e-10, "a common factor of w and r changes nothing"
    for make, model in (
        (lambda: OrderSpace(2), denoiser),
        (lambda: OrderSpace(2, "rate"), denoiser),
        (lambda: OrderSpace(2), order_causal),
        (lambda: TimeSpace(2, T_MIN), denoiser),
        (lambda: Dense(LENGTH, 2, "rloo"), order_causal),
        (lambda: Dense(LENGTH, 1), order_causal),
    ):
        ours_by, theirs_by = make(), make()
        for step in range(4):
            ours = ours_by(model, schedule, BATCH, StepRandom(step=step))
            theirs = theirs_by(model, power, BATCH, StepRandom(step=step))
            assert torch.allclose(ours.by_position, theirs.by_position, atol=1e-10, rtol=0)
            (gradient,) = torch.autograd.grad(ours.loss, forward.values)
            (expected,) = torch.autograd.grad(theirs.loss, table.table)
            gradient, expected = gradient - gradient.mean(), expected - expected.mean()
            assert torch.allclose(gradient, expected, atol=1e-10, rtol=0)
    assert isinstance(Static(log_w).law(BATCH), PlackettLuce)


def test_a_base_alone_is_power():
    """Networks that say 0 and a table of positions under both laws: values and gradients in the
    table.
    """
    denoiser = random_denoiser().requires_grad_(False)
    table = FreeTable(LENGTH, init_std=0.8).double()
    nothing: Any = Constant(torch.zeros(LENGTH, dtype=torch.float64))
    for bounds in (LogBound(), NormSig(1.0, 0.5)):
        schedule = PerContext(LENGTH, nothing, nothing, bounds, base=table)
        for step in range(3):
            random = StepRandom(step=step)
            ours = OrderSpace(2)(denoiser, schedule, BATCH, random)
            theirs = OrderSpace(2)(denoiser, Power(LENGTH, table), BATCH, random)
            assert torch.allclose(ours.by_position, theirs.by_position, atol=1e-10, rtol=0)
            (gradient,) = torch.autograd.grad(ours.loss, table.table)
            (expected,) = torch.autograd.grad(theirs.loss, table.table)
            assert torch.allclose(gradient, expected, atol=1e-10, rtol=0)
            assert gradient.abs().max() > 1e-6
    with pytest.raises(ValueError, match="the base gave shape"):
        PerContext(LENGTH, nothing, nothing, base=FreeTable(LENGTH + 1)).log_w(TOKENS)


def random_orders(n):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(VOCAB, (n, LENGTH), generator=generator)
    return tokens, torch.rand(n, LENGTH, generator=generator).argsort(1)


@pytest.mark.parametrize("name", ["pooled", "normsig"])
def test_all_prefixes_at_once(name):
    """The running sum, and the rows one by one of a schedule that knows no better; with padding."""
    schedule = schedules()[name]
    tokens, order = random_orders(6)
    for lengths in (None, torch.tensor([4, 4, 3, 4, 2, 4])):
        batch = Batch(tokens, None, lengths)
        order = batch.decoded_first(order)
        fast = schedule.log_r_along(batch, order, VOCAB)
        slow = TokenSchedule.log_r_along(schedule, batch, order, VOCAB)
        present = torch.ones_like(tokens).bool() if lengths is None else batch.present
        ranks = torch.arange(LENGTH) < present.sum(1)[:, None]
        seen = present[:, None] & ranks[..., None]
        assert torch.allclose(fast[seen], slow[seen], atol=1e-12, rtol=0)
        for i in range(LENGTH):
            z = tokens.clone().scatter(1, order[:, i:], VOCAB)
            want = schedule.log_r(z, batch.present)[seen[:, i]]
            assert torch.allclose(fast[:, i][seen[:, i]], want, atol=1e-12, rtol=0)
    assert (fast[0, 1] - fast[0, 2]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["pooled", "per_context_log"])
def test_ranks_of_given_positions_cost_nothing(name, monkeypatch):
    """Rates are computed from the first rank at which some row decodes; the terms are the same."""
    schedule, denoiser, ranks = schedules()[name], causal(), []
    tokens, drawn = random_orders(6)
    along = schedule.log_r_along
    monkeypatch.setattr(schedule, "log_r_along", lambda *a: ranks.append(along(*a)) or ranks[-1])
    place, lengths = torch.arange(LENGTH).expand(6, -1), torch.tensor([4, 4, 3, 4, 2, 4])

    def terms(batch, order):
        cost, gap = order_terms(denoiser, schedule, schedule.law(batch), batch, order, "jump")
        return cost, gap, joint_log_prob(denoiser, schedule, batch, order)

    for known, many, least in (
        (place < 0, None, 0),
        (place < torch.tensor([1, 2, 1, 4, 3, 1])[:, None], None, 1),
        (place >= torch.tensor([1, 2, 1, 0, 1, 2])[:, None], lengths, 1),
        (place >= 0, None, LENGTH - 1),
    ):
        batch = Batch(tokens, known, many)
        order = batch.decoded_first(drawn)
        with monkeypatch.context() as patch:
            patch.setattr(Batch, "n_leading_given", lambda self: 0)
            want = terms(batch, order)
        found = terms(batch, order)
        assert [r.shape[1] for r in ranks[-4:]] == [LENGTH] * 2 + [LENGTH - least] * 2
        assert torch.allclose(ranks[-4][:, least:], ranks[-2], atol=1e-12, rtol=0)
        for a, b in zip(found, want, strict=True):
            assert torch.allclose(a, b, atol=1e-12, rtol=0)


def test_normsig_is_what_the_paper_says():
    raw = torch.randn(50, LENGTH, dtype=torch.float64) * 3
    share = torch.sigmoid(raw)
    w = NormSig(0.7, 0.65)(raw).exp()
    assert torch.allclose(w, 0.7 + 0.65 * (share - share.mean(-1, keepdim=True)))
    present = torch.arange(LENGTH) < torch.randint(1, LENGTH + 1, (50, 1))
    part = NormSig(0.7, 0.65)(raw, present).exp()
    for row, here, out in zip(raw, present, part, strict=True):
        assert torch.allclose(out[here], NormSig(0.7, 0.65)(row[here][None])[0].exp())
    assert (LogBound(1.5)(raw).abs() <= 1.5).all()
    with pytest.raises(ValueError, match="c2 < c1"):
        NormSig(0.5, 0.6)
    with pytest.raises(ValueError, match=r"bound=0\.0: must be a number above 0"):
        LogBound(0.0)


def test_token_network_sees_tokens_and_positions_but_no_padding():
    torch.manual_seed(0)
    network = TokenNetwork(VOCAB, LENGTH, width=8, heads=2, init_std=1.0).double()
    a, b = torch.zeros(2, LENGTH, dtype=torch.long), torch.zeros(2, LENGTH, dtype=torch.long)
    b[:, -1] = 1
    present = (torch.arange(LENGTH) < LENGTH - 1).expand(2, -1)
    assert (network(a) - network(b)).abs().min() > 1e-4
    assert torch.equal(network(a, present)[:, :-1], network(b, present)[:, :-1])
    assert torch.allclose(network(a, present)[:, :-1], network(a[:, :-1]))
    assert network(a)[0].std() > 1e-3, "positions differ"


def test_pooled_network_tells_tokens_at_positions_apart():
    network = pooled()
    swapped = torch.tensor([[0, 1, VOCAB, VOCAB], [1, 0, VOCAB, VOCAB]])
    a, b = network(swapped)
    assert (a - b).abs().max() > 1e-3
    nothing = network(torch.full((1, LENGTH), VOCAB))
    assert nothing.std() > 1e-3, "positions differ where nothing is revealed"
    shorter = network.along(swapped[:, :3], torch.tensor([[2, 0, 1]]).expand(2, -1))
    assert shorter.shape == (2, 3, 3), "shorter than the network, too"
    present = torch.tensor([[True, False, True, True]])
    other = torch.tensor([[0, 2, VOCAB, VOCAB]])
    assert torch.equal(network(swapped[:1], present), network(other, present))


class Misshapen(torch.nn.Module):
    def forward(self, tokens, present=None):
        return torch.zeros(LENGTH)


def test_a_network_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="a schedule network gave shape"):
        OrderSpace()(
            random_denoiser(), PerContext(LENGTH, Misshapen(), Misshapen()), TOKENS, StepRandom()
        )
