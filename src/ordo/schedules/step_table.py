"""A schedule that is made of K steps: the most general independent law over K denoiser calls."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ordo.schedules.base import Schedule
from ordo.settings import NonNegative, Size, Whole, checked
from ordo.steps import StepLaw


@checked
class StepTable(Schedule):
    """alpha_l(t) rises by q_l(k) while t falls from 1 - k/K to 1 - (k + 1)/K, evenly within a step.

    On the grid t_k = 1 - k/K position l is decoded in step k with probability q_l(k) = softmax of K
    free numbers. The table trains with ``calls=K``. A sampler of one token a call decodes it like
    any other schedule, in the order of its arrival times.

    Args:
        length: positions.
        calls: K.
        start: the step of every position that the table favours at first, (length,) numbers from 0
            to calls - 1, see ``ordo.likelihood.starts``; None: every step is equally probable.
        strength: by how much the favoured numbers exceed the others, in nats.

    Raises ValueError for steps out of range.
    """

    def __init__(
        self,
        length: Size,
        calls: Size,
        start: Sequence[Whole] | None = None,
        strength: NonNegative = 3.0,
    ):
        super().__init__(length)
        self.calls = calls
        logits = torch.zeros(length, calls)
        if start is not None:
            steps = torch.tensor(list(start), dtype=torch.int64)
            if len(steps) != length or bool((steps >= calls).any()):
                raise ValueError(
                    f"start must hold {length} steps from 0 to {calls - 1}, one for every position"
                )
            logits[torch.arange(length), steps] = strength
        self.logits = nn.Parameter(logits)

    def steps(self, calls: int) -> StepLaw:
        """The law of steps; ``calls`` must be the K of the table."""
        if calls != self.calls:
            raise ValueError(
                f"the step table was made for calls={self.calls}, and has no law for calls={calls}"
            )
        return StepLaw(self.logits)

    def _grid(self) -> tuple[Tensor, Tensor]:
        """q and alpha at the beginning of every step, (length, K) each."""
        q = StepLaw(self.logits).log_q.exp()
        return q, q.cumsum(-1) - q

    def alpha(self, t: Tensor) -> Tensor:
        q, begin = self._grid()
        x = (1.0 - self.spread(t)) * q.shape[1]
        k = x.detach().floor().clamp(0, q.shape[1] - 1).long()
        alpha = begin.T.expand(len(k), -1, -1).gather(1, k[:, None])[:, 0]
        rise = q.T.expand(len(k), -1, -1).gather(1, k[:, None])[:, 0]
        return alpha + rise * (x - k)

    def inverse(self, u: Tensor) -> Tensor:
        steps, key = StepLaw(self.logits).steps_of(self.spread(u))
        return 1.0 - (steps + key) / self.logits.shape[1]
