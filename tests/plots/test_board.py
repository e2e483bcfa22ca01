"""The picture of a board's order, and the formats in which pictures are saved."""

import re

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.figure import Figure

from ordo.plots import order_over_training, precedence_matrix, rank_board, save
from ordo.plots.trace_rows import step_colours


def test_ranks_stand_at_their_cells():
    ranks = np.arange(1.0, 17.0)
    ranks[[0, 6]] = np.nan  # given
    figure = rank_board(ranks, 4, 2)
    axes = figure.axes[0]
    image = axes.images[0]
    shown = image.get_array()
    assert np.array_equal(shown.filled(-1), np.nan_to_num(ranks.reshape(4, 4), nan=-1))
    assert image.get_clim() == (1, 14), "14 cells are decoded"
    written = {tuple(map(round, text.get_position())): text.get_text() for text in axes.texts}
    expected = {(i % 4, i // 4): f"{i + 1}.0" for i in range(16) if i not in (0, 6)}
    assert written == expected, "column, row"
    strong = [line for line in axes.lines if line.get_linewidth() > 1]
    at = sorted({line.get_xdata()[0] for line in strong if len(set(line.get_xdata())) == 1})
    assert at == [-0.5, 1.5, 3.5], "around the boxes of 2"
    with pytest.raises(ValueError, match="lines of 4 cells"):
        rank_board(ranks[:15], 4)


def test_early_and_late_have_the_same_colours_everywhere():
    early, late = (colormaps["viridis"](x) for x in (0.15, 1.0))
    board = rank_board([1.0, 2.0, 3.0, 4.0], 2).axes[0].images[0].cmap
    training = order_over_training([0, 1], [[1, 2], [2, 1]]).axes[0].collections[0].cmap
    before = precedence_matrix([[0, 0.5], [0.5, 0]]).axes[0].images[0].cmap
    for first, last in ((board(0.0), board(1.0)), (training(0.0), training(1.0))):
        assert first == pytest.approx(early)
        assert last == pytest.approx(late)
    assert before(1.0) == pytest.approx(early), "certainly before"
    assert before(0.0) == pytest.approx(late)
    assert step_colours(5)[[0, -1]] == pytest.approx(np.array([early, late])[:, :3])


def test_formats(tmp_path):
    figure = Figure()
    figure.add_subplot().plot([0, 1], [1, 0])
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for kind, first in begins.items():
        for name in ("one", "two"):
            save(figure, tmp_path / f"{name}.{kind}")
        one, two = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "two"))
        assert one.startswith(first)
        assert one == two, "a function of the figure"
        assert not re.search(rb"CreationDate|<dc:date>", one)
    with pytest.raises(ValueError, match="saved as png, svg, pdf"):
        save(figure, tmp_path / "x.gif")
    assert not (tmp_path / "x.gif").exists()
