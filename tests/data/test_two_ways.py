"""Paths written in either direction: draws against a walk, probabilities by enumeration."""

from itertools import product

import pytest
import torch

from ordo.data import TwoWays
from ordo.settings import SettingError


def test_paths_by_walking_the_maps():
    law = TwoWays(n_states=5, steps=3)
    tokens = law.sample(400, torch.Generator().manual_seed(0))
    assert tokens.shape == (400, law.length) == (400, 20)
    for row in tokens.tolist():
        value = dict(zip(law.labels, row, strict=True))
        state, path = value["start"], []
        for i in range(3):
            state = value[f"map {i} of {state}"]
            path.append(state)
        assert [value[f"path {i}"] for i in range(3)] == (
            path if value["flag"] == 0 else path[::-1]
        )
    assert 150 < tokens[:, -5].sum() < 250
    assert torch.equal(
        law.known, torch.tensor([not name.startswith("path") for name in law.labels])
    )
    counts = torch.bincount(tokens[:, :15].flatten(), minlength=5)
    assert (counts - 1200).abs().max() < 4 * 1200**0.5, "maps are uniform"


def test_one_path_for_everything_else_by_enumeration():
    """Given the rest one path is certain, so entropy 0; flags besides 0 and 1 are impossible."""
    law = TwoWays(n_states=3, steps=2)
    rest = law.sample(50, torch.Generator().manual_seed(1))[:, :-2]
    every = torch.tensor(list(product(range(3), repeat=2)))
    sequences = torch.cat([rest.repeat_interleave(9, 0), every.repeat(50, 1)], 1)
    p = law.log_prob(sequences).exp().view(50, 9)
    assert (p.sum(1) == 1).all()
    assert float(torch.special.entr(p).sum()) == law.entropy == 0
    no_flag = law.sample(20, torch.Generator().manual_seed(2))
    no_flag[:, -4] = 2
    assert torch.isinf(law.log_prob(no_flag)).all()


@pytest.mark.parametrize(
    ("settings", "name"), [({"n_states": 1}, "n_states"), ({"steps": 1}, "steps")]
)
def test_bad_settings(settings, name):
    with pytest.raises(SettingError, match=name):
        TwoWays(**settings)
