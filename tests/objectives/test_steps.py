"""The K-step bound: objectives and likelihoods against enumeration of all K^L assignments of steps,
by a loop over steps that asks the denoiser for one step at a time.
"""

import itertools
import math

import pytest
import torch
from enumeration import KNOWN, LENGTH, LENGTHS, TOKENS, power, random_denoiser

from ordo.batch import Batch
from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.denoisers.cost import nll_in_steps
from ordo.likelihood import (
    importance_in_steps,
    nelbo_in_steps,
    sampler_log_prob,
    steps_log_prob,
)
from ordo.objectives import Dense, OrderSpace
from ordo.objectives.score import ScoreFunction
from ordo.randomness import StepRandom
from ordo.samplers import ByLaw, BySteps, Sampler, sample
from ordo.schedules import FreeTable, Kumaraswamy, StepTable
from ordo.steps import StepLaw, in_order

CALLS = 3
SETS, ORDERS = BidirectionalTransformer, OrderCausalTransformer
BATCHES = {
    "nothing": Batch(TOKENS),
    "given": Batch(TOKENS, KNOWN),
    "both": Batch(TOKENS, KNOWN, LENGTHS),
}


def table(calls=CALLS, spread=1.0):
    torch.manual_seed(2)
    schedule = StepTable(LENGTH, calls)
    torch.nn.init.normal_(schedule.logits, std=spread)
    return schedule


@torch.no_grad()
def cost_of(denoiser, batch, row, steps):
    """-log p of one sequence whose positions are decoded in these steps (length,), one step at a
    time; of an order-causal denoiser the mean over orders within the steps.
    """
    tokens = batch.tokens[row]
    given, decoded = batch.given[row], batch.decoded[row]
    length = len(tokens) if batch.lengths is None else int(batch.lengths[row])
    own = [at for at in range(length) if decoded[at]]
    first = [at for at in range(length) if given[at]]
    if not denoiser.order_causal:
        total, present = 0.0, None
        if batch.lengths is not None:
            present = (torch.arange(len(tokens)) < length)[None]
        for k in sorted({int(steps[at]) for at in own}):
            z = tokens.clone()
            for at in own:
                if steps[at] >= k:
                    z[at] = denoiser.mask_id
            log_p = denoiser(z[None], **({} if present is None else {"present": present}))
            log_p = log_p.log_softmax(-1)[0]
            total -= sum(float(log_p[at, tokens[at]]) for at in own if steps[at] == k)
        return total
    orders = [
        [at for part in parts for at in part]
        for parts in itertools.product(
            *(
                list(itertools.permutations([at for at in own if steps[at] == k]))
                for k in range(int(steps.max()) + 1)
            )
        )
    ]
    total = 0.0
    for order in orders:
        whole = [*first, *order, *range(length, len(tokens))]
        whole = torch.tensor([whole])
        for k in sorted({int(steps[at]) for at in own}):
            shown = torch.tensor([len(first) + sum(int(steps[at]) < k for at in own)])
            log_p = denoiser(tokens[None], whole, shown).log_softmax(-1)[0]
            for rank, at in enumerate(whole[0].tolist()):
                if at in own and steps[at] == k:
                    total -= float(log_p[rank, tokens[at]]) / len(orders)
    return total


def exact(denoiser, batch, q):
    """The K-step NELBO (n,), differentiable in q (length, K)."""
    out = []
    for row in range(len(batch.tokens)):
        own = [at for at in range(LENGTH) if batch.decoded[row, at]]
        total = torch.zeros((), dtype=torch.float64)
        for choice in itertools.product(range(q.shape[1]), repeat=len(own)):
            steps = torch.zeros(LENGTH, dtype=torch.int64)
            p = torch.ones((), dtype=torch.float64)
            for at, k in zip(own, choice, strict=True):
                steps[at] = k
                p = p * q[at, k]
            total = total + p * cost_of(denoiser, batch, row, steps)
        out.append(total)
    return torch.stack(out)


def by_times(schedule, calls):
    """q of a schedule on the grid of equal mass, with the grid by a root search of its own."""
    ends = [1.0]
    for k in range(1, calls):
        low, high = 0.0, 1.0
        for _ in range(80):
            middle = (low + high) / 2
            mean = float(schedule.alpha(torch.tensor([middle])).mean())
            low, high = (middle, high) if mean > k / calls else (low, middle)
        ends.append(low)
    alpha = [schedule.alpha(torch.tensor([t]).double())[0] for t in [*ends[1:]]]
    alpha = [torch.zeros(LENGTH).double(), *alpha, torch.ones(LENGTH).double()]
    return torch.stack([b - a for a, b in itertools.pairwise(alpha)], 1)


