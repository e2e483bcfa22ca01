"""Matrices of pairs hold what they were given: read back from the Axes."""

import numpy as np
import pytest
import torch

from ordo.order import FixedOrder, PlackettLuce
from ordo.plots import pair_difference, precedence, precedence_matrix

LAW = PlackettLuce(torch.tensor([0.3, -1.2, 2.0, 0.0], dtype=torch.float64))


def test_precedence_of_drawn_orders_meets_the_closed_form():
    n = 40000
    p, exact = precedence(LAW.sample(n, torch.Generator().manual_seed(0))), LAW.precedence().numpy()
    assert (np.abs(p - exact) <= 4 * np.sqrt(exact * (1 - exact) / n)).all()
    fixed = FixedOrder(torch.tensor([2, 0, 3, 1]))
    assert np.array_equal(precedence(fixed.sample(3)), fixed.precedence().numpy())
    assert np.array_equal(precedence([[2, 0, 1]]), [[0, 1, 0], [0, 0, 0], [1, 1, 0]])


def test_precedence_matrix_shows_probabilities_edges_and_the_share_kept():
    p, edges = LAW.precedence(), [(0, 1), (1, 2), (2, 3)]
    figure = precedence_matrix(p, ["a", "b", "c", "d"], edges)
    axes = figure.axes[0]
    image = axes.images[0]
    apart = ~np.eye(4, dtype=bool)
    assert np.array_equal(image.get_array()[apart], p.numpy()[apart])
    assert np.ma.getmaskarray(image.get_array()).sum() == 4, "the diagonal says nothing"
    assert image.get_clim() == (0, 1), "white is 1/2"
    assert image.cmap(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.02)
    kept, broken = axes.lines
    assert sorted(zip(np.round(kept.get_ydata()), kept.get_xdata(), strict=True)) == [
        (0, 1),
        (2, 3),
    ], "row parent, column child"
    assert list(zip(np.round(broken.get_ydata()), broken.get_xdata(), strict=True)) == [(1, 2)]
    mean = np.mean([1 / (1 + np.exp(-d)) for d in (0.3 + 1.2, -1.2 - 2.0, 2.0)])
    assert axes.get_title(loc="left") == f"edges kept: {mean:.1%} on average; 2 of 3 in most orders"
    assert [
        text.get_text().endswith("not kept in most orders")
        for text in figure.legends[0].get_texts()
    ] == [False, True]
    written = {
        tuple(
            round(v) for v in (text.get_position()[1] - 0.25, text.get_position()[0])
        ): text.get_text()
        for text in axes.texts
    }
    assert written == {(i, j): f"{p[i, j]:.2f}" for i in range(4) for j in range(4) if i != j}
    plain = precedence_matrix(p)
    assert not plain.legends
    assert not plain.axes[0].lines
    all_kept = precedence_matrix(p, edges=[(2, 0)])
    assert len(all_kept.legends[0].get_texts()) == 1, "no mark that is not there"


def test_pair_difference_shows_the_array_and_hatches_the_undefined():
    table = np.array([[0.0, 0.3, np.nan], [0.3, 0.0, 0.05], [np.nan, 0.05, 0.0]])
    figure = pair_difference(table, ["a", "b", "c"])
    axes = figure.axes[0]
    shown = axes.images[0].get_array()
    assert np.ma.getmaskarray(shown).tolist() == [
        [True, False, True],
        [False, True, False],
        [True, False, True],
    ]
    assert shown.compressed().tolist() == [0.3, 0.3, 0.05, 0.05]
    assert axes.images[0].get_clim() == (0, 0.3)
    assert axes.get_title(loc="left") == "mean over pairs 0.175, largest 0.300"
    assert axes.patch.get_hatch()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "the column itself, or undefined"
    ]
    assert pair_difference(table * 0.1, ["a", "b", "c"]).axes[0].images[0].get_clim() == (0, 0.1), (
        "noise alone stays pale"
    )


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: precedence([[0, 0, 1]]), r"permutation of 0\.\.2"),
        (lambda: precedence_matrix(np.zeros((2, 3))), r"\(length, length\), got \(2, 3\)"),
        (lambda: precedence_matrix(np.full((2, 2), 0.7)), "probabilities"),
        (lambda: precedence_matrix([[0, 1.5], [-0.5, 0]]), "probabilities"),
        (lambda: precedence_matrix(LAW.precedence(), edges=[(0, 4)]), r"edge \(0, 4\)"),
        (lambda: precedence_matrix(LAW.precedence(), ["a"]), "4 positions, got 1"),
        (lambda: pair_difference(np.zeros((2, 2)), ["a"]), "2 positions, got 1"),
        (lambda: pair_difference(np.zeros(2), ["a"]), r"got \(2,\)"),
    ],
)
def test_wrong_input_is_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
