"""Pictures hold the numbers they were given: read back from the Axes."""

import math
import os

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from ordo.order import PlackettLuce
from ordo.plots import (
    against_calls,
    compare_settings,
    loss_by_revealed,
    order_heatmap,
    order_over_training,
    rank_probability,
    save,
    schedule_curves,
    search_history,
    training_curves,
)

LENGTH = 5
NAMES = ["age", "sex", "job", "a rather long column name that will not fit", "income"]
RANDOM = np.random.default_rng(0)
P = rank_probability(np.stack([RANDOM.permutation(LENGTH) for _ in range(50)]))


def texts(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_rank_probability_of_one_order_is_its_permutation_matrix():
    p = rank_probability(torch.tensor([[2, 0, 1]]))
    assert np.array_equal(p, [[0, 1, 0], [0, 0, 1], [1, 0, 0]])  # position 2 has rank 0


def test_rank_probability_rows_and_columns_sum_to_one():
    assert np.allclose(P.sum(0), 1)
    assert np.allclose(P.sum(1), 1)


def test_rank_probability_of_plackett_luce_has_its_expected_ranks():
    n, law = 20000, PlackettLuce(torch.tensor([0.3, -1.2, 2.0, 0.0, 0.7]))
    p = rank_probability(law.sample(n, torch.Generator().manual_seed(0)))
    rank = np.arange(1, LENGTH + 1)
    mean = p @ rank
    standard_error = np.sqrt((p @ rank**2 - mean**2) / n)
    assert (np.abs(mean - law.expected_rank().numpy()) < 4 * standard_error).all()


def test_order_heatmap_shows_the_array_and_the_mean_rank():
    axes = order_heatmap(torch.tensor(P), NAMES).axes[0]
    image, (overlay,) = axes.images[0], axes.lines
    assert np.array_equal(image.get_array(), P)
    assert tuple(image.get_extent()) == (0.5, LENGTH + 0.5, LENGTH - 0.5, -0.5)
    assert np.allclose(overlay.get_xdata(), P @ np.arange(1, LENGTH + 1))
    assert np.array_equal(overlay.get_ydata(), np.arange(LENGTH))
    assert texts(axes.yaxis)[:3] == NAMES[:3]
    assert len(texts(axes.yaxis)[3]) == 20


@pytest.mark.parametrize("n", [1, 4])
def test_order_over_training_shows_ranks_and_entropy(n):
    steps = np.array([0, 10, 30, 100])[:n]
    rank = RANDOM.uniform(1, LENGTH, (n, LENGTH))
    entropy = np.array([4.7, 4.0, 3.0, 1.0])[:n]
    figure = order_over_training(steps, torch.tensor(rank), entropy)
    mesh = figure.axes[0].collections[0]
    assert np.array_equal(mesh.get_array().reshape(LENGTH, n), rank.T)
    edges = mesh.get_coordinates()[0, :, 0]
    assert ((edges[:-1] < steps) & (steps < edges[1:])).all()
    assert mesh.get_clim() == (1, LENGTH)
    assert figure.axes[0].yaxis_inverted()
    uniform, curve = figure.axes[1].lines
    assert np.allclose(uniform.get_ydata(), math.log(math.factorial(LENGTH)))
    assert np.array_equal(curve.get_xdata(), steps)
    assert np.array_equal(curve.get_ydata(), entropy)


def test_order_over_training_without_entropy_has_one_panel():
    figure = order_over_training([0, 1], np.ones((2, LENGTH)), labels=NAMES)
    assert [a.get_ylabel() for a in figure.axes] == ["position", "expected rank (1 = first)"]


def test_schedule_curves_are_the_columns_and_legend_or_colour_bar_says_which():
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    alpha = 1 - t[:, None] ** torch.tensor([0.5, 1.0, 2.0])
    named, unnamed = schedule_curves(t, alpha, ["a", "b", "c"]), schedule_curves(t, alpha)
    for figure in (named, unnamed):
        for i, line in enumerate(figure.axes[0].lines):
            assert np.array_equal(line.get_xdata(), t)
            assert np.array_equal(line.get_ydata(), alpha[:, i])
        assert len({str(line.get_color()) for line in figure.axes[0].lines}) == 3
    assert [text.get_text() for text in named.legends[0].get_texts()] == ["a", "b", "c"]
    assert len(named.axes) == 1
    assert len(unnamed.axes) == 2
    assert not unnamed.legends


def test_long_sequences_thin_their_labels():
    length = 100
    figure = schedule_curves([0, 1], np.ones((2, length)), [str(i) for i in range(length)])
    assert texts(figure.axes[1].yaxis) == [str(i) for i in range(0, length, 4)]


def test_loss_by_revealed_has_a_curve_and_a_band_per_law():
    mean, error = RANDOM.uniform(1, 2, (2, LENGTH)), np.full(LENGTH, 0.1)
    figure = loss_by_revealed(
        {"uniform": (mean[0], error), "learned": (mean[1], error)}, unit="bits"
    )
    axes = figure.axes[0]
    for i, (line, band) in enumerate(zip(axes.lines, axes.collections, strict=True)):
        assert np.array_equal(line.get_xdata(), np.arange(LENGTH))
        assert np.array_equal(line.get_ydata(), mean[i])
        corners = band.get_paths()[0].vertices[:, 1]
        assert np.isclose(corners.min(), mean[i].min() - 0.2)
        assert np.isclose(corners.max(), mean[i].max() + 0.2)
    assert "bits" in axes.get_ylabel()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["uniform", "learned"]


def test_training_curves_take_series_of_different_lengths_and_bfloat16():
    series = {"a": ([0, 1, 2], [3, 2, 1]), "b": ([0, 2], torch.tensor([4, 3]).bfloat16())}
    figure = training_curves(series, "step", "NELBO (nats)")
    a, b = figure.axes[0].lines
    assert a.get_ydata().tolist() == [3, 2, 1]
    assert b.get_ydata().tolist() == [4, 3]
    assert (a.get_color(), a.get_linestyle()) != (b.get_color(), b.get_linestyle())


def test_a_series_looks_alike_in_all_panels():
    figure = against_calls(
        {
            "nats": {"a": ([1, 2], [3, 2]), "b": ([2, 4], [2, 1])},
            "divergence": {"b": ([2, 4], [0.2, 0.1])},
        }
    )
    (a, b), (again,) = (axes.lines for axes in figure.axes)
    assert (
        (b.get_color(), b.get_linestyle())
        == (again.get_color(), again.get_linestyle())
        != (a.get_color(), a.get_linestyle())
    )
    assert again.get_ydata().tolist() == [0.2, 0.1]
    assert [axes.get_ylabel() for axes in figure.axes] == ["nats", "divergence"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_compare_settings_shows_runs_means_and_deviations():
    figure = compare_settings(
        [[1.0, 3.0, 8.0], [], torch.tensor([2.5])], ["lr 1", "lr 2", "lr 3"], "bits"
    )
    axes = figure.axes[0]
    rings = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
    assert [(line.get_xdata().tolist(), set(line.get_ydata())) for line in rings] == [
        ([1.0, 3.0, 8.0], {0}),
        ([2.5], {2}),
    ]
    (mean, _, (bar,)), (single, _, _) = axes.containers
    assert mean.get_xdata() == pytest.approx([4.0])
    assert bar.get_segments()[0][:, 0] == pytest.approx(
        [4 - 13**0.5, 4 + 13**0.5]
    )  # (9 + 1 + 16) / 2
    assert single.get_xdata() == pytest.approx([2.5])
    assert axes.yaxis_inverted()
    assert texts(axes.yaxis) == ["lr 1", "lr 2", "lr 3"]
    assert [(text.get_text(), text.xy[1]) for text in axes.texts] == [("no run finished", 1)]
    many = compare_settings(
        [[float(i)] for i in range(70)], [str(i) for i in range(70)], "bits"
    ).axes[0]
    assert texts(many.yaxis) == [str(i) for i in range(60)]
    assert many.get_ylabel() == "the first 60 of 70"


def test_search_history_shows_trials_and_the_least_so_far():
    axes = search_history([0, 1, 2, 5, 6], [3.0, np.nan, 4.0, 2.0, np.nan], "nats").axes[0]
    trials, least, stopped = axes.lines
    assert trials.get_xdata().tolist() == least.get_xdata().tolist() == [0, 2, 5]
    assert trials.get_ydata().tolist() == [3, 4, 2]
    assert least.get_ydata().tolist() == [3, 3, 2]
    assert stopped.get_xdata().tolist() == [1, 6]
    assert search_history([0], [np.nan], "nats").axes[0].lines[0].get_xdata().size == 0


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: rank_probability(np.zeros(3)), r"\(n, length\), got \(3,\)"),
        (lambda: rank_probability([[0, 0, 1]]), r"permutation of 0\.\.2"),
        (lambda: order_heatmap(np.zeros((2, 3))), r"\(length, length\), got \(2, 3\)"),
        (lambda: order_heatmap(P, ["a"]), "5 positions, got 1"),
        (lambda: order_over_training([0, 1], np.zeros((3, 4))), r"got \(2,\) and \(3, 4\)"),
        (lambda: order_over_training([1, 1], np.zeros((2, 4))), "must increase"),
        (lambda: order_over_training([0, 1], np.zeros((2, 4)), [1.0]), r"\(2,\), got \(1,\)"),
        (lambda: schedule_curves(np.zeros(3), np.zeros((4, 2))), r"got \(3,\) and \(4, 2\)"),
        (
            lambda: loss_by_revealed({"x": (np.zeros(3), np.zeros(2))}),
            r"x: .*got \(3,\) and \(2,\)",
        ),
        (
            lambda: against_calls({"m": {"x": (np.zeros(3), np.zeros(2))}}),
            r"x: .*got \(3,\) and \(2,\)",
        ),
        (lambda: compare_settings([[1], [2]], ["a"], ""), "2 settings, got 1"),
        (lambda: compare_settings([1.0], ["a"], ""), r"a: .*\(runs,\), got \(\)"),
        (lambda: search_history([0, 1], [1], ""), r"\(trials,\), got \(2,\) and \(1,\)"),
        (
            lambda: training_curves({"x": (np.zeros(3), np.zeros(2))}, "", ""),
            r"x: .*got \(3,\) and \(2,\)",
        ),
    ],
)
def test_wrong_shapes_are_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_save_replaces_the_file_whole_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "order.png"
    figure = order_heatmap(P, NAMES)
    save(figure, path)
    save(figure, path)
    assert os.listdir(path.parent) == ["order.png"]
    height, width = imread(path).shape[:2]
    assert (width, height) == (960, 600)  # 6.4 x 4 inches at 150 dpi


def test_save_keeps_the_old_file_when_drawing_fails(tmp_path, monkeypatch):
    path = tmp_path / "order.png"
    path.write_bytes(b"old")
    figure = order_heatmap(P)

    def fail(partial, **settings):
        partial.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save(figure, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["order.png"]


def test_nothing_is_clipped(tmp_path):
    """The outermost rows and columns of pixels stay white, also with long names."""
    t = np.linspace(0, 1, 11)
    figures = [
        order_heatmap(P, NAMES),
        order_over_training(np.arange(3) * 1000, np.ones((3, LENGTH)), np.ones(3), NAMES),
        schedule_curves(t, np.repeat(1 - t[:, None], LENGTH, 1), NAMES),
        loss_by_revealed(
            {f"a rather long law name {i}": (np.ones(8), np.ones(8)) for i in range(3)}
        ),
        compare_settings(
            [[1, 2, 3], []], ["short", "a rather long name of settings, " * 3], "bits per character"
        ),
        search_history([0, 1, 2], [3, np.nan, 1], "nats"),
    ]
    for i, figure in enumerate(figures):
        save(figure, tmp_path / f"{i}.png")
        pixels = imread(tmp_path / f"{i}.png")[..., :3]
        for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
            assert (edge == 1).all(), i
