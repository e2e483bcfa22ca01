"""Denoisers from language models: the conditionals are those of the model called by hand, whatever
its architecture.
"""

import copy
import json
import logging

import pytest
import torch
import torch.nn.functional as F
from tiny_models import CAUSAL, tiny_model
from tiny_tokenizer import tiny_tokenizer
from transformers import MambaConfig, OPTConfig

from ordo.denoisers import PretrainedDenoiser, layers
from ordo.denoisers.cost import nll_of_set
from ordo.likelihood import enumerate_orders, subset_likelihood
from ordo.order import uniform_law
from ordo.samplers import ByScore, InSteps, Sampler, sample

LENGTH = 6


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(
        "huggingface_hub.constants.HF_HUB_OFFLINE", True
    )  # its variable is read once, at import
    logging.getLogger("transformers").setLevel(logging.ERROR)


def start(folder, kind, vocab, length=LENGTH, **settings):
    make = (
        PretrainedDenoiser.from_causal_lm if kind in CAUSAL else PretrainedDenoiser.from_masked_lm
    )
    return make(str(folder), vocab, length, **settings).eval()


def by_hand(model, kind, tokens, vocab, shift=True, present=None, begin=1):
    """Logits (batch, length, vocab) of the model itself: another mask token, a whole call, and of a
    causal one an explicit mask.
    """
    model = copy.deepcopy(model)
    if kind not in CAUSAL:
        logits = model(
            input_ids=tokens.masked_fill(tokens == vocab, 4),
            attention_mask=None if present is None else present.long(),
        ).logits
        logits[..., 4] = -torch.inf
        return logits[..., :vocab]
    embedding = model.get_input_embeddings().weight
    vectors = torch.cat([embedding[:vocab], embedding[:vocab].mean(0, keepdim=True)])[tokens]
    seen = torch.ones_like(tokens, dtype=torch.bool) if present is None else present
    if shift:
        vectors = torch.cat([embedding[begin].expand(len(tokens), 1, -1), vectors], 1)
        seen = F.pad(seen, (1, 0), value=True)
    everyone = seen[:, None, None, :].expand(
        -1, 1, seen.shape[1], -1
    )  # four dimensions: used as it is
    logits = model(inputs_embeds=vectors, attention_mask=everyone, use_cache=False).logits[
        ..., :vocab
    ]
    return logits[:, :-1] if shift else logits


def rows(vocab):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, vocab, (4, LENGTH), generator=generator)
    masked = torch.rand(tokens.shape, generator=generator) < 0.5
    masked[:, 0] = True
    return tokens, masked


CASES = [
    ("bert", {}),
    ("bert", {"tie": False}),
    ("roberta", {}),
    ("gpt2", {}),
    ("llama", {}),
    ("llama", {"tie": True}),
    ("llama", {"rows": 300}),
]


@pytest.mark.parametrize(("kind", "changes"), CASES, ids=str)
def test_conditionals_are_those_of_the_model(kind, changes, tmp_path):
    model, tokenizer = tiny_model(tmp_path, kind, **changes)
    vocab = len(tokenizer)
    tokens, masked = rows(vocab)
    noised = tokens.masked_fill(masked, vocab)
    present = torch.ones_like(masked)
    present[1, 4:], present[3, 5:] = False, False
    for settings in ({}, {"shift": False}) if kind in CAUSAL else ({},):
        denoiser = start(tmp_path, kind, vocab, tokenizer=str(tmp_path), **settings)
        assert denoiser.rest, "the head is called by itself"
        assert denoiser.vocab_size == denoiser.mask_id == vocab
        with torch.no_grad():
            for seen in (None, present):
                want = by_hand(model, kind, noised, vocab, settings.get("shift", True), seen)
                out = denoiser(noised, present=seen)
                assert torch.equal(denoiser.read_out(denoiser.features(noised, seen)), out)
                here = present if seen is not None else torch.ones_like(present)
                assert torch.allclose(out[here], want[here], atol=1e-5)
                assert torch.allclose(
                    denoiser(noised, where=masked & here, present=seen),
                    want[masked & here],
                    atol=1e-5,
                )
                if seen is not None:  # what is not there changes nothing
                    other = denoiser(torch.where(here, noised, 7), present=seen)
                    assert torch.allclose(other[here], out[here], atol=1e-6)
            nothing = denoiser(noised, where=torch.zeros_like(masked))
            assert nothing.shape == (0, vocab)
            order, n = torch.argsort(masked.int(), dim=1, stable=True), (~masked).sum(1)
            mu = denoiser.conditionals(tokens, order, n)
            want = by_hand(model, kind, noised, vocab, settings.get("shift", True)).log_softmax(-1)
            assert torch.allclose(mu[masked], want[masked], atol=1e-5)


