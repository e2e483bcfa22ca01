"""Every picture at its extremes, as drawn.

No text leaves the figure, no two texts overlap, and the axes keep room for what they show.
"""

import inspect
import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from ordo import plots
from ordo.samplers import best_sizes

RANDOM = np.random.default_rng(0)
LENGTHS = {False: (1, 28, 1024), True: (2, 28, 1024)}  # without and with labels
LONG = "a name of two hundred characters, as tables from questionnaires have them, "  # repeated
T = np.linspace(0, 1, 21)
SHARP = plots.schedule_times()
SMALLEST = 0.8  # inches that axes must keep either way


def names(n):
    """Long names, and some that text rendering may trip over: mathematics, line ends, a space."""
    odd = ["price in $ or $", "_hidden", "two\nlines", " ", "\\frac{1", "x^2"]
    return [
        odd[i] if i < len(odd) else (LONG * 3)[:200] if i % 3 == 0 else f"{i}: column"
        for i in range(n)
    ]


def log_w(n):
    return RANDOM.normal(size=n) * 2


def chain(n):
    return [(i, i + 1) for i in range(n - 1)]


def before(n):
    w = log_w(n)
    return 1 / (1 + np.exp(w[None] - w[:, None]))


def ranks(n):
    w = log_w(n)
    p = np.exp(-((np.arange(n)[None] - w.argsort().argsort()[:, None]) ** 2) / max(n / 8, 0.5) ** 2)
    return p / p.sum(1, keepdims=True)


def losses(n, bins):
    table = 3 * np.exp(-np.linspace(0, 2, bins))[None] * RANDOM.uniform(0.2, 1, (n, 1))
    return np.where(RANDOM.uniform(size=(n, bins)) < 0.2, np.nan, table)


def table(rows, columns, seed=0):
    r = np.random.default_rng(seed)
    makers = [
        lambda: r.normal(size=rows) * 1e6,
        lambda: np.where(r.uniform(size=rows) < 0.1, np.nan, r.standard_cauchy(rows)),
        lambda: r.choice([None, *names(9)], rows),
        lambda: r.integers(0, 4, rows).astype(float),
        lambda: np.array([f"id {i}" for i in r.integers(0, 500, rows)], dtype=object),
        lambda: np.full(rows, np.nan),
        lambda: r.normal(size=rows) * 1e-7 + 1,
    ]
    return pd.DataFrame(
        {f"{i} {LONG if i % 2 else 'plain'}": makers[i % len(makers)]() for i in range(columns)}
    )


def tables(columns, rows=200):
    kinds = {
        name: ("categorical" if i % 7 in (2, 4) else "numeric")
        for i, name in enumerate(table(3, columns))
    }
    return table(rows, columns), table(rows, columns, 1), list(kinds), kinds


