"""Calls in decoding against ``conditionals``: the cache changes nothing, whatever was revealed,
asked or masked again, in any rows.
"""

import pytest
import torch

from ordo.denoisers import (
    BidirectionalTransformer,
    OrderCausalTableTransformer,
    OrderCausalTransformer,
    TableTransformer,
)

LENGTH, VOCAB, N = 6, 4, 5
SIZES = [4, 2, 3, 4, 1, 3]


def make(kind, **kwargs):
    torch.manual_seed(0)
    first = [SIZES] if "Table" in kind.__name__ else [VOCAB, LENGTH]
    net = kind(*first, width=16, heads=2, layers=2, **kwargs).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net.eval().requires_grad_(False)


KINDS = [
    (BidirectionalTransformer, {}),
    (BidirectionalTransformer, {"time_conditioning": True}),
    (BidirectionalTransformer, {"positions": "learned"}),
    (OrderCausalTransformer, {}),
    (OrderCausalTransformer, {"positions": "rotary"}),
    (OrderCausalTransformer, {"given": [1, 4]}),
    (TableTransformer, {"ordered": [4, 0, 3, 0, 0, 2], "waves": 2}),
    (OrderCausalTableTransformer, {}),
]


@pytest.mark.parametrize(("kind", "kwargs"), KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_any_history(kind, kwargs, seed):
    """Random histories: rows take part or not, reveal no, one or several tokens, mask some again,
    and ask about one or many positions.
    """
    net = make(kind, **kwargs)
    generator = torch.Generator().manual_seed(seed)
    session = net.session(N)

    def random(*shape):
        return torch.rand(*shape, generator=generator)

    tokens = torch.full((N, LENGTH), net.mask_id)
    order = random(N, LENGTH).argsort(1)
    n_revealed = torch.zeros(N, dtype=torch.int64)
    sizes = torch.tensor(SIZES if "Table" in kind.__name__ else [VOCAB] * LENGTH)
    for _ in range(12):
        rows = (random(N) < 0.7).nonzero()[:, 0] if random(1) < 0.6 else torch.arange(N)
        masked = tokens == net.mask_id
        one = random(1) < 0.5
        score = random(N, LENGTH).masked_fill(~masked, -1)
        where = (
            (score == score.max(1, keepdim=True).values) & masked
            if one
            else (random(N, LENGTH) < 0.5) & masked
        )
        rows = rows[where[rows].any(1)]
        if len(rows):
            out = session(rows, tokens[rows], order[rows], n_revealed[rows], where[rows])
            filled = torch.where(masked, 0, tokens)
            exact = net.conditionals(filled, order, n_revealed)[rows][where[rows]]
            assert torch.allclose(out.exp(), exact.exp(), atol=1e-12)
        for row in range(N):
            kept = n_revealed[row].item()
            loses = random(1) < 0.25  # masks some again
            stay = [p for p in order[row, :kept].tolist() if not loses or random(1) < 0.6]
            others = [p for p in range(LENGTH) if p not in stay]
            others = [others[i] for i in torch.randperm(len(others), generator=generator).tolist()]
            if one and where[row].any() and random(1) < 0.7:  # reveal what was asked about
                asked = where[row].nonzero()[0].item()
                if asked in others:
                    others.remove(asked)
                    others.insert(0, asked)
            more = min(len(others), int(random(1) * 3))
            order[row] = torch.tensor(stay + others)
            tokens[row, others] = net.mask_id
            for p in others[:more]:
                tokens[row, p] = int(random(1) * sizes[p])
            n_revealed[row] = len(stay) + more


def test_each_revealed_token_is_computed_once():
    """One position at a time, known before the call: every call runs one slot a row."""
    net = make(OrderCausalTransformer)
    slots = []
    run = net.run_slots
    net.run_slots = lambda carried, *rest: slots.append(carried.shape[1]) or run(carried, *rest)
    session, order = net.session(3), torch.stack([torch.randperm(LENGTH) for _ in range(3)])
    tokens = torch.full((3, LENGTH), net.mask_id)
    for i in range(LENGTH):
        where = torch.zeros(3, LENGTH, dtype=torch.bool).scatter(1, order[:, i : i + 1], True)
        session(torch.arange(3), tokens, order, torch.full((3,), i), where)
        tokens = torch.where(where, 1, tokens)
    assert slots == [1] * LENGTH
    tokens, slots[:] = torch.full((3, LENGTH), net.mask_id), []
    session = net.session(3)
    for i in (0, 2, 4):  # two at a time: the second one's slot is new
        where = torch.zeros(3, LENGTH, dtype=torch.bool).scatter(1, order[:, i : i + 2], True)
        session(torch.arange(3), tokens, order, torch.full((3,), i), where)
        tokens = torch.where(where, 1, tokens)
    assert slots == [2, 4, 4]
