"""The likelihoods of one model side by side, each with its standard error.

One number misleads: a sharper order law tightens the NELBO without improving the denoiser. So four
are reported.

* ``uniform_nelbo``: bound under uniformly random orders.
* ``own_nelbo``: bound under the model's own order law.
* ``mode_exact``: exact -log p(x) of decoding in one order, the law's ``mode``: its most probable
  order, or the order of mean ranks; under a uniform law all orders tie, and the order is left to
  right.
* ``importance``: K-sample bound on -log of the mixture over the law's orders.

For a law that depends on the tokens (``ordo.schedules.TokenSchedule``) the numbers are those of the
chain of jumps that decodes: ``own_nelbo`` is the bound "jump", ``mode_exact`` exact -log p(x) of
always revealing the position of the largest rate, ``importance`` the bound on -log p(x).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ordo import showing
from ordo.batch import Batch, check_ids
from ordo.denoisers import Denoiser, batch_for
from ordo.likelihood.orders import (
    OrderLoss,
    as_schedule,
    importance_bound,
    nelbo,
    order_log_prob,
    order_loss,
)
from ordo.likelihood.rules import sampler_log_prob
from ordo.likelihood.steps import importance_in_steps, nelbo_in_steps, steps_log_prob
from ordo.order import OrderLaw
from ordo.randomness import StepRandom, seeded_generator
from ordo.samplers import ByLaw, Sampler
from ordo.schedules import Linear, Schedule

Progress = Callable[[Iterable[Any], str], Iterable[Any]]

REVEALED_BINS = 32  # of the number revealed, in the loss by position and number revealed


@dataclass(frozen=True)
class Estimate:
    """Mean over sequences in nats per sequence, its standard error, the number of sequences, and
    their mean length in decoded tokens.
    """

    nats: float
    standard_error: float
    sequences: int
    length: float

    @classmethod
    def over(cls, values: Tensor, length: float) -> Estimate:
        """values (sequences,) nats."""
        n = values.numel()
        error = values.std().item() / math.sqrt(n) if n > 1 else math.nan
        return cls(values.mean().item(), error, n, length)


@dataclass(frozen=True, repr=False)
class LikelihoodReport(showing.Shown):
    """Estimates by name, and losses of tokens by law: mean and standard error, nats.

    Args:
        length: tokens of a sequence that are decoded; a mean, where given positions or padding
            differ between sequences.
        loss_by_revealed, loss_by_position: by law, of a token by the number revealed before it, and
            by its position.
        loss_by_position_and_revealed: by law, see ``position_and_revealed``.
        values: per sequence, nats, float64 on the CPU, for paired comparisons; NELBOs of all
            sequences, the others of ``values["exact_rows"]``.
    """

    length: float
    vocab_size: int
    unit: str
    entropy: float | None
    estimates: dict[str, Estimate]
    loss_by_revealed: dict[str, dict[str, list[float]]]
    loss_by_position: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    loss_by_position_and_revealed: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Tensor] = field(default_factory=dict)

    @property
    def told_calls(self) -> str:
        """What a title says of the number of calls; empty where a call decodes one token."""
        calls = self.settings.get("calls")
        return "" if calls is None else f", in at most {calls} calls"

    def small(self) -> showing.Small:
        from ordo.report.numbers import LABELS, cell, unit_name, unit_of  # which draws pictures

        entry = self.as_dict()
        unit = unit_of([entry])
        rows = [
            [label, cell(entry, key, unit), str(self.estimates[key].sequences)]
            for key, label in LABELS.items()
            if key in self.estimates
        ]
        columns = [unit_name(unit, self.unit), "mean ± standard error", "sequences"]
        title = f"Likelihoods, {self.length:g} tokens a sequence{self.told_calls}"
        return showing.Small(title, rows, columns)

    def bits_per_token(self, name: str) -> float:
        return self.estimates[name].nats / (self.estimates[name].length * math.log(2))

    def as_dict(self) -> dict[str, Any]:
        """JSON-serialisable, without the values per sequence, and without the loss by position and
        number revealed of sequences longer than 32: ``arrays`` has both.
        """
        out = asdict(replace(self, values={}, loss_by_position_and_revealed={}))
        del out["values"]
        tables = self.loss_by_position_and_revealed
        if all(len(table["nats"]) <= REVEALED_BINS for table in tables.values()):
            out["loss_by_position_and_revealed"] = {
                law: {key: value.tolist() for key, value in table.items()}
                for law, table in tables.items()
            }
        else:
            del out["loss_by_position_and_revealed"]
        for name, estimate in self.estimates.items():
            scale = 1 / (estimate.length * math.log(2))
            out["estimates"][name] |= {
                "nats_per_token": estimate.nats / estimate.length,
                "bits_per_token": estimate.nats * scale,
                "bits_per_token_standard_error": estimate.standard_error * scale,
            }
            if self.entropy is not None:
                out["estimates"][name]["nats_above_entropy"] = estimate.nats - self.entropy
        return out

    def arrays(self) -> dict[str, Tensor]:
        """By name, on the CPU: ``values``, and ``LAW_position_revealed_KEY`` for nats, count and
        edges of both laws.
        """
        tables = self.loss_by_position_and_revealed
        return self.values | {
            f"{law}_position_revealed_{key}": value
            for law, table in tables.items()
            for key, value in table.items()
        }


def mean_and_error(curve: Tensor) -> dict[str, list[float]]:
    """curve (sequences, ...), NaN where a sequence has no value: mean and standard error of every
    column; NaN where there is none.
    """
    there = ~curve.isnan()
    count = there.sum(0)
    mean = curve.nansum(0) / count
    variance = torch.where(there, (curve - mean) ** 2, 0.0).sum(0) / (
        count - 1
    )  # NaN of one sequence, as 0 / 0
    return {"nats": mean.tolist(), "standard_error": (variance / count).sqrt().tolist()}


def position_and_revealed(parts: Sequence[OrderLoss]) -> dict[str, Tensor]:
    """Loss of a token by its position and by the number revealed before it, over all sequences of
    the parts, on the CPU.

    edges (bins + 1,) int64: bin b holds the numbers from edges[b] to edges[b + 1] - 1; one a bin up
    to length 32, else 32 bins of about equal width. nats (length, bins) float64: mean, NaN where
    never seen. count (length, bins) int64: tokens it is over.
    """
    loss = torch.cat([part.by_position for part in parts]).cpu()
    revealed = torch.cat([part.revealed for part in parts]).cpu()
    length = loss.shape[1]
    bins = min(length, REVEALED_BINS)
    edges = torch.linspace(0, length, bins + 1, dtype=torch.float64).round().long()
    decoded = ~loss.isnan()
    cell = torch.arange(length) * bins + torch.bucketize(
        revealed.contiguous(), edges[1:-1], right=True
    )
    count = torch.bincount(cell[decoded], minlength=length * bins)
    total = torch.bincount(cell[decoded], loss[decoded], minlength=length * bins)
    return {
        "nats": (total / count).view(length, bins),
        "count": count.view(length, bins),
        "edges": edges,
    }


@dataclass(frozen=True)
class Effort:
    """What a report may cost.

    Args:
        draws: denoiser rows per sequence of each NELBO.
        importance_draws: orders per sequence of the bound.
        exact_sequences: evenly spaced sequences for what scores whole orders (mode, importance,
            losses); None: all for an order-causal denoiser, 64 for a bidirectional one, which needs
            ``length`` calls an order.
        batch_size: sequences a call.
        seed: of all draws.
    """

    draws: int = 8
    importance_draws: int = 16
    exact_sequences: int | None = None
    batch_size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        counts = (self.draws, self.importance_draws, self.batch_size, self.exact_sequences or 1)
        if min(counts) < 1 or self.exact_sequences == 0:
            raise ValueError(
                "draws, importance_draws, batch_size and exact_sequences must be positive"
            )

    def rows(self, denoiser: Denoiser, n: int) -> Tensor:
        """The rows, of n, for what scores whole orders: (some,) int64 on the CPU."""
        all_of_them = self.exact_sequences is None and denoiser.order_causal
        some = n if all_of_them else min(n, self.exact_sequences or 64)
        return torch.linspace(0, n - 1, some).round().long()


@torch.no_grad()
def likelihood_report(
    denoiser: Denoiser,
    schedule: Schedule | OrderLaw,
    batch: Batch | Tensor,
    effort: Effort | None = None,
    *,
    unit: str = "token",
    entropy: float | None = None,
    calls: int | None = None,
    progress: Progress | None = None,
) -> LikelihoodReport:
    """All four likelihoods, and the loss by the number revealed, by position, and by both.

    Args:
        schedule: a schedule, or an order law that does not depend on the tokens.
        batch: all sequences, on the denoiser's device; every likelihood is of the decoded positions
            given the given ones.
        unit: what a token is, for ``LikelihoodReport.unit``.
        entropy: of the source, nats per sequence; None: unknown.
        calls: K: the four likelihoods are those of K denoiser calls, with equal laws of the steps
            for "uniform", and the most probable step of every position for "mode". Losses of tokens
            stay those of one token a call. None: one token a call.
        progress: callable(iterable, description) -> iterable, such as rich's track.

    Raises ValueError where there is nothing to score.
    """
    own, effort = as_schedule(schedule), effort or Effort()
    batch = batch_for(denoiser, batch, own.length)
    check_ids(batch, denoiser.vocab_size)
    n, length = batch.tokens.shape
    if n == 0 or not bool(batch.decoded.any()):
        raise ValueError(
            "no sequences to evaluate"
            if n == 0
            else "known says that every position is given: nothing is left to score"
        )
    exact_rows = effort.rows(denoiser, n)
    subset = batch.rows(exact_rows.to(batch.tokens.device))
    schedules = {"uniform": Linear(length).to(batch.tokens.device), "own": own}
    watch = progress or (lambda batches, description: batches)
    values: dict[str, list[Tensor]] = {}
    losses: dict[str, list[OrderLoss]] = {name: [] for name in schedules}
    for i, some in enumerate(watch(batch.split(effort.batch_size), "NELBO")):
        for name, each in schedules.items():
            nats = _nelbo(denoiser, each, some, effort.draws, StepRandom(effort.seed, i), calls)
            values.setdefault(f"{name}_nelbo", []).append(nats)
    for i, some in enumerate(watch(subset.split(effort.batch_size), "exact and importance")):
        # Not the orders of the NELBO.
        generator = seeded_generator(batch.tokens.device, effort.seed, i, -7)
        if calls is not None:
            mode = steps_log_prob(denoiser, some, own.steps(calls).mode())
        elif own.depends_on_tokens:
            mode = sampler_log_prob(denoiser, Sampler(ByLaw(0)), some, own).total_log_prob
        else:
            mode = order_log_prob(denoiser, some, own.law().mode())
        if calls is not None:
            random = StepRandom(effort.seed, -1 - i)  # not the steps of the NELBO
            bound = importance_in_steps(denoiser, own, some, calls, effort.importance_draws, random)
        else:
            bound = importance_bound(denoiser, own, some, effort.importance_draws, generator)
        values.setdefault("mode_exact", []).append(-mode)
        values.setdefault("importance", []).append(-bound[:, -1])
        for name, each in schedules.items():
            orders = each.law(some).sample(len(some.tokens), generator)
            losses[name].append(order_loss(denoiser, some, orders))
    joined = {name: torch.cat(parts).cpu() for name, parts in values.items()}
    whole, part = (x.decoded.double().sum(1).mean().item() for x in (batch, subset))
    return LikelihoodReport(
        length=whole,
        vocab_size=denoiser.vocab_size,
        unit=unit,
        entropy=entropy,
        estimates={
            name: Estimate.over(each, whole if name.endswith("nelbo") else part)
            for name, each in joined.items()
        },
        loss_by_revealed={name: _reached(parts) for name, parts in losses.items()},
        loss_by_position={
            name: mean_and_error(torch.cat([part.by_position for part in parts]))
            for name, parts in losses.items()
        },
        loss_by_position_and_revealed={
            name: position_and_revealed(parts) for name, parts in losses.items()
        },
        settings={
            "draws": effort.draws,
            "importance_draws": effort.importance_draws,
            "exact_sequences": len(exact_rows),
            "calls": calls,
            "seed": effort.seed,
        },
        values=joined | {"exact_rows": exact_rows},
    )


def _nelbo(
    denoiser: Denoiser,
    schedule: Schedule,
    batch: Batch,
    draws: int,
    random: StepRandom,
    calls: int | None,
) -> Tensor:
    if calls is None:
        return nelbo(denoiser, schedule, batch, draws, random)
    return nelbo_in_steps(denoiser, schedule, batch, calls, draws, random)


def _reached(parts: Sequence[OrderLoss]) -> dict[str, list[float]]:
    """Mean loss by number revealed, up to the last number that some sequence reaches."""
    curve = mean_and_error(torch.cat([part.by_revealed for part in parts]))
    reached = sum(not math.isnan(value) for value in curve["nats"])
    return {key: values[:reached] for key, values in curve.items()}
