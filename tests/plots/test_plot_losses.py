"""Pictures of losses, orders, gradients and step sizes, read back from the Axes."""

import numpy as np
import pytest
import torch

from ordo.plots import (
    gradient_signal,
    loss_heatmap,
    order_nll_violin,
    rates_and_norms,
    step_sizes,
)
from ordo.plots.figure import shorten, spread_apart, wrapped
from ordo.samplers import best_sizes

RANDOM = np.random.default_rng(0)


def test_loss_heatmap_shows_the_array_its_bins_and_what_was_never_seen():
    mean = np.array([[1.0, 2.0, np.nan], [0.5, 0.25, 3.0]])
    figure = loss_heatmap(torch.tensor(mean), ["a", "b"], "bits", edges=[0, 1, 3, 7])
    axes = figure.axes[0]
    mesh = axes.collections[0]
    shown = mesh.get_array().reshape(2, 3)
    assert np.array_equal(np.ma.filled(shown, np.nan), mean, equal_nan=True)
    assert mesh.get_coordinates()[0, :, 0].tolist() == [-0.5, 0.5, 2.5, 6.5]
    assert mesh.get_clim() == (0.25, 3)
    assert axes.yaxis_inverted()
    assert axes.patch.get_hatch()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["never seen"]
    assert "bits" in figure.axes[1].get_ylabel()
    whole = loss_heatmap(np.ones((3, 3)))
    assert not whole.legends
    assert whole.axes[0].collections[0].get_coordinates()[0, :, 0].tolist() == [-0.5, 0.5, 1.5, 2.5]
    assert loss_heatmap(np.full((2, 2), np.nan)).axes[0].collections[0].get_clim() == (0, 1)


def test_loss_heatmap_is_scaled_to_its_data_but_for_the_rarest_cells():
    table = RANDOM.uniform(2, 3, (20, 20))
    table[3, 4], table[5, 6] = 50.0, 0.1
    figure = loss_heatmap(table)
    low, high = figure.axes[0].collections[0].get_clim()
    inner = np.sort(table.ravel())
    assert (low, high) == (inner[3], inner[-4])  # floor(.01 * 399) = 3 cells at either end
    assert len(figure.axes[1].patches) == 2, "an arrow at both ends"
    table[3, 4] = table[5, 6] = 2.5
    flat = loss_heatmap(np.full((20, 20), 2.0)).axes
    assert flat[0].collections[0].get_clim() == (0, 2)
    assert len(flat[1].patches) == 0
    few = loss_heatmap([[1.0, 2.0], [9.0, 3.0]]).axes
    assert few[0].collections[0].get_clim() == (1, 9), "of few cells none is left out"


