"""Without shapes that depend on data: the same numbers, in one graph, compiled once."""

import itertools
from typing import Any

import pytest
import torch

from ordo.batch import Batch
from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer, cost
from ordo.objectives import Dense, OrderSpace, ScoreFunction, TimeSpace
from ordo.randomness import StepRandom
from ordo.schedules import (
    FreeTable,
    GivenOrder,
    Linear,
    LogBound,
    PerContext,
    PerVocabulary,
    PooledNetwork,
    PositionNetwork,
    Power,
    TokenNetwork,
)

LENGTH, VOCAB, BATCH = 6, 5, 4
ALL: dict[str, Any] = {"unigram": True, "length": LENGTH, "vocab_size": VOCAB}
OBJECTIVES: dict[str, Any] = {
    "time": lambda: TimeSpace(2, score=ScoreFunction("ema", "mirror")),
    "order": lambda: OrderSpace(2),
    "order_relax": lambda: OrderSpace(1, score=ScoreFunction("learned", relax=True, **ALL)),
    "dense": lambda: Dense(LENGTH, unigram=True, vocab_size=VOCAB),
}
SCHEDULES: dict[str, Any] = {
    "random": lambda: Linear(LENGTH),
    "learned": lambda: Power(LENGTH, PositionNetwork(LENGTH, init_std=0.5)),
    "content": lambda: PerContext(
        LENGTH,
        TokenNetwork(VOCAB, LENGTH, 8),
        PooledNetwork(VOCAB, LENGTH, 8),
        LogBound(),
        floor=0.1,
    ),
    "vocabulary": lambda: PerVocabulary(LENGTH, VOCAB, init_std=0.5),
}
CASES = [
    *itertools.product(("time", "order"), SCHEDULES),
    ("order_relax", "learned"), ("order_relax", "content"),
    ("dense", "random"), ("dense", "learned"), ("dense", "content"),
]  # fmt: skip


def parts(objective, schedule):
    torch.manual_seed(0)
    kind = OrderCausalTransformer if objective.endswith("dense") else BidirectionalTransformer
    return (
        kind(VOCAB, LENGTH, width=8, heads=2, layers=2),
        SCHEDULES[schedule](),
        OBJECTIVES[objective](),
    )


def three_steps(denoiser, schedule, objective, lengths=None):
    """Values, gradients and running statistics of three steps."""
    found = []
    for step in range(3):
        tokens = torch.randint(
            VOCAB, (BATCH, LENGTH), generator=torch.Generator().manual_seed(step)
        )
        out = objective(denoiser, schedule, Batch(tokens, None, lengths), StepRandom(step=step))
        out.loss.backward()
        found += [out.nelbo, out.by_position]
    parameters = [*denoiser.parameters(), *schedule.parameters()]
    return [*found, *(p.grad for p in parameters), *objective.buffers()]


@pytest.mark.parametrize("lengths", [None, torch.tensor([6, 3, 1, 4])], ids=["whole", "padded"])
@pytest.mark.parametrize(("objective", "schedule"), CASES)
def test_the_same_numbers(objective, schedule, lengths, monkeypatch):
    want = three_steps(*parts(objective, schedule), lengths)
    for module in ("denoisers.cost", "objectives.reverse", "objectives.time_space"):
        monkeypatch.setattr(f"ordo.{module}.static_shapes", lambda device: True)
    got = three_steps(*parts(objective, schedule), lengths)
    for a, b in zip(want, got, strict=True):
        assert torch.allclose(a, b, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("objective", "schedule"), CASES)
def test_one_graph(objective, schedule):
    """fullgraph=True: dynamo raises at anything it would have to leave to Python. A second graph
    would be a recompilation.
    """
    want = three_steps(*parts(objective, schedule))
    denoiser, noise, estimator = parts(objective, schedule)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    estimator.estimate = torch.compile(
        estimator.estimate, fullgraph=True, dynamic=False, backend="aot_eager"
    )
    got = three_steps(denoiser, noise, estimator)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    for a, b in zip(want, got, strict=True):
        assert torch.allclose(a, b, atol=1e-6, rtol=1e-5)


def test_order_space_never_masks_more_than_it_makes_room_for(monkeypatch):
    """Whatever the batch, the draws, what is given or padded, and the share of a step: looked at in
    1000 steps of odd sizes.
    """
    room = []

    def count(denoiser, tokens, target, where, present=None, most=None):
        room.append(most - int(where.sum()))
        return torch.zeros(where.shape, dtype=torch.float64)

    monkeypatch.setattr("ordo.objectives.reverse.nll_of_set", count)
    generator = torch.Generator().manual_seed(0)
    for step in range(1000):
        batch, length, draws, shards = (
            int(torch.randint(low, high, (), generator=generator))
            for low, high in ((1, 9), (1, 9), (1, 4), (1, 5))
        )
        random = StepRandom(step=step, shard=step % shards, shards=shards)
        lengths = torch.randint(1, length + 1, (batch,), generator=generator) if step % 2 else None
        known = torch.rand(batch, length, generator=generator) < 0.3 if step % 3 else None
        denoiser = BidirectionalTransformer(2, length, width=2, heads=1, layers=1)
        OrderSpace(draws)(
            denoiser,
            Linear(length),
            Batch(torch.zeros(batch, length, dtype=torch.long), known, lengths),
            random,
        )
    assert min(room) >= 0
    assert min(room) < 3, "nor much less"


def test_a_given_order_and_a_table_too(monkeypatch):
    """Laws whose next choice is certain, or a network of one number per position."""
    for schedule in (
        GivenOrder(LENGTH, "right_to_left"),
        Power(LENGTH, FreeTable(LENGTH, init_std=1.0)),
    ):
        torch.manual_seed(0)
        denoiser = BidirectionalTransformer(VOCAB, LENGTH, width=8, heads=2, layers=2)
        tokens = torch.randint(VOCAB, (BATCH, LENGTH), generator=torch.Generator().manual_seed(0))
        values = []
        for static in (False, True):
            monkeypatch.setattr(cost, "static_shapes", lambda device, static=static: static)
            values.append(OrderSpace(2)(denoiser, schedule, tokens, StepRandom()).nelbo)
        assert torch.allclose(*values, atol=1e-6)
