"""A random Bayesian network of discrete columns.

Its law has a direction, and no column is a function of other columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ordo.data.loader import data_generator
from ordo.data.tasks.law import Law, require
from ordo.settings import Few, Positive, Seed, Several, checked

LARGEST_JOINT = 2**21  # most sequences that the exact entropy enumerates: a second or two
CHUNK = 2**16  # sequences held at a time


class _Design(NamedTuple):
    """Graph, tables and columns.

    Node i's row of ``table`` (rows, n_values) is ``first[i] + strides[i] @ values``, with
    ``strides`` (n_nodes, n_nodes) int64.
    """

    parents: tuple[tuple[int, ...], ...]
    strides: Tensor
    first: Tensor
    table: Tensor
    columns: Tensor


@checked
@dataclass(frozen=True)
class BayesNet(Law):
    """``n_nodes`` columns of ``n_values`` values: a random acyclic graph with random tables.

    Nodes are numbered in a topological order; their columns are shuffled. Node 0 has no parent.
    Node i > 0 has a number of parents uniform on 1..``max_parents``, at most i, drawn without
    replacement from the nodes before it. Every row of a conditional table is drawn from the
    symmetric Dirichlet law of parameter ``concentration`` (small: nearly deterministic; large:
    nearly uniform). Graph, tables and columns are a pure function of the fields; ``design_seed``
    chooses among them.

    With parents first, every conditional is one row of one table; in other orders it is a sum over
    what is still hidden. With exact conditionals all orders are worth the same, so an order gains
    only what a denoiser of finite size and training finds easier.

    Raises:
        SettingError: a field of another type, or out of range.
        DataError: ``n_values ** n_nodes`` above 2**21: the exact entropy is out of reach.

    Source: the factorisation is Pearl, Probabilistic Reasoning in Intelligent Systems (1988),
    chapter 3; the random graph is ours.
    """

    n_nodes: Several = 12
    n_values: Several = 3
    max_parents: Few = 3
    concentration: Positive = 0.5
    design_seed: Seed = 0

    def __post_init__(self) -> None:
        most = math.floor(math.log2(LARGEST_JOINT) / math.log2(self.n_values))
        require(
            self.n_nodes <= most,
            "the exact entropy enumerates n_values ** n_nodes sequences, which must be at most "
            f"2**21, got {self.n_values} ** "
            f"{self.n_nodes}; take n_nodes <= {most} or fewer values",
        )

    @cached_property
    def _design(self) -> _Design:
        n, v = self.n_nodes, self.n_values
        # NumPy, because its Dirichlet draws stay finite for small concentrations. Ratios of gammas
        # underflow.
        random = np.random.default_rng(data_generator(self.design_seed).initial_seed())
        numbers = [min(i, int(random.integers(1, self.max_parents + 1))) for i in range(n)]
        parents = tuple(
            tuple(sorted(random.choice(i, k, replace=False).tolist()))
            for i, k in enumerate(numbers)
        )
        strides, rows = torch.zeros((n, n), dtype=torch.int64), [v**k for k in numbers]
        for node, mine in enumerate(parents):
            for place, parent in enumerate(mine):
                strides[node, parent] = v ** (len(mine) - 1 - place)
        table = random.dirichlet([self.concentration] * v, sum(rows))
        first = np.cumsum([0, *rows[:-1]])
        columns = random.permutation(n)
        return _Design(
            parents,
            strides,
            torch.from_numpy(first),
            torch.from_numpy(table),
            torch.from_numpy(columns),
        )

    @property
    def parents(self) -> tuple[tuple[int, ...], ...]:
        """The parents of every node, in increasing order, as node numbers."""
        return self._design.parents

    @property
    def columns(self) -> Tensor:
        """(n_nodes,) int64: column of each node.

        Read as a decoding order, it decodes parents first.
        """
        return self._design.columns

    @property
    def tables(self) -> list[Tensor]:
        """P(value | parents) of every node, float64.

        Its axes, each of size n_values, are the node's ``parents`` and then the value.
        """
        sizes = [self.n_values ** len(mine) for mine in self.parents]
        tables = self._design.table.split(sizes)
        return [
            t.view([self.n_values] * (len(mine) + 1))
            for t, mine in zip(tables, self.parents, strict=True)
        ]

    @property
    def length(self) -> int:
        return self.n_nodes

    @property
    def vocab_size(self) -> int:
        return self.n_values

    @property
    def entropy(self) -> float:
        """Sum over nodes of H(node | parents), with the exact marginal of the parents.

        The joint is enumerated once per object.
        """
        return self._entropy

    @cached_property
    def _entropy(self) -> float:
        d = self._design
        powers = self.n_values ** torch.arange(self.n_nodes - 1, -1, -1)
        # Probability of every row's parent values
        reached = torch.zeros(len(d.table), dtype=torch.float64)
        for numbers in torch.arange(self.n_values**self.n_nodes).split(CHUNK):
            values = numbers[:, None] // powers % self.n_values
            rows = self._rows(values)
            p = d.table[rows, values].prod(1)
            reached.index_add_(0, rows.flatten(), p[:, None].expand_as(rows).flatten())
        return float((reached * torch.special.entr(d.table).sum(1)).sum())

    @property
    def precedence(self) -> list[tuple[int, int]]:
        """(column of a parent, column of its child), for every edge."""
        column = self.columns.tolist()
        return [
            (column[parent], column[child])
            for child, mine in enumerate(self.parents)
            for parent in mine
        ]

    def _rows(self, values: Tensor) -> Tensor:
        """Rows (n, n_nodes) of the table that nodes with values (n, n_nodes) look up."""
        return self._design.first + values @ self._design.strides.T

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        d = self._design
        up_to = d.table.cumsum(1)
        # A last value of probability 0 is never drawn, whatever the sum rounds to
        up_to = up_to / up_to[:, -1:]
        uniform = torch.rand((n, self.n_nodes, 1), generator=generator, dtype=torch.float64)
        values = torch.zeros((n, self.n_nodes), dtype=torch.int64)
        for node in range(self.n_nodes):
            row = d.first[node] + values @ d.strides[node]
            values[:, node] = (uniform[:, node] >= up_to[row, :-1]).sum(1)
        tokens = torch.empty_like(values)
        tokens[:, d.columns] = values
        return tokens

    def _log_prob(self, tokens: Tensor) -> Tensor:
        values = tokens[:, self.columns]
        return self._design.table.log()[self._rows(values), values].sum(1)
