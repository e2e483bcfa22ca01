"""Handlers of signals that are ordo's own, and files and folders that are whole or not there."""

import os
import signal

import numpy as np
import pytest

from ordo.files import whole_folder, write_arrays
from ordo.interrupt import Stopped, StopSignals, raising


def test_own_handlers_are_not_taken_for_those_of_others():
    """Under ``raising`` SIGTERM is noted, and then raises: nobody else's handler is called."""
    with raising():
        watch = StopSignals()
        watch.watch()
        try:
            signal.raise_signal(signal.SIGTERM)
            assert watch.asked == [signal.SIGTERM]
            with pytest.raises(Stopped) as stop:
                signal.raise_signal(signal.SIGTERM)
            assert stop.value.number == signal.SIGTERM
        finally:
            watch.release()


def test_a_folder_is_whole_or_not_there(tmp_path):
    with whole_folder(tmp_path / "new") as partial:
        partial.mkdir()
        (partial / "a").write_text("1")
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "new" / "a").read_text() == "1"

    def fails():
        with whole_folder(tmp_path / "other") as partial:
            partial.mkdir()
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fails()
    assert os.listdir(tmp_path) == ["new"]


def test_arrays_come_back(tmp_path):
    path = tmp_path / "folder" / "a.npz"
    write_arrays(path, {"step": [1, 2], "value": [0.5, np.nan]})
    with np.load(path) as file:
        assert file["step"].tolist() == [1, 2]
        assert np.array_equal(file["value"], [0.5, np.nan], equal_nan=True)