def cases():
    """(name, draw) of every picture at every extreme."""
    for n, labelled in [(n, named) for named, sizes in LENGTHS.items() for n in sizes]:
        said = names(n) if labelled else None
        tag = f"{n}-labels" if labelled else f"{n}"
        yield (
            f"precedence_matrix-{tag}",
            lambda n=n, said=said: plots.precedence_matrix(before(n), said, chain(n)),
        )
        yield f"order_heatmap-{tag}", lambda n=n, said=said: plots.order_heatmap(ranks(n), said)
        yield (
            f"loss_heatmap-{tag}",
            lambda n=n, said=said: plots.loss_heatmap(losses(n, min(n, 32)), said, edges=bins(n)),
        )
        yield (
            f"schedule_curves-{tag}",
            lambda n=n, said=said: plots.schedule_curves(
                T, 1 - T[:, None] ** np.exp(log_w(n)), said
            ),
        )
        yield (
            f"schedule_curves-sharp-{tag}",
            lambda n=n, said=said: plots.schedule_curves(
                SHARP, 1 - SHARP[:, None] ** np.exp(9 * log_w(n)), said
            ),
        )
        yield (
            f"schedule_curves-same-{tag}",
            lambda n=n, said=said: plots.schedule_curves(T, np.repeat(1 - T[:, None], n, 1), said),
        )
        if not labelled:
            side = math.ceil(math.sqrt(n))
            ranked = np.where(RANDOM.uniform(size=side * side) < 0.2, np.nan, side * side - 0.25)
            yield f"rank_board-{n}", lambda r=ranked, side=side: plots.rank_board(r, side, 3)
        steps = np.arange(12) * 5000
        rank = lambda n=n: 1 + np.linspace(0.5, 1, 12)[:, None] * RANDOM.permutation(n)  # noqa: E731
        entropy = lambda n=n: math.lgamma(n + 1) * np.linspace(1, 0.1, 12)  # noqa: E731
        yield (
            f"order_over_training-{tag}",
            lambda r=rank, h=entropy, said=said, steps=steps: plots.order_over_training(
                steps, r(), h(), said
            ),
        )
        if labelled:
            yield (
                f"pair_difference-{tag}",
                lambda n=n, said=said: plots.pair_difference(np.abs(before(n) - before(n)), said),
            )
    for n in LENGTHS[False]:
        yield (
            f"loss_by_revealed-{n}",
            lambda n=n: plots.loss_by_revealed({"a": (1 / np.arange(1, n + 1), np.full(n, 0.01))}),
        )
        calls = sorted({min(k, n) for k in (1, 2, 4, 16, 64)})
        profile = 3 * np.exp(-np.arange(n) / max(n / 5, 1)) + 0.2
        yield (
            f"step_sizes-{n}",
            lambda p=profile, c=calls: plots.step_sizes(p, [best_sizes(p_tensor(p), k) for k in c]),
        )
    yield (
        "step_sizes-names",
        lambda: plots.step_sizes(np.ones(64), {LONG * 2: [64], "one by one": [1] * 64}),
    )
    late = {"a": (np.arange(9) * 100_000, np.arange(9) / 1e5)}
    yield (
        "training_curves-late",
        lambda: plots.training_curves(late, "training step", "NELBO (bits per character)"),
    )
    yield (
        "loss_by_revealed-unit",
        lambda: plots.loss_by_revealed({"a": (np.ones(9), np.ones(9))}, unit="bits per character"),
    )
    for count in (1, 12):
        series = {
            f"{LONG * 3 if i == 1 else 'law'} {i}": (np.arange(1, 9), RANDOM.uniform(1, 2, 8))
            for i in range(count)
        }
        yield (
            f"training_curves-{count}",
            lambda s=series: plots.training_curves(s, LONG * 2, LONG * 2),
        )
        yield f"loss_by_revealed-laws-{count}", lambda s=series: plots.loss_by_revealed(s)
        yield (
            f"against_calls-{count}",
            lambda s=series: plots.against_calls({"nats": s, LONG * 2: s}),
        )
        yield f"against_calls-one-{count}", lambda s=series: plots.against_calls({"nats": s})
        runs = [RANDOM.normal(size=i % 4) for i in range(count)]
        yield (
            f"compare_settings-{count}",
            lambda r=runs, s=series: plots.compare_settings(r, list(s), LONG),
        )
        many = {name: np.exp(RANDOM.normal(size=40)) for name in series}
        yield (
            f"gradient_signal-{count}",
            lambda m=many: plots.gradient_signal(np.arange(40) * 1000, m, m),
        )
    for count, series in ((1, 1), (5, 3), (40, 7)):
        heights = {
            f"{LONG if i == 1 else 'model'} {i}": RANDOM.normal(size=count) for i in range(series)
        }
        yield (
            f"grouped_bars-{count}",
            lambda h=heights, n=count: plots.grouped_bars(h, names(n), LONG, {"exact": np.ones(n)}),
        )
    steps = np.arange(1, 21) * 50_000
    falling = {name: (steps, 1e-3 * np.exp(-np.arange(20))) for name in ("denoiser", LONG)}
    yield "rates_and_norms-two", lambda: plots.rates_and_norms(falling, falling)
    still = {"schedule": ([1, 2], [0.0, 0.0])}
    yield "rates_and_norms-still", lambda: plots.rates_and_norms(still, {"schedule": ([1], [0.5])})
    yield (
        "compare_settings-100",
        lambda: plots.compare_settings(
            RANDOM.normal(size=(100, 3)), names(100), "bits per character"
        ),
    )
    yield (
        "search_history",
        lambda: plots.search_history(
            np.arange(30), np.where(np.arange(30) % 4, RANDOM.uniform(1, 2, 30), np.nan), LONG
        ),
    )
    yield "search_history-1", lambda: plots.search_history([0], [2.0], "nats")
    yield "gradient_signal-one-step", lambda: plots.gradient_signal([100], [1e-9], [3.0])
    yield (
        "gradient_signal-gaps",
        lambda: plots.gradient_signal(
            np.arange(9), np.zeros(9), np.where(np.arange(9) % 2, 1e6, np.nan)
        ),
    )
    yield (
        "gradient_signal-constant",
        lambda: plots.gradient_signal(np.arange(9) * 100000, np.full(9, 3.7), np.full(9, 1.0)),
    )
    marks = {
        "left to right": 2.0,
        "right to left": 2.0,
        "mode order": 2.0001,
        "NELBO, uniform orders": 2.9,
        "NELBO, own order law": 2.0002,
    }
    marks |= {"importance bound, 64 own orders": 2.0001, "exact mixture": 1.9999, LONG * 3: 2.5}
    nll = {"uniform": RANDOM.normal(3, 0.1, 64), "own law": RANDOM.normal(2, 0.001, 64)}
    yield "order_nll_violin", lambda: plots.order_nll_violin(nll, marks, "bits/char")
    yield (
        "order_nll_violin-same",
        lambda: plots.order_nll_violin(
            {"fixed": np.full(64, 2.0), "one": [3.0]}, dict.fromkeys("abcdefgh", 2.5)
        ),
    )
    yield "order_nll_violin-none", lambda: plots.order_nll_violin(RANDOM.normal(size=5), {})
    yield (
        "order_nll_violin-40",
        lambda: plots.order_nll_violin(
            RANDOM.normal(1e5, 1, 64), {f"mark {i}": 1e5 for i in range(40)}
        ),
    )
    yield (
        "order_nll_violin-laws",
        lambda: plots.order_nll_violin(
            {f"{LONG} {i}": RANDOM.normal(size=9) for i in range(6)}, {"x": 0.0}
        ),
    )
    for columns in (1, 2, 7, 40):
        yield f"marginals-{columns}", lambda columns=columns: plots.marginals(*tables(columns))
    yield "marginals-one-row", lambda: plots.marginals(*tables(7, rows=1))
    undefined = np.where(np.eye(12, k=2) + np.eye(12, k=-2) > 0, np.nan, np.abs(before(12) - 0.5))
    yield "pair_difference-undefined", lambda: plots.pair_difference(undefined, names(12))


