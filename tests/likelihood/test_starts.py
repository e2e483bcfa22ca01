"""Starts of step tables: the dynamic programme against all cuts, costs against plain calls."""

import itertools

import pytest
import torch

from ordo.batch import Batch
from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.likelihood.starts import (
    blocks,
    coarse_to_fine,
    loss_of_starts,
    prefix_costs,
    starts,
    streams,
)
from ordo.samplers.information import best_cut, best_sizes

LENGTH, VOCAB = 6, 3


def denoiser_of(kind):
    torch.manual_seed(0)
    denoiser = kind(VOCAB, LENGTH, width=8, heads=2, layers=1).double().eval()
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.8)
    return denoiser


def test_the_best_cut_is_the_best_of_all_cuts():
    costs = torch.rand(LENGTH, LENGTH, generator=torch.Generator().manual_seed(1)).double() * 3
    for calls in range(1, LENGTH + 1):
        losses = {}
        for inner in itertools.combinations(range(1, LENGTH), calls - 1):
            ends = [0, *inner, LENGTH]
            losses[tuple(b - a for a, b in itertools.pairwise(ends))] = sum(
                float(costs[a, j]) for a, b in itertools.pairwise(ends) for j in range(a, b)
            )
        assert tuple(best_cut(costs, calls)) == min(losses, key=losses.get)
    profile = torch.tensor([3.0, 1.0, 2.0, 0.5, 0.4, 0.3])
    by_number = profile[:, None].expand(-1, LENGTH)
    assert best_sizes(profile, 3) == best_cut(by_number, 3)
    with pytest.raises(ValueError, match="calls must be from 1 to 6"):
        best_cut(costs, 7)


@pytest.mark.parametrize("kind", [BidirectionalTransformer, OrderCausalTransformer])
def test_costs_of_prefixes(kind):
    denoiser, order = denoiser_of(kind), torch.tensor([3, 0, 5, 1, 4, 2])
    tokens = torch.randint(VOCAB, (5, LENGTH))
    found = prefix_costs(denoiser, tokens, order)
    for i in range(LENGTH):
        mu = denoiser.conditionals(tokens, order.expand(5, -1), torch.full((5,), i))
        for j in range(LENGTH):
            wanted = -mu[torch.arange(5), order[j], tokens[:, order[j]]].mean() if j >= i else 0.0
            assert float(found[i, j]) == pytest.approx(float(wanted), abs=1e-10)
    with pytest.raises(ValueError, match="whole sequences"):
        prefix_costs(denoiser, Batch(tokens, tokens == 0), order)


def test_starts_by_hand():
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert blocks(order, [1, 3, 2]).tolist() == [1, 1, 2, 0, 2, 1]
    assert streams(order, 3).tolist() == [1, 0, 2, 0, 1, 2]
    assert coarse_to_fine(7, 3).tolist() == [2, 1, 2, 0, 2, 1, 2]
    assert coarse_to_fine(7, 2).tolist() == [1, 1, 1, 0, 1, 1, 1]
    denoiser = denoiser_of(BidirectionalTransformer)
    tokens = torch.randint(VOCAB, (5, LENGTH))
    each = starts(denoiser, tokens, order, 2)
    losses = loss_of_starts(denoiser, tokens, each)
    costs = prefix_costs(denoiser, tokens, order)
    a, _ = best_cut(costs, 2)
    assert losses["cut"] == pytest.approx(float(costs[0, :a].sum() + costs[a, a:].sum()), abs=1e-10)
    assert set(losses) == {"cut", "streams", "bisection"}
