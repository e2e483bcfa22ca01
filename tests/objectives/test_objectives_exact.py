"""All three estimators against enumeration of all orders: mean and gradient, float64, random denoisers, L <= 7."""

import itertools
import math

import numpy
import pytest
import torch

from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.likelihood import enumerate_orders, time_space_nelbo
from ordo.objectives import Dense, LawTooSharp, OrderSpace, TimeSpace
from ordo.order import PlackettLuce
from ordo.randomness import StepRandom
from ordo.schedules import FreeTable, GivenOrder, Kumaraswamy, Linear, Power

LENGTH, VOCAB = 5, 3


def random_denoiser(kind, length=LENGTH, seed=0):
    torch.manual_seed(seed)
    denoiser = kind(VOCAB, length, width=8, heads=2, layers=1).double()
    for (
        parameter
    ) in denoiser.parameters():  # far from its mild initialisation, so that orders differ
        torch.nn.init.normal_(parameter, std=1.5)
    return denoiser.eval()


def power(spread=0.8):
    torch.manual_seed(1)
    return Power(LENGTH, FreeTable(LENGTH, init_std=spread))


def exact_nelbo(objective, denoiser, schedule, tokens):
    """mean NELBO by enumeration: of orders, or for the time-space bound of masks and of time by quadrature."""
    if isinstance(objective, TimeSpace):
        return time_space_by_quadrature(denoiser, schedule, tokens, objective.t_min)
    return enumerate_orders(denoiser, schedule.law(), tokens).nelbo.mean()


def time_space_by_quadrature(denoiser, schedule, tokens, t_min, known=None, lengths=None):
    """Eq. 8 on [t_min, 1] plus the reconstruction term at t_min: all 2^L masks, Gauss-Legendre in log t. A padded sequence is cut."""
    node, weight = (torch.tensor(a) for a in numpy.polynomial.legendre.leggauss(400))
    log_t = (node - 1) / 2 * -math.log(t_min)
    t, dt = log_t.exp(), weight / 2 * -math.log(t_min) * log_t.exp()
    total = 0.0
    for i, x in enumerate(tokens):
        length = LENGTH if lengths is None else int(lengths[i])
        masks = torch.tensor(list(itertools.product([False, True], repeat=length)))
        x = x[:length]
        hidden = masks if known is None else masks & ~known[i, :length]
        order = hidden.to(torch.int8).argsort(dim=-1, stable=True)
        rows = x.expand(len(masks), -1)
        log_mu = denoiser.conditionals(rows, order, (~hidden).sum(-1)).gather(-1, rows[..., None])[
            ..., 0
        ]
        cost = torch.where(hidden, -log_mu, 0.0)  # (masks, length)
        masked = (1 - schedule.alpha(torch.cat([t, torch.tensor([t_min])])))[:, None, :length]
        q = torch.where(masks, masked, 1 - masked).prod(-1)  # (times, masks)
        total = (
            total
            + (dt[:, None] * schedule.rate(t)[:, :length] * (q[:-1] @ cost)).sum()
            + (q[-1] @ cost).sum()
        )
    return total / len(tokens)


def exact_gradient(objective, denoiser, schedule, tokens):
    """d mean NELBO / d log w by enumeration; through the table, so the gauge is projected out."""
    (gradient,) = torch.autograd.grad(
        exact_nelbo(objective, denoiser, schedule, tokens), schedule.network.table
    )
    return gradient.double()


def estimates(objective, denoiser, schedule, tokens, repeats, copies, known=None, lengths=None):
    """nelbo (repeats, batch) and table gradients (repeats, length), ``copies`` independent rows averaged in each."""
    x, known = tokens.repeat(copies, 1), None if known is None else known.repeat(copies, 1)
    lengths = None if lengths is None else lengths.repeat(copies)
    values, gradients = [], []
    for step in range(repeats):
        out = objective(denoiser, schedule, x, StepRandom(seed=7, step=step), known, lengths)
        (gradient,) = torch.autograd.grad(out.loss * LENGTH, schedule.network.table)
        values.append(out.nelbo.mean())
        gradients.append(gradient.double())
    return torch.stack(values), torch.stack(gradients)


