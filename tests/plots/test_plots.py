"""Pictures hold the numbers they were given: read back from the Axes."""

import itertools
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
    grouped_bars,
    loss_by_revealed,
    order_heatmap,
    order_over_training,
    rank_probability,
    save,
    schedule_curves,
    schedule_times,
    search_history,
    training_curves,
)
from ordo.plots.schedules import half_times

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


@pytest.mark.parametrize("ratio", [99.0, 101.0])
def test_schedules_of_a_sharp_law_have_a_logarithmic_axis(ratio):
    t = schedule_times()
    w = np.array([ratio**0.5, 1.0, ratio**-0.5])
    assert half_times(t, 1 - t[:, None] ** w) == pytest.approx(math.log(2) / w, rel=2e-3)
    axes = schedule_curves(t, 1 - t[:, None] ** w, ["a", "b", "c"]).axes[0]
    assert axes.get_xscale() == ("log" if ratio > 100 else "linear")
    assert ("log scale" in axes.get_xlabel()) == (ratio > 100)
    if ratio > 100:
        inner = (t > 0) & (t < 1)
        low, high = axes.get_xlim()
        for line, each in zip(axes.lines, w, strict=True):
            u = np.asarray(line.get_xdata())
            assert np.allclose(u, -np.log(t[inner]), rtol=1e-9)
            # By the exponential of masking times; near u = 0 float64 knows t only so well.
            assert np.allclose(line.get_ydata(), -np.expm1(-each * u), atol=1e-12)
            seen = np.asarray(line.get_ydata())[(u >= low) & (u <= high)]
            assert seen.min() < 0.05
            assert seen.max() > 0.98


def test_schedules_of_any_sharpness_can_be_told_apart():
    """Each step from 2% to 98% has many points on the axis, however sharp the law."""
    t = schedule_times()
    w = np.exp([20.0, 8.0, 0.0, -4.0])
    axes = schedule_curves(t, 1 - t[:, None] ** w).axes[0]
    low, high = np.log10(axes.get_xlim())
    for line, each in zip(axes.lines, w, strict=True):
        u, alpha = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        middle = np.log10(np.interp(-0.5, -alpha, u))
        assert ((alpha > 0.02) & (alpha < 0.98)).sum() >= 16
        assert middle == pytest.approx(math.log10(math.log(2) / each), abs=0.05)
        assert low < middle < high


def test_schedules_that_all_coincide_say_so():
    t, same = np.linspace(0, 1, 11), np.repeat(np.linspace(1, 0, 11)[:, None], 4, 1)
    bar, legend = schedule_curves(t, same), schedule_curves(t, same, list("abcd"))
    assert [text.get_text() for text in bar.axes[0].texts] == ["all 4 curves coincide"]
    assert [text.get_text() for text in legend.legends[0].get_texts()] == ["a\n= b\n= c\n= d"]
    same[:, 2] **= 2
    assert not schedule_curves(t, same).axes[0].texts
    two = schedule_curves(t, same, list("abcd")).legends[0].get_texts()
    assert [text.get_text() for text in two] == ["a\n= b\n= d", "c"]


def test_curves_that_coincide_share_an_entry_of_the_legend():
    x, y = np.arange(6), np.array([9.0, 5, 4, 3, np.nan, 1])
    near, far = y + 0.02, y + 0.1  # of an axis of 8 units and margins: 0.2% and 1%
    figure = training_curves({"a": (x, y), "b": (x, far), "c": (x, near)}, "step", "nats")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a = c", "b"]
    assert len(figure.axes[0].lines) == 3
    shifted = training_curves({"a": (x, y), "b": (x + 1, y), "c": (x[1:], y[1:])}, "step", "nats")
    assert [text.get_text() for text in shifted.legends[0].get_texts()] == ["a", "b", "c"]
    panels = {"nats": {"a": (x, y), "b": (x, y)}, "divergence": {"a": (x, y), "b": (x, y**2)}}
    apart = against_calls(
        {name: {k: (x + 1, v) for k, (x, v) in p.items()} for name, p in panels.items()}
    )
    assert [text.get_text() for text in apart.legends[0].get_texts()] == ["a", "b"]
    together = against_calls({"nats": {k: (x + 1, v) for k, (x, v) in panels["nats"].items()}})
    assert [text.get_text() for text in together.legends[0].get_texts()] == ["a = b"]


