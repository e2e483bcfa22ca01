"""Laws over decoding orders: Plackett-Luce, and a point mass on one order.

An order ``pi`` is an int64 tensor of shape (n, length): ``pi[:, 0]`` is decoded first. Ranks are
counted from 1 (``expected_rank``), rank indices from 0. Everything is computed in float64.

Source: Garg, Kohli & Sarawagi, arXiv 2511.19152, Prop. 3.1 and 3.2; Plackett (1975).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ordo import showing
from ordo.batch import Batch

EXACT_ENTROPY_LENGTH = 14


@dataclass(frozen=True)
class OrderDraw:
    """Orders drawn from a law, with the terms of the score function.

    order: (n, length) int64. score: (n, length) float64, differentiable; its sum over ranks is the
    log-density whose gradient is the score. ``causal``: term i is the log-probability of the choice
    at rank i given the choices before it, so costs before rank i may be dropped from its advantage.
    Given positions come first and padding comes last, each in the law's order. Their score is 0,
    since no choice leads to them.
    """

    order: Tensor
    score: Tensor
    causal: bool


class OrderLaw(Protocol):
    """What objectives, likelihoods and samplers ask of a law over decoding orders.

    ``mode`` is one order (length,) that stands for the law. ``mode_name`` says what the mode is:
    "mode order", the most probable one, or "order of mean ranks" for laws whose mode has no closed
    form. A law may hold a law for each of n rows: then ``mode`` is (n, length), and ``repeat``
    gives row d * n + i the law of row i.
    """

    length: int
    mode_name: str

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor: ...

    def draw(self, u: Tensor, batch: Batch | None = None) -> OrderDraw: ...

    def repeat(self, draws: int) -> OrderLaw: ...

    def keys(self, u: Tensor, temperature: float = 1.0) -> Tensor: ...

    def mode(self) -> Tensor: ...


class NextStepLaw(OrderLaw, Protocol):
    """An order law whose next choice given the revealed set is known in closed form."""

    def step_log_prob(self, order: Tensor) -> Tensor: ...

    def next_log_prob(self, revealed: Tensor) -> Tensor: ...


def sort_by(keys: Tensor) -> Tensor:
    """Keys (n, length) to orders (n, length): the largest is decoded first."""
    return keys.argsort(dim=-1, descending=True)


def draw_of(
    order: Tensor, score: Callable[[Tensor], Tensor], causal: bool, batch: Batch | None
) -> OrderDraw:
    """The draw that an order (n, length) of all positions makes of an order of the decoded ones.

    ``score`` gives terms by rank. It is asked about an order in which undecoded positions come
    first, so that no choice is made among them.
    """
    if batch is None or batch.whole:
        return OrderDraw(order, score(order), causal)
    decoded = batch.decoded
    order = order.gather(1, decoded.gather(1, order).to(torch.int8).argsort(dim=1, stable=True))
    terms = torch.where(decoded.gather(1, order), score(order), 0.0)
    if batch.lengths is not None:
        last = (order >= batch.lengths[:, None]).to(torch.int8).argsort(dim=1, stable=True)
        order, terms = order.gather(1, last), terms.gather(1, last)
    return OrderDraw(order, terms, causal)


class PlackettLuce(showing.Shown):
    """P(pi) = prod_i w_{pi(i)} / sum_{j >= i} w_{pi(j)}: the order law of alpha_l(t) = 1 - t^{w_l}.

    Larger w is decoded earlier. Args: log_w (length,), or (n, length) of a law for each of n rows,
    any float dtype; kept in the graph. Where a method takes n rows, they are then the law's own.
    Raises ValueError on a wrong shape or a value that is not finite.
    """

    mode_name = "mode order"

    def __init__(self, log_w: Tensor):
        if log_w.ndim not in (1, 2) or log_w.numel() == 0:
            raise ValueError(
                f"log_w must have shape (length,) or (n, length), got {tuple(log_w.shape)}"
            )
        # Elsewhere a look would wait for the device, and in a graph that is compiled it cannot be.
        if (
            log_w.device.type == "cpu"
            and not torch.compiler.is_compiling()
            and not torch.isfinite(log_w).all()
        ):
            raise ValueError(
                "log_w holds NaN or infinity; lower the schedule's learning rate or bound log w"
            )
        self.log_w = log_w.double()
        self.length = log_w.shape[-1]

    def small(self) -> showing.Small:
        single = self.log_w.ndim == 1
        of = "" if single else f", one for each of {len(self.log_w)} sequences"
        rank = self.expected_rank() if single else None
        title = f"Plackett-Luce law of decoding orders{of}"
        return showing.law(title, self.length, self.log_w.requires_grad, rank)

    def gauge_fixed(self) -> PlackettLuce:
        """The same law with mean(log w) = 0; the law does not change when w is scaled."""
        return PlackettLuce(self.log_w - self.log_w.mean(-1, keepdim=True))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n orders (n, length) int64, by Gumbel-top-k: sort log w minus the log of a unit
        exponential.
        """
        log_w = self.log_w.detach()
        noise = torch.empty(n, self.length, dtype=torch.float64, device=log_w.device).exponential_(
            generator=generator
        )
        return (log_w - noise.log()).argsort(dim=-1, descending=True)

    def keys(self, u: Tensor, temperature: float = 1.0) -> Tensor:
        """Uniforms (n, length) in (0, 1) to keys whose descending order is a draw from the law.
        Temperature: of log w; 0: the mode.

        The keys are Gumbel variables, -log(-log tau) of the arrival times tau = u^(1/w), which
        would round to 0 where w is small.
        """
        log_w = self.log_w.detach().expand(u.shape)
        if temperature == 0:
            return -self.mode().argsort(-1).double().expand(u.shape)
        return log_w / temperature - (-u.double().log()).log()

    def repeat(self, draws: int) -> PlackettLuce:
        return self if self.log_w.ndim == 1 else PlackettLuce(self.log_w.repeat(draws, 1))

    def draw(self, u: Tensor, batch: Batch | None = None) -> OrderDraw:
        """Uniforms (n, length) in (0, 1) to orders of the decoded positions; None: all of them."""
        return self.scored(sort_by(self.keys(u)), batch)

    def scored(self, order: Tensor, batch: Batch | None = None) -> OrderDraw:
        """Orders (n, length) of all positions as draws of orders of the decoded ones."""
        return draw_of(order, self.step_log_prob, True, batch)

    def step_log_prob(self, order: Tensor) -> Tensor:
        """log P(pi(i) | pi(<i)) for every rank: order (n, length) -> (n, length) nats."""
        log_w = self.log_w.expand(order.shape).gather(-1, order)
        return log_w - log_w.flip(-1).logcumsumexp(-1).flip(-1)

    def log_prob(self, order: Tensor) -> Tensor:
        """log P(pi): order (n, length) -> (n,) nats."""
        return self.step_log_prob(order).sum(-1)

    def prefix_log_prob(self, order: Tensor, n_revealed: Tensor | int) -> Tensor:
        """log-probability of the first n_revealed (n,) choices of each order (n, length) -> (n,)
        nats.
        """
        steps = self.step_log_prob(order)
        ranks = torch.arange(self.length, device=order.device)
        keep = ranks < torch.as_tensor(n_revealed, device=order.device).reshape(-1, 1)
        return torch.where(keep, steps, torch.zeros_like(steps)).sum(-1)

    def next_log_prob(self, revealed: Tensor) -> Tensor:
        """log P(next = l | revealed set): revealed (n, length) bool -> (n, length), -inf where
        revealed.

        A row with everything revealed has no next position and is -inf throughout.
        """
        log_w = self.log_w.expand(revealed.shape).masked_fill(revealed, -torch.inf)
        total = log_w.logsumexp(-1, keepdim=True)
        return torch.where(
            revealed, -torch.inf, log_w - total.masked_fill(revealed.all(-1, keepdim=True), 0.0)
        )

    def precedence(self) -> Tensor:
        """P(i is decoded before j) = w_i / (w_i + w_j), (length, length); the diagonal is 0."""
        before = torch.sigmoid(self.log_w[..., :, None] - self.log_w[..., None, :])
        return before - torch.diag_embed(before.diagonal(dim1=-2, dim2=-1))

    def part(self, positions: Tensor) -> PlackettLuce:
        """The law of these positions among themselves, which is their law too where the others are
        given: positions (k,), ascending.
        """
        return PlackettLuce(self.log_w[..., positions])

    def expected_rank(self) -> Tensor:
        """E[rank_i] = 1 + sum_{j != i} w_j / (w_i + w_j), (length,), from 1."""
        return 1.0 + self.precedence().sum(-2)

    def mode(self) -> Tensor:
        """The most probable order (length,) int64: positions by decreasing w, ties by position."""
        return self.log_w.detach().argsort(dim=-1, descending=True, stable=True)

    def entropy(
        self, samples: int = 4096, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Entropy in nats and its standard error (0 where exact).

        Exact by a DP over subsets for length <= 14, H(S) = H(next | S) + sum_l P(l | S) H(S - l);
        beyond, the mean of -log P(pi) over sampled orders. Raises ValueError for a law for each of
        n rows.
        """
        if self.log_w.ndim == 2:
            raise ValueError("the entropy is that of one law: take a row of log_w")
        if self.length <= EXACT_ENTROPY_LENGTH:
            return self._entropy_by_subsets(), torch.zeros(
                (), dtype=torch.float64, device=self.log_w.device
            )
        per_order = -self.log_prob(self.sample(samples, generator))
        return per_order.mean(), per_order.std() / math.sqrt(samples)

    def _entropy_by_subsets(self) -> Tensor:
        length, device = self.length, self.log_w.device
        subsets = torch.arange(1, 2**length, device=device)
        member = (subsets[:, None] >> torch.arange(length, device=device)) & 1
        log_p = self.next_log_prob(member == 0)
        p = log_p.exp()
        own = -torch.where(member == 1, p * log_p, 0.0).sum(-1)
        size = member.sum(-1)
        entropy = torch.zeros(2**length, dtype=torch.float64, device=device)
        for k in range(1, length + 1):
            rows = size == k
            smaller = subsets[rows, None] & ~(1 << torch.arange(length, device=device))
            rest = torch.where(member[rows] == 1, entropy[smaller] * p[rows], 0.0).sum(-1)
            entropy = entropy.index_put((subsets[rows],), own[rows] + rest)
        return entropy[-1]


class FixedOrder(showing.Shown):
    """The point mass on one order (length,): left-to-right, right-to-left, or any that is given.

    Raises ValueError when ``order`` is not a permutation of 0..length-1.
    """

    mode_name = "mode order"

    def __init__(self, order: Tensor):
        self.length = order.numel()
        self.order = order.long()
        # GivenOrder has looked before it moved to a device; looking there would wait for it.
        known = order.device.type != "cpu" or torch.compiler.is_compiling()
        if order.ndim != 1 or not (
            known or torch.equal(self.order.sort().values, torch.arange(self.length))
        ):
            raise ValueError(
                f"order must be a permutation of 0..{self.length - 1}, got {order.tolist()}"
            )

    def small(self) -> showing.Small:
        return showing.law("One decoding order", self.length, False, self.expected_rank())

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return self.order.expand(n, self.length)

    def keys(self, u: Tensor, temperature: float = 1.0) -> Tensor:
        """Minus the rank of every position, whatever u (n, length) and the temperature."""
        return -self.order.argsort().double().expand(u.shape)

    def repeat(self, draws: int) -> FixedOrder:
        return self

    def draw(self, u: Tensor, batch: Batch | None = None) -> OrderDraw:
        """This order for every row of u (n, length), given positions first; the score is 0."""
        order = self.order.expand(u.shape)
        order = order if batch is None else batch.decoded_first(order)
        return OrderDraw(
            order, torch.zeros(u.shape, dtype=torch.float64, device=order.device), causal=True
        )

    def part(self, positions: Tensor) -> FixedOrder:
        """This order of positions (k,), ascending, alone."""
        return FixedOrder(self.order.argsort()[positions].argsort())

    def step_log_prob(self, order: Tensor) -> Tensor:
        """0 for the choices of this order, -inf from the first other choice on: (n, length) -> (n,
        length).
        """
        same = (order == self.order).cumprod(-1).bool()
        return torch.zeros(order.shape, dtype=torch.float64, device=order.device).masked_fill(
            ~same, -torch.inf
        )

    def log_prob(self, order: Tensor) -> Tensor:
        return self.step_log_prob(order).sum(-1)

    def next_log_prob(self, revealed: Tensor) -> Tensor:
        """0 at the first masked position of this order, -inf elsewhere: (n, length) bool -> (n,
        length).
        """
        masked = ~revealed[:, self.order]
        first = masked & (masked.cumsum(-1) == 1)
        return torch.where(first, 0.0, -torch.inf).double()[:, self.order.argsort()]

    def mode(self) -> Tensor:
        return self.order

    def expected_rank(self) -> Tensor:
        return self.order.argsort().double() + 1.0

    def precedence(self) -> Tensor:
        rank = self.expected_rank()
        return (rank[:, None] < rank[None, :]).double()

    def entropy(
        self, samples: int = 0, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        zero = torch.zeros((), dtype=torch.float64, device=self.order.device)
        return zero, zero


def uniform_law(length: int, device: torch.device | str = "cpu") -> PlackettLuce:
    """All orders equally probable: w = 1."""
    return PlackettLuce(torch.zeros(length, dtype=torch.float64, device=device))


def entropy_surrogate(
    law: PlackettLuce,
    n: int,
    generator: torch.Generator | None = None,
    batch: Batch | None = None,
) -> Tensor:
    """A scalar whose gradient is an unbiased estimate of the gradient of the law's entropy, in
    nats.

    With a batch of n sequences: of the entropy of the order of decoded positions.
    Score function on -log P(pi) with a leave-one-out baseline over n orders (Kool et al. 2019) and
    entropy-to-go; needs no denoiser. Its value is meaningless.
    """
    steps = law.scored(law.sample(n, generator), batch).score
    to_go = -steps.detach().flip(-1).cumsum(-1).flip(-1)
    advantage = (to_go - to_go.mean(0)) * (n / (n - 1))
    return (advantage * steps).sum(-1).mean()
