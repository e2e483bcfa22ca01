"""Permutations without a table: bijections of every size that look random; ranks share them."""

import resource

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from ordo.data import StepBatchSampler, loader
from ordo.data.loader import data_generator
from ordo.data.permutation import LargePermutation


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 1000, 4097, 70_001])
def test_bijection(n):
    permutation = LargePermutation(n, data_generator(0, 0))
    assert permutation(torch.arange(n)).sort().values.tolist() == list(range(n))
    some = torch.arange(n).flip(0)[: n // 2 + 1]
    assert torch.equal(permutation(some), permutation(torch.arange(n))[some]), (
        "each value on its own"
    )
    assert permutation(torch.zeros(2, 3, dtype=torch.int64)).shape == (2, 3)


def test_function_of_seed_and_epoch():
    index = torch.arange(5000)
    first = LargePermutation(5000, data_generator(3, 1))(index)
    assert torch.equal(first, LargePermutation(5000, data_generator(3, 1))(index))
    for keys in ((3, 2), (4, 1)):
        other = LargePermutation(5000, data_generator(*keys))(index)
        assert (other == first).sum() < 10, "about one fixed point is expected"


@pytest.mark.parametrize("n", [6, 7])
def test_small_ones_are_uniform(n):
    """Where two elements go together, over 2,000 keys: chi-square against equally likely pairs."""
    draws = np.stack(
        [
            LargePermutation(n, data_generator(s))(torch.tensor([0, n - 1])).numpy()
            for s in range(2_000)
        ]
    )
    counts = np.bincount(draws[:, 0] * n + draws[:, 1], minlength=n * n).reshape(n, n)
    assert (counts.diagonal() == 0).all()
    counts = counts[~np.eye(n, dtype=bool)]
    statistic = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert statistic < chi2.isf(1e-4, len(counts) - 1)


def test_large_ones_have_no_pattern():
    """Of 25 million: where neighbours land, and how far from each other, is spread evenly."""
    n = 25_000_000
    values = LargePermutation(n, data_generator(7))(torch.arange(1_000_000)).numpy()
    for x in (values, np.diff(values)[::2] % n, (values[1024:] - values[:-1024])[::2048] % n):
        counts = np.bincount(x * 64 // n, minlength=64)
        assert ((counts - len(x) / 64) ** 2 / (len(x) / 64)).sum() < chi2.isf(1e-4, 63)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.005


def test_the_sampler_of_many_rows(monkeypatch):
    """An epoch is all rows once, dealt out to ranks; the memory does not grow with the rows."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = StepBatchSampler(1 << 31, 64, 0).rows(12_345_678)
    assert len(set(rows)) == 64
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024, "KiB"
    monkeypatch.setattr(loader, "LARGE", 100)
    for n, batch, world in ((101, 4, 3), (1000, 7, 2)):
        whole = StepBatchSampler(n, batch * world, 5, drop_last=False)
        seen = [row for step in range(len(whole)) for row in whole.rows(step)]
        assert sorted(row % n for row in seen[:n]) == list(range(n))
        parts = [
            StepBatchSampler(n, batch, 5, rank, world, drop_last=False) for rank in range(world)
        ]
        for step in (0, 3, len(whole), len(whole) + 1):
            assert sorted(whole.rows(step)) == sorted(
                row for part in parts for row in part.rows(step)
            )


def test_smaller_ones_are_as_they_were():
    """Batches of runs of up to four million rows."""
    rows = StepBatchSampler(1000, 8, 3).rows(125 + 2)
    order = torch.randperm(1000, generator=data_generator(3, 1))
    assert [row % 1000 for row in rows] == order[16:24].tolist()
