"""All objectives against enumeration: mean and gradient, float64, random denoisers and laws."""

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
    by_quadrature,
    exact,
    exact_nelbo,
    masks_of,
    power,
    random_denoiser,
    schedules,
)

from ordo.batch import Batch
from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.likelihood import enumerate_orders, nelbo, time_space_nelbo
from ordo.objectives import Dense, LawTooSharp, OrderSpace, TimeSpace
from ordo.objectives.running import Frequencies
from ordo.order import PlackettLuce
from ordo.randomness import StepRandom
from ordo.schedules import (
    FeatureHead,
    FreeTable,
    GivenOrder,
    Kumaraswamy,
    Linear,
    LogBound,
    PerContext,
    Power,
    attach_features,
)

SETS, ORDERS = BidirectionalTransformer, OrderCausalTransformer
UNIGRAM = {"unigram": True, "vocab_size": VOCAB}
# objective, denoiser, law, steps (bounded weights have small gradients, masks many heavy tails)
CASES = {
    "order": (lambda: OrderSpace(3), SETS, "power", 60),
    "order_jump": (lambda: OrderSpace(2), SETS, "both", 60),
    "order_rate": (lambda: OrderSpace(2, "rate"), SETS, "per_vocabulary", 60),
    "order_bounded": (lambda: OrderSpace(2), SETS, "per_context_log", 60),
    "order_causal": (lambda: OrderSpace(2), ORDERS, "power", 60),
    "order_causal_rate": (lambda: OrderSpace(2, "rate"), ORDERS, "pooled", 60),
    "time": (lambda: TimeSpace(8, 0.2), SETS, "power_sharp", 100),
    "time_analytic": (lambda: TimeSpace(4, T_MIN, "analytic"), SETS, "power_sharp", 60),
    "time_tokens": (lambda: TimeSpace(3, T_MIN), SETS, "both", 60),
    "time_tokens_analytic": (lambda: TimeSpace(2, T_MIN, "analytic"), SETS, "per_vocabulary", 60),
    "dense": (lambda: Dense(LENGTH, 2, "rloo", **UNIGRAM), ORDERS, "power", 60),
    "dense_learned": (lambda: Dense(LENGTH, 1, **UNIGRAM), ORDERS, "power", 60),
    "dense_jump": (lambda: Dense(LENGTH, 2, "rloo"), ORDERS, "pooled", 60),
    "dense_rate": (lambda: Dense(LENGTH, 1, bound="rate"), ORDERS, "per_context_log", 60),
}


def parts(name, std=1.0):
    make, kind, law, steps = CASES[name]
    return (
        make(),
        random_denoiser(0.7 if kind is ORDERS else std, kind=kind),
        schedules()[law],
        steps,
    )


@pytest.mark.parametrize("name", CASES)
def test_mean_and_gradient_equal_enumeration(name):
    objective, denoiser, schedule, steps = parts(name)
    warm = 10 if isinstance(objective, Dense) else 0
    agrees(objective, denoiser.requires_grad_(False), schedule, repeats=steps, warm=warm)


GIVEN = ["order", "order_jump", "order_causal_rate", "time", "time_tokens", "dense", "dense_jump"]


@pytest.mark.parametrize("name", GIVEN)
def test_given_and_padded_positions(name):
    """Mean and gradient of the NELBO of decoded positions given the others; padding is cut off."""
    objective, denoiser, schedule, steps = parts(name)
    warm = 10 if isinstance(objective, Dense) else 0
    denoiser.requires_grad_(False)
    agrees(objective, denoiser, schedule, KNOWN, LENGTHS, repeats=2 * steps, warm=warm)


@pytest.mark.parametrize("name", ["order_jump", "order_causal", "time_tokens", "dense_jump"])
def test_denoiser_gradient(name):
    objective, denoiser, schedule, _ = parts(name)
    schedule.requires_grad_(False)
    bias = denoiser.head.bias
    (want,) = torch.autograd.grad(exact(objective, denoiser, schedule), bias)
    got = []
    for step in range(60):
        out = objective(denoiser, schedule, TOKENS.repeat(100, 1), StepRandom(step=step))
        got.append(torch.autograd.grad(out.loss * LENGTH, bias)[0])
    got = torch.stack(got)
    error = got.std(0) / 60**0.5
    assert ((got.mean(0) - want).abs() < 4 * error).all()
    assert error.max() < 0.1 * want.abs().max()