def bins(n):
    return np.linspace(0, n, min(n, 32) + 1).round()


def p_tensor(p):
    return torch.from_numpy(p)


CASES = dict(cases())


def drawn_texts(figure, monkeypatch):
    """The texts that drawing the figure draws, with their boxes in pixels; nothing is painted."""
    found = []
    draw = Text.draw

    def record(text, renderer, *args, **kwargs):
        if text.get_visible() and text.get_text().strip():
            found.append(text)
        return draw(text, renderer, *args, **kwargs)

    monkeypatch.setattr(Text, "draw", record)
    figure.draw_without_rendering()
    monkeypatch.undo()
    renderer = figure.canvas.get_renderer()
    return [(text.get_text(), Text.get_window_extent(text, renderer)) for text in found]


# Ten to thirty seconds each: a thousand curves.
SLOWER = ("schedule_curves-sharp-1024", "schedule_curves-same-1024", "schedule_curves-1024-labels")
MARKED = [
    pytest.param(name, marks=pytest.mark.slow if name.startswith(SLOWER) else ()) for name in CASES
]


@pytest.mark.parametrize("name", MARKED)
def test_texts_lie_within_the_figure_and_apart(name, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter(
            "error"
        )  # matplotlib warns of layouts that do not fit and of glyphs it lacks
        figure = CASES[name]()
        boxes = drawn_texts(figure, monkeypatch)
    assert boxes
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in boxes:
        assert box.x0 > 0, text
        assert box.y0 > 0, text
        assert box.x1 < width, text
        assert box.y1 < height, text
    for (a, one), (b, other) in itertools.combinations(boxes, 2):
        both = Bbox.intersection(one, other)
        # A box has the font's ascent and descent, which few letters fill: an overlap of a pixel or
        # two is empty space.
        assert both is None or min(both.width, both.height) <= 2, f"{a!r} lies on {b!r}"
        if min(one.y1, other.y1) - max(one.y0, other.y0) > 0.5 * min(
            one.height, other.height
        ):  # on one line
            assert max(one.x0, other.x0) - min(one.x1, other.x1) > 3, f"{a!r} runs into {b!r}"
    for axes in figure.axes:
        if axes.get_visible() and axes.get_label() != "<colorbar>":
            size = axes.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
            assert size.width > SMALLEST, "labels left no room for the picture"
            assert size.height > 0.25, "labels left no room for the picture"


def test_every_picture_has_a_case():
    pictures = {
        name
        for name in plots.__all__
        if inspect.get_annotations(getattr(plots, name), eval_str=True).get("return") is Figure
    }
    assert pictures == {name.split("-")[0] for name in CASES}


def test_overlaps_and_clipped_texts_are_seen(monkeypatch):
    """The check finds what it is for."""
    figure = plots.training_curves({"a": ([0, 1], [0, 1])}, "x", "y")
    figure.text(0.5, 0.5, "one")
    figure.text(0.51, 0.5, "other")
    figure.text(0.99, 0.1, "beyond the edge")
    boxes = dict(drawn_texts(figure, monkeypatch))
    assert Bbox.intersection(boxes["one"], boxes["other"]).width > 2
    assert boxes["beyond the edge"].x1 > figure.bbox.width
