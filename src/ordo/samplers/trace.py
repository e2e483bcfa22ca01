"""What a sampler leaves: tokens, and how they came about."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ordo.samplers.state import State


@dataclass(frozen=True)
class History:
    """Every reveal and every masking again, (m,) each: row by row, as they happened, those of one step in the order of decoding.

    row, step, position int64: step from 0, as in ``Trace``. token int64: what was revealed, -1: masked again. log_prob float64 nats: of the
    token under the token rule; 0 where masked again. Given tokens are no events.
    """

    row: Tensor
    step: Tensor
    position: Tensor
    token: Tensor
    log_prob: Tensor

    def of_row(self, row: int) -> History:
        """Events of one row."""
        mine = self.row == row
        return History(*(getattr(self, f.name)[mine] for f in fields(self)))


@dataclass(frozen=True)
class Trace:
    """n sequences and how they were decoded, all on one device.

    tokens (n, length) int64. rank (n, length): the how-many-th decoded token each is, from 0; those of one step by descending key; -1 where
    given or absent. step (n, length): the step it was revealed in, from 0; -1 likewise. log_prob (n, length) float64: its log-probability
    under the token rule when it was revealed; 0 likewise. remasked (n, length): how often the position was masked again. calls (n,):
    denoiser calls that the row took part in (NFE). history: where it was asked for, of as many rows as were.
    """

    tokens: Tensor
    rank: Tensor
    step: Tensor
    log_prob: Tensor
    remasked: Tensor
    calls: Tensor
    history: History | None = None

    @property
    def total_log_prob(self) -> Tensor:
        """(n,) float64 nats: log p(what was drawn | what was given, positions chosen); log p(x) itself where the sampler's order is
        deterministic. Meaningless where tokens were masked again.
        """
        return self.log_prob.sum(-1)

    @property
    def order(self) -> Tensor:
        """Positions in the order of decoding, those given first: (n, length) int64."""
        return self.rank.argsort(dim=1, stable=True)

    def cpu(self) -> Trace:
        history = self.history and History(
            *(getattr(self.history, f.name).cpu() for f in fields(History))
        )
        return Trace(*(getattr(self, f.name).cpu() for f in fields(self)[:-1]), history=history)


def join(parts: list[Trace]) -> Trace:
    """Traces of batches as one; rows of the histories are counted on."""
    histories, before = [], 0
    for part in parts:
        if part.history is not None:
            columns = {f.name: getattr(part.history, f.name) for f in fields(History)}
            histories.append(History(**(columns | {"row": part.history.row + before})))
        before += len(part.tokens)
    history = (
        None
        if not histories
        else History(*(torch.cat([getattr(h, f.name) for h in histories]) for f in fields(History)))
    )
    return Trace(
        *(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Trace)[:-1]),
        history=history,
    )


class Recorder:
    """Keeps the events of the first ``rows`` rows while they are decoded."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.parts: list[tuple[Tensor, ...]] = []

    def revealed(self, state: State, before: Tensor, step: int) -> None:
        """Called after a reveal. before (n,): positions revealed ahead of it."""
        at = torch.arange(state.order.shape[1], device=state.order.device)
        new = (
            (at >= before[:, None])
            & (at < state.n_revealed[:, None])
            & (state.row < self.rows)[:, None]
        )
        row, turn = new.nonzero(as_tuple=True)
        position = state.order[row, turn]
        self._add(
            state.row[row],
            step,
            position,
            state.tokens[row, position],
            state.log_prob[row, position],
        )

    def masked_again(self, state: State, positions: Tensor, step: int) -> None:
        """positions (n, length) bool."""
        row, position = (positions & (state.row < self.rows)[:, None]).nonzero(as_tuple=True)
        self._add(
            state.row[row],
            step,
            position,
            torch.full_like(row, -1),
            torch.zeros_like(row, dtype=torch.float64),
        )

    def _add(
        self, row: Tensor, step: int, position: Tensor, token: Tensor, log_prob: Tensor
    ) -> None:
        self.parts.append((row, torch.full_like(row, step), position, token, log_prob))

    def history(self, device: torch.device) -> History:
        """All events, row by row: what they are does not depend on the batch."""
        if not self.parts:  # everything was given
            none = torch.zeros(0, dtype=torch.int64, device=device)
            return History(none, none, none, none, none.double())
        columns = [torch.cat(column) for column in zip(*self.parts, strict=True)]
        by_row = columns[0].argsort(stable=True)
        return History(*(column[by_row] for column in columns))
