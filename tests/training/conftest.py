"""Shared by the tests of training: pictures that take no time to draw."""

import base64

import pytest
from matplotlib.figure import Figure

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