def shared(denoiser):
    """A law whose numbers come from heads on the denoiser's features."""
    torch.manual_seed(5)
    heads = [FeatureHead(8, hidden=6, init_std=1.0).double() for _ in range(2)]
    schedule = PerContext(LENGTH, heads[0], heads[1], LogBound())
    attach_features(schedule, denoiser)
    return schedule


def test_heads_on_features_equal_enumeration():
    denoiser = random_denoiser().requires_grad_(False)
    agrees(OrderSpace(2), denoiser, shared(denoiser), KNOWN, LENGTHS)


@pytest.mark.parametrize("make", [OrderSpace, TimeSpace])
def test_the_gradient_stops_at_the_features(make):
    """The denoiser moves as if the law read the features of a copy of it that is not trained."""
    denoiser, objective = random_denoiser(), make()
    schedule, apart = shared(denoiser), shared(random_denoiser().requires_grad_(False))
    batch = Batch(TOKENS, KNOWN, LENGTHS)
    mine, others = (objective(denoiser, law, batch, StepRandom()).loss for law in (schedule, apart))
    assert mine == others
    for p, q in (
        (list(denoiser.parameters()), list(denoiser.parameters())),
        (list(schedule.parameters()), list(apart.parameters())),
    ):
        a = torch.autograd.grad(mine, p, retain_graph=True)
        b = torch.autograd.grad(others, q, retain_graph=True)
        assert all(torch.allclose(x, y, atol=1e-12, rtol=0) for x, y in zip(a, b, strict=True))
        assert max(x.abs().max() for x in a) > 1e-3


def test_path_part_alone_is_biased():
    """The gradient test can fail: without the score function the mean misses by far."""
    for name in ("order_jump", "dense_jump"):
        objective, denoiser, schedule, _ = parts(name)
        network = schedule.w if name == "order_jump" else schedule.forward_network
        (want,) = torch.autograd.grad(exact(objective, denoiser, schedule), network.table)
        if name == "dense_jump":
            advantage = objective.advantage
            objective.advantage = lambda x, *rest, old=advantage: old(torch.zeros_like(x), *rest)
        else:
            objective.score.forward = lambda f, *_: torch.zeros_like(f)
        found = []
        for step in range(60):
            out = objective(denoiser, schedule, TOKENS.repeat(128, 1), StepRandom(1, step))
            found.append(torch.autograd.grad(out.loss * LENGTH, network.table)[0])
        found = torch.stack(found)
        assert ((found.mean(0) - want).abs() > 10 * found.std(0) / 60**0.5 + 1e-6).any(), name


@pytest.mark.parametrize("name", CASES)
def test_what_padding_holds_does_not_matter(name):
    """Not a bit, in value or gradient, nor that it is said to be given, nor is it counted."""
    gone = torch.arange(LENGTH) >= LENGTHS[:, None]
    found = []
    for filling, more in ((0, False), (VOCAB - 1, True)):
        objective, denoiser, schedule, _ = parts(name)
        tokens, known = TOKENS.masked_fill(gone, filling), KNOWN | (gone & more)
        for step in range(2):  # running statistics too
            out = objective(
                denoiser, schedule, Batch(tokens, known, LENGTHS), StepRandom(step=step)
            )
        parameters = [*denoiser.parameters(), *schedule.parameters()]
        gradients = torch.autograd.grad(out.loss, parameters, allow_unused=True)
        seen = [g for g in gradients if g is not None]
        found.append([out.nelbo, out.by_position, *seen, *objective.buffers()])
    assert (out.by_position[gone | KNOWN] == 0).all()
    assert len(found[0]) > 10
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)
    out = objective(denoiser, schedule, Batch(TOKENS, torch.ones_like(KNOWN)), StepRandom())
    assert (out.nelbo == 0).all(), "everything given costs nothing"
    assert (out.by_position == 0).all()
    gradients = torch.autograd.grad(out.loss, list(schedule.parameters()))
    assert all(torch.isfinite(g).all() for g in gradients)


