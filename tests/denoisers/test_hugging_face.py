"""Masked-language models as denoisers: a small one of a real architecture, randomly initialised,
offline.
"""

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, ModernBertConfig, ModernBertForMaskedLM

from ordo.denoisers import MaskedLM
from ordo.likelihood import (
    enumerate_orders,
    nelbo,
    order_log_prob,
    sampler_log_prob,
    subset_likelihood,
)
from ordo.order import uniform_law
from ordo.randomness import StepRandom
from ordo.samplers import ByScore, InSteps, PathPlanning, Sampler, Threshold, sample
from ordo.samplers.how_many import All

VOCAB, MASK, PAD, LENGTH = 12, 3, 0, 6


def bert():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5,
    )
    return BertForMaskedLM(config).double().eval()


def modern_bert():
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=VOCAB, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, initializer_range=0.5,
        pad_token_id=PAD, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2,
        reference_compile=False,
        attn_implementation="sdpa",
    )  # fmt: skip
    return ModernBertForMaskedLM(config).double().eval()


@pytest.fixture(params=[bert, modern_bert], ids=["bert", "modern_bert"])
def model(request):
    return request.param()


@pytest.fixture
def denoiser(model):
    return MaskedLM.of_model(model, MASK, LENGTH, forbidden=[PAD]).requires_grad_(False)


def test_it_says_what_the_model_says(model, denoiser):
    tokens = torch.tensor([[5, VOCAB, 7, VOCAB, 4, 9]])
    own = model(input_ids=torch.tensor([[5, MASK, 7, MASK, 4, 9]])).logits[0, [1, 3]]
    own[:, [PAD, MASK]] = -torch.inf
    where = tokens == denoiser.mask_id
    out = denoiser.session(1)(
        torch.arange(1), tokens, torch.arange(LENGTH)[None], torch.tensor([4]), where
    )
    assert torch.allclose(out.exp(), own.softmax(-1), atol=1e-12)


def test_samplers_and_likelihoods(denoiser):
    for sampler in (
        Sampler(),
        Sampler(ByScore("margin"), InSteps(3)),
        Sampler(ByScore(), Threshold(0.4)),
    ):
        trace = sample(denoiser, sampler, 20)
        assert ((trace.tokens > 0) & (trace.tokens < VOCAB) & (trace.tokens != MASK)).all(), (
            "never the mask, never padding"
        )
        if sampler.deterministic:
            again = sampler_log_prob(denoiser, sampler, trace.tokens)
            assert torch.allclose(again.total_log_prob, trace.total_log_prob, atol=1e-9)
    planned = sample(denoiser, Sampler(how_many=All(), revise=PathPlanning(4, eta=1.2)), 20)
    assert (planned.tokens < VOCAB).all()
    law, rows = uniform_law(LENGTH), trace.tokens[:3]
    exact = subset_likelihood(denoiser, law, rows)
    listed = enumerate_orders(denoiser, law, rows)
    assert torch.allclose(listed.log_mixture, exact.log_mixture, atol=1e-9)
    assert torch.allclose(listed.nelbo, exact.nelbo, atol=1e-9)
    assert (exact.log_mixture > -exact.nelbo).all()
    values = torch.stack(
        [nelbo(denoiser, law, rows, draws=60, random=StepRandom(step=step)) for step in range(20)]
    )
    assert ((values.mean(0) - exact.nelbo).abs() < 4 * values.std(0) / 20**0.5).all()
    assert torch.isfinite(order_log_prob(denoiser, rows, torch.arange(LENGTH))).all()


def test_padding(denoiser):
    """The attention mask hides what is absent: a short row is drawn as if it were alone, whatever
    its batch.
    """
    lengths = torch.tensor([4, 6, 4])
    trace = sample(denoiser, Sampler(ByScore("entropy")), 3, lengths=lengths)
    assert (trace.rank[0, 4:] == -1).all()
    alone = sample(denoiser, Sampler(ByScore("entropy")), 1, lengths=lengths[:1])
    assert torch.equal(alone.tokens[0], trace.tokens[0])
    assert torch.equal(trace.rank[1].sort().values, torch.arange(6))


def test_any_function_of_tokens():
    """A remote model behind logits(tokens)."""
    table = torch.randn(VOCAB, generator=torch.Generator().manual_seed(0)).double()
    denoiser = MaskedLM(
        lambda ids, attention_mask: table.expand(*ids.shape, VOCAB), VOCAB, MASK, LENGTH
    )
    trace = sample(denoiser, Sampler(), 4000)
    p = table.index_fill(0, torch.tensor([MASK]), -torch.inf).softmax(-1)
    assert torch.allclose(
        torch.bincount(trace.tokens.flatten(), minlength=VOCAB) / (4000 * LENGTH),
        p.float(),
        atol=0.012,
    )


def test_bad_ids():
    with pytest.raises(ValueError, match=r"0\.\.11"):
        MaskedLM(lambda ids, mask: ids, VOCAB, VOCAB, LENGTH)
