"""Paths in star graphs: graph, start and goal are given, the path between them is decoded."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from ordo.data.tasks.law import Law, require, uniform_log_prob
from ordo.settings import Several, Size, checked


@checked
@dataclass(frozen=True)
class StarGraph(Law):
    """``degree`` directed arms that cross in one node, the centre; the path is the first arm.

    The path leads from the arm's first node, the start, to its last, the goal (Bachmann &
    Nagarajan, 2403.06963, where all arms begin at the centre). Every graph has its own random
    labels.

    Tokens: the edges (from, to) in random order, start, goal, then the path, ``path_length``
    positions. The token ``n_nodes`` fills the places of missing edges of shorter arms and positions
    after the goal; only graphs with arms of several lengths have it. All tokens but the path are
    given, and the path follows from them: entropy 0.

    Which order is easy: every node but the centre has one edge in and one out. So the next node of
    a path is looked up in the list of edges, forward from the start up to the centre, and backward
    from the goal up to the centre. Beyond the centre a forward step has to look ahead to the goal
    (a guess is right in 1 of ``degree`` graphs), and a backward step has to look for the start. If
    all arms begin at the centre and are of one length, the best order is therefore from right to
    left, the same for all graphs. If arms differ in length, the goal's position varies; if the
    centre lies inside the arms, the centre's position varies too. Then the best order depends on
    the graph, from both ends to the centre, and no order of positions is good for all graphs.

    Settings of Insertion Language Models (2505.05755), also LoFlexMDM's (2602.18695), as (degree,
    path_length, shortest, after, n_nodes): easy (3, 5, 5, 4, 20), medium (3, 6, 3, 2, 20), hard (5,
    12, 6, 5, 56). These papers write the path as edges, so that inner nodes come twice, and train
    on 50,000 graphs; here every graph is drawn afresh.

    Args:
        degree: arms.
        path_length: nodes of the longest arm, the centre included.
        shortest: nodes of the shortest arm; lengths are uniform in between.
        after: least number of nodes beyond the centre; the centre's place in an arm is uniform on
            the places that this allows.
        n_nodes: labels; a graph with fewer nodes leaves some out.

    Raises:
        SettingError: an argument of another type, or out of range.
        DataError: fewer labels than nodes; lengths that do not agree.
    """

    degree: Several = 3
    path_length: Size = 5
    shortest: Size = 5
    after: Size = 4
    n_nodes: Size = 20

    def __post_init__(self) -> None:
        require(
            self.after < self.shortest <= self.path_length,
            f"need after < shortest <= path_length, got {self.after}, {self.shortest} and "
            f"{self.path_length}",
        )
        most = 1 + self.degree * (self.path_length - 1)
        require(
            self.n_nodes >= most,
            f"n_nodes must be at least {most} for {self.degree} arms of {self.path_length}, got "
            f"{self.n_nodes}",
        )

    @property
    def n_edges(self) -> int:
        """The largest number of edges."""
        return self.degree * (self.path_length - 1)

    @property
    def length(self) -> int:
        return 2 * self.n_edges + 2 + self.path_length

    @property
    def vocab_size(self) -> int:
        return self.n_nodes + (self.shortest < self.path_length)

    @property
    def entropy(self) -> float:
        """The entropy of the path given the rest."""
        return 0.0

    @property
    def known(self) -> Tensor:
        return torch.arange(self.length) < self.length - self.path_length

    @property
    def labels(self) -> list[str]:
        edges = [f"edge {i} {end}" for i in range(self.n_edges) for end in ("from", "to")]
        return [*edges, "start", "goal", *(f"path {i}" for i in range(self.path_length))]

    @property
    def precedence(self) -> list[tuple[int, int]] | None:
        """From the goal back, if this order is good for all graphs; else None."""
        if self.shortest < self.path_length or self.after < self.path_length - 1:
            return None
        return [(i + 1, i) for i in range(self.length - self.path_length, self.length - 1)]

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        d, most = self.degree, self.path_length
        lengths = torch.randint(self.shortest, most + 1, (n, d, 1), generator=generator)
        centre = (
            torch.rand((n, d, 1), generator=generator, dtype=torch.float64) * (lengths - self.after)
        ).long()
        names = torch.rand((n, self.n_nodes), generator=generator).argsort(1)
        step = torch.arange(most)
        # The centre is node 0
        node = 1 + torch.arange(d)[:, None] * (most - 1) + step - (step > centre).long()
        node = node.masked_fill(step == centre, 0)
        arms = (
            names.gather(1, node.flatten(1))
            .view(n, d, most)
            .masked_fill(step >= lengths, self.n_nodes)
        )
        edges = torch.stack([arms[..., :-1], arms[..., 1:]], -1).flatten(1, 2)
        edges = edges.masked_fill((edges == self.n_nodes).any(-1, keepdim=True), self.n_nodes)
        # Places without an edge come last.
        key = torch.rand((n, self.n_edges), generator=generator) + (edges[..., 0] == self.n_nodes)
        edges = edges.gather(1, key.argsort(1)[..., None].expand(-1, -1, 2))
        path = arms[:, 0]
        return torch.cat(
            [edges.flatten(1), path[:, :1], path.gather(1, lengths[:, 0] - 1), path], 1
        )

    def solve(self, tokens: Tensor) -> Tensor:
        """The path that follows from the edges, start and goal of tokens (n, length).

        Returns (n, path_length) int64, with ``n_nodes`` after the goal. A row is ``n_nodes``
        everywhere if no path leads to the goal, or several do.
        """
        n, blank = len(tokens), self.n_nodes
        edges = tokens[:, : 2 * self.n_edges].view(n, self.n_edges, 2).clamp(max=blank)
        start, goal = tokens[:, 2 * self.n_edges], tokens[:, 2 * self.n_edges + 1]
        adjacent = torch.zeros(n, (blank + 1) ** 2)
        adjacent = adjacent.scatter(1, edges[..., 0] * (blank + 1) + edges[..., 1], 1.0).view(
            n, blank + 1, blank + 1
        )
        adjacent[:, blank], adjacent[:, :, blank] = 0, 0
        ahead = [torch.nn.functional.one_hot(start.clamp(max=blank), blank + 1).float()[:, None]]
        back = [torch.nn.functional.one_hot(goal.clamp(max=blank), blank + 1).float()[:, :, None]]
        for _ in range(self.path_length - 1):
            ahead.append((ahead[-1] @ adjacent > 0).float())
            back.append((adjacent @ back[-1] > 0).float())
        # (n, steps, nodes): where k steps lead, or where they come from
        forward, backward = (
            torch.cat(ahead, 1),
            torch.cat(back, 2).transpose(1, 2),
        )
        arrives = (
            forward.gather(2, goal.clamp(max=blank)[:, None, None].expand(-1, self.path_length, 1))[
                ..., 0
            ]
            > 0
        )
        steps = arrives.long().argmax(1)
        left = steps[:, None] - torch.arange(self.path_length)
        there = backward.gather(1, left.clamp(min=0)[..., None].expand(-1, -1, blank + 1))
        on_path = forward * there * (left >= 0)[..., None]
        unique = (
            arrives.any(1)
            & ((on_path.sum(2) == 1) == (left >= 0)).all(1)
            & (start < blank)
            & (goal < blank)
        )
        path = torch.where(left >= 0, on_path.argmax(2), blank)
        return torch.where(unique[:, None], path, blank)

    def _log_prob(self, tokens: Tensor) -> Tensor:
        """Log-probability of the path given the rest: 0 or -inf."""
        path = self.solve(tokens)
        return uniform_log_prob(
            (path == tokens[:, -self.path_length :]).all(1) & (path[:, 0] < self.n_nodes), 0.0
        )

    def decode(self, tokens: Tensor) -> list[str]:
        """Edges, start and goal, and path, such as ``3>0 0>2 | 3 2 | 3 0 2``.

        The mask is ``_``. The token ``n_nodes`` is ``.``, and nothing at the end of edges and path.
        """
        names = (
            [*map(str, range(self.n_nodes)), ".", "_"]
            if self.vocab_size > self.n_nodes
            else [*map(str, range(self.n_nodes)), "_"]
        )
        out = []
        for row in tokens.tolist():
            told = [names[t] for t in row]
            pairs = zip(told[: 2 * self.n_edges : 2], told[1 : 2 * self.n_edges : 2], strict=True)
            edges = " ".join(f"{a}>{b}" for a, b in pairs)
            out.append(
                f"{edges} | {' '.join(told[2 * self.n_edges :][:2])} | "
                f"{' '.join(told[-self.path_length :])}"
            )
        return [re.sub(r"( \.>\.)+ \|", " |", text).rstrip(" .") for text in out]