@pytest.mark.parametrize("kind", CAUSAL)
def test_every_position_sees_every_other(kind, tmp_path):
    _, tokenizer = tiny_model(tmp_path, kind)
    vocab = len(tokenizer)
    tokens, _ = rows(vocab)
    for shift in (True, False):
        denoiser = start(tmp_path, kind, vocab, shift=shift).requires_grad_(False)
        for j in range(LENGTH):
            changed = tokens.clone()
            changed[:, j] = 5 + (tokens[:, j] - 5 + 1) % (vocab - 5)
            moved = (denoiser(tokens) - denoiser(changed)).abs().amax((0, 2))
            assert (moved > 1e-5).all(), (shift, j)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
@pytest.mark.parametrize("recompute", [False, True])
def test_cost_and_gradients(kind, recompute, tmp_path, monkeypatch):
    """-log mu of targets and its gradients are those of the model by hand, however few logits may
    be held at once.
    """
    model, tokenizer = tiny_model(tmp_path, kind)
    vocab = len(tokenizer)
    tokens, masked = rows(vocab)
    noised = tokens.masked_fill(masked, vocab)
    model = model.double()
    want = F.cross_entropy(
        by_hand(model, kind, noised, vocab)[masked], tokens[masked], reduction="none"
    )
    denoiser = start(tmp_path, kind, vocab, recompute=recompute).double().train()
    monkeypatch.setattr(layers.head_cost, "__defaults__", (3 * vocab,))
    cost = nll_of_set(denoiser, noised, tokens, masked)
    assert torch.allclose(cost[masked], want, atol=1e-6)
    assert torch.allclose(
        F.cross_entropy(denoiser(noised)[masked], tokens[masked], reduction="none"), want, atol=1e-6
    )
    cost.sum().backward()
    # By hand through finite differences of one weight of each end of the network.
    body = denoiser.model.base_model
    for weight in (
        denoiser.model.get_input_embeddings().weight,
        next(p for name, p in body.named_parameters() if "attn" in name or "query" in name),
    ):
        at = tuple(int(i) for i in torch.unravel_index(weight.grad.abs().argmax(), weight.shape))
        with torch.no_grad():
            values = []
            for step in (1e-4, -1e-4):
                weight[at] += step
                values.append(nll_of_set(denoiser, noised, tokens, masked).sum())
                weight[at] -= step
        assert torch.isclose(weight.grad[at], (values[0] - values[1]) / 2e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["roberta", "gpt2"])
def test_made_again_without_the_folder(kind, tmp_path):
    _, tokenizer = tiny_model(tmp_path / "gone", kind)
    vocab = len(tokenizer)
    denoiser = start(tmp_path / "gone", kind, vocab)
    plain = json.loads(json.dumps(denoiser.arguments))
    assert "gone" not in str(plain)
    (tmp_path / "gone").rename(tmp_path / "moved")
    again = PretrainedDenoiser(**plain).eval()
    tokens, masked = rows(vocab)
    noised = tokens.masked_fill(masked, vocab)
    assert not torch.equal(again(noised), denoiser(noised))
    again.load_state_dict(denoiser.state_dict())
    assert torch.equal(again(noised), denoiser(noised))
    assert again.arguments == denoiser.arguments
    foreign = {
        "_attn_implementation": "somebody/kernels",
        "attn_implementation": "somebody/kernels",
        "auto_map": {"AutoConfig": "a.B"},
    }
    assert PretrainedDenoiser(**plain | {"config": plain["config"] | foreign}).arguments == plain, (
        "nothing is fetched"
    )


def test_copies_share_nothing(tmp_path):
    """As averaged weights (EMA) need it: the head of a copy is the copy's."""
    _, tokenizer = tiny_model(tmp_path, "bert")
    denoiser = start(tmp_path, "bert", len(tokenizer)).requires_grad_(False)
    tokens, _ = rows(len(tokenizer))
    before, copied = denoiser(tokens), copy.deepcopy(denoiser)
    for parameter in copied.parameters():
        parameter.mul_(1.5)
    assert torch.equal(denoiser(tokens), before)
    assert not torch.allclose(copied(tokens), before, atol=1e-2)
    assert torch.allclose(
        copied.double()(tokens),
        copied.model(input_ids=tokens).logits.index_fill(-1, torch.tensor([4]), -torch.inf),
        atol=1e-5,
    )


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_samplers_and_likelihoods(kind, tmp_path):
    _, tokenizer = tiny_model(tmp_path, kind)
    denoiser = start(tmp_path, kind, len(tokenizer), length=4).double().requires_grad_(False)
    trace = sample(denoiser, Sampler(ByScore("margin"), InSteps(2)), 3)
    assert ((trace.tokens < len(tokenizer)) & ((trace.tokens != 4) | (kind == "llama"))).all()
    law = uniform_law(4)
    listed, exact = (
        enumerate_orders(denoiser, law, trace.tokens),
        subset_likelihood(denoiser, law, trace.tokens),
    )
    assert torch.allclose(listed.nelbo, exact.nelbo, atol=1e-8)