def test_the_loop_is_the_library_enumeration_for_laws_of_positions():
    for kind in (SETS, ORDERS):
        denoiser, schedule = random_denoiser(kind=kind), power()
        found = enumerate_orders(denoiser, schedule.law(), TOKENS).nelbo
        for x, value in zip(TOKENS, found, strict=True):
            assert abs(exact_nelbo(denoiser, schedule, x) - value) < 1e-10
            assert abs(exact_nelbo(denoiser, schedule, x, "rate") - value) < 1e-10


def test_the_jump_bound_is_tighter_and_time_space_tends_to_the_rate_bound():
    denoiser = random_denoiser().requires_grad_(False)
    x = TOKENS[0]
    with torch.no_grad():
        for name, schedule in schedules().items():
            jump, rate = (exact_nelbo(denoiser, schedule, x, bound) for bound in ("jump", "rate"))
            assert (jump < rate - 1e-3) == schedule.depends_on_tokens, name
            gaps = [
                abs(by_quadrature(denoiser, schedule, x, t_min=t, nodes=300) - rate)
                for t in (0.1, 1e-3, 1e-40)
            ]
            assert gaps[0] > gaps[1] > gaps[2], name
            assert gaps[2] < 1e-3 * rate, name


def test_time_space_of_any_schedule_of_positions():
    """Kumaraswamy and cosine, whose alpha is no power of t: all masks, and quadrature in t."""
    denoiser = random_denoiser().requires_grad_(False)
    torch.manual_seed(0)
    for schedule in (
        Linear(LENGTH),
        Kumaraswamy(LENGTH, FreeTable(LENGTH, 0.5), FreeTable(LENGTH, 0.3)),
    ):
        t = torch.linspace(T_MIN, 1, 20_001, dtype=torch.float64)[:-1] + 0.5 * (1 - T_MIN) / 20_000
        t = torch.cat([t, torch.tensor([T_MIN])])
        masks = masks_of(list(range(LENGTH)), LENGTH)
        masked = (1 - schedule.alpha(t)).detach()
        total = 0.0
        for x in TOKENS:
            z = x.expand_as(masks).masked_fill(masks, VOCAB)
            log_mu = denoiser(z).log_softmax(-1)[:, torch.arange(LENGTH), x]
            cost = torch.where(masks, -log_mu, 0.0)
            q = torch.where(masks, masked[:, None], 1 - masked[:, None]).prod(-1)
            inside = (schedule.rate(t[:-1]) * (q[:-1] @ cost)).sum(-1).mean() * (1 - T_MIN)
            total = total + inside.item() + (q[-1] @ cost).sum().item()
        found = torch.stack(
            [
                time_space_nelbo(denoiser, schedule, TOKENS, 400, T_MIN, StepRandom(step=s)).mean()
                for s in range(50)
            ]
        )
        assert abs(found.mean() - total / len(TOKENS)) < 4 * found.std() / 50**0.5
        assert found.std() / 50**0.5 < 0.02 * found.mean()
    with pytest.raises(ValueError, match="bidirectional"):
        time_space_nelbo(random_denoiser(kind=ORDERS), Linear(LENGTH), TOKENS)


def test_gauge_direction_has_no_gradient():
    """NELBO(c w) = NELBO(w): without centring the enumerated gradient in log w still sums to 0."""
    denoiser = random_denoiser(kind=ORDERS)
    log_w = torch.tensor([0.5, -1.0, 0.2, 1.3], dtype=torch.float64, requires_grad=True)
    value = enumerate_orders(denoiser, PlackettLuce(log_w), TOKENS).nelbo.mean()
    (gradient,) = torch.autograd.grad(value, log_w)
    assert gradient.abs().max() > 0.01
    assert abs(gradient.sum()) < 1e-10


@pytest.mark.parametrize("draws", [1, 2])
def test_control_variates_are_unbiased_once_fitted(draws):
    """After their statistics have moved away from 0 they change the variance, not the mean."""
    objective = Dense(LENGTH, draws, "rloo" if draws > 1 else "learned", **UNIGRAM)
    denoiser, schedule = random_denoiser(0.7, kind=ORDERS).requires_grad_(False), power()
    for step in range(20):
        objective(denoiser, schedule, TOKENS.repeat(128, 1), StepRandom(9, step))
    assert (objective.regression.cross.abs().amax(0) > 0.01).all()
    agrees(objective.eval(), denoiser, schedule, repeats=100)


