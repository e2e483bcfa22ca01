"""The laws of the synthetic tasks: samples, probabilities and entropies agree with one another."""

import json
import math

import pytest
import torch

from ordo.data import (
    Addition,
    BayesNet,
    BinaryTree,
    DataError,
    EvenParity,
    IndependentTokens,
    MarkovChain,
    ModularSums,
    NotAllEqual,
    TaskData,
    TwoOrders,
)
from ordo.settings import SettingError

torch.set_num_threads(1)
SMALL = [
    NotAllEqual(4, 5),
    NotAllEqual(3, 2, design_seed=4),
    ModularSums(2, 3, modulus=3),
    Addition(1),
    TwoOrders(3),
    TwoOrders(5, design_seed=3),
    TwoOrders(4, observation="parity"),
    MarkovChain(6, 3, 0.2),
    MarkovChain(7, 2, 0.0),
    BinaryTree(3, 0.15),
    EvenParity(7),
    IndependentTokens(4, (0.5, 0.3, 0.2, 0.0)),
    BayesNet(5, 3, 2),
    BayesNet(6, 2, 5, design_seed=3),
]


def everything(law):
    """All V^L sequences."""
    return torch.cartesian_prod(*[torch.arange(law.vocab_size)] * law.length)


@pytest.mark.parametrize("law", SMALL, ids=repr)
def test_entropy_by_enumeration(law):
    log_p = law.log_prob(everything(law))
    assert log_p.dtype == torch.float64
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-10)
    assert float(torch.special.entr(log_p.exp()).sum()) == pytest.approx(law.entropy, abs=1e-10)


