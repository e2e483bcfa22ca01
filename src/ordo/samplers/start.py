"""How a call of ``sample`` begins: checks of what is asked, and the rows before the first step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ordo.batch import as_ids
from ordo.denoisers import Denoiser
from ordo.denoisers.protocol import check_denoiser
from ordo.order import OrderLaw
from ordo.randomness import RowRandom
from ordo.samplers.grid import BySteps, OnGrid
from ordo.samplers.sampler import Sampler
from ordo.samplers.state import ORDER, State, new_state
from ordo.schedules import Schedule


@dataclass(frozen=True)
class Given:
    """What a call of ``sample`` says about its rows.

    Args:
        given: tokens, (n, length) int64.
        known: positions that keep their given token, (n, length) bool.
        lengths: number of positions of each row, (n,); later ones are absent. None: all.
        forced: tokens taken in place of drawn ones, (n, length) int64.
    """

    given: Tensor | None = None
    known: Tensor | None = None
    lengths: Tensor | None = None
    forced: Tensor | None = None

    @classmethod
    def of(cls, given: Any, known: Any, lengths: Any, forced: Any) -> Given:
        """Of tensors or NumPy arrays. Raises TypeError for tokens that are no whole numbers."""
        given = None if given is None else as_ids(given, "given")
        forced = None if forced is None else as_ids(forced, "forced")
        known, lengths = (None if x is None else torch.as_tensor(x) for x in (known, lengths))
        return cls(given, known, lengths, forced)

    def rows(self, n: int | None, denoiser: Denoiser) -> int:
        """The number of rows. Raises ValueError for shapes that do not agree and for tokens out
        of range.
        """
        check_denoiser(denoiser)
        given, known, forced = self.given, self.known, self.forced
        if (given is None) != (known is None) or (
            given is not None and known is not None and given.shape != known.shape
        ):
            raise ValueError("given and known come together, in one shape")
        fixed = given if given is not None else forced
        if n is None:
            if fixed is None:
                raise ValueError("say how many sequences: n")
            n = len(fixed)
        if n < 1:
            raise ValueError(f"n must be positive, got {n}")
        for name, x in (("given", given), ("forced", forced)):
            if x is not None and x.shape != (n, denoiser.length):
                raise ValueError(f"{name} must be ({n}, {denoiser.length}), got {tuple(x.shape)}")
        if given is not None and ((given < 0) | (given >= denoiser.vocab_size))[known].any():
            raise ValueError(f"given holds tokens outside of 0..{denoiser.vocab_size - 1}")
        return n

    def present(self, denoiser: Denoiser) -> Tensor | None:
        """Positions that are no padding, (n, length) bool; None: all."""
        if self.lengths is None:
            return None
        at = torch.arange(denoiser.length, device=denoiser.device)
        return at < self.lengths.to(denoiser.device)[:, None]


def check_rules(sampler: Sampler, schedule: Schedule, denoiser: Denoiser) -> None:
    """Raises ValueError where the sampler's rules do not go with the schedule or the denoiser."""
    if sampler.revise is not None:
        sampler.revise.check(sampler.how_many, denoiser.order_causal)
    if schedule.length != denoiser.length:
        raise ValueError(
            f"the schedule has {schedule.length} positions, the denoiser {denoiser.length}"
        )
    if schedule.depends_on_tokens and isinstance(sampler.how_many, OnGrid | BySteps):
        raise ValueError(
            f"{type(sampler.how_many).__name__} needs a law of positions, and "
            f"{type(schedule).__name__} depends on the tokens: "
            "use how_many One or InSteps (sampler=first_hitting)"
        )


def begin(
    denoiser: Denoiser, sampler: Sampler, law: OrderLaw, given: Given, seeds: Tensor
) -> tuple[State, Tensor]:
    """The state before the first step, and the given positions that are present, (n, length) bool.

    Given tokens are revealed first, by descending ``key_of_given`` of the position rule.
    """
    n, length, device = len(seeds), denoiser.length, denoiser.device
    tokens = torch.full((n, length), denoiser.mask_id, dtype=torch.int64, device=device)
    masked = torch.ones(n, length, dtype=torch.bool, device=device)
    present = given.present(denoiser)
    if present is not None:
        masked &= present
    if given.given is None or given.known is None:
        known = torch.zeros_like(masked)
    else:
        known = given.known.to(device) & masked
        tokens[known] = given.given.to(device)[known]
        masked &= ~known
    key = sampler.where.key_of_given(law, RowRandom(seeds).uniform(-1, ORDER, length))
    is_given = getattr(denoiser, "is_given", None)
    if is_given is not None:  # what all rows are given comes before what some rows are given
        key = key.masked_fill(is_given, torch.inf)
    order = key.masked_fill(~known, -torch.inf).argsort(dim=1, descending=True, stable=True)
    state = new_state(tokens, masked, order, known.sum(1), seeds)
    if sampler.block is None:
        state.block_size = masked.sum(1)
    return state, known
