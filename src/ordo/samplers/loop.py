"""One loop for every sampler: where x how many x what x revise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ordo.denoisers import Denoiser, Session, begin_session
from ordo.order import OrderLaw, uniform_law
from ordo.randomness import RowRandom, row_seeds
from ordo.samplers.how_many import HowMany, One, OnGrid
from ordo.samplers.revise import Revise
from ordo.samplers.state import ORDER, TOKEN, State, View, new_state
from ordo.samplers.trace import Recorder, Trace, join
from ordo.samplers.what import TokenRule
from ordo.samplers.where import ByLaw, ByRates, Where
from ordo.schedules import ContentSchedule, Linear, Schedule
from ordo.settings import Count, checked


@checked
@dataclass(frozen=True)
class Sampler:
    """Four choices: where, how_many, what, revise. block: decode the leftmost so many positions first, then the next (semi-autoregressive).

    Raises ValueError for choices that do not go together.
    """

    where: Where = field(default_factory=ByLaw)
    how_many: HowMany = field(default_factory=One)
    what: TokenRule = field(default_factory=TokenRule)
    revise: Revise | None = None
    block: Count | None = None

    def __post_init__(self) -> None:
        if self.block is not None and self.revise is not None:
            raise ValueError("block goes without a remasking rule")
        if self.revise is not None:
            self.revise.check(self.how_many, order_causal=False)

    @property
    def deterministic(self) -> bool:
        """Whether the positions of every step are a function of what is revealed, so that log p(x) is exact (DUEL, 2603.01367)."""
        return self.where.deterministic and self.how_many.deterministic and self.revise is None

    @property
    def order_known(self) -> bool:
        """Whether an order's probability is known: one position at a time by the schedule's law, or a deterministic order."""
        return self.deterministic or (
            isinstance(self.where, ByLaw)
            and self.how_many.single
            and self.revise is None
            and self.block is None
        )

    @property
    def exact(self) -> bool:
        """Whether an exact denoiser gives exact samples, whatever the schedule: one position at a time, chosen before its token, which is
        drawn as it is. ``ByRates`` does where u = 1 only.
        """
        return (
            not isinstance(self.where, ByRates)
            and self.how_many.single
            and self.where.score_on == "distribution"
            and self.what.plain
            and self.revise is None
        )

    def why_no_likelihood(self) -> str:
        """Why ``log_prob`` of this sampler is not defined; empty where it is."""
        if self.revise is not None:
            return "tokens are masked again, and many ways lead to one sequence"
        if self.where.score_on == "drawn":
            return (
                "positions are chosen by tokens that were drawn, also by those that are thrown away"
            )
        if not self.where.deterministic or not self.how_many.deterministic:
            more = (
                "; use nelbo, importance_bound or, up to 14 positions, subset_likelihood with the order law"
                if self.order_known
                else ""
            )
            if isinstance(self.where, ByRates):
                more = "; use content_nelbo, content_importance_bound or, up to 14 positions, content_subset_likelihood"
            return f"positions are drawn at random, and the sum over all draws is not known{more}"
        return ""


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    sampler: Sampler,
    n: int | None = None,
    *,
    schedule: Schedule | ContentSchedule | None = None,
    seed: int = 0,
    first_row: int = 0,
    given: Tensor | None = None,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
    forced: Tensor | None = None,
    history: bool | int = False,
    on_step: Callable[[float], None] | None = None,
) -> Trace:
    """Draws sequences. Row i depends on (seed, first_row + i) and on what is given for it, not on the other rows.

    n: sequences; may be left out where ``given`` says how many. schedule: what ``by_law``, ``by_rates`` and ``on_grid`` decode by, usually
    the one the denoiser was trained with; None: linear. given (n, length) tokens, known (n, length) bool: known positions keep their given
    tokens (infilling, imputation); they are revealed first, among themselves by the position rule's ``key_of_given``. lengths (n,): later
    positions are absent: never decoded, and not seen. forced (n, length): these tokens are taken in place of drawn ones, for likelihoods.
    history: True: ``Trace.history`` tells of every reveal and every masking again; a number: of the first so many rows only.
    on_step: is told after every step which share of the tokens to decode is decoded, 0 to 1.

    Raises ValueError for shapes that do not agree, tokens out of range, a remasking rule that the denoiser cannot serve, and rules that do
    not go with the schedule.
    """
    device = denoiser.device
    length = denoiser.length
    if (given is None) != (known is None) or (
        given is not None and known is not None and given.shape != known.shape
    ):
        raise ValueError("given and known come together, in one shape")
    fixed = given if given is not None else forced
    if n is None and fixed is None:
        raise ValueError("say how many sequences: n")
    n = len(fixed) if n is None and fixed is not None else n
    assert n is not None
    if n < 1:
        raise ValueError(f"n must be positive, got {n}")
    for name, x in (("given", given), ("forced", forced)):
        if x is not None and x.shape != (n, length):
            raise ValueError(f"{name} must be ({n}, {length}), got {tuple(x.shape)}")
    if (
        given is not None
        and known is not None
        and ((given < 0) | (given >= denoiser.vocab_size))[known].any()
    ):
        raise ValueError(f"given holds tokens outside of 0..{denoiser.vocab_size - 1}")
    if sampler.revise is not None:
        sampler.revise.check(sampler.how_many, denoiser.order_causal)
    schedule = schedule or Linear(length).to(device)
    if schedule.length != length:
        raise ValueError(f"the schedule has {schedule.length} positions, the denoiser {length}")
    check_schedule(sampler, schedule)
    # No law of its own has a say in the rows that are given: a denoiser of sets does not mind their turns.
    law = uniform_law(length, device) if isinstance(schedule, ContentSchedule) else schedule.law()
    tokens = torch.full((n, length), denoiser.mask_id, dtype=torch.int64, device=device)
    masked = torch.ones(n, length, dtype=torch.bool, device=device)
    present = None
    if lengths is not None:
        present = torch.arange(length, device=device) < lengths.to(device)[:, None]
        masked &= present
    if given is not None and known is not None:
        here = known.to(device) & masked
        tokens[here] = given.to(device)[here]
        masked &= ~here
    known_now = ~masked if present is None else ~masked & present
    seeds = row_seeds(seed, n, first_row, device)
    key = sampler.where.key_of_given(law, RowRandom(seeds).uniform(-1, ORDER, length))
    is_given = getattr(denoiser, "is_given", None)
    if is_given is not None:  # what all rows are given comes before what these are given besides
        key = key.masked_fill(is_given, torch.inf)
    order = key.masked_fill(~known_now, -torch.inf).argsort(dim=1, descending=True, stable=True)
    state = new_state(tokens, masked, order, known_now.sum(1), seeds)
    session = begin_session(denoiser, n, present)
    kept = n if history is True else int(history)
    recorder = Recorder(kept) if kept > 0 else None
    to_decode = 0 if on_step is None else int(masked.sum())
    done: list[State] = []
    shared: dict[str, Any] = {}
    step = 0
    while True:
        over = ~state.masked.any(1)
        if sampler.revise is not None:
            over &= state.step_in_block >= sampler.revise.steps(sampler.how_many)
        if over.any():
            done.append(state.take(over))
            state = state.take(~over)
        if not len(state.row):
            break
        _step(
            state, sampler, schedule, law, session, denoiser.mask_id, step, forced, shared, recorder
        )
        step += 1
        if on_step is not None:
            on_step(1 - int(state.masked.sum()) / max(1, to_decode))
    trace = _trace(done, known_now)
    return trace if recorder is None else replace(trace, history=recorder.history(device))


def own_sampler(schedule: Schedule | ContentSchedule) -> Sampler:
    """One position at a time in orders of the schedule's own law, whichever kind it is of."""
    return Sampler(where=ByRates() if isinstance(schedule, ContentSchedule) else ByLaw())


