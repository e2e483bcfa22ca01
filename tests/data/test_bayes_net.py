"""The random Bayesian network against loops over its tables and enumeration of its joint."""

import math

import pytest
import torch

from ordo.data import BayesNet, DataError
from ordo.settings import SettingError

torch.set_num_threads(1)
SMALL = [
    BayesNet(5, 3, 2),
    BayesNet(6, 2, 5, design_seed=3),
    BayesNet(4, 3, 3, concentration=5.0, design_seed=1),
    BayesNet(2, 4, 1),
]


def everything(law):
    """All V^L sequences."""
    return torch.cartesian_prod(*[torch.arange(law.vocab_size)] * law.length)


def joint(law):
    """Exact probabilities with one axis per node (not column), (V,) * L."""
    p = law.log_prob(everything(law)).exp().view([law.vocab_size] * law.length)
    return p.permute(law.columns.tolist())


@pytest.mark.parametrize("law", SMALL, ids=repr)
def test_log_prob_is_a_product_of_tables(law):
    tokens = everything(law)
    expected = []
    for row in tokens.tolist():
        value = [row[column] for column in law.columns.tolist()]
        p = 1.0
        for node, (parents, table) in enumerate(zip(law.parents, law.tables, strict=True)):
            p *= float(table[tuple(value[parent] for parent in parents)][value[node]])
        expected.append(p)
    got = law.log_prob(tokens)
    assert got.dtype == torch.float64
    assert torch.allclose(
        got.exp(), torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=0
    )
    assert float(got.exp().sum()) == pytest.approx(1, abs=1e-12)


def test_entropy_of_more_than_one_chunk_against_monte_carlo():
    law = BayesNet(11)
    assert law.vocab_size**law.length > 2**16
    assert 0 < law.entropy < 11 * math.log(3)
    values = -law.log_prob(law.sample(40000, torch.Generator().manual_seed(0)))
    assert abs(float(values.mean()) - law.entropy) < 4 * float(values.std()) / math.sqrt(
        len(values)
    )


def test_entropy_of_a_nearly_deterministic_law():
    law = BayesNet(4, 3, concentration=1e-4)  # rows of exact zeros and ones
    assert any((table == 0).any() for table in law.tables)
    assert math.isfinite(law.entropy)
    assert float(torch.special.entr(law.log_prob(everything(law)).exp()).sum()) == pytest.approx(
        law.entropy, abs=1e-10
    )
    assert torch.isfinite(law.log_prob(law.sample(1000, torch.Generator().manual_seed(0)))).all()


@pytest.mark.parametrize("law", SMALL, ids=repr)
def test_nodes_depend_on_their_parents_and_on_nothing_else_before_them(law):
    p, columns = joint(law), law.columns.tolist()
    node_of = {column: node for node, column in enumerate(columns)}
    edges = [(node_of[i], node_of[j]) for i, j in law.precedence]
    for node in range(law.length):
        parents = [i for i, j in edges if j == node]
        assert tuple(parents) == law.parents[node]
        assert len(parents) == len(set(parents)) <= law.max_parents
        assert parents or node == 0
        up_to = p.sum(tuple(range(node + 1, law.length))) if node + 1 < law.length else p
        conditional = up_to / up_to.sum(-1, keepdim=True)
        for other in range(node):
            change = float((conditional.amax(other) - conditional.amin(other)).max())
            assert (change > 1e-3) if other in parents else (change < 1e-12), (node, other)


@pytest.mark.parametrize("seed", range(5))
def test_precedence_is_acyclic_and_the_columns_keep_it(seed):
    law = BayesNet(design_seed=seed)
    edges = law.precedence
    assert len(edges) == len(set(edges)) >= 11
    remaining = set(range(12))
    while remaining:  # take away what has no parent left
        free = remaining - {j for i, j in edges if i in remaining}
        assert free, "a cycle"
        remaining -= free
    rank = law.columns.argsort().tolist()
    assert all(rank[i] < rank[j] for i, j in edges)


def test_columns_are_shuffled():
    columns = [BayesNet(design_seed=seed).columns for seed in range(5)]
    assert all(torch.equal(each.sort().values, torch.arange(12)) for each in columns)
    assert len({tuple(each.tolist()) for each in columns}) == 5
    assert not any(torch.equal(each, torch.arange(12)) for each in columns)


def test_a_law_is_a_pure_function_of_its_fields():
    tokens = BayesNet(8, design_seed=2).sample(100, torch.Generator().manual_seed(0))
    torch.manual_seed(12345)
    again = BayesNet(8, design_seed=2)
    assert again == BayesNet(8, design_seed=2)
    assert torch.equal(again.sample(100, torch.Generator().manual_seed(0)), tokens)
    other = BayesNet(8, design_seed=3)
    assert other.parents != again.parents
    assert other.entropy != again.entropy
    sharp = BayesNet(8, design_seed=2, concentration=0.1)
    assert sharp.parents == again.parents
    assert sharp.entropy < again.entropy < BayesNet(8, design_seed=2, concentration=10.0).entropy


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_nodes": 1}, "n_nodes=1: must be a whole number from 2"),
        ({"n_values": 1}, "n_values=1: must be a whole number from 2"),
        ({"max_parents": 0}, "max_parents=0: must be a whole number from 1"),
        ({"concentration": 0.0}, "concentration=0.0: must be a number above 0"),
        ({"concentration": math.inf}, "concentration=inf: must be a number above 0"),
        ({"n_nodes": 14}, r"3 \*\* 14; take n_nodes <= 13"),
        ({"n_nodes": 22, "n_values": 2}, "take n_nodes <= 21"),
    ],
)
def test_bad_arguments(fields, message):
    with pytest.raises((DataError, SettingError), match=message):
        BayesNet(**fields)


def test_the_largest_allowed():
    for nodes, values in ((21, 2), (13, 3), (7, 8)):
        assert BayesNet(nodes, values).length == nodes
