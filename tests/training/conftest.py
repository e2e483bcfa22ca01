"""Shared by the tests of training."""

import pytest

from ordo import plots


@pytest.fixture
def no_pictures(monkeypatch):
    """Drawing takes half the time of a tiny run; tests/plots looks at pictures."""
    monkeypatch.setattr(plots, "save", lambda figure, path: None)
