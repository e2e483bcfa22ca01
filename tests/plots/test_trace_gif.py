"""The film of a trace, read back.

Every frame shows what stood after its step, in the colour of the step that revealed it.
"""

import os

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image
from traces import letter, long_trace, make, view

from ordo.plots import trace_gif
from ordo.plots.trace_gif import Layout, make_scene, save_trace_gif
from ordo.plots.trace_rows import row_of

LAYOUTS = {
    "text": {},
    "table": {"kind": "table", "names": [f"column {i}" for i in range(16)]},
    "board": {"kind": "board", "columns": 4, "box": 2},
}


def frames(path):
    """RGB pictures and durations in ms."""
    with Image.open(path) as film:
        out = []
        for i in range(film.n_frames):
            film.seek(i)
            out.append((np.array(film.convert("RGB")).astype(int), film.info["duration"]))
        return out


def standing(trace, i, step):
    """Position -> (step, log-probability) after so many steps, from the history."""
    stands = {}
    events = trace.history.of_row(i)
    for s, p, t, lp in zip(
        events.step.tolist(),
        events.position.tolist(),
        events.token.tolist(),
        events.log_prob.tolist(),
        strict=True,
    ):
        if s >= step:
            break
        stands[p] = (s, lp)
        if t < 0:
            del stands[p]
    return stands


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["parallel", "remdm"])
def test_frames_show_what_stood(name, layout, tmp_path):
    path = tmp_path / "new" / "t.gif"
    trace, symbols = make(name, 2, known=True)
    save_trace_gif(trace, symbols[1], path, view(title="a title", **LAYOUTS[layout]), row=1)
    steps = int(trace.history.of_row(1).step.max()) + 1
    pictures = frames(path)
    assert os.listdir(path.parent) == ["t.gif"]
    assert len(pictures) == steps + 1
    assert pictures[-1][1] == 3000
    one = row_of(trace, 1, symbols[1], letter)
    boxes = make_scene(
        one,
        symbols[1],
        Layout(**({"kind": layout} | {k: v for k, v in LAYOUTS[layout].items() if k != "layout"})),
        "t",
        720,
    ).boxes
    for step, (picture, _) in enumerate(pictures):
        stands = standing(trace, 1, step)
        for p, (left, top, right, _) in enumerate(boxes):
            corner, inside = (
                picture[top, left],
                picture[top + 2, left + 2],
            )  # of the outline, and of the filling beside the letter
            if trace.step[1, p] < 0:
                assert tuple(corner) == trace_gif.QUIET
            elif p not in stands:
                assert (picture[top : top + 3, left : right + 1] == 255).all()
            else:
                when, log_prob = stands[p]
                full = np.array(colormaps["viridis"](0.15 + 0.85 * when / (steps - 1))[:3])
                wanted = 255 * (1 + (full - 1) * (0.4 + 0.6 * np.exp(log_prob)))
                assert np.abs(inside - wanted).max() < 14, (
                    "up to the 24 colours and 8 degrees of a GIF"
                )
                assert (tuple(corner) == trace_gif.ACCENT) == (when == step - 1)
    decoded = {p for p in range(16) if trace.step[1, p] >= 0}
    assert set(standing(trace, 1, steps)) == decoded, "the last frame is complete"


def test_letters_are_drawn(tmp_path):
    """Two rows that differ in one letter differ in its box, and outside of it nowhere."""
    trace, symbols = make("parallel", 1)
    symbols[0] = list("abcdefghijklmnop")
    save_trace_gif(trace, symbols[0], tmp_path / "a.gif")
    other = [*symbols[0][:4], "x", *symbols[0][5:]]
    save_trace_gif(trace, other, tmp_path / "b.gif")
    a, b = (frames(tmp_path / name)[-1][0] for name in ("a.gif", "b.gif"))
    left, top, right, bottom = make_scene(row_of(trace, 0, other), other, Layout(), "", 720).boxes[
        4
    ]
    different = (a != b).any(-1)
    assert different[top : bottom + 1, left : right + 1].any()
    different[top : bottom + 1, left : right + 1] = False
    assert not different.any()


def test_many_steps_are_thinned_and_everything_fits(tmp_path):
    trace, symbols = long_trace(1)
    save_trace_gif(trace, symbols[0], tmp_path / "long.gif", view(title="long " * 40), width=480)
    pictures = frames(tmp_path / "long.gif")
    assert len(pictures) == 60
    boxes = np.array(make_scene(row_of(trace, 0, symbols[0]), symbols[0], Layout(), "t", 480).boxes)
    assert (boxes[:, 0] >= 16).all()
    assert (boxes[:, 2] <= 480 - 16).all()
    overlap = (boxes[:, None, 0] <= boxes[None, :, 2]) & (boxes[None, :, 0] <= boxes[:, None, 2])
    overlap &= (boxes[:, None, 1] <= boxes[None, :, 3]) & (boxes[None, :, 1] <= boxes[:, None, 3])
    assert overlap.sum() == len(boxes), "each only with itself"
    for picture, _ in (pictures[0], pictures[-1]):
        assert whole(picture)


def whole(picture):
    """Nothing reaches the edge, so nothing is clipped."""
    return all(
        (edge == 255).all() for edge in (picture[:4], picture[-2:], picture[:, :8], picture[:, -8:])
    )


@pytest.mark.parametrize("width", [400, 600, 720])
def test_the_legend_fits(width, tmp_path):
    trace, symbols = make("one_by_one", 1, known=True)
    save_trace_gif(trace, symbols[0], tmp_path / "t.gif", width=width)
    assert whole(frames(tmp_path / "t.gif")[-1][0])


def test_long_values_are_cut_not_clipped(tmp_path):
    trace, symbols = make("parallel", 1)
    symbols[0][0] = "a very long value " * 12
    for kind, settings in LAYOUTS.items():
        save_trace_gif(trace, symbols[0], tmp_path / f"{kind}.gif", view(**settings))
        assert (frames(tmp_path / f"{kind}.gif")[-1][0][:, -8:] == 255).all()


def test_the_old_film_stays_when_writing_fails(tmp_path, monkeypatch):
    trace, symbols = make(n=1)
    path = tmp_path / "t.gif"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="names"):
        save_trace_gif(trace, symbols[0], path, view(kind="table"))
    with pytest.raises(ValueError, match="width must be at least 400"):
        save_trace_gif(trace, symbols[0], path, width=100)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("ordo.files.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_trace_gif(trace, symbols[0], path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["t.gif"]