def check_schedule(sampler: Sampler, schedule: Schedule | ContentSchedule) -> None:
    """Raises ValueError where the sampler's rules need another kind of schedule."""
    name = type(schedule).__name__
    if isinstance(schedule, ContentSchedule):
        if isinstance(sampler.where, ByLaw) or isinstance(sampler.how_many, OnGrid):
            raise ValueError(
                f"the order law of {name} depends on the tokens: decode by its rates (sampler=by_rates, where ByRates) or by a rule that "
                "needs no law, such as ByScore, and not by ByLaw or OnGrid"
            )
    elif isinstance(sampler.where, ByRates):
        raise ValueError(
            f"ByRates decodes by a schedule that depends on the tokens, which {name} does not: use ByLaw"
        )


def _step(
    state: State,
    sampler: Sampler,
    schedule: Schedule | ContentSchedule,
    law: OrderLaw,
    session: Session,
    mask_id: int,
    step: int,
    forced: Tensor | None,
    shared: dict[str, Any],
    recorder: Recorder | None,
) -> None:
    """One step of all rows of the state, in place. shared: what rules compute once."""
    where, how_many, revise = sampler.where, sampler.how_many, sampler.revise
    eligible = (
        state.masked if sampler.block is None else _leftmost_block(state.masked, sampler.block)
    )
    if sampler.block is not None or step == 0:
        state.block_size = torch.where(state.block_size < 0, eligible.sum(1), state.block_size)

    view = View(state, eligible, step, session, schedule, law, how_many, shared, mask_id)
    if revise is not None:
        revise.before(view)
    chosen = asked = eligible
    rates_of_tokens = (
        isinstance(where, ByRates)
        and isinstance(schedule, ContentSchedule)
        and schedule.log_u() is not None
    )
    ahead = where.ahead and how_many.ahead and not rates_of_tokens
    if ahead:  # the call is spent on the chosen positions alone
        view.key = where.key(view)
        chosen = asked = how_many.choose(view)
    looks_at = revise.looks_at(state) if revise is not None else None
    positions = asked if looks_at is None else asked | looks_at
    if positions.any():
        log_prob = view.ask(positions)
        also = None if looks_at is None else log_prob[looks_at[positions]]
        log_prob = log_prob if looks_at is None else log_prob[asked[positions]]
        first = where.score_on == "drawn" or how_many.draws_first
        # A position that is drawn for once has one uniform for all steps; where draws may be thrown away each step needs its own.
        u = (
            view.uniform(TOKEN)
            if first or revise is not None
            else view.kept("tokens", lambda: view.fixed_uniform(TOKEN))
        )
        if not ahead:
            view.log_prob = log_prob
            if rates_of_tokens:
                log_prob = log_prob + schedule.log_u()  # type: ignore[union-attr]
            if first:
                view.drawn = sampler.what.draw(log_prob, u[eligible])
            view.key = where.key(view)
            chosen = how_many.choose(view)
            log_prob = log_prob[chosen[eligible]]
        if forced is not None:
            tokens = forced[state.row][chosen]
            drawn = tokens, sampler.what.log_probs(log_prob).gather(-1, tokens[:, None])[:, 0]
        else:
            drawn = sampler.what.draw(log_prob, u[chosen])
        assert view.key is not None
        before = state.n_revealed
        state.reveal(chosen, *drawn, view.key, step)
        if recorder is not None:
            recorder.revealed(state, before, step)
    else:
        also = None
    view.chosen = chosen
    stands_still = False
    if revise is not None:
        again, stands_still = revise.after(view, also)
        if recorder is not None:
            recorder.masked_again(state, again, step)
        state.mask_again(again, mask_id)
    state.step_in_block += not stands_still
    if sampler.block is not None:
        finished = ~(eligible & state.masked).any(1)
        state.step_in_block = torch.where(finished, 0, state.step_in_block)
        state.block_size = torch.where(finished, -1, state.block_size)


