"""Without shapes that depend on data: the same numbers, in one graph that torch.compile makes once."""

import itertools

import pytest
import torch

from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.objectives import Dense, OrderSpace, TimeSpace, output
from ordo.randomness import StepRandom
from ordo.schedules import FreeTable, Linear, PositionNetwork, Power

LENGTH, VOCAB, BATCH = 6, 5, 4
OBJECTIVES = {"time": lambda: TimeSpace(2), "order": lambda: OrderSpace(2), "dense": lambda: Dense(LENGTH, unigram=True, vocab_size=VOCAB)}
SCHEDULES = {"random": lambda: Linear(LENGTH), "learned": lambda: Power(LENGTH, PositionNetwork(LENGTH, init_std=0.5))}


def parts(objective, schedule):
    torch.manual_seed(0)
    kind = OrderCausalTransformer if objective == "dense" else BidirectionalTransformer
    return kind(VOCAB, LENGTH, width=8, heads=2, layers=2), SCHEDULES[schedule](), OBJECTIVES[objective]()


def three_steps(denoiser, schedule, objective, lengths=None):
    """Values, gradients and running statistics of three steps."""
    found = []
    for step in range(3):
        tokens = torch.randint(VOCAB, (BATCH, LENGTH), generator=torch.Generator().manual_seed(step))
        out = objective(denoiser, schedule, tokens, StepRandom(step=step), lengths=lengths)
        out.loss.backward()
        found += [out.nelbo, out.by_position]
    parameters = [*denoiser.parameters(), *schedule.parameters()]
    return [*found, *(p.grad for p in parameters), *objective.buffers()]


@pytest.mark.parametrize("lengths", [None, torch.tensor([6, 3, 1, 4])], ids=["whole", "padded"])
@pytest.mark.parametrize(("objective", "schedule"), list(itertools.product(OBJECTIVES, SCHEDULES)))
def test_the_same_numbers(objective, schedule, lengths, monkeypatch):
    want = three_steps(*parts(objective, schedule), lengths)
    monkeypatch.setattr(output, "static_shapes", lambda device: True)
    got = three_steps(*parts(objective, schedule), lengths)
    for a, b in zip(want, got, strict=True):
        assert torch.allclose(a, b, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("objective", "schedule"), list(itertools.product(OBJECTIVES, SCHEDULES)))
def test_one_graph(objective, schedule):
    """fullgraph=True: dynamo raises at anything it would have to leave to Python. A second graph would be a recompilation."""
    want = three_steps(*parts(objective, schedule))
    denoiser, noise, estimator = parts(objective, schedule)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    estimator.estimate = torch.compile(estimator.estimate, fullgraph=True, dynamic=False, backend="aot_eager")
    got = three_steps(denoiser, noise, estimator)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    for a, b in zip(want, got, strict=True):
        assert torch.allclose(a, b, atol=1e-6, rtol=1e-5)


def test_order_space_never_masks_more_than_it_makes_room_for(monkeypatch):
    """Whatever the batch, the draws, what is given or padded, and the share of a step: looked at in 3000 steps of odd sizes."""
    room = []

    def count(denoiser, tokens, target, where, lengths=None, most=None):
        room.append(most - int(where.sum()))
        return torch.zeros(where.shape, dtype=torch.float64)

    monkeypatch.setattr("ordo.objectives.order_space.set_cost", count)
    generator = torch.Generator().manual_seed(0)
    for step in range(3000):
        batch, length, draws, shards = (
            int(torch.randint(low, high, (), generator=generator)) for low, high in ((1, 9), (1, 9), (1, 4), (1, 5))
        )
        random = StepRandom(step=step, shard=step % shards, shards=shards)
        lengths = torch.randint(1, length + 1, (batch,), generator=generator) if step % 2 else None
        known = torch.rand(batch, length, generator=generator) < 0.3 if step % 3 else None
        denoiser = BidirectionalTransformer(2, length, width=2, heads=1, layers=1)
        OrderSpace(draws)(denoiser, Linear(length), torch.zeros(batch, length, dtype=torch.long), random, known, lengths)
    assert min(room) >= 0
    assert min(room) < 3, "nor much less"


def test_a_given_order_and_a_table_too(monkeypatch):
    """Laws whose next choice is certain, or a network of one number per position."""
    from ordo.schedules import GivenOrder

    for schedule in (GivenOrder(LENGTH, "right_to_left"), Power(LENGTH, FreeTable(LENGTH, init_std=1.0))):
        torch.manual_seed(0)
        denoiser = BidirectionalTransformer(VOCAB, LENGTH, width=8, heads=2, layers=2)
        tokens = torch.randint(VOCAB, (BATCH, LENGTH), generator=torch.Generator().manual_seed(0))
        values = []
        for static in (False, True):
            monkeypatch.setattr(output, "static_shapes", lambda device, static=static: static)
            values.append(OrderSpace(2)(denoiser, schedule, tokens, StepRandom()).nelbo)
        assert torch.allclose(*values, atol=1e-6)
