"""How far a decoding order agrees with known precedences, or with another order.

An order names the positions 0..length-1, the first decoded first. Edges are pairs (i, j): i should
come before j. Shares of edges are in [0, 1]: 1 is full agreement; random orders reach 0.5 on
average.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Order = Tensor | Sequence[int]


def precedence_accuracy(log_w: Tensor, edges: Sequence[tuple[int, int]]) -> float:
    """Expected share of edges kept by an order of the Plackett-Luce law of ``log_w`` (length,).

    It is the mean over edges of w_i / (w_i + w_j).

    Raises ValueError: log_w of another shape or not finite, no edges, or an edge that is no pair of
    two positions. Source: Plackett (1975); the closed form of
    ``ordo.order.PlackettLuce.precedence``.
    """
    if log_w.ndim != 1 or not torch.isfinite(log_w).all():
        raise ValueError(f"log_w must be finite and of shape (length,), got {log_w.tolist()}")
    before, after = _checked_edges(edges, log_w.numel())
    log_w = log_w.detach().double().cpu()
    return float(torch.sigmoid(log_w[before] - log_w[after]).mean())


def edges_kept(order: Order, edges: Sequence[tuple[int, int]]) -> float:
    """Share of edges (i, j) with i before j in ``order``.

    Raises ValueError: no permutation, no edges, or an edge that is no pair of two positions.
    """
    rank = _rank(order, "order")
    before, after = _checked_edges(edges, rank.numel())
    return float((rank[before] < rank[after]).double().mean())


def kendall_tau(order_a: Order, order_b: Order) -> float:
    """1 - 2 * (share of pairs of positions that the two orders put differently).

    1 for equal orders, -1 for reversed ones, 0 by chance.

    Raises ValueError: no permutations, of different lengths, or shorter than 2.
    Source: Kendall, A New Measure of Rank Correlation (1938).
    """
    a, b = _rank(order_a, "order_a"), _rank(order_b, "order_b")
    length = a.numel()
    if length != b.numel() or length < 2:
        raise ValueError(
            f"need two orders of one length of at least 2, got lengths {length} and {b.numel()}"
        )
    same = (a[:, None] < a) == (b[:, None] < b)  # the diagonal agrees with itself
    return float(2 * (same.sum() - length) / (length * (length - 1)) - 1)


def _rank(order: Order, name: str) -> Tensor:
    """Place of every position, (length,) int64."""
    positions = torch.as_tensor(order).cpu()
    if positions.ndim != 1 or not torch.equal(
        positions.sort().values, torch.arange(positions.numel())
    ):
        raise ValueError(f"{name} must be a permutation of 0..length-1, got {positions.tolist()}")
    return positions.argsort()


def _checked_edges(edges: Sequence[tuple[int, int]], length: int) -> tuple[list[int], list[int]]:
    """First and second positions of the edges."""
    if len(edges) == 0:
        raise ValueError("no edges to keep; give at least one pair (i, j), i before j")
    for i, j in edges:
        if i == j or not (0 <= i < length and 0 <= j < length):
            raise ValueError(f"edge ({i}, {j}) is no pair of two positions of 0..{length - 1}")
    return [i for i, _ in edges], [j for _, j in edges]