def test_surprise_of_tokens():
    """Running frequencies with one count to begin with, against a loop; a step's own tokens come
    after.
    """
    frequencies, seen = Frequencies(2, 3), []
    for step in range(3):
        tokens = torch.randint(3, (4, 2), generator=torch.Generator().manual_seed(step))
        surprise = frequencies.surprise_then_count(Batch(tokens))
        for row, values in zip(tokens.tolist(), surprise.tolist(), strict=True):
            for position in range(2):
                count = sum(past[position] == row[position] for past in seen)
                assert values[position] == pytest.approx(-math.log((count + 1) / (len(seen) + 3)))
        seen += tokens.tolist()
    before = frequencies.counts.clone()
    frequencies.eval().surprise_then_count(Batch(tokens))
    assert torch.equal(frequencies.counts, before), "evaluation learns nothing"
    with pytest.raises(ValueError, match="give vocab_size"):
        Dense(2, unigram=True)


def test_dense_with_arrival_times():
    """Kumaraswamy with b = 1 is the power family: its gradient through arrival times must be the
    same.
    """
    denoiser, reference = random_denoiser(kind=ORDERS), power()
    schedule = Kumaraswamy(LENGTH, FreeTable(LENGTH), FreeTable(LENGTH), bound=50.0)
    with torch.no_grad():
        schedule.log_a.table.copy_(reference.log_w())
    schedule.log_b.requires_grad_(False)
    value = exact(Dense(LENGTH), denoiser, reference)
    (want,) = torch.autograd.grad(value, reference.network.table)
    denoiser.requires_grad_(False)
    objective, values, gradients = Dense(LENGTH, draws=2, baseline="rloo"), [], []
    for step in range(150):
        out = objective(denoiser, schedule, TOKENS.repeat(128, 1), StepRandom(step=step))
        gradients.append(torch.autograd.grad(out.loss * LENGTH, schedule.log_a.table)[0].double())
        values.append(out.nelbo.mean())
    values, gradients = torch.stack(values), torch.stack(gradients)
    assert abs(values.mean() - value) < 4 * values.std() / 150**0.5
    assert ((gradients.mean(0) - want).abs() < 4 * gradients.std(0) / 150**0.5).all()


def test_fixed_schedules_need_no_score():
    """Linear is the uniform law and a given order the point mass, under every objective."""
    for schedule in (Linear(LENGTH), GivenOrder(LENGTH, [2, 0, 3, 1])):
        for make, kind in (
            (lambda: TimeSpace(1, 1e-4), SETS),
            (lambda: OrderSpace(1), SETS),
            (lambda: Dense(LENGTH, 1), ORDERS),
        ):
            denoiser = random_denoiser(kind=kind).requires_grad_(False)
            want = enumerate_orders(denoiser, schedule.law(), TOKENS).nelbo.mean()
            values = torch.stack(
                [
                    make()(
                        denoiser, schedule, TOKENS.repeat(256, 1), StepRandom(step=s)
                    ).nelbo.mean()
                    for s in range(60)
                ]
            )
            assert abs(values.mean() - want) < 4 * values.std() / 60**0.5 + 1e-9, schedule


def test_uniform_order_space_has_no_variance_for_iid_tokens():
    """(L/n) sum over masked of the cost is constant when every conditional costs the same."""
    denoiser = random_denoiser()
    for parameter in denoiser.parameters():
        torch.nn.init.zeros_(parameter)
    tokens = torch.zeros(64, LENGTH, dtype=torch.long)
    out = OrderSpace(draws=1)(denoiser, Linear(LENGTH), tokens, StepRandom())
    assert torch.allclose(out.nelbo, out.nelbo[0].expand(64), atol=1e-10)


