"""Shared by the tests of training: pictures that take no time to draw, steps that cost the same."""

import base64

import pytest
from matplotlib.figure import Figure

from ordo.training import diagnostics, module

WHITE = base64.b64decode(  # a PNG of one white pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
)
DRAW = Figure.savefig


def blank(figure, target, **_):
    """In place of ``Figure.savefig``, which takes most of the time of a tiny run."""
    if hasattr(target, "write"):
        target.write(WHITE)
    else:
        with open(target, "wb") as file:
            file.write(WHITE)


@pytest.fixture(autouse=True, scope="module")
def no_pictures():
    """Every picture is one white pixel; ``tests/plots`` looks at real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", blank)
        yield


@pytest.fixture
def pictures(monkeypatch):
    """Real pictures, for the test that asks for this fixture."""
    monkeypatch.setattr(Figure, "savefig", DRAW)


@pytest.fixture(autouse=True, scope="module")
def equal_costs():
    """Tokens a second and memory are alike in all runs, so that their logs can be compared;
    ``test_diagnostics.py`` looks at real ones.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagnostics.Speed, "rate", lambda self: 1.0)
        patch.setattr(module, "peak_memory", lambda device: 1.0)
        yield