CASES = {
    "time": (lambda: TimeSpace(draws=2, t_min=0.02), BidirectionalTransformer),
    "time_three_draws": (lambda: TimeSpace(draws=3, t_min=0.02), BidirectionalTransformer),
    "order": (lambda: OrderSpace(draws=2), BidirectionalTransformer),
    "order_three_draws": (lambda: OrderSpace(draws=3), BidirectionalTransformer),
    "order_causal": (lambda: OrderSpace(draws=2), OrderCausalTransformer),
    "dense": (lambda: Dense(LENGTH, draws=2, baseline="rloo"), OrderCausalTransformer),
    "dense_plain": (
        lambda: Dense(LENGTH, draws=4, baseline="rloo", control=False),
        OrderCausalTransformer,
    ),
    "dense_unigram": (
        lambda: Dense(LENGTH, draws=2, baseline="rloo", unigram=True, vocab_size=VOCAB),
        OrderCausalTransformer,
    ),
    "dense_ema_unigram": (
        lambda: Dense(LENGTH, control=False, unigram=True, vocab_size=VOCAB),
        OrderCausalTransformer,
    ),
    "dense_ema": (lambda: Dense(LENGTH, draws=1, baseline="ema"), OrderCausalTransformer),
}


@pytest.mark.parametrize("name", CASES)
def test_mean_and_gradient_equal_enumeration(name):
    make, kind = CASES[name]
    time = name.startswith(
        "time"
    )  # its variance grows with w and needs a flatter law and more repeats
    denoiser, schedule, objective = random_denoiser(kind), power(0.3 if time else 0.8), make()
    tokens = torch.randint(VOCAB, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    exact = exact_nelbo(objective, denoiser, schedule, tokens).detach()
    want = exact_gradient(objective, denoiser, schedule, tokens)
    denoiser.requires_grad_(False)
    values, gradients = estimates(
        objective, denoiser, schedule, tokens, repeats=600 if time else 125, copies=128
    )
    error = values.std() / len(values) ** 0.5
    assert abs(values.mean() - exact) < 4 * error + 1e-9
    assert error < 0.02 * exact
    gradient_error = gradients.std(0) / len(gradients) ** 0.5
    assert ((gradients.mean(0) - want).abs() < 4 * gradient_error).all()
    assert gradient_error.max() < 0.2 * want.abs().max(), "too noisy to test anything"


def test_time_space_as_a_likelihood():
    """Sequence by sequence, with and without given positions, under a learned schedule and a fixed one."""
    denoiser = random_denoiser(BidirectionalTransformer).requires_grad_(False)
    tokens = torch.randint(VOCAB, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    given = torch.tensor([[1, 0, 0, 1, 0], [0, 0, 0, 0, 0]]).bool()
    for schedule, known in ((power(0.3), None), (power(0.3), given), (Linear(LENGTH), None)):
        want = torch.stack(
            [
                time_space_by_quadrature(
                    denoiser, schedule, x[None], 0.02, None if known is None else k[None]
                )
                for x, k in zip(tokens, given, strict=True)
            ]
        )
        values = torch.stack(
            [
                time_space_nelbo(
                    denoiser, schedule, tokens, 400, 0.02, StepRandom(step=step), known
                )
                for step in range(100)
            ]
        )
        error = values.std(0) / 10
        assert ((values.mean(0) - want).abs() < 4 * error).all()
        assert (error < 0.02 * want).all()
    with pytest.raises(ValueError, match="bidirectional"):
        time_space_nelbo(random_denoiser(OrderCausalTransformer), Linear(LENGTH), tokens)


def given_by_enumeration(denoiser, log_w, tokens, known, lengths=(LENGTH,) * 3):
    """Mean NELBO of the positions that are not known given the others: every order of both, by the definition of Plackett-Luce. The order
    of known positions, which an order-causal denoiser sees, is no choice: its probability has no gradient. A padded sequence is cut."""

    def log_p(order):
        return sum(
            (log_w[i] - log_w[list(order[k:])].logsumexp(0) for k, i in enumerate(order)),
            torch.zeros((), dtype=torch.float64),
        )

    total = 0.0
    for x, given, length in zip(tokens, known, map(int, lengths), strict=True):
        first, rest = ([i for i in range(length) if given[i] == flag] for flag in (True, False))
        for before in itertools.permutations(first):
            for after in itertools.permutations(rest):
                cost = -denoiser.order_log_prob(
                    x[None, :length], torch.tensor([[*before, *after]])
                )[0, len(first) :].sum()
                total = total + log_p(before).detach().exp() * log_p(after).exp() * cost
    return total / len(tokens)


@pytest.mark.parametrize("lengths", [None, torch.tensor([4, 5, 3])], ids=["whole", "padded"])
@pytest.mark.parametrize(
    "name", ["time", "order", "order_causal", "dense", "dense_ema", "dense_unigram"]
)
def test_given_and_absent_positions(name, lengths):
    """With known positions: the mean and the gradient of the NELBO of the others, given these. With padding: those of shorter sequences."""
    make, kind = CASES[name]
    time = name == "time"
    denoiser, schedule, objective = random_denoiser(kind), power(0.3 if time else 0.8), make()
    tokens = torch.randint(VOCAB, (3, LENGTH), generator=torch.Generator().manual_seed(0))
    known = torch.tensor([[1, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]).bool()
    log_w = schedule.law().log_w
    if time:
        exact = time_space_by_quadrature(
            denoiser, schedule, tokens, objective.t_min, known, lengths
        )
    else:
        exact = given_by_enumeration(
            denoiser, log_w, tokens, known, (LENGTH,) * 3 if lengths is None else lengths
        )
    (want,) = torch.autograd.grad(exact, schedule.network.table)
    denoiser.requires_grad_(False)
    values, gradients = estimates(
        objective, denoiser, schedule, tokens, 1000 if time else 250, 96, known, lengths
    )
    error = values.std() / len(values) ** 0.5
    assert abs(values.mean() - exact.detach()) < 4 * error + 1e-9
    assert error < 0.02 * exact
    gradient_error = gradients.std(0) / len(gradients) ** 0.5
    assert ((gradients.mean(0) - want).abs() < 4 * gradient_error).all()
    assert gradient_error.max() < 0.2 * want.abs().max(), "too noisy to test anything"


@pytest.mark.parametrize("name", CASES)
def test_what_padding_holds_does_not_matter(name):
    """Not a bit, in value or gradient, nor that it is said to be given; nor is any of it counted."""
    make, kind = CASES[name]
    denoiser, schedule = random_denoiser(kind), power(0.3)
    tokens = torch.randint(VOCAB, (3, LENGTH), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([3, 5, 1])
    gone = torch.arange(LENGTH) >= lengths[:, None]
    known = torch.tensor([[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
    found = []
    for filling, more in ((0, False), (VOCAB - 1, True)):
        torch.manual_seed(0)
        objective = make()
        for step in range(3):  # running statistics too
            out = objective(
                denoiser,
                schedule,
                tokens.masked_fill(gone, filling),
                StepRandom(step=step),
                known | (gone & more),
                lengths,
            )
        gradients = torch.autograd.grad(
            out.loss, [*denoiser.parameters(), *schedule.parameters()], allow_unused=True
        )
        found.append(
            [
                out.nelbo,
                out.by_position,
                *(g for g in gradients if g is not None),
                *objective.buffers(),
            ]
        )
    assert (out.by_position[gone | known] == 0).all()
    assert len(found[0]) > 10
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def test_everything_given_costs_nothing():
    known = torch.ones(2, LENGTH, dtype=torch.bool)
    for make, kind in CASES.values():
        out = make()(
            random_denoiser(kind),
            power(),
            torch.zeros(2, LENGTH, dtype=torch.int64),
            StepRandom(),
            known,
        )
        assert (out.nelbo == 0).all()
        assert (out.by_position == 0).all()


def test_time_space_tends_to_the_order_nelbo():
    """Prop. 3.1: Eq. 8 without a cut is the expected autoregressive loss; with a cut it is a looser bound."""
    denoiser, schedule = random_denoiser(BidirectionalTransformer), power()
    tokens = torch.randint(VOCAB, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    exact = enumerate_orders(denoiser, schedule.law(), tokens).nelbo.mean()
    assert abs(time_space_by_quadrature(denoiser, schedule, tokens, 1e-12) - exact) < 1e-4
    gap = [
        time_space_by_quadrature(denoiser, schedule, tokens, t) - exact for t in (0.3, 0.1, 0.03)
    ]
    assert gap[0].abs() > gap[1].abs() > gap[2].abs()


def test_gauge_direction_has_no_gradient():
    """NELBO(c w) = NELBO(w): without the schedule's centring the enumerated gradient in log w still sums to 0."""
    denoiser = random_denoiser(OrderCausalTransformer)
    log_w = torch.tensor([0.5, -1.0, 0.2, 1.3, 0.0], dtype=torch.float64, requires_grad=True)
    tokens = torch.randint(VOCAB, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(
        enumerate_orders(denoiser, PlackettLuce(log_w), tokens).nelbo.mean(), log_w
    )
    assert gradient.abs().max() > 0.01
    assert abs(gradient.sum()) < 1e-10


def test_path_part_alone_is_biased():
    """The gradient test can fail: without the score function the mean misses the enumerated gradient by far."""
    denoiser, schedule = random_denoiser(BidirectionalTransformer), power()
    tokens = torch.randint(VOCAB, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    want = exact_gradient(OrderSpace(), denoiser, schedule, tokens)
    law, path = schedule.law(), []
    for step in range(100):
        order = law.sample(256, torch.Generator().manual_seed(step))
        k = torch.arange(256) % LENGTH
        revealed = order.argsort(-1) < k[:, None]
        x = tokens.repeat(128, 1)
        cost = -denoiser.conditionals(x, order, k).gather(-1, x[..., None])[..., 0]
        f = LENGTH * (law.next_log_prob(revealed).exp() * cost).sum(-1)
        path.append(
            torch.autograd.grad(f.mean(), schedule.network.table, retain_graph=True)[0].double()
        )
    path = torch.stack(path)
    assert ((path.mean(0) - want).abs() > 10 * path.std(0) / 10).any()


@pytest.mark.parametrize("unigram", [False, True])
@pytest.mark.parametrize("draws", [1, 2, 3])
def test_control_variates_are_unbiased_once_fitted(draws, unigram):
    """After their statistics have moved away from zero control variates change the variance, not the mean."""
    denoiser, schedule, objective = (
        random_denoiser(OrderCausalTransformer),
        power(),
        Dense(
            LENGTH,
            draws=draws,
            baseline="rloo" if draws > 1 else "ema",
            unigram=unigram,
            vocab_size=VOCAB,
        ),
    )
    tokens = torch.randint(
        VOCAB, (2 + 3 * unigram, LENGTH), generator=torch.Generator().manual_seed(0)
    )
    want = exact_gradient(objective, denoiser, schedule, tokens)
    denoiser.requires_grad_(False)
    estimates(objective, denoiser, schedule, tokens, repeats=20, copies=128)
    beta = torch.linalg.solve(
        objective.second + 1e-9 * torch.eye(objective.second.shape[-1]), objective.cross
    )
    assert (beta.abs().amax(0) > 0.05).all()
    _, gradients = estimates(objective.eval(), denoiser, schedule, tokens, repeats=250, copies=128)
    assert ((gradients.mean(0) - want).abs() < 4 * gradients.std(0) / 250**0.5).all()


def test_unigram_surprise():
    """Running frequencies with one count to begin with, against a loop."""
    objective = Dense(2, unigram=True, vocab_size=3)
    seen = []
    for step in range(3):
        tokens = torch.randint(3, (4, 2), generator=torch.Generator().manual_seed(step))
        seen += tokens.tolist()
        surprise = objective._surprise(tokens)
        for row, values in zip(tokens.tolist(), surprise.tolist(), strict=True):
            for position in range(2):
                count = sum(past[position] == row[position] for past in seen)
                assert values[position] == pytest.approx(-math.log((count + 1) / (len(seen) + 3)))
    before = objective.counts.clone()
    objective.eval()._surprise(tokens)
    assert torch.equal(objective.counts, before), "evaluation learns nothing"
    with pytest.raises(ValueError, match="give vocab_size"):
        Dense(2, unigram=True)


def test_dense_with_arrival_times():
    """Kumaraswamy has no Plackett-Luce law; with b = 1 it must reproduce the power family's gradient through arrival times."""
    denoiser, reference = random_denoiser(OrderCausalTransformer), power()
    schedule = Kumaraswamy(LENGTH, FreeTable(LENGTH), FreeTable(LENGTH), bound=50.0)
    with torch.no_grad():
        schedule.log_a.table.copy_(reference.log_w())
    schedule.log_b.requires_grad_(False)
    tokens = torch.randint(VOCAB, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    exact = enumerate_orders(denoiser, reference.law(), tokens).nelbo.mean().detach()
    want = exact_gradient(Dense(LENGTH), denoiser, reference, tokens)
    denoiser.requires_grad_(False)
    objective, values, gradients = Dense(LENGTH, draws=2, baseline="rloo"), [], []
    for step in range(300):
        out = objective(denoiser, schedule, tokens.repeat(128, 1), StepRandom(step=step))
        gradients.append(torch.autograd.grad(out.loss * LENGTH, schedule.log_a.table)[0].double())
        values.append(out.nelbo.mean())
    values, gradients = torch.stack(values), torch.stack(gradients)
    assert abs(values.mean() - exact) < 4 * values.std() / 300**0.5
    assert ((gradients.mean(0) - want).abs() < 4 * gradients.std(0) / 300**0.5).all()


def test_fixed_schedules_need_no_score(all_orders):
    """Linear is the uniform law and a given order the point mass, under every objective."""
    tokens = torch.randint(VOCAB, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    for schedule in (Linear(LENGTH), GivenOrder(LENGTH, [2, 0, 4, 1, 3])):
        for make, kind in (CASES["time"], CASES["order"], CASES["dense"]):
            denoiser = random_denoiser(kind).requires_grad_(False)
            objective = make()
            exact = enumerate_orders(denoiser, schedule.law(), tokens).nelbo.mean()
            if isinstance(objective, TimeSpace):
                objective.t_min = 1e-4  # the cut of the other tests would show in the mean
            values = torch.stack(
                [
                    objective(
                        denoiser, schedule, tokens.repeat(256, 1), StepRandom(step=s)
                    ).nelbo.mean()
                    for s in range(60)
                ]
            )
            assert abs(values.mean() - exact) < 4 * values.std() / 60**0.5 + 1e-9, (
                schedule,
                objective,
            )


def test_denoiser_gradient_of_dense_and_order_agree_with_enumeration():
    for kind, make in (
        (BidirectionalTransformer, lambda: OrderSpace(draws=2)),
        (OrderCausalTransformer, lambda: Dense(LENGTH, draws=2)),
    ):
        denoiser, schedule = random_denoiser(kind), power()
        tokens = torch.randint(VOCAB, (2, LENGTH), generator=torch.Generator().manual_seed(0))
        (want,) = torch.autograd.grad(
            enumerate_orders(denoiser, schedule.law(), tokens).nelbo.mean(), denoiser.head.bias
        )
        objective = make()
        got = []
        for step in range(150):
            out = objective(denoiser, schedule, tokens.repeat(64, 1), StepRandom(step=step))
            got.append(torch.autograd.grad(out.loss * LENGTH, denoiser.head.bias)[0])
        got = torch.stack(got)
        assert ((got.mean(0) - want).abs() < 4 * got.std(0) / 150**0.5).all()


def test_uniform_order_space_has_no_variance_for_iid_tokens():
    """(L/n) sum over masked of CE is constant when every conditional costs the same (method: variance 0 for i.i.d. tokens)."""
    denoiser = random_denoiser(BidirectionalTransformer)
    for parameter in denoiser.parameters():
        torch.nn.init.zeros_(parameter)
    out = OrderSpace(draws=1)(
        denoiser, Linear(LENGTH), torch.zeros(64, LENGTH, dtype=torch.long), StepRandom()
    )
    assert torch.allclose(out.nelbo, out.nelbo[0].expand(64), atol=1e-10)


def test_time_space_refuses_a_law_too_sharp_to_see():
    """A position with w = e^20 is masked at no time that a run draws: the mean would miss its terms and look good."""
    denoiser, schedule = random_denoiser(BidirectionalTransformer), Power(LENGTH, FreeTable(LENGTH))
    tokens = torch.zeros(2, LENGTH, dtype=torch.long)
    for size, refused in ((10.0, False), (25.0, True)):
        with torch.no_grad():
            schedule.network.table.copy_(size * torch.linspace(-1, 1, LENGTH))
        if refused:
            with pytest.raises(LawTooSharp, match=r"position 4.*schedule\.bound"):
                TimeSpace()(denoiser, schedule, tokens, StepRandom())
        else:
            assert torch.isfinite(TimeSpace()(denoiser, schedule, tokens, StepRandom()).loss)
    bounded = Power(LENGTH, schedule.network, bound=4.0)
    assert torch.isfinite(TimeSpace()(denoiser, bounded, tokens, StepRandom()).loss)


def test_wrong_combinations_say_what_to_do():
    tokens = torch.zeros(2, LENGTH, dtype=torch.long)
    causal, both = (
        random_denoiser(OrderCausalTransformer),
        random_denoiser(BidirectionalTransformer),
    )
    with pytest.raises(ValueError, match="bidirectional"):
        TimeSpace()(causal, power(), tokens, StepRandom())
    with pytest.raises(ValueError, match="order-causal"):
        Dense(LENGTH)(both, power(), tokens, StepRandom())
    with pytest.raises(ValueError, match="draws"):
        OrderSpace(draws=1)(both, power(), tokens, StepRandom())
    with pytest.raises(ValueError, match="closed form"):
        OrderSpace()(
            both, Kumaraswamy(LENGTH, FreeTable(LENGTH), FreeTable(LENGTH)), tokens, StepRandom()
        )
    with pytest.raises(ValueError, match="baseline"):
        Dense(LENGTH, baseline="mean")