def test_order_nll_violin_shows_orders_means_and_marks():
    nll = {"uniform": RANDOM.normal(3, 0.1, 20), "own law": torch.full((5,), 2.0)}
    marks = {"left to right": 2.0, "mode": 2.0001, "NELBO": 2.9}
    figure = order_nll_violin(nll, marks, "bits")
    axes = figure.axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [
        np.allclose(line.get_ydata(), each) for line, each in zip(dots, nll.values(), strict=True)
    ] == [True, True]
    diamonds = [line for line in axes.lines if line.get_marker() == "D"]
    assert [line.get_ydata()[0] for line in diamonds] == pytest.approx([nll["uniform"].mean(), 2.0])
    assert len(axes.collections) == 1, "no density of orders that are all alike"
    across = [line.get_ydata()[0] for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    assert across == list(marks.values())
    assert [text.get_text() for text in axes.texts] == [
        "left to right  2.0000",
        "mode  2.0001",
        "NELBO  2.9000",
    ]
    leaders = [line for line in axes.lines if len(line.get_xdata()) == 3]
    low, high = axes.get_ylim()
    for text, leader, value in zip(axes.texts, leaders, marks.values(), strict=True):
        assert low + leader.get_ydata()[0] * (high - low) == pytest.approx(value), "from the line"
        assert leader.get_ydata()[-1] == text.xy[1], "to its label"
    assert axes.texts[1].xy[1] - axes.texts[0].xy[1] > 0.03


def test_spread_apart_moves_as_little_as_it_must():
    assert spread_apart([0.9, 0.1, 0.5], 0.1, 0, 1) == pytest.approx([0.9, 0.1, 0.5])
    assert spread_apart([0.5, 0.5], 0.1, 0, 1) == pytest.approx([0.45, 0.55])
    assert spread_apart([0.0, 0.0, 0.05], 0.1, 0, 1) == pytest.approx([0.0, 0.1, 0.2]), (
        "the ends hold"
    )
    assert spread_apart([1.0, 0.99], 0.1, 0, 1) == pytest.approx([1.0, 0.9])
    assert spread_apart([0.5] * 5, 0.5, 0, 1) == pytest.approx([0, 0.25, 0.5, 0.75, 1]), (
        "closer where there are too many"
    )
    values = RANDOM.uniform(size=8)
    out = spread_apart(values, 0.08, 0, 1)
    assert np.array_equal(out.argsort(), values.argsort())
    assert (np.diff(np.sort(out)) > 0.08 - 1e-9).all()
    near = RANDOM.uniform(-0.01, 0.01, (200, 8)) + out  # no other admissible places are nearer
    ok = (np.diff(np.sort(near)) >= 0.08).all(1) & (near >= 0).all(1) & (near <= 1).all(1)
    assert (((near - values) ** 2).sum(1)[ok] >= ((out - values) ** 2).sum() - 1e-12).all()


def test_gradient_signal_shows_every_series_in_both_panels():
    steps = np.arange(5) * 10
    variance, signal = (
        {"time": RANDOM.uniform(1, 9, 5), "dense": RANDOM.uniform(1, 9, 5)},
        {"time": np.ones(5), "dense": np.full(5, 4.0)},
    )
    signal["time"][2] = 0.0
    figure = gradient_signal(steps, variance, signal)
    for axes, series in zip(figure.axes, (variance, signal), strict=True):
        assert axes.get_yscale() == "log"
        for line, values in zip(axes.lines, series.values(), strict=False):
            assert np.array_equal(line.get_xdata(), steps)
            assert np.array_equal(
                line.get_ydata(), np.where(values > 0, values, np.nan), equal_nan=True
            )
    assert figure.axes[1].lines[2].get_ydata() == [1.0, 1.0], "what noise alone would show"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["time", "dense"]
    assert not gradient_signal(steps, variance["time"], signal["dense"]).legends
    own = gradient_signal({"a": [1, 2], "b": [5]}, {"a": [1, 1], "b": [2]}, {"a": [3, 3], "b": [4]})
    assert [line.get_xdata().tolist() for line in own.axes[0].lines] == [[1, 2], [5]]


def test_step_sizes_shows_the_profile_the_steps_and_what_they_lose():
    profile = np.array([3.0, 2.0, 1.0, 0.5, 0.5, 0.5])
    sizes = [best_sizes(torch.tensor(profile), k) for k in (1, 2, 6)]
    figure = step_sizes(profile, sizes)
    top, bottom = figure.axes
    assert np.array_equal(top.lines[0].get_ydata(), profile)
    for i, (row, bars) in enumerate(zip(sizes, bottom.collections, strict=True)):
        corners = [path.vertices for path in bars.get_paths()]
        assert [round(np.ptp(c[:, 0]), 9) for c in corners] == row
        assert [c[:, 0].min() + 0.5 for c in corners] == [sum(row[:k]) for k in range(len(row))]
        assert all(c[:, 1].min() < i < c[:, 1].max() for c in corners)
        assert len({tuple(colour) for colour in bars.get_facecolors()}) == min(2, len(row))
    said = [text.get_text() for text in bottom.texts if text.get_text().startswith("KL")]
    by_hand = []
    for row in sizes:  # every token of a step costs what the first of it does
        start = np.cumsum([0, *row[:-1]])
        by_hand.append(sum(n * profile[s] for s, n in zip(start, row, strict=True)) - profile.sum())
    assert said == [f"KL {value:.3g}" for value in by_hand]
    assert [label.get_text() for label in bottom.get_yticklabels()] == [
        "1 call",
        "2 calls",
        "6 calls",
    ]
    named = step_sizes(profile, {"even": [3, 3]})
    assert [label.get_text() for label in named.axes[1].get_yticklabels()] == ["even"]


def test_labels_are_literal_and_of_one_line():
    assert shorten("cost in $ or $") == r"cost in \$ or \$"
    assert shorten(" two\n lines ") == "two lines"
    assert (shorten(" "), shorten("")) == ("␣", "")
    assert shorten("a" * 30) == "a" * 19 + "…"
    assert wrapped("one two three", 7) == "one two\nthree"
    assert wrapped(r"$\alpha$ of many words", 7) == r"$\alpha$ of many words"
    assert wrapped("word " * 50, 20).count("\n") == 2


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: loss_heatmap(np.zeros(3)), r"\(length, bins\), got \(3,\)"),
        (lambda: loss_heatmap(np.zeros((2, 3)), edges=[0, 1, 2]), r"edges .*shape \(4,\)"),
        (lambda: loss_heatmap(np.zeros((2, 2)), edges=[0, 1, 1]), "edges must increase"),
        (lambda: loss_heatmap(np.zeros((2, 3)), ["a"]), "2 positions, got 1"),
        (
            lambda: order_nll_violin({"law": np.zeros((2, 2))}, {}),
            r"law: .*\(orders,\), got \(2, 2\)",
        ),
        (
            lambda: order_nll_violin({"law": [1.0, np.inf]}, {}),
            "law: values must be finite, got inf",
        ),
        (lambda: order_nll_violin([1.0], {"mark": np.nan}), "mark: values must be finite"),
        (lambda: gradient_signal([0, 1], [1.0], [1.0]), r"got \(2,\) and \(1,\)"),
        (lambda: gradient_signal([0], {"a": [1.0]}, {"b": [1.0]}), "different series"),
        (lambda: step_sizes(np.ones((2, 2)), [[4]]), r"\(length,\), got \(2, 2\)"),
        (lambda: step_sizes(np.ones(4), [[3]]), "sum to 4"),
        (lambda: step_sizes(np.ones(4), []), "at least one row"),
    ],
)
def test_wrong_input_is_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_rates_and_norms_look_alike_in_both_panels():
    rates = {"denoiser": ([50, 100], [1e-3, 5e-4]), "schedule": ([50, 100], [0.0, 0.05])}
    norms = {"schedule": ([100], [2.0]), "denoiser": ([50, 100], [3.0, 4.0])}
    figure = rates_and_norms(rates, norms)
    left, right = ({line.get_label(): line for line in axes.lines} for axes in figure.axes)
    assert np.isnan(left["schedule"].get_ydata()).tolist() == [True, False]
    for lines, given in ((left, rates), (right, norms)):
        for name, (steps, values) in given.items():
            assert lines[name].get_xdata().tolist() == steps
            assert np.nan_to_num(lines[name].get_ydata()).tolist() == values
    assert all(left[name].get_color() == right[name].get_color() for name in left)
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "log"]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["denoiser", "schedule"]
    with pytest.raises(ValueError, match=r"denoiser: .*got \(1,\) and \(2,\)"):
        rates_and_norms({"denoiser": ([1], [1, 2])}, {})