def test_bars_stand_side_by_side_on_zero():
    bars = {"model": torch.tensor([2.0, 3.0]), "data": [1.0, np.nan]}
    figure = grouped_bars(bars, ["age", "sex"], "nats", {"exact": [1.5, 2.5]})
    axes = figure.axes[0]
    for container, heights in zip(axes.containers, bars.values(), strict=True):
        drawn = np.array([bar.get_height() for bar in container])
        assert np.array_equal(drawn, np.asarray(heights, dtype=float), equal_nan=True)
        assert {bar.get_y() for bar in container} == {0}
    edges = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(edges))
    centres = [[bar.get_x() + bar.get_width() / 2 for bar in c] for c in axes.containers]
    assert np.mean(centres, axis=0) == pytest.approx([0, 1])
    segments = axes.collections[0].get_segments()
    assert [segment[:, 1].tolist() for segment in segments] == [[1.5, 1.5], [2.5, 2.5]]
    assert axes.get_ylim()[0] <= 0
    assert texts(axes.xaxis) == ["age", "sex"]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(words) == ["data", "exact", "model"]


def test_losses_are_heights_above_zero():
    mean = np.array([3.0, 2.5, 2.0])
    assert loss_by_revealed({"own": (mean, 0.1 * mean)}).axes[0].get_ylim()[0] == 0
    to_zero = loss_by_revealed({"own": ([3.0, 0.0], [0.1, 0.0])}).axes[0]
    assert to_zero.get_ylim()[0] == 0, "no margin below 0 where nothing is"
    below = loss_by_revealed({"own": (mean - 2.5, 0.1 * mean)}).axes[0].get_ylim()
    assert below[0] < -0.5
    curves = {"a": (np.arange(3), mean)}
    assert training_curves(curves, "", "").axes[0].get_ylim()[0] > 1
    assert training_curves(curves, "", "", from_zero=True).axes[0].get_ylim()[0] == 0
    least = training_curves({"a": (np.arange(2), [-2.0, -1.0])}, "", "", from_zero=True)
    assert least.axes[0].get_ylim()[1] == 0
    assert training_curves(curves, "", "", log=True).axes[0].get_yscale() == "log"
    with pytest.raises(ValueError, match="has no 0"):
        training_curves(curves, "", "", from_zero=True, log=True)


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


@pytest.mark.parametrize(
    ("values", "scale"),
    [([9.0, 1.0], "log"), ([9.0, 2.0], "linear"), ([9.0, 0.0], "linear"), ([9.0, 1e-14], "linear")],
)
def test_values_against_calls_have_a_logarithmic_axis_where_they_span_much(values, scale):
    assert against_calls({"KL": {"a": ([1, 2], values)}}).axes[0].get_yscale() == scale


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
    assert texts(axes.yaxis) == ["lr 1  (n = 3)", "lr 2  (n = 0)", "lr 3  (n = 1)"]
    assert axes.get_xlabel() == "bits\n← lower is better; 4 runs of 3 settings"
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["a run", "mean ± 1 s.d."]
    alike = compare_settings([[0.9]], [""], "share solved", lower_is_better=False).axes[0]
    assert texts(alike.yaxis) == ["all runs  (n = 1)"]
    assert alike.get_xlabel() == "share solved\nhigher is better →; 1 run of 1 setting"
    assert [(text.get_text(), text.xy[1]) for text in axes.texts] == [("no run finished", 1)]
    many = compare_settings(
        [[float(i)] for i in range(70)], [str(i) for i in range(70)], "bits"
    ).axes[0]
    assert texts(many.yaxis) == [f"{i}  (n = 1)" for i in range(60)]
    assert many.get_ylabel() == "the first 60 of 70 settings"
    assert "70 runs of 70 settings" in many.get_xlabel()
    ends = [f"denoiser.width 8, {'x' * 60}, lr {i}" for i in range(2)]
    shown = texts(compare_settings([[1.0], [2.0]], ends, "bits").axes[0].yaxis)
    assert [name.endswith(f"lr {i}  (n = 1)") for i, name in enumerate(shown)] == [True, True]
    assert [len(name) for name in shown] == [59 + 9, 59 + 9]


def test_search_history_shows_trials_and_the_least_so_far():
    axes = search_history([0, 1, 2, 5, 6], [3.0, np.nan, 4.0, 2.0, np.nan], "nats").axes[0]
    trials, least, stopped = axes.lines
    assert trials.get_xdata().tolist() == least.get_xdata().tolist() == [0, 2, 5]
    assert trials.get_ydata().tolist() == [3, 4, 2]
    assert least.get_ydata().tolist() == [3, 3, 2]
    assert stopped.get_xdata().tolist() == [1, 6]
    words = [line.get_label() for line in axes.lines]
    assert words == ["trial (3)", "least so far", "stopped early (2)"]
    assert axes.get_ylabel() == "nats\n← lower is better"
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
        (lambda: grouped_bars({"a": [1]}, "xy", ""), r"a: .*\(2,\), got \(1,\)"),
        (lambda: grouped_bars({}, "xy", ""), "1 to 7 names, got 0"),
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
