"""The likelihoods of one model side by side, each with its standard error.

One number misleads: a sharper order law tightens the NELBO without improving the denoiser. So four are reported.

* ``uniform_nelbo``: bound under uniformly random orders.
* ``own_nelbo``: bound under the model's own order law.
* ``mode_exact``: exact -log p(x) of decoding in one order, the law's ``mode``: its most probable one, or that of mean ranks; under a
  uniform law all orders tie and it is left to right.
* ``importance``: K-sample bound on -log of the mixture over the law's orders.

Of a law that depends on the tokens (``ordo.schedules.ContentSchedule``) these are, of the chain of jumps that decodes: ``own_nelbo`` the
bound "jump", ``mode_exact`` exact -log p(x) of always revealing the position of the largest rate, ``importance`` the bound on -log p(x).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ordo.denoisers import Denoiser
from ordo.likelihood.content import content_importance_bound, content_nelbo
from ordo.likelihood.orders import OrderLoss, importance_bound, nelbo, order_log_prob, order_loss
from ordo.likelihood.rules import sampler_log_prob
from ordo.order import OrderLaw, absent, not_decoded, uniform_law
from ordo.randomness import StepRandom, seeded_generator
from ordo.samplers import ByLaw, Sampler
from ordo.schedules import ContentSchedule, Schedule

REVEALED_BINS = 32  # of the number revealed, in the loss by position and number revealed


@dataclass(frozen=True)
class Estimate:
    """Mean over sequences in nats per sequence, its standard error, the number of sequences, and their mean length in decoded tokens."""

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


@dataclass(frozen=True)
class LikelihoodReport:
    """estimates by name, and by law the loss of a token by the number revealed before it and by its position: mean, standard error, nats.

    length: tokens of a sequence that are decoded; a mean, where given positions or padding differ between sequences.
    loss_by_position_and_revealed: by law, see ``position_and_revealed``.
    values: per sequence, nats, float64 on the CPU, for paired comparisons; NELBOs of all sequences, the others of ``values["exact_rows"]``.
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

    def bits_per_token(self, name: str) -> float:
        return self.estimates[name].nats / (self.estimates[name].length * math.log(2))

    def as_dict(self) -> dict[str, Any]:
        """JSON-serialisable, without the values per sequence, and without the loss by position and number revealed of sequences longer
        than 32: ``arrays`` has both.
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
        """By name, on the CPU: ``values``, and ``LAW_position_revealed_KEY`` for nats, count and edges of both laws."""
        tables = self.loss_by_position_and_revealed
        return self.values | {
            f"{law}_position_revealed_{key}": value
            for law, table in tables.items()
            for key, value in table.items()
        }


def batches(size: int, *tensors: Tensor | None) -> list[tuple[Tensor | None, ...]]:
    """Batches of rows of all tensors, the first of which is there."""
    assert tensors[0] is not None
    n = len(tensors[0])
    return [
        tuple(None if x is None else x[start : start + size] for x in tensors)
        for start in range(0, n, size)
    ]


def mean_and_error(curve: Tensor) -> dict[str, list[float]]:
    """curve (sequences, ...), NaN where a sequence has no value: mean and standard error of every column; NaN where there is none."""
    there = ~curve.isnan()
    count = there.sum(0)
    mean = curve.nansum(0) / count
    variance = torch.where(there, (curve - mean) ** 2, 0.0).sum(0) / (
        count - 1
    )  # NaN of one sequence, as 0 / 0
    return {"nats": mean.tolist(), "standard_error": (variance / count).sqrt().tolist()}


def position_and_revealed(parts: Sequence[OrderLoss]) -> dict[str, Tensor]:
    """Loss of a token by its position and by the number revealed before it, over all sequences of the parts, on the CPU.

    edges (bins + 1,) int64: bin b holds the numbers from edges[b] to edges[b + 1] - 1; one a bin up to length 32, else 32 bins of about
    equal width. nats (length, bins) float64: mean, NaN where never seen. count (length, bins) int64: tokens it is over.
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


