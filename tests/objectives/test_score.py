"""Every choice of the score function keeps mean and gradient, by enumeration; and does what it is
there for.
"""

import itertools
import math

import pytest
import torch
from enumeration import (
    KNOWN,
    LENGTH,
    LENGTHS,
    T_MIN,
    TOKENS,
    VOCAB,
    agrees,
    power,
    random_denoiser,
    schedules,
)

from ordo.batch import Batch
from ordo.objectives import OrderSpace, ScoreFunction, TimeSpace
from ordo.objectives.base import leave_one_out
from ordo.objectives.prefix import Prefix, cut
from ordo.objectives.score import race
from ordo.order import PlackettLuce
from ordo.randomness import StepRandom
from ordo.schedules import FreeTable, Kumaraswamy

SIZES = {"length": LENGTH, "vocab_size": VOCAB}
# draws, what the score function is given, the law, whether positions are given and padded
ORDERS = {
    "ema": (1, {"baseline": "ema"}, "power", False),
    "learned": (1, {"baseline": "learned"}, "both", True),
    "learned_unigram": (2, {"baseline": "learned", "unigram": True}, "power", True),
    "relax_rloo": (2, {"relax": True}, "power", False),
    "relax_learned": (1, {"relax": True, "baseline": "learned", "unigram": True}, "both", True),
}
MASKS = {
    "ema": (1, {"baseline": "ema"}, "both", False),
    "mirror_ema": (8, {"baseline": "ema", "antithetic": "mirror"}, "power_sharp", False),
    "mirror_rloo": (4, {"antithetic": "mirror"}, "both", False),
    "learned": (2, {"baseline": "learned", "unigram": True, "antithetic": "mirror"}, "both", True),
}


def compare(objective, law, given, repeats=60):
    """After 20 steps, in which running statistics have left 0."""
    denoiser, schedule = random_denoiser().requires_grad_(False), schedules()[law]
    some = (KNOWN, LENGTHS) if given else ()
    agrees(objective, denoiser, schedule, *some, repeats=repeats, warm=20)
    assert objective.score.regression is None or objective.score.regression.cross.abs().min() > 0


@pytest.mark.parametrize("name", ORDERS)
def test_orders_equal_enumeration(name):
    draws, options, law, given = ORDERS[name]
    compare(OrderSpace(draws, score=ScoreFunction(**options, **SIZES)), law, given)


@pytest.mark.parametrize("name", MASKS)
def test_masks_equal_enumeration(name):
    draws, options, law, given = MASKS[name]
    score = ScoreFunction(**options, **SIZES)
    compare(TimeSpace(draws, 0.2, score=score), law, given, repeats=120)


def test_the_gradient_test_can_fail():
    """A mirrored draw taken as its pair's baseline is biased: what ``check`` refuses."""
    score = ScoreFunction(antithetic="mirror")
    score._less_the_others = leave_one_out  # type: ignore[method-assign]
    score.check = lambda *_, **__: None  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        agrees(TimeSpace(2, T_MIN, score=score), random_denoiser(), schedules()["both"])


def test_defaults_are_leave_one_out():
    """To the bit, and without state."""
    score = ScoreFunction()
    f, log_q, progress = torch.rand(3, 5), torch.rand(3, 5), torch.rand(5)
    assert torch.equal(score(f, log_q, progress, Batch(TOKENS)), leave_one_out(f) * log_q)
    random = StepRandom(1, 2)
    same = score.uniforms(random, 3, 5, LENGTH, "cpu")
    assert torch.equal(same, random.uniform(3, 5, LENGTH, "cpu"))
    assert not list(score.state_dict())
    u = ScoreFunction(antithetic="mirror").uniforms(random, 4, 5, LENGTH, "cpu")
    assert torch.equal(u[:2] + u[2:], torch.ones_like(u[:2]))


