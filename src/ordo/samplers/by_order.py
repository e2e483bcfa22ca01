"""First-hitting sampler: one token a call, in an order drawn from a law (or any other order)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ordo.denoisers import Denoiser
from ordo.order import OrderLaw


@dataclass(frozen=True)
class Samples:
    """tokens (n, length) int64; order (n, length) as decoded; log_prob (n, length) nats of the token drawn at each rank, 0 where given.

    So ``log_prob.sum(-1)`` is exact: log p(what was drawn | what was given, order). nfe: denoiser calls.
    """

    tokens: Tensor
    order: Tensor
    log_prob: Tensor
    nfe: int


@torch.no_grad()
def sample_by_order(
    denoiser: Denoiser,
    order: Tensor,
    generator: torch.Generator | None = None,
    given: Tensor | None = None,
    known: Tensor | None = None,
) -> Samples:
    """Draws x_{pi(i)} ~ mu(. | x_{pi(<i)}) for i = 1..length, each row along its own order; exact in law, no time grid.

    order (n, length) int64: from ``schedule.law().draw(n).order`` for the model's own law (2511.19152, the limit of infinitely many steps
    of its sampler), or ``law.mode()`` expanded. Categoricals are drawn in float64: float32 Gumbel noise acts as a low temperature.

    given (n, length) tokens and known (n, length) bool: where known, the given token is kept (imputation, class-conditional sampling).
    Known positions are revealed first, among themselves and the others in the order asked for: the order used has the known in front.

    Raises ValueError for one of given and known without the other, or of another shape.
    """
    if (given is None) != (known is None) or (given is not None and known is not None and not given.shape == known.shape == order.shape):
        raise ValueError("given and known come together, in the shape of order")
    n, length = order.shape
    rows = torch.arange(n, device=order.device)
    if known is None or given is None:
        given, known = torch.zeros_like(order), torch.zeros_like(order, dtype=torch.bool)
    else:
        order = order.gather(1, known.gather(1, order).to(torch.int8).argsort(dim=1, descending=True, stable=True))
    start = int(known.sum(-1).min()) if n else 0
    tokens = torch.where(known, given, denoiser.mask_id)
    log_probs = [torch.zeros(n, dtype=torch.float64, device=order.device)] * start
    conditional = denoiser.decode(order)
    for i in range(start, length):
        position = order[:, i]
        log_prob = conditional(i, tokens).double()
        race = torch.empty_like(log_prob).exponential_(generator=generator)
        token = (log_prob.softmax(-1) / race).argmax(-1)
        fixed = known[rows, position]
        tokens[rows, position] = torch.where(fixed, given[rows, position], token)
        log_probs.append(torch.where(fixed, 0.0, log_prob.log_softmax(-1)[rows, token]))
    return Samples(tokens, order, torch.stack(log_probs, -1), nfe=length - start)


@torch.no_grad()
def sample_many(
    denoiser: Denoiser,
    law: OrderLaw,
    n: int,
    generator: torch.Generator,
    batch_size: int = 4096,
    mode: bool = False,
    given: Tensor | None = None,
    known: Tensor | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> tuple[Tensor, Tensor]:
    """n rows in batches, each row along an order of its own from the law, or all along its ``mode``.

    given, known (n, length): see ``sample_by_order``. ``progress`` wraps the iteration over batches. The generator is of the denoiser's
    device. Returns tokens (n, length) and log p(what was drawn | what was given, order) (n,), nats, float64, both on the CPU.
    """
    tokens, log_prob = [], []
    for start in progress(range(0, n, batch_size)):
        size = min(batch_size, n - start)
        order = law.mode().expand(size, -1) if mode else law.draw(size, generator).order
        part = [None if x is None else x[start : start + size].to(order.device) for x in (given, known)]
        samples = sample_by_order(denoiser, order, generator, *part)
        tokens.append(samples.tokens.cpu())
        log_prob.append(samples.log_prob.sum(-1).cpu())
    return torch.cat(tokens), torch.cat(log_prob)
