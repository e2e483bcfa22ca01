"""Laws over steps: in which of K denoiser calls each position is decoded.

A *step* decodes several positions at once, by one denoiser call, so that tokens of one step are
independent given what was revealed before. Steps are counted from 0. Everything is computed in
float64.

The K-step bound is the paper's bound in discrete time (2511.19152, Prop. 3.2 on a grid):
-log p(x) <= E_{s ~ prod q_l} sum_l -log mu(x_l | x_{j: s_j < s_l}), with q_l(k) the probability
that position l is decoded in step k.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ordo.batch import Batch

SMALLEST = -690.0  # log of a probability that counts as 0; exp of it is still a normal float64


@dataclass(frozen=True)
class StepDraw:
    """Steps drawn for n sequences, and the order in which an order-causal denoiser reads them.

    Args:
        steps: (n, length) int64 by position.
        order: (n, length) int64: given positions first, then by step, then by chance, padding last.
        n_before: (n, length) int64 by rank: how many ranks lie before the step of that rank. Of a
            given position or padding it is the rank itself.
    """

    steps: Tensor
    order: Tensor
    n_before: Tensor


def in_order(steps: Tensor, key: Tensor, batch: Batch) -> StepDraw:
    """Steps (n, length) by position as a draw; within a step positions follow one another by
    ascending ``key`` (n, length) in [0, 1).
    """
    order = batch.decoded_first((steps + key).argsort(dim=1, stable=True))
    rank = torch.arange(steps.shape[1], device=steps.device).expand_as(steps)
    by_rank = steps.gather(1, order)
    if not batch.whole:
        last = 2**62
        by_rank = torch.where(batch.given.gather(1, order), -1, by_rank)
        if batch.lengths is not None:
            by_rank = torch.where(order >= batch.lengths[:, None], last, by_rank)
    first = torch.searchsorted(by_rank.contiguous(), by_rank.contiguous())
    decoded = batch.decoded.gather(1, order)
    return StepDraw(steps, order, torch.where(decoded, first, rank))


class StepLaw:
    """Independent laws q_l(k) of the step k of every position l.

    Args: log_q (length, K), any float dtype; kept in the graph. Rows need not be normalised.
    Raises ValueError on a wrong shape or a value that is not finite.
    """

    def __init__(self, log_q: Tensor):
        if log_q.ndim != 2 or log_q.numel() == 0:
            raise ValueError(f"log_q must have shape (length, K), got {tuple(log_q.shape)}")
        # Elsewhere a look would wait for the device, and in a graph that is compiled it cannot be.
        look = log_q.device.type == "cpu" and not torch.compiler.is_compiling()
        if look and not torch.isfinite(log_q).all():
            raise ValueError(
                "log_q holds NaN or infinity; lower the schedule's learning rate, or clamp "
                "probabilities of 0"
            )
        self.log_q = log_q.double().log_softmax(-1).clamp(min=SMALLEST)
        self.length, self.calls = log_q.shape

    def log_left(self) -> Tensor:
        """log q_l(step >= k): (length, K)."""
        return self.log_q.flip(-1).logcumsumexp(-1).flip(-1)

    def log_hazard(self) -> tuple[Tensor, Tensor]:
        """log h_l(k) and log(1 - h_l(k)), (length, K) each: h_l(k) is the probability of step k,
        given that the position is still masked before step k. In the last step h = 1, and
        log(1 - h) is 0 instead of -infinity, because no position is left to which the term applies.
        """
        left = self.log_left()
        later = torch.cat([left[:, 1:], left[:, -1:]], 1)
        return self.log_q - left, later - left

    def draw(self, u: Tensor, batch: Batch) -> StepDraw:
        """Uniforms (n, length) in (0, 1) to steps; a larger u is never decoded later."""
        steps, key = self.steps_of(u)
        return in_order(steps, key, batch)

    def steps_of(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Uniforms (n, length) to steps (n, length) and to keys in [0, 1), which are uniform given
        the steps.
        """
        q = self.log_q.detach().exp()
        ends = q.cumsum(-1)
        v = (1.0 - u) * ends[:, -1]
        found = torch.searchsorted(ends, v.T.contiguous(), right=True).clamp(max=self.calls - 1)
        begin = torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], 1)
        key = (v.T - begin.gather(1, found)) / q.gather(1, found)
        return found.T, key.clamp(0.0, 1.0 - 2**-53).T

    def decisions(self, steps: Tensor, batch: Batch) -> Tensor:
        """log-probability of what was decided in each step, (n, K), summed over decoded positions:
        log h_l(k) of the positions of step k, log(1 - h_l(k)) of later ones.

        The sum over steps is the log-probability of the steps (n, length).
        """
        now, later = self.log_hazard()
        k = torch.arange(self.calls, device=steps.device)
        at, decoded = steps[..., None], batch.decoded[..., None]
        terms = torch.where(at == k, now, torch.where(at > k, later, 0.0))
        return torch.where(decoded, terms, 0.0).sum(1)

    def log_prob(self, steps: Tensor) -> Tensor:
        """log q_l(steps_l) by position: (n, length) -> (n, length) nats."""
        return self.log_q.expand(len(steps), -1, -1).gather(-1, steps[..., None])[..., 0]

    def mode(self) -> Tensor:
        """The most probable step of every position, (length,) int64; of equal ones the first."""
        return self.log_q.detach().argmax(-1)

    def entropy(self) -> Tensor:
        """Of every position's step, (length,) nats; differentiable."""
        return -(self.log_q.exp() * self.log_q).sum(-1)

    def sizes(self) -> Tensor:
        """Expected number of positions a step decodes, (K,)."""
        return self.log_q.exp().sum(0)