def test_the_race_keeps_its_choices():
    """given: the same arrivals as free, and moved with log w as the race with its noise fixed is,
    told again by a loop.
    """
    torch.manual_seed(0)
    rows, length = 6, 5
    log_w = torch.randn(rows, length, dtype=torch.float64, requires_grad=True)
    u = torch.rand(rows, length, dtype=torch.float64)
    known = torch.zeros(rows, length, dtype=torch.bool)
    known[:, 1] = torch.arange(rows) % 2 == 0
    lengths = torch.tensor([5, 5, 4, 4, 3, 5])
    batch = Batch(torch.zeros(rows, length, dtype=torch.long), known, lengths)
    draw = PlackettLuce(log_w).draw(u, batch)
    gone = torch.arange(length) >= lengths[:, None]
    n_known, k = known.sum(1), torch.tensor([1, 0, 3, 2, 2, 5])
    masked = (draw.order.argsort(-1) >= k[:, None]) & batch.decoded
    prefix = Prefix(draw.order, draw.score, n_known, k, batch.decoded.sum(1), masked)
    run = race(PlackettLuce(log_w), u, prefix, batch)
    assert torch.allclose(run.free[~(known | gone)], run.given[~(known | gone)], atol=1e-12)
    assert torch.equal(run.chosen, k - n_known)
    weights = torch.randn(rows, length, dtype=torch.float64)
    (slope,) = torch.autograd.grad((run.given * weights).sum(), log_w)

    def told(log_w_row, row):
        w, order = (
            log_w_row.exp(),
            [i for i in draw.order[row].tolist() if not (known | gone)[row, i]],
        )
        w0, t0 = log_w[row].detach().exp(), run.free[row].detach().exp()
        chosen, at, out, now0, now = order[: int(run.chosen[row])], set(order), 0.0, 0.0, 0.0
        for i in chosen:
            noise = (t0[i] - now0) * sum(w0[j] for j in at)
            now0, now = t0[i], now + noise / sum(w[j] for j in at)
            out = out + weights[row, i] * math.log(now)
            at.remove(i)
        return out + sum(
            weights[row, i] * math.log(now + (t0[i] - now0) * w0[i] / w[i]) for i in at
        )

    for row, i in itertools.product(range(rows), range(length)):
        step = torch.zeros(length, dtype=torch.float64)
        step[i] = 1e-5
        difference = (
            told(log_w[row].detach() + step, row) - told(log_w[row].detach() - step, row)
        ) / 2e-5
        assert abs(difference - slope[row, i]) < 1e-6


def total_variance(estimate, parameters, repeats=400, warm=50):
    found = []
    for step in range(warm + repeats):
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(estimate(step), parameters)])
        if step >= warm:
            found.append(gradient)
    found = torch.stack(found)
    return found.var(0).sum(), found.mean(0), found.std(0) / repeats**0.5


def additive_cost(draws, **options):
    """Cost a . (members of the prefix) plus 5, k = 3 of 6: the gradient by enumeration, and a
    surrogate for a step.
    """
    log_w = torch.linspace(-1, 1, 6, dtype=torch.float64).requires_grad_()
    a = torch.tensor([3.0, -2.0, 1.0, 0.5, -1.0, 2.0], dtype=torch.float64)
    score, k, n = ScoreFunction(**options, length=6), 3, 32
    orders = torch.tensor(list(itertools.permutations(range(6), k)))
    log_p = torch.zeros(len(orders), dtype=torch.float64)
    left = torch.ones(len(orders), 6, dtype=torch.bool)
    for i in range(k):
        log_p = (
            log_p
            + log_w[orders[:, i]]
            - log_w.expand_as(left).masked_fill(~left, -torch.inf).logsumexp(-1)
        )
        left = left.scatter(1, orders[:, i : i + 1], False)
    (want,) = torch.autograd.grad((log_p.exp() * a[orders].sum(-1)).sum(), log_w)

    def estimate(step):
        law = PlackettLuce(log_w)
        u = score.uniforms(StepRandom(0, step), draws, n, 6, "cpu").flatten(0, 1)
        batch = Batch(torch.zeros(n, 6, dtype=torch.long))
        prefix = cut(law.draw(u), batch.repeat(draws), torch.full((len(u),), k / 6 + 1e-9))
        f = 5.0 + a[prefix.order[:, :k]].sum(-1).view(draws, n)
        log_q = prefix.score[:, :k].sum(-1).view(draws, n)
        run = race(law, u, prefix, batch.repeat(draws))
        return (f + score(f, log_q, torch.rand(n), batch, run)).mean()

    return want, lambda: total_variance(estimate, [log_w])