@pytest.mark.parametrize("law", SMALL, ids=repr)
def test_samples_follow_the_law(law):
    n = 20000
    tokens = law.sample(n, torch.Generator().manual_seed(0))
    assert tokens.shape == (n, law.length)
    assert tokens.dtype == torch.int64
    weights = law.vocab_size ** torch.arange(law.length - 1, -1, -1)
    counts = torch.bincount((tokens * weights).sum(1), minlength=law.vocab_size**law.length)
    expected = law.log_prob(everything(law)).exp() * n
    assert counts[expected == 0].sum() == 0
    rare = (expected > 0) & (expected < 5)  # pooled, as the chi-square law asks for
    seen = torch.cat([counts[expected >= 5].double(), counts[rare].sum().double().view(1)])
    mean = torch.cat([expected[expected >= 5], expected[rare].sum().view(1)])
    seen, mean = seen[mean > 0], mean[mean > 0]
    chi2, freedom = float(((seen - mean) ** 2 / mean).sum()), len(mean) - 1
    assert chi2 < freedom + 4 * math.sqrt(2 * freedom) + 4  # about 4 sd
    assert torch.equal(tokens, law.sample(n, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("law", SMALL, ids=repr)
def test_impossible_tokens(law):
    mask = torch.full((1, law.length), law.vocab_size)
    assert law.log_prob(mask).tolist() == [-math.inf]
    with pytest.raises(DataError, match="tokens must be"):
        law.log_prob(mask[:, 1:])


@pytest.mark.parametrize(
    ("observation", "says"),
    [("nae", lambda bits: len(set(bits)) > 1), ("parity", lambda bits: bits.count(1) in (1, 3))],
)
def test_two_orders_by_the_definition(observation, says):
    """Observations by a loop over labelled columns; the flag says which half is bits."""
    law = TwoOrders(4, 1, observation)
    assert law.labels[0] == "flag"
    assert sorted(law.labels[1:]) == sorted(
        f"{half} {i}" for half in ("first", "second") for i in range(4)
    )
    tokens = law.sample(500, torch.Generator().manual_seed(0))
    for row in tokens.tolist():
        value = dict(zip(law.labels, row, strict=True))
        bits, seen = ("first", "second") if value["flag"] == 0 else ("second", "first")
        for j in range(4):
            some = [value[f"{bits} {i}"] for i in law.parents[value["flag"], j].tolist()]
            assert value[f"{seen} {j}"] == says(some)
    assert 200 < tokens[:, 0].sum() < 300
    with pytest.raises(SettingError, match="n_half"):
        TwoOrders(2)
    with pytest.raises(SettingError, match="nae or parity"):
        TwoOrders(4, observation="xor")


def test_entropies_of_the_protocol():
    nae = NotAllEqual(n_latents=8, n_observations=20)
    assert nae.length == 28
    assert nae.entropy == pytest.approx(5.545, abs=5e-4)
    assert ModularSums(8, 20, modulus=7).entropy == pytest.approx(8 * math.log(7))
    assert Addition(4).entropy == pytest.approx(8 * math.log(10))


def test_latents_come_first():
    law = NotAllEqual(5, 6, design_seed=2)
    edges = law.precedence
    latents, observations = set(law.columns[:5].tolist()), set(law.columns[5:].tolist())
    assert len(set(edges)) == 18
    assert {i for i, _ in edges} <= latents
    assert {j for _, j in edges} == observations
    assert law.precedence != NotAllEqual(5, 6, design_seed=3).precedence
    tokens = law.sample(50, torch.Generator().manual_seed(1))
    for j in (
        observations
    ):  # an observation is its three latents' not-all-equal, read from the edges alone
        seen = tokens[:, [i for i, k in edges if k == j]]
        assert torch.equal(tokens[:, j], (seen.sum(1) % 3 != 0).long())


def test_addition_reads_as_a_sum():
    law = Addition(2)
    tokens = law.sample(20, torch.Generator().manual_seed(0))
    for text in law.decode(tokens):
        left, right = text.split("=")
        a, b = left.split("+")
        assert int(a) + int(b) == int(right)
    edges = law.precedence  # columns: a1 a0 b1 b0 c2 c1 c0
    assert len(set(edges)) == len(edges)
    assert sorted(edges) == sorted(
        [
            (1, 6),
            (3, 6),
            (1, 5),
            (3, 5),
            (1, 4),
            (3, 4),
            (0, 5),
            (2, 5),
            (0, 4),
            (2, 4),
            (6, 5),
            (6, 4),
            (5, 4),
        ]
    )
    assert law.decode(torch.full((1, 7), 10)) == ["__+__=___"]


def test_other_precedences_and_decoding():
    assert BinaryTree(3).precedence == [(0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6)]
    assert MarkovChain().precedence is None
    assert EvenParity().precedence is None
    assert ModularSums(2, 1, modulus=12).decode(torch.tensor([[1, 11, 12]])) == ["1 11 _"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: NotAllEqual(2, 5),
        lambda: ModularSums(4, 4, modulus=1),
        lambda: Addition(0),
        lambda: MarkovChain(flip=1.5),
        lambda: BinaryTree(0),
        lambda: EvenParity(0),
        lambda: IndependentTokens(3, (0.5, 0.6)),
        lambda: TaskData(EvenParity(), eval_size=0),
    ],
)
def test_bad_arguments_of_laws(make):
    with pytest.raises((DataError, SettingError), match=r"must|need"):
        make()


def test_task_data():
    data = TaskData(NotAllEqual(8, 20), batches_per_epoch=5, eval_size=10, batch_size=4, seed=1)
    data.setup("fit")
    data.setup("test")
    assert (data.vocab_size, data.length, data.unit) == (2, 28, "token")
    assert data.entropy == data.task.entropy
    assert data.precedence == data.task.precedence
    batches = list(data.train_dataloader())
    assert [tuple(batch.shape) for batch in batches] == [(4, 28)] * 5
    assert torch.isfinite(data.task.log_prob(torch.cat(batches))).all()
    assert not torch.equal(batches[0], batches[1])
    val, test = (
        torch.cat(list(loader)) for loader in (data.val_dataloader(), data.test_dataloader())
    )
    assert val.shape == test.shape == (10, 28)
    assert not torch.equal(val, test)
    other = TaskData(NotAllEqual(8, 20), eval_size=10, seed=2)
    other.setup()
    assert torch.equal(other.val_set.tokens, val)
    assert len(data.decode(val)[0]) == 28
    described = json.loads(json.dumps(data.describe()))
    assert described["task"] == {"n_latents": 8, "n_observations": 20, "design_seed": 0}
