"""A denoiser of one's own: what samplers hand to it, and decoding by its ``conditionals`` alone."""

import itertools

import pytest
import torch

from ordo.denoisers import begin_session
from ordo.samplers import (
    ByLaw,
    ByScore,
    ForwardBackward,
    InSteps,
    OnGrid,
    PathPlanning,
    ReMDM,
    Sampler,
    Threshold,
    sample,
)
from ordo.samplers.how_many import All
from ordo.schedules import Linear

LENGTH, VOCAB = 6, 3


class OrderMatters:
    """Order-causal in the letter: logits are a fixed function of the revealed tokens, in turn.

    It reads the order by sorting it, as the protocol allows, so it goes wrong for what is no
    permutation.
    """

    vocab_size, length, mask_id, order_causal = VOCAB, LENGTH, VOCAB, True
    device = torch.device("cpu")

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.table = 3 * torch.randn(
            LENGTH, LENGTH, VOCAB, LENGTH, VOCAB, generator=generator, dtype=torch.float64
        )
        self.orders = []

    def conditionals(self, tokens, order, n_revealed):
        self.orders.append(order.clone())
        assert tokens.max() < VOCAB
        rank = order.argsort(-1)
        out = torch.zeros(len(tokens), LENGTH, VOCAB, dtype=torch.float64)
        for row, position in itertools.product(range(len(tokens)), range(LENGTH)):
            if rank[row, position] < n_revealed[row]:
                out[row] += self.table[rank[row, position], position, tokens[row, position]]
        return out.log_softmax(-1)


def by_hand(denoiser, trace):
    """-log p of a trace by a loop over its own steps: positions of one step see those of steps
    before, in turn.
    """
    total = torch.zeros(len(trace.tokens), dtype=torch.float64)
    for row in range(len(trace.tokens)):
        tokens, turn = trace.tokens[row], trace.rank[row].argsort().tolist()
        for position in range(LENGTH):
            seen = [p for p in turn if trace.step[row, p] < trace.step[row, position]]
            logits = torch.zeros(LENGTH, VOCAB, dtype=torch.float64)
            for i, p in enumerate(seen):
                logits += denoiser.table[i, p, tokens[p]]
            total[row] += logits.log_softmax(-1)[position, tokens[position]]
    return total


SAMPLERS = {
    "one a call": Sampler(),
    "some a call": Sampler(ByScore(), InSteps(3)),
    "a threshold": Sampler(ByScore("margin"), Threshold(0.6)),
    "a grid": Sampler(ByLaw(), OnGrid(4)),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_decoding_by_conditionals(name):
    """A denoiser with ``conditionals`` and no ``session`` draws by its own law, which a loop over
    the trace computes again.
    """
    denoiser = OrderMatters()
    trace = sample(denoiser, SAMPLERS[name], 100, schedule=Linear(LENGTH), seed=1)  # type: ignore[arg-type]
    torch.testing.assert_close(trace.total_log_prob, by_hand(denoiser, trace), rtol=0, atol=1e-10)


def test_given_positions_come_first():
    denoiser = OrderMatters()
    given = torch.randint(VOCAB, (50, LENGTH), generator=torch.Generator().manual_seed(2))
    known = torch.rand(50, LENGTH, generator=torch.Generator().manual_seed(3)) < 0.4
    trace = sample(denoiser, SAMPLERS["some a call"], 50, given=given, known=known, seed=1)  # type: ignore[arg-type]
    assert torch.equal(trace.tokens[known], given[known])
    for order in denoiser.orders:
        assert torch.equal(order.sort(-1).values, torch.arange(LENGTH).expand_as(order))


REVISED = {
    "remdm": Sampler(ByLaw(), OnGrid(6), revise=ReMDM("cap", 0.3)),
    "forward and backward": Sampler(ByLaw(), OnGrid(5), revise=ForwardBackward(2)),
    "path planning": Sampler(ByLaw(), All(), revise=PathPlanning(4)),
}


@pytest.mark.parametrize("name", [*SAMPLERS, *REVISED])
def test_the_order_handed_over_is_a_permutation(name):
    """At every call, of every row, whatever is revealed at once or masked again; the revealed
    positions come first.
    """
    denoiser = OrderMatters()
    seen = []

    def session(n, present):
        inner = begin_session(OrderMatters(), n, present)

        def call(rows, tokens, order, n_revealed, where):
            assert torch.equal(order.sort(-1).values, torch.arange(LENGTH).expand_as(order))
            first = torch.arange(LENGTH) < n_revealed[:, None]
            revealed = torch.zeros_like(first).scatter(1, order, first)
            assert (
                not (where & revealed).any() or name == "path planning"
            )  # which judges what is revealed
            seen.append(len(rows))
            return inner(rows, tokens, order, n_revealed, where)

        return call

    denoiser.session = session  # type: ignore[attr-defined]
    denoiser.order_causal = False
    sample(denoiser, (SAMPLERS | REVISED)[name], 40, schedule=Linear(LENGTH), seed=4)  # type: ignore[arg-type]
    assert seen