def test_a_head_that_cannot_be_called_by_itself(tmp_path):
    """OPT asks for its decoder: whole calls, the same numbers."""
    config = OPTConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                       ffn_dim=32, max_position_embeddings=16,
                       word_embed_proj_dim=16, init_std=0.3)  # fmt: skip
    denoiser = (
        PretrainedDenoiser(config.to_dict(), 19, 6, 19, causal=True).eval().requires_grad_(False)
    )
    assert not denoiser.rest
    tokens = torch.tensor([[5, 19, 7, 19, 3, 9]])
    everyone = torch.ones(1, 6, dtype=torch.long)
    want = denoiser.model(input_ids=tokens, attention_mask=everyone, use_cache=False).logits[
        ..., :19
    ]
    assert torch.allclose(denoiser(tokens), want, atol=1e-6)
    assert torch.allclose(denoiser(tokens, where=tokens == 19), want[tokens == 19], atol=1e-6)
    at = (tokens == 19).flatten().nonzero()[:, 0]
    cost = -want.log_softmax(-1)[0, [1, 3], [3, 4]]
    assert torch.allclose(denoiser.nll(tokens, at, torch.tensor([3, 4])), cost, atol=1e-5)


def test_errors(tmp_path):
    _, tokenizer = tiny_model(tmp_path / "bert", "bert")
    tiny_model(tmp_path / "gpt2", "gpt2")
    tiny_model(tmp_path / "roberta", "roberta")
    tiny_model(tmp_path / "masked_gpt2", "gpt2")
    tiny_tokenizer(tmp_path / "masked_gpt2", mask=True)
    tiny_model(tmp_path / "small", "bert", rows=200)
    tiny_tokenizer(
        tmp_path / "other", text=["other words than those"], mask=True, vocab_size=len(tokenizer)
    )
    (tmp_path / "custom").mkdir()
    tiny_tokenizer(tmp_path / "custom", mask=True)
    custom = {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.Config", "AutoModelForMaskedLM": "own.Model"},
    }
    (tmp_path / "custom" / "config.json").write_text(json.dumps(custom))
    (tmp_path / "custom" / "own.py").write_text(f"open({str(tmp_path / 'EXECUTED')!r}, 'w')")
    tiny_tokenizer(tmp_path / "bare", mask=True)
    vocab = len(tokenizer)
    masked, causal = PretrainedDenoiser.from_masked_lm, PretrainedDenoiser.from_causal_lm
    for make, folder, settings, told in (
        (masked, "gpt2", {}, "has no mask token"),
        (
            masked,
            "small",
            {},
            f"the model has 200 token ids, fewer than the {vocab} of the tokenizer",
        ),
        (
            masked,
            "bert",
            {"length": 35},
            "length=35: the model has 34 positions; use data.length=34 or less",
        ),
        (masked, "roberta", {"length": 32}, "length=32: the model has 31 positions"),
        (
            causal,
            "gpt2",
            {"length": 34},
            "length=34 and the begin token: the model has 34 positions; use data.length=33",
        ),
        (
            masked,
            "masked_gpt2",
            {},
            "masked_gpt2 is no masked language model of transformers, but gpt2",
        ),
        (
            masked,
            "bert",
            {"vocab_size": 27},
            f"the data have 27 token ids, the tokenizer of .* has {vocab}; "
            "use data=corpus data.tokenizer=",
        ),
        (masked, "bert", {"tokenizer": str(tmp_path / "other")}, "ids mean other tokens"),
        (masked, "nothing_here", {}, "no tokenizer '.*nothing_here'"),
        (masked, "bare", {}, "no model '.*bare' .*; give denoiser.name the name of one on the hub"),
        (masked, "custom", {}, "needs code of its own, which is never run"),
    ):
        given = {"vocab_size": vocab, "length": LENGTH} | settings
        with pytest.raises(ValueError, match=told) as caught:
            make(str(tmp_path / folder), **given)
        assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "EXECUTED").exists()
    start(tmp_path / "gpt2", "gpt2", vocab, length=34, shift=False)
    with pytest.raises(ValueError, match="MambaForCausalLM cannot be made bidirectional"):
        PretrainedDenoiser(
            MambaConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, state_size=4).to_dict(),
            19,
            6,
            19,
            causal=True,
        )
    with pytest.raises(ValueError, match="cannot build the model 'no_such'"):
        PretrainedDenoiser({"model_type": "no_such"}, 19, 6, 18)
