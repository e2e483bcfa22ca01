"""A checkpoint that the disk has no room for is an error of the disk, told in one line."""

import resource
import signal

import pytest
import torch

from ordo.runs import checksum


@pytest.mark.parametrize("most", [10, 3000, 20_000])
def test_a_full_disk(most, tmp_path):
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limit[1]))
    try:
        with pytest.raises(OSError, match=r"File too large|cannot be written") as caught:
            checksum.save({"w": torch.zeros(100_000), "x": torch.zeros(9)}, tmp_path / "x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert len(str(caught.value).splitlines()) == 1
