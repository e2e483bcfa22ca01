"""What a sampler leaves: tokens, and how they came about."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ordo import showing
from ordo.samplers.state import State


@dataclass(frozen=True, repr=False)
class History(showing.Shown):
    """Every reveal and every masking again, (m,) each: row by row, as they happened; those of one
    step in the order of decoding. Given tokens are no events.

    Args:
        row, position: int64.
        step: int64 from 0, as in ``Trace``.
        token: int64, the token revealed; -1: masked again.
        log_prob: float64 nats, of the token under the token rule; 0 where masked again.
    """

    row: Tensor
    step: Tensor
    position: Tensor
    token: Tensor
    log_prob: Tensor

    def small(self) -> showing.Small:
        reveals = int((self.token >= 0).sum())
        rows = [("reveals", str(reveals)), ("masked again", str(len(self.token) - reveals))]
        return showing.Small(f"History of {len(self.row.unique())} sequences", rows)

    def of_row(self, row: int) -> History:
        """Events of one row."""
        mine = self.row == row
        return History(*(getattr(self, f.name)[mine] for f in fields(self)))


SHOWN_ROWS = 5


@dataclass(frozen=True, repr=False)
class Trace(showing.Shown):
    """n sequences and how they were decoded, all on one device.

    Args:
        tokens: (n, length) int64.
        rank: position of each token in the order of decoding, from 0, (n, length); tokens of one
            step follow one another by descending key; -1 where given or absent.
        step: the step that each token was revealed in, from 0, (n, length); -1 where given or
            absent.
        log_prob: log-probability of each token under the token rule when it was revealed, (n,
            length) float64 nats; 0 where given or absent.
        remasked: how often each position was masked again, (n, length).
        calls: denoiser calls that the row took part in (NFE), (n,).
        history: of the rows for which it was asked; None: of none.
    """

    tokens: Tensor
    rank: Tensor
    step: Tensor
    log_prob: Tensor
    remasked: Tensor
    calls: Tensor
    history: History | None = None

    def small(self) -> showing.Small:
        n, length = self.tokens.shape
        columns = ["row", "tokens", "step of each token", "calls", "log p (nats)"]
        total = [f"{value:.2f}" for value in self.total_log_prob[:SHOWN_ROWS].tolist()]
        again = self.remasked[:SHOWN_ROWS].any(1).tolist()
        rows = [
            [
                str(i),
                showing.numbers(self.tokens[i].tolist()),
                showing.numbers(self.step[i].tolist()),
                str(int(self.calls[i])),
                "-" if again[i] else total[i],
            ]
            for i in range(min(n, SHOWN_ROWS))
        ]
        rows += [["…", *[""] * 4]] if n > SHOWN_ROWS else []
        return showing.Small(f"Trace of {n} sequences of length {length}", rows, columns)

    @property
    def total_log_prob(self) -> Tensor:
        """log p(what was drawn | what was given, positions chosen), (n,) float64 nats. This is
        log p(x) itself where the sampler's order is deterministic, and meaningless where tokens
        were masked again.
        """
        return self.log_prob.sum(-1)

    @property
    def order(self) -> Tensor:
        """Positions in the order of decoding, given positions first: (n, length) int64."""
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
        new = (at >= before[:, None]) & (at < state.n_revealed[:, None])
        row, turn = (new & (state.row < self.rows)[:, None]).nonzero(as_tuple=True)
        position = state.order[row, turn]
        tokens, log_prob = state.tokens[row, position], state.log_prob[row, position]
        self._add(state.row[row], step, position, tokens, log_prob)

    def masked_again(self, state: State, positions: Tensor, step: int) -> None:
        """positions (n, length) bool."""
        row, position = (positions & (state.row < self.rows)[:, None]).nonzero(as_tuple=True)
        none = torch.full_like(row, -1)
        self._add(state.row[row], step, position, none, torch.zeros_like(row).double())

    def _add(
        self, row: Tensor, step: int, position: Tensor, token: Tensor, log_prob: Tensor
    ) -> None:
        self.parts.append((row, torch.full_like(row, step), position, token, log_prob))

    def history(self, device: torch.device) -> History:
        """All events, row by row. They do not depend on the batch."""
        if not self.parts:  # everything was given
            none = torch.zeros(0, dtype=torch.int64, device=device)
            return History(none, none, none, none, none.double())
        columns = [torch.cat(column) for column in zip(*self.parts, strict=True)]
        by_row = columns[0].argsort(stable=True)
        return History(*(column[by_row] for column in columns))
