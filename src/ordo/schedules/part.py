"""What a schedule is among the positions that are decoded, where the others are given in every row: for pictures and numbers of its law."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class SchedulePart:
    """The positions (k,), ascending, of a schedule or of ``AveragedSchedule``, 0..k-1 here. How given positions would be ordered means
    nothing, so that no number of a law should count them.
    """

    def __init__(self, schedule: Any, positions: Tensor):
        self.schedule, self.length = schedule, len(positions)
        self.positions = positions.to(schedule.device)

    @property
    def device(self) -> torch.device:
        return self.schedule.device

    def alpha(self, t: Tensor) -> Tensor:
        """t (n,) or (n, k) -> (n, k) float64."""
        return self.schedule.alpha(self._whole(t))[..., self.positions]

    def inverse(self, u: Tensor) -> Tensor:
        """Arrival times of u (n, k), see ``Schedule.inverse``."""
        return self.schedule.inverse(self._whole(u))[:, self.positions]

    def alpha_prime(self, t: Tensor) -> Tensor:
        """As ``alpha``."""
        return self.schedule.alpha_prime(self._whole(t))[..., self.positions]

    def _whole(self, values: Tensor) -> Tensor:
        """Values (n, k) at their positions of (n, length), 0.5 elsewhere; those of shape (n,) are for all positions anyway."""
        if values.ndim == 1:
            return values
        whole = torch.full(
            (len(values), self.schedule.length), 0.5, dtype=values.dtype, device=values.device
        )
        whole[:, self.positions] = values
        return whole

    def law(self) -> Any:
        """The order law of these positions among themselves."""
        return self.schedule.law().part(self.positions)