OBJECTIVES = {
    "dense": (lambda: Dense(LENGTH, calls=CALLS), ORDERS, table, "nothing"),
    "dense_rloo": (lambda: Dense(LENGTH, 2, "rloo", calls=CALLS), ORDERS, table, "both"),
    "dense_power": (lambda: Dense(LENGTH, calls=CALLS), ORDERS, power, "given"),
    "order": (lambda: OrderSpace(2, calls=CALLS), SETS, table, "both"),
    "order_power": (
        lambda: OrderSpace(1, score=ScoreFunction("learned"), calls=CALLS),
        SETS,
        power,
        "given",
    ),
    "order_causal": (lambda: OrderSpace(2, calls=CALLS), ORDERS, table, "both"),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_mean_and_gradient_equal_enumeration(name):
    make, kind, law, which = OBJECTIVES[name]
    objective, schedule, batch = make(), law(), BATCHES[which]
    denoiser = random_denoiser(0.7 if kind is ORDERS else 1.0, kind=kind).requires_grad_(False)
    parameters = list(schedule.parameters())
    expected = exact(denoiser, batch, schedule.steps(CALLS).log_q.exp())
    (slope,) = torch.autograd.grad(expected.mean() / LENGTH, parameters)
    values, slopes = [], []
    many = batch.repeat(100)
    for step in range(70):
        objective.train(step < 10)  # then the baseline stands still, and repeats are independent
        out = objective(denoiser, schedule, many, StepRandom(3, step))
        assert torch.allclose(out.by_position.sum(-1), out.nelbo)
        if step >= 10:
            values.append(out.nelbo.view(100, -1).mean(0))
            (found,) = torch.autograd.grad(out.loss, parameters)
            slopes.append(found)
    for found, wanted in ((values, expected), (slopes, slope)):
        found = torch.stack(found).double()
        error = found.std(0) / math.sqrt(len(found))
        z = (found.mean(0) - wanted).abs() / error.clamp(min=1e-12)
        assert z.max() < 4, z


@pytest.mark.parametrize("kind", [SETS, ORDERS])
def test_likelihoods_equal_enumeration(kind):
    """Exact log p of every assignment, the NELBO, importance bounds of one draw and of two."""
    denoiser, batch, schedule = random_denoiser(0.7, kind=kind), BATCHES["both"], table()
    expected = exact(denoiser, batch, schedule.steps(CALLS).log_q.exp().detach())
    values = torch.stack(
        [
            nelbo_in_steps(denoiser, schedule, batch.repeat(50), CALLS, 6, StepRandom(1, step))
            for step in range(40)
        ]
    ).view(-1, len(TOKENS))
    error = values.std(0) / math.sqrt(len(values))
    assert ((values.mean(0) - expected).abs() < 4 * error).all()
    one = importance_in_steps(denoiser, schedule, batch.repeat(2000), CALLS, 2, StepRandom(2, 0))
    one = -one.view(2000, len(TOKENS), 2)
    error = one.std(0) / math.sqrt(2000)
    assert ((one[..., 0].mean(0) - expected).abs() < 4 * error[:, 0]).all()
    assert (one[..., 1].mean(0) < expected + 4 * error[:, 1]).all()
    if kind is SETS:  # of order-causal ones the enumeration is a mean over orders within a step
        for steps in itertools.product(range(CALLS), repeat=LENGTH):
            found = -steps_log_prob(denoiser, batch, torch.tensor(steps))
            for row in range(len(TOKENS)):
                wanted = cost_of(denoiser, batch, row, torch.tensor(steps))
                assert float(found[row]) == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("kind", [SETS, ORDERS])
def test_query_slots_are_those_of_the_decoding_session(kind):
    """What a sampler pays for forced tokens, step by step, against one pass."""
    denoiser = random_denoiser(0.7, kind=kind)
    for which, batch in BATCHES.items():
        schedule = table()
        sampler = Sampler(ByLaw(0), BySteps(choice="argmax"))
        trace = sampler_log_prob(denoiser, sampler, batch, schedule)
        steps = schedule.steps(CALLS).mode()
        key = schedule.law().mode().argsort() / LENGTH
        draw = in_order(steps.expand(3, -1), key.expand(3, -1), batch)
        cost = nll_in_steps(denoiser, batch, draw.order, draw.n_before).sum(-1)
        assert torch.allclose(trace.total_log_prob, -cost, atol=1e-10, rtol=0), which
        assert (trace.calls <= CALLS).all()


def test_drawn_steps_follow_the_law_in_the_sampler():
    """Which step decodes each position, over 20,000 rows, and the tokens of the last step."""
    schedule, n = table(), 20_000
    denoiser = random_denoiser()
    trace = sample(denoiser, Sampler(how_many=BySteps()), n, schedule=schedule, seed=1)
    q = schedule.steps(CALLS).log_q.exp()
    # The step of a trace counts calls, and a step without positions makes no call.
    drawn = torch.stack([(trace.step == 0).double().mean(0)], 1)[:, 0]
    first = torch.zeros(LENGTH, dtype=torch.float64)
    for steps in itertools.product(range(CALLS), repeat=LENGTH):
        p = math.prod(float(q[at, k]) for at, k in enumerate(steps))
        first += p * torch.tensor([float(k == min(steps)) for k in steps])
    assert ((drawn - first).abs() < 4 * (first * (1 - first) / n).sqrt()).all()


def test_steps_of_a_schedule_are_those_of_equal_mass():
    """Values and gradient, which has a part through the grid: by central differences."""
    shape = FreeTable(LENGTH, init_std=0.5), FreeTable(LENGTH, init_std=0.5)
    for schedule in (power(), Kumaraswamy(LENGTH, *shape)):
        q = schedule.steps(CALLS).log_q.exp()
        assert torch.allclose(q, by_times(schedule, CALLS), atol=1e-9)
        assert torch.allclose(q.sum(0), torch.full((CALLS,), LENGTH / CALLS).double(), atol=1e-9)
        parameter = next(schedule.parameters())
        (slope,) = torch.autograd.grad(q[0, 1], parameter)
        for at in range(parameter.numel()):
            moved = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter.view(-1)[at] += sign * 1e-2
                    moved.append(float(by_times(schedule, CALLS)[0, 1]))
                    parameter.view(-1)[at] -= sign * 1e-2
            assert float(slope.view(-1)[at]) == pytest.approx(
                (moved[0] - moved[1]) / 2e-2, abs=2e-3
            )


def test_a_step_table_is_a_schedule_whose_grid_has_its_steps():
    schedule = table()
    q = schedule.logits.double().softmax(-1)
    t = torch.linspace(1, 0, CALLS + 1, dtype=torch.float64)
    assert torch.allclose(schedule.alpha(t).diff(dim=0).T, q)
    u = torch.rand(5, LENGTH, dtype=torch.float64)
    assert torch.allclose(1 - schedule.alpha(schedule.inverse(u)), u)
    assert torch.allclose(schedule.alpha_prime(torch.tensor([0.9]))[0], -CALLS * q[:, 0])


def test_draws_follow_the_law():
    """100,000 draws of sharp unequal laws, and keys within a step that are uniform."""
    law = StepLaw(torch.tensor([[0.0, 3.0, -2.0], [2.0, 0.0, 1.0], [-9.0, 0.0, 0.0]]))
    u = torch.rand(100_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    steps, key = law.steps_of(u)
    share = torch.stack([(steps == k).double().mean(0) for k in range(3)], 1)
    q = law.log_q.exp()
    assert ((share - q).abs() <= 4 * (q * (1 - q) / len(u)).sqrt() + 1e-12).all()
    for k in range(3):
        mine = key[steps == k]
        assert abs(float(mine.mean()) - 0.5) < 4 * math.sqrt(1 / 12 / len(mine))
    assert torch.allclose(
        law.log_prob(steps[:9]).sum(1), law.decisions(steps[:9], Batch(steps[:9])).sum(1)
    )


def test_as_many_calls_as_positions_and_a_point_mass_is_todays_likelihood():
    """K = L with a permutation for the steps."""
    order = torch.tensor([2, 0, 3, 1])
    schedule = StepTable(LENGTH, LENGTH, order.argsort().tolist(), strength=600.0)
    denoiser = random_denoiser(0.7, kind=ORDERS)
    out = Dense(LENGTH, calls=LENGTH).eval()(denoiser, schedule, Batch(TOKENS), StepRandom(0, 0))
    exact = -denoiser.order_log_prob(TOKENS, order.expand(3, -1)).sum(-1)
    assert torch.allclose(out.nelbo, exact, atol=1e-10, rtol=0)