def test_options_lower_the_variance_where_theory_says_so():
    found = {}
    for name, draws, options in (
        ("ema", 2, {"baseline": "ema"}),
        ("rloo", 2, {}),
        ("relax", 2, {"baseline": "ema", "relax": True}),
    ):
        want, measure = additive_cost(draws, **options)
        found[name], mean, error = measure()
        assert ((mean - want).abs() < 4 * error).all(), name
    # A difference of two draws has twice the variance of f, but two of them are averaged: as much
    # as of one less the mean at 2 draws.
    assert found["ema"] < found["rloo"]
    assert found["relax"] < 0.6 * found["ema"], "f is all but linear in the soft memberships"


def test_a_running_mean_beats_no_baseline():
    """What is left without one is the mean of f, here 6.5 beside a standard deviation of 1.1."""
    log_w, score = (
        torch.zeros(4, dtype=torch.float64, requires_grad=True),
        ScoreFunction(baseline="ema"),
    )

    def drawn(step):
        draw = PlackettLuce(log_w).draw(StepRandom(0, step).uniform(1, 32, 4, "cpu")[0])
        return 5.0 + draw.order[None, :, 0].double(), draw.score[None, :, 0]

    def plain(step):
        f, log_q = drawn(step)
        return (f * log_q).mean()

    def with_mean(step):
        return score(*drawn(step), torch.zeros(32), Batch(torch.zeros(32, 4).long())).mean()

    assert total_variance(with_mean, [log_w])[0] < 0.2 * total_variance(plain, [log_w])[0]


def test_learned_baseline_finds_what_does_not_depend_on_the_draw():
    """f = 2 + 3 s + s^2 of the share revealed and a token's surprise: after a while nothing is
    left, in evaluation it learns nothing.
    """
    score = ScoreFunction("learned", unigram=True, **SIZES)
    for step in range(300):
        generator = torch.Generator().manual_seed(step)
        spread = torch.rand(64, generator=generator, dtype=torch.float64)
        tokens = torch.randint(VOCAB, (64, LENGTH), generator=generator)
        surprise = (
            -(
                (score.frequencies.counts + 1)
                / (score.frequencies.counts.sum(-1, keepdim=True) + VOCAB)
            )
            .log()
            .gather(1, tokens.T)
            .T.sum(-1)
        )
        f = (2 + 3 * spread + spread**2 + 0.5 * surprise)[None]
        log_q = torch.ones_like(f)
        left = score(f, log_q, spread, Batch(tokens))
    assert left.abs().max() < 0.02
    state = {name: value.clone() for name, value in score.state_dict().items()}
    score.eval()(f, log_q, spread, Batch(tokens))
    assert all(torch.equal(value, state[name]) for name, value in score.state_dict().items())


def test_wrong_choices_say_what_to_do():
    denoiser, schedule = random_denoiser(), power()
    for options, match in (
        ({"baseline": "mean"}, "must be rloo, ema or learned"),
        ({"antithetic": "swap"}, "must be none or mirror"),
        ({"relax": True}, "score.length"),
        ({"baseline": "learned", "unigram": True, "length": 3}, "vocab_size"),
        ({"unigram": True, **SIZES}, "set one"),
    ):
        with pytest.raises(ValueError, match=match):
            ScoreFunction(**options)
    for objective, match in (
        (TimeSpace(2, T_MIN, score=ScoreFunction(antithetic="mirror")), "draws=4"),
        (TimeSpace(3, T_MIN, score=ScoreFunction("ema", "mirror")), "even"),
        (OrderSpace(4, score=ScoreFunction(antithetic="mirror")), "for masks"),
        (TimeSpace(2, T_MIN, score=ScoreFunction(relax=True, length=LENGTH)), "for orders"),
    ):
        with pytest.raises(ValueError, match=match):
            objective(denoiser, schedule, TOKENS, StepRandom())
    law = Kumaraswamy(LENGTH, FreeTable(LENGTH), FreeTable(LENGTH)).law()
    u = torch.rand(3, LENGTH, dtype=torch.float64)
    prefix = cut(law.draw(u), Batch(TOKENS), torch.zeros(3))
    with pytest.raises(ValueError, match="Plackett-Luce"):
        race(law, u, prefix, Batch(TOKENS))
