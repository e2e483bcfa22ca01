"""n-gram divergence by hand, and its floor."""

import math

import pytest
import torch

from ordo.metrics import ngram_divergence, unigram_entropy


def by_hand(p, q):
    out = 0.0
    for x in p.keys() | q.keys():
        a, b = p.get(x, 0), q.get(x, 0)
        m = (a + b) / 2
        out += sum(v / 2 * math.log(v / m) for v in (a, b) if v)
    return out


def test_by_hand():
    a, b = torch.tensor([[0, 1, 0], [0, 0, 1]]), torch.tensor([[0, 1, 1]])
    assert ngram_divergence(a, b, 2) == pytest.approx(
        by_hand({"01": 0.5, "10": 0.25, "00": 0.25}, {"01": 0.5, "11": 0.5})
    )
    first, second = (
        by_hand({"01": 0.5, "00": 0.5}, {"01": 1}),
        by_hand({"10": 0.5, "01": 0.5}, {"11": 1}),
    )
    assert ngram_divergence(a, b, 2, by_position=True) == pytest.approx((first + second) / 2)
    assert ngram_divergence(a, a, 3) == 0
    assert ngram_divergence(torch.zeros(2, 3), torch.ones(5, 3), 1) == pytest.approx(math.log(2))
    assert unigram_entropy(a) == pytest.approx(-(4 / 6 * math.log(4 / 6) + 2 / 6 * math.log(2 / 6)))


def test_it_orders_what_is_near_and_far():
    generator = torch.Generator().manual_seed(0)
    p = torch.tensor([0.5, 0.3, 0.2])

    def draw(p, n):
        return torch.multinomial(p, n * 8, replacement=True, generator=generator).view(n, 8)

    real = draw(p, 4000)
    floor, near, far = (
        ngram_divergence(draw(q, 1000), real)
        for q in (p, torch.tensor([0.45, 0.33, 0.22]), torch.tensor([0.2, 0.3, 0.5]))
    )
    assert floor < 0.3 * near < 0.1 * far
    assert ngram_divergence(draw(p, 100), real) > 3 * floor, "fewer samples, more chance"


def test_bad_shapes():
    x = torch.zeros(3, 4, dtype=torch.int64)
    for a, b, n in ((x, x[:, :3], 2), (x[0], x, 2), (x, x, 5), (x, x, 0)):
        with pytest.raises(ValueError, match="one length"):
            ngram_divergence(a, b, n)
