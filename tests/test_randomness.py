"""The randomness of a step: the same for the same keys, spread over shards, uniform over steps."""

import itertools

import pytest
import torch

from ordo.randomness import StepRandom, seeded_generator


def draw(random):
    return random.uniform(1, 1, 8, "cpu")


@pytest.mark.parametrize(("shards", "n"), [(1, 8), (2, 4), (8, 1), (3, 5)])
def test_shards_give_together_the_set_of_one(shards, n):
    parts = [
        StepRandom(seed=3, step=7, shard=shard, shards=shards).stratified(n, "cpu")
        for shard in range(shards)
    ]
    whole = StepRandom(seed=3, step=7).stratified(n * shards, "cpu")
    assert torch.equal(torch.stack(parts, 1).flatten(), whole), "dealt out in turn, as the rows are"
    for part in (whole, *parts):
        gaps = part.sort().values.diff()
        assert torch.allclose(gaps, torch.full_like(gaps, 1 / len(part)), atol=1e-12), (
            "evenly spread"
        )
        assert ((part >= 0) & (part < 1)).all()


@pytest.mark.parametrize(("shards", "n"), [(2, 4), (8, 1), (3, 5)])
def test_shards_draw_together_what_one_draws(shards, n):
    whole = StepRandom(seed=3, step=7).uniform(3, n * shards, 6, "cpu")
    for shard in range(shards):
        part = StepRandom(seed=3, step=7, shard=shard, shards=shards).uniform(3, n, 6, "cpu")
        assert torch.equal(part, whole[:, shard::shards])


def test_uniforms_are_uniform_and_independent():
    """Moments, and correlations of neighbours in each direction, within 4 standard errors.

    Over steps, sequences, draws and positions.
    """
    u = (
        torch.stack(
            [StepRandom(seed=2, step=step).uniform(4, 16, 32, "cpu") for step in range(400)]
        )
        - 0.5
    )
    n = u.numel()
    assert abs(u.mean()) < 4 * (1 / 12 / n) ** 0.5
    assert abs(u.square().mean() - 1 / 12) < 4 * (1 / 180 / n) ** 0.5
    for dim in range(4):
        product = u.narrow(dim, 0, u.shape[dim] - 1) * u.narrow(dim, 1, u.shape[dim] - 1)
        assert abs(product.mean()) < 4 / 12 / product.numel() ** 0.5
    assert len(u.flatten().unique()) == n


@pytest.mark.parametrize("position", [0, 3])
def test_each_value_is_uniform_over_steps(position):
    """Kolmogorov-Smirnov by hand: the largest distance to the diagonal, level about 1e-4."""
    steps = 2000
    values = (
        torch.stack(
            [StepRandom(seed=1, step=step).stratified(4, "cpu")[position] for step in range(steps)]
        )
        .sort()
        .values
    )
    grid = torch.arange(steps, dtype=torch.float64) / steps
    distance = max((values - grid).max(), (grid + 1 / steps - values).max())
    assert distance < 2.2 / steps**0.5


def test_keys_make_the_generator():
    keys = list(itertools.product((0, 1), (0, 1, 999), (0, 1), (2,)))
    draws = [draw(StepRandom(*key)) for key in keys]
    for (i, a), (j, b) in itertools.combinations(enumerate(draws), 2):
        assert not torch.equal(a, b), (keys[i], keys[j])
    torch.manual_seed(0)
    torch.rand(5)
    assert all(
        torch.equal(a, draw(StepRandom(*key))) for a, key in zip(draws, keys, strict=True)
    ), "nothing else has a say"


def test_own_draws_are_not_the_shared_ones():
    random = StepRandom(seed=5, step=6)
    shared = random.stratified(1, "cpu")
    assert not torch.isclose(shared, random.uniform(2, 1, 8, "cpu")).any()


def test_seeds_do_not_collide():
    seeds = {
        seeded_generator("cpu", *key).initial_seed()
        for key in itertools.product(range(10), range(100), range(-10, 10))
    }
    assert len(seeds) == 10 * 100 * 20
    assert (
        seeded_generator("cpu", 1, 2).initial_seed() != seeded_generator("cpu", 2, 1).initial_seed()
    ), "keys are ordered"