@pytest.mark.parametrize("bound", ["jump", "rate"])
@pytest.mark.parametrize("kind", [SETS, ORDERS])
def test_nelbo_sequence_by_sequence(kind, bound):
    """With and without given positions and padding."""
    denoiser = random_denoiser(0.7, kind=kind).requires_grad_(False)
    for name, (known, lengths) in itertools.product(
        ["pooled", "power" if kind is ORDERS else "both"], [(None, None), (KNOWN, LENGTHS)]
    ):
        schedule = schedules()[name]
        want = []
        for i, x in enumerate(TOKENS):
            x = x if lengths is None else x[: lengths[i]]
            given = () if known is None else known[i, : len(x)].nonzero()[:, 0].tolist()
            want.append(exact_nelbo(denoiser, schedule, x, bound, given).detach())
        batch = Batch(TOKENS, known, lengths)
        values = torch.stack(
            [nelbo(denoiser, schedule, batch, 200, StepRandom(step=s), bound) for s in range(30)]
        )
        error = values.std(0) / 30**0.5
        assert ((values.mean(0) - torch.stack(want)).abs() < 4 * error + 1e-9).all(), name
        assert (error < 0.02 * torch.stack(want)).all()


def test_time_space_refuses_a_law_too_sharp_to_see():
    """A position with w = e^20 is masked at no time that a run draws: the mean would look good."""
    denoiser, schedule = random_denoiser(), Power(LENGTH, FreeTable(LENGTH))
    for size, refused in ((10.0, False), (25.0, True)):
        with torch.no_grad():
            schedule.network.table.copy_(size * torch.linspace(-1, 1, LENGTH))
        if refused:
            with pytest.raises(LawTooSharp, match=r"position 3.*schedule\.bound"):
                TimeSpace()(denoiser, schedule, TOKENS, StepRandom())
            first = torch.tensor([0, 0, 0, 1]).bool().expand_as(TOKENS)
            out = TimeSpace()(denoiser, schedule, Batch(TOKENS, first), StepRandom())
            assert torch.isfinite(out.loss), "a position that is given is not looked at"
        else:
            assert torch.isfinite(TimeSpace()(denoiser, schedule, TOKENS, StepRandom()).loss)
    bounded = Power(LENGTH, schedule.network, bound=4.0)
    assert torch.isfinite(TimeSpace()(denoiser, bounded, TOKENS, StepRandom()).loss)
    sharp = schedules()["order_posterior"]
    with torch.no_grad():
        sharp.forward_network.table.mul_(40)
    with pytest.raises(LawTooSharp, match="objective order or dense"):
        TimeSpace()(denoiser, sharp, TOKENS, StepRandom())


def test_wrong_combinations_say_what_to_do():
    causal, both = random_denoiser(kind=ORDERS), random_denoiser()
    law, kumaraswamy = (
        schedules()["both"],
        Kumaraswamy(LENGTH, FreeTable(LENGTH), FreeTable(LENGTH)),
    )
    for call, match in (
        (lambda: TimeSpace()(causal, power(), TOKENS, StepRandom()), "bidirectional"),
        (lambda: Dense(LENGTH)(both, power(), TOKENS, StepRandom()), "order-causal"),
        (lambda: OrderSpace(1)(both, power(), TOKENS, StepRandom()), "draws"),
        (lambda: OrderSpace()(both, kumaraswamy, TOKENS, StepRandom()), "closed form"),
        (lambda: OrderSpace()(causal, law, TOKENS, StepRandom()), "denoiser=bidirectional"),
        (lambda: Dense(LENGTH)(causal, law, TOKENS, StepRandom()), "denoiser=bidirectional"),
        (lambda: TimeSpace(1)(both, law, TOKENS, StepRandom()), "draws >= 2"),
        (lambda: Dense(LENGTH, baseline="mean"), "baseline"),
        (lambda: Dense(LENGTH, 1, "rloo")(causal, power(), TOKENS, StepRandom()), "draws >= 2"),
        (lambda: OrderSpace(2, "elbo"), "jump or rate"),
        (lambda: nelbo(both, law, TOKENS, bound="elbo"), "jump or rate"),
        (lambda: TimeSpace(2, T_MIN, "none"), "sampled or analytic"),
        (lambda: TimeSpace(2, 0.0, "analytic"), "t_min > 0"),
        (lambda: law.law(), "depends on the tokens"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
