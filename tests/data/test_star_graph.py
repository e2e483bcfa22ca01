"""Star graphs: draws against a search of the graph and its description; the data module."""

import json
import math
from collections import Counter, deque
from itertools import product

import pytest
import torch

from ordo.data import Batch, DataError, StarGraph, TaskData
from ordo.metrics import edges_kept
from ordo.settings import SettingError

EASY, MEDIUM, HARD = StarGraph(), StarGraph(3, 6, 3, 2, 20), StarGraph(5, 12, 6, 5, 56)
torch.set_num_threads(1)


def parsed(law, row):
    """Edges, start, goal and path of a list of tokens, without what is not needed."""
    edges = [tuple(row[2 * i : 2 * i + 2]) for i in range(law.n_edges)]
    return (
        [e for e in edges if law.n_nodes not in e],
        *row[2 * law.n_edges :][:2],
        [t for t in row[-law.path_length :] if t < law.n_nodes],
    )


def paths(edges, start, goal):
    """Every path from start to goal, by breadth-first search over whole paths."""
    found, waiting = [], deque([[start]])
    while waiting:
        path = waiting.popleft()
        if path[-1] == goal:
            found.append(path)
            continue
        waiting.extend([*path, b] for a, b in edges if a == path[-1] and b not in path)
    return found


@pytest.mark.parametrize("law", [EASY, MEDIUM, HARD], ids=["easy", "medium", "hard"])
def test_graphs_and_paths(law):
    tokens = law.sample(300, torch.Generator().manual_seed(0))
    assert tokens.shape == (300, law.length)
    assert tokens.dtype == torch.int64
    assert torch.equal(law.solve(tokens), tokens[:, -law.path_length :])
    assert (law.log_prob(tokens) == 0).all()
    seen = Counter()
    for row in tokens.tolist():
        edges, start, goal, path = parsed(law, row)
        assert paths(edges, start, goal) == [path], "one path, and that one"
        out, into = Counter(a for a, _ in edges), Counter(b for _, b in edges)
        (centre,) = [node for node, n in out.items() if n == law.degree]
        assert max(into.values()) <= law.degree
        assert all(n == 1 for node, n in [*out.items(), *into.items()] if node != centre), "arms"
        ends, starts = [b for b in into if b not in out], [a for a in out if a not in into]
        assert len(ends) == law.degree
        assert len(starts) == into[centre] + (into[centre] == 0)
        lengths = []  # of the halves of arms, from their ends
        for end in ends:
            (half,) = paths(edges, centre, end)
            lengths.append(len(half) - 1)
        assert min(lengths) >= law.after
        assert law.shortest <= len(path) <= law.path_length
        assert len(edges) + law.degree <= law.degree * law.path_length
        seen[len(path), path.index(centre)] += 1
    # The path's length is uniform, the centre's place uniform given it.
    for length in range(law.shortest, law.path_length + 1):
        p = 1 / (law.path_length - law.shortest + 1)
        n = sum(k for (m, _), k in seen.items() if m == length)
        assert abs(n - 300 * p) < 4 * math.sqrt(300 * p * (1 - p)) + 1e-9
        for place in range(length - law.after):
            q = p / (length - law.after)
            assert (
                abs(seen.pop((length, place), 0) - 300 * q)
                < 4 * math.sqrt(300 * q * (1 - q)) + 1e-9
            )
    assert not seen


def test_entropy_of_the_path_given_the_rest_by_enumeration():
    law = StarGraph(2, 3, 2, 1, 5)  # 5 labels and none, paths of 3
    tokens = law.sample(40, torch.Generator().manual_seed(1))
    ends = torch.tensor(list(product(range(law.vocab_size), repeat=law.path_length)))
    for row in tokens:
        every = torch.cat([row[: -law.path_length].expand(len(ends), -1), ends], 1)
        log_p = law.log_prob(every)
        assert log_p.exp().sum() == 1
        assert torch.special.entr(log_p.exp()).sum() == law.entropy == 0
        assert torch.equal(every[log_p.argmax()], row)
    assert EASY.log_prob(torch.full((1, EASY.length), EASY.n_nodes)).tolist() == [-math.inf], (
        "the mask"
    )


def test_impossible_graphs_have_no_path():
    law = StarGraph(2, 2, 2, 1, 4)
    rows = [
        [0, 1, 0, 2, 0, 1, 0, 1],
        [0, 1, 0, 2, 0, 3, 0, 3],
        [0, 1, 2, 0, 1, 0, 1, 0],
        [0, 1, 0, 2, 0, 1, 0, 2],
    ]
    assert law.log_prob(torch.tensor(rows)).tolist() == [0.0, -math.inf, -math.inf, -math.inf]
    twice = StarGraph(2, 3, 2, 1, 5)  # 0 > 1 > 3 and 0 > 2 > 3
    assert (twice.solve(torch.tensor([[0, 1, 1, 3, 0, 2, 2, 3, 0, 3, 0, 1, 3]])) == 5).all()


def test_labels_and_best_order():
    assert (EASY.length, EASY.vocab_size, HARD.length, HARD.vocab_size) == (31, 20, 124, 57)
    assert EASY.labels[:3] == ["edge 0 from", "edge 0 to", "edge 1 from"]
    assert EASY.labels[-6:-4] == ["goal", "path 0"]
    assert len(EASY.labels) == EASY.length
    right_to_left = torch.arange(EASY.length - 1, -1, -1)
    assert edges_kept(right_to_left, EASY.precedence) == 1
    assert edges_kept(right_to_left.flip(0), EASY.precedence) == 0
    assert MEDIUM.precedence is None
    law = StarGraph(2, 3, 2, 1, 5)
    mask, none = law.vocab_size, law.n_nodes
    row = [0, 1, 1, 3, 0, 2, none, none, 0, 2]
    texts = law.decode(torch.tensor([[*row, 0, mask, none], [*row, 0, none, 2], [mask] * 13]))
    assert texts == [
        "0>1 1>3 0>2 | 0 2 | 0 _",
        "0>1 1>3 0>2 | 0 2 | 0 . 2",
        "_>_ _>_ _>_ _>_ | _ _ | _ _ _",
    ]
    for bad in (
        (1, 3, 3, 2, 9),
        (3, 5, 6, 2, 20),
        (3, 5, 5, 5, 20),
        (3, 5, 5, 0, 20),
        (3, 5, 5, 4, 12),
    ):
        with pytest.raises((DataError, SettingError), match=r"must be|need"):
            StarGraph(*bad)


def test_all_but_the_path_is_given():
    data = TaskData(MEDIUM, batches_per_epoch=3, eval_size=10, batch_size=4)
    data.setup()
    batches = list(data.train_dataloader())
    assert len(batches) == 3
    for tokens, known in ((batch[0], batch[1]) for batch in [*batches, *data.val_dataloader()]):
        assert known.shape == tokens.shape
        assert torch.equal((~known).sum(1), torch.full((len(tokens),), MEDIUM.path_length))
        assert known[:, : -MEDIUM.path_length].all()
    whole = data.train_rows(0, 1).__getitems__([7])
    halves = [
        TaskData(MEDIUM, batch_size=2).train_rows(rank, 2).__getitems__([7]) for rank in (0, 1)
    ]
    for part, rows in zip(whole[:2], zip(*(half[:2] for half in halves), strict=True), strict=True):
        assert torch.equal(torch.stack(rows, 1).flatten(0, 1), part), (
            "ranks share the rows of one process"
        )
    assert Batch.of(batches[0]).decoded.sum(1).tolist() == [6] * 4
    assert json.loads(json.dumps(data.describe()))["task"]["degree"] == 3
