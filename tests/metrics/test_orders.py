"""Agreement of orders with edges and with each other, against enumeration of orders and scipy."""

import pytest
import torch
from scipy.stats import kendalltau

from ordo.metrics import edges_kept, kendall_tau, precedence_accuracy
from ordo.order import PlackettLuce

EDGES = {
    2: [(1, 0)],
    3: [(0, 2), (2, 1)],
    4: [(0, 1), (0, 2), (3, 2)],
    5: [(4, 0), (0, 1), (4, 1), (3, 2), (2, 4)],
}


@pytest.mark.parametrize("length", EDGES)
def test_accuracy_is_the_mean_of_edges_kept_over_all_orders(length, all_orders):
    log_w = torch.randn(length, generator=torch.Generator().manual_seed(length))
    orders = all_orders(length)
    p = PlackettLuce(log_w).log_prob(orders).exp()
    kept = torch.tensor([edges_kept(order, EDGES[length]) for order in orders], dtype=torch.float64)
    assert precedence_accuracy(log_w, EDGES[length]) == pytest.approx(
        float((p * kept).sum()), abs=1e-10
    )
    assert precedence_accuracy(torch.zeros(length), EDGES[length]) == pytest.approx(0.5, abs=1e-15)
    assert float(kept.mean()) == pytest.approx(0.5, abs=1e-12), (
        "half of the edges under random orders"
    )


def test_accuracy_of_a_sharp_law_is_what_its_mode_keeps():
    log_w = torch.tensor([0.0, 200.0, 400.0, 600.0], requires_grad=True)
    for edges, share in (([(3, 0), (2, 1)], 1.0), ([(0, 3)], 0.0), ([(3, 2), (1, 2)], 0.5)):
        assert precedence_accuracy(log_w, edges) == pytest.approx(share)
        assert edges_kept(PlackettLuce(log_w).mode(), edges) == share


def test_edges_kept_by_hand():
    edges = [(2, 0), (0, 1), (1, 3), (3, 2)]
    assert edges_kept([2, 0, 1, 3], edges) == 0.75
    assert edges_kept(torch.tensor([3, 1, 0, 2]), edges) == 0.25


@pytest.mark.parametrize("length", [2, 3, 4])
def test_kendall_tau_of_all_pairs_of_orders(length, all_orders):
    orders = all_orders(length).tolist()
    for a in orders:
        assert kendall_tau(a, a) == 1
        assert kendall_tau(a, a[::-1]) == -1
        for b in orders:
            rank_a, rank_b = ([order.index(i) for i in range(length)] for order in (a, b))
            assert kendall_tau(a, b) == pytest.approx(kendalltau(rank_a, rank_b)[0], abs=1e-6)


def test_kendall_tau_of_long_orders():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        a, b = torch.randperm(30, generator=generator), torch.randperm(30, generator=generator)
        assert kendall_tau(a, b) == pytest.approx(kendalltau(a.argsort(), b.argsort())[0], abs=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: precedence_accuracy(torch.zeros(2, 2), [(0, 1)]),
            "log_w must be finite and of shape",
        ),
        (
            lambda: precedence_accuracy(torch.tensor([0.0, torch.nan]), [(0, 1)]),
            "log_w must be finite",
        ),
        (lambda: precedence_accuracy(torch.zeros(3), []), "no edges"),
        (lambda: precedence_accuracy(torch.zeros(3), [(0, 3)]), r"edge \(0, 3\) is no pair"),
        (lambda: edges_kept([0, 1, 2], [(-1, 0)]), r"edge \(-1, 0\) is no pair"),
        (lambda: edges_kept([0, 1, 2], [(1, 1)]), r"edge \(1, 1\) is no pair"),
        (lambda: edges_kept([0, 1, 2], []), "no edges"),
        (lambda: edges_kept([0, 0, 2], [(0, 1)]), "order must be a permutation"),
        (lambda: edges_kept(torch.tensor([[0, 1]]), [(0, 1)]), "order must be a permutation"),
        (lambda: kendall_tau([0, 1], [1, 2]), "order_b must be a permutation"),
        (lambda: kendall_tau([0, 1], [0, 1, 2]), "lengths 2 and 3"),
        (lambda: kendall_tau([0], [0]), "at least 2"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
