"""One loop for every sampler: every step goes through four phases.

    State: tokens, masked positions, order of revealing
      |
      v
    _eligible   masked positions that may be revealed now (all, or those of a block)
      |
      v
    _choose     where: a key for every position  ->  how_many: the positions of this step
      |            (before the denoiser call if neither rule needs it, else after the call)
      v
    _draw       what: tokens from the denoiser's distributions, written into the State
      |
      v
    _revise     revise: revealed positions to mask again
      |
      +-------> next step, until nothing is masked and the remasking rule has ended

Rules see one step through a ``View``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypedDict, Unpack

import torch
from torch import Tensor

from ordo.denoisers import Denoiser, begin_session
from ordo.order import uniform_law
from ordo.randomness import row_seeds
from ordo.samplers.sampler import Sampler
from ordo.samplers.start import Given, begin, check_rules
from ordo.samplers.state import TOKEN, Call, State, View
from ordo.samplers.trace import Recorder, Trace, join
from ordo.samplers.where import ByLaw
from ordo.schedules import Linear, Schedule


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    sampler: Sampler,
    n: int | None = None,
    *,
    schedule: Schedule | None = None,
    seed: int = 0,
    first_row: int = 0,
    given: Tensor | None = None,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
    forced: Tensor | None = None,
    history: bool | int = False,
    on_step: Callable[[float], None] | None = None,
) -> Trace:
    """Draws sequences. Row i depends on (seed, first_row + i) and on what is given for the row, not
    on other rows.

    Args:
        n: number of sequences; may be left out where ``given`` or ``forced`` has rows.
        schedule: what ``ByLaw`` and ``OnGrid`` decode by, usually the one that the denoiser was
            trained with; None: linear.
        given: tokens, (n, length) int64.
        known: positions that keep their given token (infilling, imputation), (n, length) bool. They
            are revealed first, among themselves by the position rule's ``key_of_given``.
        lengths: number of positions of each row, (n,). Later positions are absent: never decoded,
            and not seen.
        forced: tokens taken in place of drawn ones, for likelihoods, (n, length) int64.
        history: True: ``Trace.history`` holds every reveal and every masking again; a number: of
            the first so many rows only.
        on_step: is called after every step with the share of the tokens that is decoded, 0 to 1.

    Raises ValueError for shapes that do not agree, tokens out of range, a remasking rule that the
    denoiser cannot serve, and rules that do not go with the schedule.
    """
    rows = Given.of(given, known, lengths, forced)
    forced = rows.forced
    n = rows.rows(n, denoiser)
    schedule = schedule or Linear(denoiser.length).to(denoiser.device)
    check_rules(sampler, schedule, denoiser)
    # A law that depends on the tokens has no say in the order of given tokens.
    uniform = uniform_law(denoiser.length, denoiser.device)
    law = uniform if schedule.depends_on_tokens else schedule.law()
    seeds = row_seeds(seed, n, first_row, denoiser.device)
    state, fixed = begin(denoiser, sampler, law, rows, seeds)
    session = begin_session(denoiser, n, rows.present(denoiser))
    call = Call(schedule, law, sampler.how_many, session, denoiser.mask_id, forced)
    kept = n if history is True else int(history)
    recorder = Recorder(kept) if kept > 0 else None
    to_decode = 0 if on_step is None else int(state.masked.sum())
    done: list[State] = []
    for step in itertools.count():
        over = _over(state, sampler)
        if over.any():
            done.append(state.take(over))
            state = state.take(~over)
        if not len(state.row):
            break
        _step(View(call, state, _eligible(state, sampler), step), sampler, recorder)
        if on_step is not None:
            on_step(1 - int(state.masked.sum()) / max(1, to_decode))
    trace = _trace(done, fixed)
    return trace if recorder is None else replace(trace, history=recorder.history(denoiser.device))


def _over(state: State, sampler: Sampler) -> Tensor:
    """Rows that are finished, (n,) bool."""
    over = ~state.masked.any(1)
    if sampler.revise is not None:
        over &= state.step_in_block >= sampler.revise.steps(sampler.how_many)
    return over


def _step(view: View, sampler: Sampler, recorder: Recorder | None) -> None:
    """One step of all rows of the state, in place."""
    revise, tilt = sampler.revise, None
    if isinstance(sampler.where, ByLaw):
        tilt = sampler.where.tilt(view.schedule)
    if revise is not None:
        revise.before(view)
    looks_at = None if revise is None else revise.looks_at(view.state)
    ahead = sampler.where.ahead and sampler.how_many.ahead and tilt is None
    if ahead:  # the call is spent on the chosen positions alone
        _choose(view, sampler)
    log_prob, judged = _ask(view, view.chosen if ahead else view.eligible, looks_at)
    if log_prob is not None:
        if not ahead:
            view.log_prob = log_prob
            log_prob = log_prob if tilt is None else log_prob + tilt
            if sampler.draws_first:
                view.drawn = sampler.what.draw(log_prob, _uniform(view, sampler)[view.eligible])
            _choose(view, sampler)
            log_prob = log_prob[view.chosen[view.eligible]]
        _draw(view, sampler, log_prob, recorder)
    stands_still = _revise(view, sampler, judged, recorder)
    view.state.step_in_block += not stands_still
    if sampler.block is not None:
        view.state.end_blocks(~(view.eligible & view.state.masked).any(1))


def _eligible(state: State, sampler: Sampler) -> Tensor:
    """Masked positions that may be revealed now, (n, length) bool: all, or those of the leftmost
    block that has any.
    """
    if sampler.block is None:
        return state.masked
    length = state.masked.shape[1]
    number = torch.arange(length, device=state.masked.device) // sampler.block
    mine = torch.where(state.masked, number, length)
    eligible = state.masked & (mine == mine.min(1, keepdim=True).values)
    state.block_size = torch.where(state.block_size < 0, eligible.sum(1), state.block_size)
    return eligible


def _choose(view: View, sampler: Sampler) -> None:
    """Keys of all positions, and the positions that are revealed in this step."""
    view.key = sampler.where.key(view)
    view.chosen = sampler.how_many.choose(view)


def _ask(view: View, asked: Tensor, looks_at: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """One denoiser call: log mu at ``asked`` and at ``looks_at``, both (n, length) bool; None where
    there is nothing to ask.
    """
    positions = asked if looks_at is None else asked | looks_at
    if not positions.any():
        return None, None
    log_prob = view.ask(positions)
    if looks_at is None:
        return log_prob, None
    return log_prob[asked[positions]], log_prob[looks_at[positions]]


def _uniform(view: View, sampler: Sampler) -> Tensor:
    """Uniforms for tokens, (n, length). A position that is drawn for once has one uniform for all
    steps; where draws may be thrown away each step needs its own.
    """
    if sampler.draws_first or sampler.revise is not None:
        return view.uniform(TOKEN)
    return view.kept("tokens", lambda: view.fixed_uniform(TOKEN))


def _draw(view: View, sampler: Sampler, log_prob: Tensor, recorder: Recorder | None) -> None:
    """Tokens of the chosen positions, from log_prob (view.chosen.sum(), vocab), into the state."""
    state, chosen, forced = view.state, view.chosen, view.call.forced
    if forced is None:
        drawn = sampler.what.draw(log_prob, _uniform(view, sampler)[chosen])
    else:
        tokens = forced[state.row][chosen]
        drawn = tokens, sampler.what.log_probs(log_prob).gather(-1, tokens[:, None])[:, 0]
    assert view.key is not None
    before = state.n_revealed
    state.reveal(chosen, *drawn, view.key, view.step)
    if recorder is not None:
        recorder.revealed(state, before, view.step)


def _revise(view: View, sampler: Sampler, judged: Tensor | None, recorder: Recorder | None) -> bool:
    """Masks positions again. Returns whether time stands still for the next step.

    judged: log mu at the positions that the remasking rule looks at.
    """
    if sampler.revise is None:
        return False
    again, stands_still = sampler.revise.after(view, judged)
    if recorder is not None:
        recorder.masked_again(view.state, again, view.step)
    view.state.mask_again(again, view.mask_id)
    return stands_still


def _trace(done: list[State], known: Tensor) -> Trace:
    """known (n, length): given positions, which come first in every order."""
    row = torch.cat([state.row for state in done]).argsort()
    order, *parts = (
        torch.cat([getattr(state, name) for state in done])[row]
        for name in ("order", "tokens", "step", "log_prob", "remasked", "calls")
    )
    tokens, step, log_prob, remasked, calls = parts
    rank = torch.where(step < 0, -1, order.argsort(1) - known.sum(1, keepdim=True))
    return Trace(tokens, rank, step, log_prob, remasked, calls)


class Options(TypedDict, total=False):
    """Arguments of ``sample`` that are the same for all batches, or are cut into batches."""

    schedule: Schedule | None
    seed: int
    given: Tensor | None
    known: Tensor | None
    lengths: Tensor | None
    history: bool | int
    on_step: Callable[[float], None] | None


@torch.no_grad()
def sample_batches(
    denoiser: Denoiser,
    sampler: Sampler,
    n: int,
    batch_size: int,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    **options: Unpack[Options],
) -> Trace:
    """``sample`` in batches: the same rows whatever the size of the batches. The trace is on the
    CPU.

    Args:
        progress: wraps the iteration over batches.
        options: as of ``sample``; ``on_step`` is told of the steps of each batch.
    """
    history = options.get("history", False)
    kept = n if history is True else int(history)
    parts = []
    for start in progress(range(0, n, batch_size)):
        rows = slice(start, min(start + batch_size, n))
        some = options.copy()
        some["history"] = max(0, kept - start)
        for name in ("given", "known", "lengths"):
            whole = options.get(name)
            some[name] = None if whole is None else whole[rows]
        part = sample(denoiser, sampler, rows.stop - start, first_row=start, **some)
        parts.append(part.cpu())
    return join(parts)
