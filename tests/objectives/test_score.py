"""Every choice of the score function keeps mean and gradient, by enumeration, float64; and does what it is there for on a known problem."""

import itertools
import math

import pytest
import torch
from content_laws import (
    LENGTH,
    T_MIN,
    VOCAB,
    Static,
    by_quadrature,
    exact_nelbo,
    random_denoiser,
    schedules,
)

from ordo.objectives import (
    ContentOrderSpace,
    ContentTimeSpace,
    OrderSpace,
    ScoreFunction,
    TimeSpace,
)
from ordo.objectives.base import leave_one_out
from ordo.objectives.score import race
from ordo.order import PlackettLuce
from ordo.randomness import StepRandom
from ordo.schedules import FreeTable, Kumaraswamy, Power

TOKENS = torch.randint(VOCAB, (3, LENGTH), generator=torch.Generator().manual_seed(0))
KNOWN = torch.tensor([[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]).bool()
LENGTHS = torch.tensor([4, 3, 2])
SIZES = {"length": LENGTH, "vocab_size": VOCAB}
ORDERS = {  # draws, and what the score function is given
    "ema": (1, {"baseline": "ema"}),
    "learned": (1, {"baseline": "learned"}),
    "learned_unigram": (2, {"baseline": "learned", "unigram": True}),
    "mirror_rloo": (4, {"antithetic": "mirror"}),
    "mirror_ema": (2, {"antithetic": "mirror", "baseline": "ema"}),
    "relax_rloo": (2, {"control": "relax"}),
    "relax_learned": (1, {"control": "relax", "baseline": "learned", "unigram": True}),
    "relax_mirror": (2, {"control": "relax", "baseline": "ema", "antithetic": "mirror"}),
}
MASKS = {
    "ema": (1, {"baseline": "ema"}),
    "learned_mirror": (2, {"baseline": "learned", "unigram": True, "antithetic": "mirror"}),
    "mirror_rloo": (4, {"antithetic": "mirror"}),
    "disarm": (2, {"antithetic": "disarm"}),
    "disarm_two_pairs": (4, {"antithetic": "disarm"}),
}


def power(spread=0.8):
    torch.manual_seed(1)
    return Power(LENGTH, FreeTable(LENGTH, init_std=spread))


class OfTable(Static):
    """``Power`` as a law that depends on the tokens, for the first positions, in the graph of its table."""

    def __init__(self, schedule, length):
        torch.nn.Module.__init__(self)
        self.length, self.table = length, schedule.log_w()[:length]


def exact(objective, denoiser, schedule, known=None, lengths=None):
    total = torch.zeros((), dtype=torch.float64)
    for i, x in enumerate(TOKENS):
        x = x if lengths is None else x[: lengths[i]]
        given = [] if known is None else [j for j in range(len(x)) if known[i, j]]
        law = OfTable(schedule, len(x)) if isinstance(schedule, Power) else schedule
        if isinstance(objective, ContentTimeSpace | TimeSpace):
            total = total + by_quadrature(denoiser, law, x, given)
        else:
            total = total + exact_nelbo(
                denoiser, law, x, getattr(objective, "bound", "jump"), given
            )
    return total / len(TOKENS)


def agrees(objective, schedule, known=None, lengths=None, repeats=100, copies=100):
    """Mean, and gradient in every parameter, within 4 standard errors, after 20 steps in which running statistics have left 0."""
    denoiser, parameters = random_denoiser().requires_grad_(False), list(schedule.parameters())
    value = exact(objective, denoiser, schedule, known, lengths)
    want = torch.cat([g.flatten().double() for g in torch.autograd.grad(value, parameters)])
    many = [
        None if x is None else x.repeat(copies, *[1] * (x.ndim - 1))
        for x in (TOKENS, known, lengths)
    ]
    values, gradients = [], []
    for step in range(20 + repeats):
        out = objective(denoiser, schedule, many[0], StepRandom(3, step), *many[1:])
        if step >= 20:
            values.append(out.nelbo.mean())
            gradients.append(
                torch.cat(
                    [
                        g.flatten().double()
                        for g in torch.autograd.grad(out.loss * LENGTH, parameters)
                    ]
                )
            )
    values, gradients = torch.stack(values), torch.stack(gradients)
    error = values.std() / len(values) ** 0.5
    assert abs(values.mean() - value) < 4 * error
    error = gradients.std(0) / len(gradients) ** 0.5
    some = error > 1e-12
    z = (gradients.mean(0) - want).abs()[some] / error[some]
    assert z.max() < 4 + (0.5 if len(z) > 20 else 0)
    assert error.max() < 0.25 * want.abs().max(), "too noisy to test anything"
    if hasattr(objective.score, "cross"):
        assert objective.score.cross.abs().min() > 0


@pytest.mark.parametrize("schedule", ["power", "both"])
@pytest.mark.parametrize("name", ORDERS)
def test_orders_equal_enumeration(name, schedule):
    draws, options = ORDERS[name]
    score = ScoreFunction(**options, **SIZES)
    if schedule == "power":
        agrees(OrderSpace(draws, score), power())
    else:
        agrees(ContentOrderSpace(draws, score=score), schedules()[schedule])


@pytest.mark.parametrize("schedule", ["power", "both"])
@pytest.mark.parametrize("name", MASKS)
def test_masks_equal_enumeration(name, schedule):
    draws, options = MASKS[name]
    score = ScoreFunction(**options, **SIZES)
    if schedule == "power":
        agrees(
            TimeSpace(draws, T_MIN, score),
            power(1.2),
            repeats=500 if name in ("ema", "disarm") else 250,
        )  # these are noisier
    else:
        agrees(ContentTimeSpace(draws, T_MIN, score=score), schedules()[schedule], repeats=250)


@pytest.mark.parametrize("name", ["learned_unigram", "mirror_rloo", "relax_learned"])
def test_given_and_absent_positions(name):
    draws, options = ORDERS[name]
    agrees(OrderSpace(draws, ScoreFunction(**options, **SIZES)), power(), KNOWN, LENGTHS)
    agrees(
        ContentOrderSpace(draws, score=ScoreFunction(**options, **SIZES)),
        schedules()["both"],
        KNOWN,
        LENGTHS,
    )


def test_disarm_with_given_and_absent_positions():
    agrees(
        ContentTimeSpace(2, T_MIN, score=ScoreFunction(antithetic="disarm")),
        schedules()["both"],
        KNOWN,
        LENGTHS,
        repeats=200,
    )


def test_the_gradient_test_can_fail():
    """A mirrored draw taken as its pair's baseline is biased: what ``check`` refuses."""
    score = ScoreFunction(antithetic="mirror")
    score._less_the_others = leave_one_out  # type: ignore[method-assign]
    score.check = lambda *_, **__: None  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        agrees(OrderSpace(2, score), power())


def test_defaults_are_leave_one_out():
    """To the bit, and without state, so that older checkpoints fit."""
    score = ScoreFunction()
    f, log_q, spread = torch.rand(3, 5), torch.rand(3, 5), torch.rand(5)
    assert torch.equal(score.of_orders(f, log_q, spread, TOKENS, None), leave_one_out(f) * log_q)
    random = StepRandom(1, 2)
    assert torch.equal(
        score.uniforms(random, 3, 5, LENGTH, "cpu"), random.uniform(3, 5, LENGTH, "cpu")
    )
    assert not list(score.state_dict())
    u = ScoreFunction(antithetic="mirror").uniforms(random, 4, 5, LENGTH, "cpu")
    assert torch.equal(u[:2] + u[2:], torch.ones_like(u[:2]))


def test_the_race_keeps_its_choices():
    """given: the same arrivals as free, and moved with log w as the race with its noise fixed is, told again by a loop."""
    torch.manual_seed(0)
    rows, length = 6, 5
    log_w = torch.randn(rows, length, dtype=torch.float64, requires_grad=True)
    u = torch.rand(rows, length, dtype=torch.float64)
    known = torch.zeros(rows, length, dtype=torch.bool)
    known[:, 1] = torch.arange(rows) % 2 == 0
    lengths = torch.tensor([5, 5, 4, 4, 3, 5])
    draw = PlackettLuce(log_w).draw(u, known, lengths)
    gone = torch.arange(length) >= lengths[:, None]
    n_known, k = known.sum(1), torch.tensor([1, 0, 3, 2, 2, 5])
    run = race(PlackettLuce(log_w), u, draw.order, n_known, k, ~(known | gone))
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
    """Cost a . (members of the prefix) plus 5, k = 3 of 6: the gradient by enumeration, and a surrogate for a step."""
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
        law, u = (
            PlackettLuce(log_w),
            score.uniforms(StepRandom(0, step), draws, n, 6, "cpu").flatten(0, 1),
        )
        draw = law.draw(u)
        full = torch.full((len(u),), k)
        f = 5.0 + a[draw.order[:, :k]].sum(-1).view(draws, n)
        log_q = draw.score[:, :k].sum(-1).view(draws, n)
        run = race(law, u, draw.order, torch.zeros_like(full), full, torch.ones_like(u).bool())
        part = score.of_orders(
            f, log_q, torch.rand(n), torch.zeros(n, 6, dtype=torch.long), None, run
        )
        return (f + part).mean()

    return want, lambda: total_variance(estimate, [log_w])


def test_options_lower_the_variance_where_theory_says_so():
    found = {}
    for name, draws, options in (
        ("ema", 2, {"baseline": "ema"}),
        ("rloo", 2, {}),
        ("mirror", 2, {"baseline": "ema", "antithetic": "mirror"}),
        ("relax", 2, {"baseline": "ema", "control": "relax"}),
    ):
        want, measure = additive_cost(draws, **options)
        found[name], mean, error = measure()
        assert ((mean - want).abs() < 4 * error).all(), name
    # A difference of two draws has twice the variance of f, but two of them are averaged: as much as of one less the mean at 2 draws.
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
        return score.of_orders(
            *drawn(step), torch.zeros(32), torch.zeros(32, 4).long(), None
        ).mean()

    assert total_variance(with_mean, [log_w])[0] < 0.2 * total_variance(plain, [log_w])[0]


def test_disarm_has_less_variance_than_leave_one_out():
    """At two draws each, of the same sequences and times (Dong et al.: it is never more than that of two independent ones)."""
    denoiser, schedule, x = random_denoiser().requires_grad_(False), power(), TOKENS.repeat(16, 1)
    parameters = list(schedule.parameters())

    def variance(objective):
        return total_variance(
            lambda step: objective(denoiser, schedule, x, StepRandom(0, step)).loss, parameters
        )[0]

    assert variance(TimeSpace(2, T_MIN, ScoreFunction(antithetic="disarm"))) < variance(
        TimeSpace(2, T_MIN)
    )


def test_learned_baseline_finds_what_does_not_depend_on_the_draw():
    """f = 2 + 3 s + s^2 of the share revealed and a token's surprise: after a while nothing is left, in evaluation it learns nothing."""
    score = ScoreFunction("learned", unigram=True, **SIZES)
    for step in range(300):
        generator = torch.Generator().manual_seed(step)
        spread = torch.rand(64, generator=generator, dtype=torch.float64)
        tokens = torch.randint(VOCAB, (64, LENGTH), generator=generator)
        surprise = (
            -((score.counts + 1) / (score.counts.sum(-1, keepdim=True) + VOCAB))
            .log()
            .gather(1, tokens.T)
            .T.sum(-1)
        )
        f = (2 + 3 * spread + spread**2 + 0.5 * surprise)[None]
        log_q = torch.ones_like(f)
        left = score.of_orders(f, log_q, spread, tokens, None)
    assert left.abs().max() < 0.02
    state = {name: value.clone() for name, value in score.state_dict().items()}
    score.eval().of_orders(f, log_q, spread, tokens, None)
    assert all(torch.equal(value, state[name]) for name, value in score.state_dict().items())


def test_wrong_choices_say_what_to_do():
    denoiser, schedule = random_denoiser(), power()
    for options, match in (
        ({"baseline": "mean"}, "must be rloo, ema or learned"),
        ({"antithetic": "swap"}, "must be none, mirror or disarm"),
        ({"control": "rebar"}, "must be none or relax"),
        ({"decay": 1.0}, "decay"),
        ({"control": "relax"}, "score.length"),
        ({"baseline": "learned", "unigram": True, "length": 3}, "vocab_size"),
        ({"unigram": True, **SIZES}, "set one of them"),
        ({"baseline": "ema", "antithetic": "disarm"}, "score.baseline=rloo"),
    ):
        with pytest.raises(ValueError, match=match):
            ScoreFunction(**options)
    for objective, match in (
        (OrderSpace(2, ScoreFunction(antithetic="mirror")), "draws=4"),
        (OrderSpace(3, ScoreFunction("ema", "mirror")), "even"),
        (OrderSpace(2, ScoreFunction(antithetic="disarm")), "independent masks"),
        (TimeSpace(2, T_MIN, ScoreFunction(control="relax", length=LENGTH)), "for orders"),
    ):
        with pytest.raises(ValueError, match=match):
            objective(denoiser, schedule, TOKENS, StepRandom())
    law = Kumaraswamy(LENGTH, FreeTable(LENGTH), FreeTable(LENGTH)).law()
    k = torch.zeros(3, dtype=torch.long)
    with pytest.raises(ValueError, match="Plackett-Luce"):
        race(law, torch.rand(3, LENGTH), TOKENS, k, k, TOKENS >= 0)
