"""Laws small enough to be listed, with denoisers that are exactly right about them; small random
networks, and a schedule.
"""

import itertools
from dataclasses import dataclass
from functools import cache

import torch
from scipy import stats
from torch import Tensor

from ordo.data import BinaryTree
from ordo.denoisers import (
    BidirectionalTransformer,
    ChainOracle,
    OrderCausalTransformer,
    SetDenoiser,
    TableOracle,
)
from ordo.schedules import FreeTable, Power


class Remembering(SetDenoiser):
    """An oracle asked once about rows that agree: small laws have few partly revealed rows."""

    def __init__(self, oracle: SetDenoiser):
        super().__init__()
        self.oracle, self.length, self.vocab_size, self.mask_id = (
            oracle,
            oracle.length,
            oracle.vocab_size,
            oracle.mask_id,
        )

    def forward(self, tokens, where=None, present=None):
        code = (tokens * (self.vocab_size + 1) ** torch.arange(self.length)).sum(1)
        _, row = code.unique(return_inverse=True)
        first = torch.empty(int(row.max()) + 1, dtype=torch.int64).scatter_(
            0, row.flip(0), torch.arange(len(row)).flip(0)
        )
        out = self.oracle(tokens[first])
        return out[row] if where is None else out[row[where.nonzero()[:, 0]], where.nonzero()[:, 1]]


@dataclass(frozen=True)
class Listed:
    """All sequences (m, length) of a law, their probabilities (m,), and its oracle."""

    sequences: Tensor
    p: Tensor
    oracle: SetDenoiser

    def test(self, tokens: Tensor) -> float:
        """The p-value of a G test of tokens (n, length) against the law; 0 where an impossible
        sequence was drawn.

        Sequences expected less than five times count as one.
        """
        v = self.oracle.vocab_size
        weights = v ** torch.arange(tokens.shape[1])
        code, index = (self.sequences * weights).sum(1).sort()
        drawn = (tokens * weights).sum(1)
        at = torch.searchsorted(code, drawn).clamp(max=len(code) - 1)
        if (code[at] != drawn).any():
            return 0.0
        seen = torch.bincount(at, minlength=len(code)).double()
        expected = len(tokens) * self.p[index]
        if (seen[expected == 0] > 0).any():
            return 0.0
        rare = expected < 5
        if rare.any():
            seen = torch.cat([seen[~rare], seen[rare].sum(0, keepdim=True)])
            expected = torch.cat([expected[~rare], expected[rare].sum(0, keepdim=True)])
            seen, expected = seen[expected > 0], expected[expected > 0]
        assert len(seen) > 5, "the law leaves something to test"
        return float(
            stats.power_divergence(seen.numpy(), expected.numpy(), lambda_="log-likelihood").pvalue
        )


def every(length: int, vocab: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(vocab)] * length)


@cache
def markov_chain() -> Listed:
    oracle = ChainOracle.of_chain(6, 2, 0.1)
    rows = every(6, 2)
    return Listed(rows, oracle.log_law(rows).exp(), Remembering(oracle))


@cache
def hidden_markov() -> Listed:
    generator = torch.Generator().manual_seed(0)
    start, transition, emission = (
        torch.rand(*shape, generator=generator, dtype=torch.float64) ** 2
        for shape in ((3,), (3, 3), (3, 3))
    )
    start, transition, emission = (
        x / x.sum(-1, keepdim=True) for x in (start, transition, emission)
    )
    oracle = ChainOracle(5, start, transition, emission)
    rows = every(5, 3)
    return Listed(rows, oracle.log_law(rows).exp(), Remembering(oracle))


def listed(rows: Tensor, p: Tensor, vocab: int) -> Listed:
    return Listed(rows, p, Remembering(TableOracle(rows, p.log(), vocab)))


@cache
def tree() -> Listed:
    rows = every(7, 2)
    return listed(rows, BinaryTree(3, 0.1).log_prob(rows).exp(), 2)


@cache
def table() -> Listed:
    """A joint table of 4 columns of 3 values, some of whose cells are empty."""
    rows = every(4, 3)
    p = torch.rand(81, generator=torch.Generator().manual_seed(1), dtype=torch.float64) ** 4
    p[::7] = 0
    return listed(rows, p / p.sum(), 3)


@cache
def sudoku() -> Listed:
    """The 288 solved 4 x 4 grids, all equally probable."""
    lines = list(itertools.permutations(range(4)))
    boxes = [(0, 1, 4, 5), (2, 3, 6, 7), (8, 9, 12, 13), (10, 11, 14, 15)]
    grids = []
    for upper in itertools.product(lines, repeat=2):
        for lower in itertools.product(lines, repeat=2):
            if all(len(set(column)) == 4 for column in zip(*upper, *lower, strict=True)):
                cells = sum((*upper, *lower), ())
                if all(len({cells[i] for i in box}) == 4 for box in boxes):
                    grids.append(cells)
    return listed(torch.tensor(grids), torch.full((288,), 1 / 288, dtype=torch.float64), 4)


LAWS = {
    "markov_chain": markov_chain,
    "hidden_markov": hidden_markov,
    "tree": tree,
    "table": table,
    "sudoku": sudoku,
}

LENGTH, VOCAB = 5, 3
KINDS = [BidirectionalTransformer, OrderCausalTransformer]


def network(kind, length=LENGTH, std=0.8):
    torch.manual_seed(3)
    net = kind(VOCAB, length, width=16, heads=2, layers=2).double()
    for parameter in net.parameters():  # far from its mild initialisation, so that orders matter
        torch.nn.init.normal_(parameter, std=std)
    net.head.weight.data *= 0.3  # but no sequence all but certain
    return net.eval().requires_grad_(False)


def power(length=LENGTH):
    schedule = Power(length, FreeTable(length))
    with torch.no_grad():
        next(schedule.network.parameters()).copy_(torch.linspace(1.5, -1.5, length))
    return schedule
