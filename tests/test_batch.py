"""What a batch says of its positions, against plain loops over rows."""

import pytest
import torch

from ordo.batch import Batch, seen_by
from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer

N, LENGTH = 7, 6
GENERATOR = torch.Generator().manual_seed(0)
TOKENS = torch.randint(5, (N, LENGTH), generator=GENERATOR)
KNOWN = torch.rand(N, LENGTH, generator=GENERATOR) < 0.4
LENGTHS = torch.tensor([6, 3, 1, 5, 6, 2, 4])
ORDER = torch.rand(N, LENGTH, generator=GENERATOR).argsort(1)
BATCHES = {
    "whole": Batch(TOKENS),
    "given": Batch(TOKENS, KNOWN),
    "padded": Batch(TOKENS, None, LENGTHS),
    "both": Batch(TOKENS, KNOWN, LENGTHS),
}


def kinds(batch):
    """By row: the given, the decoded and the padded positions."""
    for i in range(len(batch.tokens)):
        end = LENGTH if batch.lengths is None else int(batch.lengths[i])
        given = {p for p in range(end) if batch.known is not None and batch.known[i, p]}
        yield given, set(range(end)) - given, set(range(end, LENGTH))


@pytest.mark.parametrize("name", BATCHES)
def test_given_decoded_and_padding(name):
    batch = BATCHES[name]
    order = batch.decoded_first(ORDER)
    by_rank = batch.zero_undecoded(torch.ones(N, LENGTH))
    for i, (given, decoded, padding) in enumerate(kinds(batch)):
        assert set(batch.given[i].nonzero()[:, 0].tolist()) == given
        assert set(batch.decoded[i].nonzero()[:, 0].tolist()) == decoded
        here = set(range(LENGTH)) if batch.present is None else None
        here = here or set(batch.present[i].nonzero()[:, 0].tolist())
        assert here == given | decoded
        want = [p for part in (given, decoded, padding) for p in ORDER[i].tolist() if p in part]
        assert order[i].tolist() == want, "each part in the order that was drawn"
        ones = [float(p in decoded) for p in want]
        assert by_rank[i].tolist() == ones
    assert batch.whole == (name == "whole")
    fewest = min(len(given) for given, *_ in kinds(batch))
    assert batch.n_leading_given() == min(fewest, LENGTH - 1)
    assert Batch(TOKENS, KNOWN | True).n_leading_given() == LENGTH - 1


@pytest.mark.parametrize("name", BATCHES)
def test_rows(name):
    batch = BATCHES[name]
    many = batch.repeat(3)
    for draw in range(3):
        for i in range(N):
            one = many.rows(torch.tensor([draw * N + i]))
            want = batch.rows(slice(i, i + 1))
            for a, b in zip(one, want, strict=True):
                assert (a is None and b is None) or torch.equal(a, b)
    parts = batch.split(3)
    assert [len(part.tokens) for part in parts] == [3, 3, 1]
    assert torch.equal(torch.cat([part.tokens for part in parts]), TOKENS)
    assert torch.equal(torch.cat([part.decoded for part in parts]), batch.decoded)
    moved = batch.to("meta")
    assert all(x is None or x.device.type == "meta" for x in moved)


def test_what_a_batch_is_made_of():
    assert Batch.of(TOKENS).tokens is TOKENS
    assert Batch.of((TOKENS, KNOWN)).known is KNOWN
    assert Batch.of(BATCHES["both"]) is not None
    assert Batch.of(BATCHES["both"]).lengths is LENGTHS


def test_what_a_denoiser_is_told_of_padding():
    sets = BidirectionalTransformer(5, LENGTH, width=8, heads=1, layers=1)
    orders = OrderCausalTransformer(5, LENGTH, width=8, heads=1, layers=1)
    assert seen_by(sets, BATCHES["given"]) == {}
    assert seen_by(orders, BATCHES["both"]) == {}, "padding comes last in every order"
    present = seen_by(sets, BATCHES["both"])["present"]
    assert present.sum(1).tolist() == LENGTHS.tolist()