def own_nelbo(
    denoiser: Denoiser,
    law: OrderLaw | ContentSchedule,
    tokens: Tensor,
    draws: int,
    random: StepRandom,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """``nelbo``, or of a schedule that depends on the tokens ``content_nelbo``: (batch,) nats."""
    if isinstance(law, ContentSchedule):
        return content_nelbo(denoiser, law, tokens, draws, "jump", random, known, lengths)
    return nelbo(denoiser, law, tokens, draws, random, known, lengths)


def law_of(
    law: OrderLaw | ContentSchedule, tokens: Tensor, lengths: Tensor | None = None
) -> OrderLaw:
    """The law itself, or of a schedule that depends on the tokens that of these (n, length), a law for each row."""
    if not isinstance(law, ContentSchedule):
        return law
    return law.law(tokens, None if lengths is None else ~absent(lengths, tokens.shape[1]))


def own_law(schedule: Schedule | ContentSchedule) -> OrderLaw | ContentSchedule:
    """What likelihoods take for a schedule: its order law, or itself where that depends on the tokens."""
    return schedule if isinstance(schedule, ContentSchedule) else schedule.law()


@torch.no_grad()
def likelihood_report(
    denoiser: Denoiser,
    law: OrderLaw | ContentSchedule,
    tokens: Tensor,
    *,
    draws: int = 8,
    importance_draws: int = 16,
    exact_sequences: int | None = None,
    batch_size: int = 256,
    seed: int = 0,
    unit: str = "token",
    entropy: float | None = None,
    progress: Any = None,
    known: Tensor | None = None,
    lengths: Tensor | None = None,
) -> LikelihoodReport:
    """All four likelihoods, and the loss by the number revealed, by position, and by both.

    tokens (n, length) on the denoiser's device. ``draws``: denoiser rows per sequence of each NELBO. ``exact_sequences``: evenly spaced
    sequences for what scores whole orders (mode, importance, curve); None: all for an order-causal denoiser, 64 for a bidirectional
    one, which needs ``length`` calls an order. ``progress``: callable(iterable, description) -> iterable, such as rich's track.
    known (n, length) bool: positions that are given; every likelihood is of the others given these. lengths (n,) int64: later positions
    are padding.
    """
    n, length = tokens.shape
    fixed = not_decoded(known, lengths, length)
    if n == 0 or (fixed is not None and bool(fixed.all())):
        raise ValueError(
            "no sequences to evaluate"
            if n == 0
            else "known says that every position is given: nothing is left to score"
        )
    if min(draws, importance_draws, batch_size) < 1 or (
        exact_sequences is not None and exact_sequences < 1
    ):
        raise ValueError("draws, importance_draws, batch_size and exact_sequences must be positive")
    some = n if exact_sequences is None and denoiser.order_causal else min(n, exact_sequences or 64)
    exact_rows = torch.linspace(0, n - 1, some).round().long()
    subset = [
        None if x is None else x[exact_rows.to(tokens.device)] for x in (tokens, known, lengths)
    ]
    uniform = uniform_law(length, tokens.device)
    laws: dict[str, OrderLaw | ContentSchedule] = {"uniform": uniform, "own": law}
    watch = progress or (lambda batches, description: batches)
    values: dict[str, list[Tensor]] = {}
    losses: dict[str, list[OrderLoss]] = {}
    for i, (batch, *given) in enumerate(
        watch(batches(batch_size, tokens, known, lengths), "NELBO")
    ):
        for name, each in laws.items():
            values.setdefault(f"{name}_nelbo", []).append(
                own_nelbo(denoiser, each, batch, draws, StepRandom(seed, i), *given)
            )
    for i, (batch, *given) in enumerate(
        watch(batches(batch_size, *subset), "exact and importance")
    ):
        generator = seeded_generator(tokens.device, seed, i, -7)  # not the orders of the NELBO
        if isinstance(law, ContentSchedule):
            mode = sampler_log_prob(
                denoiser, Sampler(ByLaw(0)), batch, law, *given
            ).total_log_prob
            bound = content_importance_bound(
                denoiser, law, batch, importance_draws, generator, *given
            )
        else:
            mode = order_log_prob(denoiser, batch, law.mode(), *given)
            bound = importance_bound(denoiser, law, batch, importance_draws, generator, *given)
        values.setdefault("mode_exact", []).append(-mode)
        values.setdefault("importance", []).append(-bound[:, -1])
        for name, each in laws.items():
            orders = law_of(each, batch, given[1]).sample(len(batch), generator)
            losses.setdefault(name, []).append(order_loss(denoiser, batch, orders, *given))
    by_revealed = {
        name: mean_and_error(torch.cat([part.by_revealed for part in parts]))
        for name, parts in losses.items()
    }
    by_position = {
        name: mean_and_error(torch.cat([part.by_position for part in parts]))
        for name, parts in losses.items()
    }
    for curve in by_revealed.values():  # numbers that no sequence reaches
        reached = sum(not math.isnan(value) for value in curve["nats"])
        curve.update({key: values[:reached] for key, values in curve.items()})
    joined = {name: torch.cat(parts).cpu() for name, parts in values.items()}
    parts = (fixed, None if fixed is None else fixed[exact_rows.to(tokens.device)])
    whole, part = (
        float(length) if x is None else length - x.double().sum(1).mean().item() for x in parts
    )
    return LikelihoodReport(
        length=whole,
        vocab_size=denoiser.vocab_size,
        unit=unit,
        entropy=entropy,
        estimates={
            name: Estimate.over(each, whole if name.endswith("nelbo") else part)
            for name, each in joined.items()
        },
        loss_by_revealed=by_revealed,
        loss_by_position=by_position,
        loss_by_position_and_revealed={
            name: position_and_revealed(parts) for name, parts in losses.items()
        },
        settings={
            "draws": draws,
            "importance_draws": importance_draws,
            "exact_sequences": some,
            "seed": seed,
        },
        values=joined | {"exact_rows": exact_rows},
    )