def _leftmost_block(masked: Tensor, block: int) -> Tensor:
    """The masked positions of the leftmost block that has any."""
    number = torch.arange(masked.shape[1], device=masked.device) // block
    mine = torch.where(masked, number, masked.shape[1])
    return masked & (mine == mine.min(1, keepdim=True).values)


def _trace(done: list[State], known: Tensor) -> Trace:
    """known (n, length): given positions, which come first in every order."""
    row = torch.cat([state.row for state in done]).argsort()
    parts: dict[str, Any] = {
        name: torch.cat([getattr(state, name) for state in done])[row]
        for name in ("tokens", "step", "log_prob", "remasked", "calls")
    }
    order = torch.cat([state.order for state in done])[row]
    rank = order.argsort(1) - known.sum(1, keepdim=True)
    return Trace(**parts, rank=torch.where(parts["step"] < 0, -1, rank))


@torch.no_grad()
def sample_batches(
    denoiser: Denoiser,
    sampler: Sampler,
    n: int,
    batch_size: int,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    *,
    schedule: Schedule | ContentSchedule | None = None,
    seed: int = 0,
    given: Tensor | None = None,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
    history: bool | int = False,
    on_step: Callable[[float], None] | None = None,
) -> Trace:
    """``sample`` in batches: the same rows whatever their size; the trace is on the CPU. ``progress`` wraps the iteration over batches,
    ``on_step`` is told of the steps of each.
    """
    parts = []
    kept = n if history is True else int(history)
    for start in progress(range(0, n, batch_size)):
        size = min(batch_size, n - start)
        some = [None if x is None else x[start : start + size] for x in (given, known, lengths)]
        fixed = {"given": some[0], "known": some[1], "lengths": some[2]}
        told = {"history": max(0, kept - start), "on_step": on_step}
        part = sample(
            denoiser, sampler, size, schedule=schedule, seed=seed, first_row=start, **fixed, **told
        )
        parts.append(part.cpu())
    return join(parts)
