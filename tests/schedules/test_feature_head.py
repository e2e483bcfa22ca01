"""Heads on the denoiser's features: what the features are, whose, and what is kept."""

import copy

import pytest
import torch

from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer, TableTransformer
from ordo.objectives import OrderSpace
from ordo.schedules import FeatureHead, LogBound, PerContext, attach_features
from ordo.training import OptimizerSettings, OrderDiffusion, train_steps

LENGTH, VOCAB, WIDTH = 5, 3, 8


def law():
    heads = [FeatureHead(WIDTH, init_std=1.0) for _ in range(2)]
    return PerContext(LENGTH, heads[0], heads[1], LogBound())


def tokens(n=4):
    return torch.randint(VOCAB + 1, (n, LENGTH), generator=torch.Generator().manual_seed(0))


def denoisers():
    torch.manual_seed(0)
    size = {"width": WIDTH, "heads": 2, "layers": 2}
    return {
        "plain": BidirectionalTransformer(VOCAB, LENGTH, **size),
        "conditioned": BidirectionalTransformer(VOCAB, LENGTH, **size, time_conditioning=True),
        "table": TableTransformer([2, 3, 2, 3, 3], **size),
    }


@pytest.mark.parametrize("name", denoisers())
def test_logits_are_read_from_the_features(name):
    denoiser, present = denoisers()[name], torch.arange(LENGTH) < torch.tensor([[5], [3], [4], [1]])
    x = tokens().clamp(max=1).masked_fill(tokens() == VOCAB, VOCAB)
    for there in (None, present):
        assert torch.allclose(
            denoiser.read_out(denoiser.features(x, there), None),
            denoiser(x, present=there),
            atol=1e-6,
        )


def test_the_denoiser_is_not_part_of_it():
    denoiser, schedule = denoisers()["plain"], law()
    attach_features(schedule, denoiser)
    own = {
        f"{network}_network.{name}"
        for network in ("forward", "reverse")
        for name in ("hidden.weight", "hidden.bias", "weight", "bias")
    }
    assert set(schedule.state_dict()) == {name for name, _ in schedule.named_parameters()} == own


def test_a_copy_of_both_reads_the_copy():
    """As an average of weights is kept: then it is not the features of the weights that go on
    training.
    """
    module = OrderDiffusion(
        denoisers()["plain"], law(), OrderSpace(), OptimizerSettings(total_steps=1)
    )
    before, twin = module.schedule.log_r(tokens()), copy.deepcopy(module)
    with torch.no_grad():
        for parameter in module.denoiser.parameters():
            parameter += torch.randn_like(parameter)
    assert torch.equal(twin.schedule.log_r(tokens()), before)
    assert not torch.allclose(module.schedule.log_r(tokens()), before)


def test_dropout_is_off_in_evaluation():
    """Of the law, whatever the denoiser does, which goes on as it was."""
    schedule, denoiser = (
        law().eval(),
        BidirectionalTransformer(VOCAB, LENGTH, width=WIDTH, heads=2, layers=2, dropout=0.5),
    )
    attach_features(schedule, denoiser)
    assert torch.equal(schedule.log_r(tokens()), schedule.log_r(tokens()))
    assert denoiser.training
    schedule.train()
    assert not torch.equal(schedule.log_r(tokens()), schedule.log_r(tokens()))


def test_training_attaches():
    denoiser, schedule = denoisers()["plain"], law()
    before = [p.detach().clone() for p in schedule.parameters()]
    settings = OptimizerSettings(total_steps=3, schedule_lr=0.01, schedule_delay=0)
    data = tokens(8).clamp(max=VOCAB - 1)
    *_, (steps, _) = train_steps(denoiser, schedule, OrderSpace(), [data], settings)
    assert steps == 3
    assert all(not torch.equal(a, b) for a, b in zip(before, schedule.parameters(), strict=True))


def test_what_does_not_fit():
    with pytest.raises(ValueError, match=r"call its attach\(denoiser\) first"):
        law().log_r(tokens())
    causal = OrderCausalTransformer(VOCAB, LENGTH, width=WIDTH, heads=2, layers=1)
    with pytest.raises(ValueError, match=r"denoiser=bidirectional; OrderCausalTransformer has not"):
        OrderDiffusion(causal, law(), OrderSpace(), OptimizerSettings(total_steps=1))
    wide = BidirectionalTransformer(VOCAB, LENGTH, width=16, heads=2, layers=1)
    module = OrderDiffusion(wide, law(), OrderSpace(), OptimizerSettings(total_steps=1))
    with pytest.raises(ValueError, match="has width 8, the denoiser's features have 16"):
        module.schedule.log_r(tokens())
