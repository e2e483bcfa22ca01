"""Tokens/s and peak memory of every objective, against the step of a plain TransformerEncoder.

``ordo`` and its ratio to the reference are of the time-space step with the reference's learned
positions (variant time_plain). Every other variant has ordo's default positions, rotary and
learned, which the reference has not. All variants take turns within one process; peak memory is
that of a process of its own. ``overhead`` is the share of a learned-schedule step that is not
denoiser forward, backward and optimizer: 1 - bare step / whole step, where the bare step feeds the
denoiser the same kind of input with fixed masks or orders and sums the cross-entropies.
"""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import timing
from benchmarks.timing import SPACES, make_denoiser
from ordo.randomness import StepRandom
from ordo.schedules import FreeTable, Linear, Power

OPTIONS = {
    **timing.sizes(rows=32, length=128, vocab=27, width=128, layers=4, heads=4),
    **timing.sizes(rounds=7, steps=5, threads=1),
    "compile": (False, "also every objective with torch.compile"),
}


class Reference(nn.Module):
    """A masked diffusion denoiser as a first course would write it.

    It is a TransformerEncoder with learned positions, and makes logits at every position.
    """

    def __init__(self, vocab: int, length: int, width: int, heads: int, layers: int):
        super().__init__()
        self.token, self.position = nn.Embedding(vocab + 1, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        norm = nn.LayerNorm(width)
        self.encoder = nn.TransformerEncoder(layer, layers, norm, enable_nested_tensor=False)
        self.head = nn.Linear(width, vocab)

    def forward(self, z: Tensor) -> Tensor:
        return self.head(self.encoder(self.token(z) + self.position.weight))


def reference_loss(a: Namespace, tokens: Tensor) -> tuple[list[nn.Module], Callable[[], Tensor]]:
    """The reference, and the loss of one step."""
    net = Reference(a.vocab, a.length, a.width, a.heads, a.layers).to(a.device)

    def loss() -> Tensor:
        t = torch.rand(a.rows, 1, device=a.device).clamp(min=1e-3)
        masked = torch.rand(tokens.shape, device=a.device) < t
        logits = net(tokens.masked_fill(masked, a.vocab)).transpose(1, 2)
        cost = F.cross_entropy(logits, tokens, reduction="none")
        return (cost * masked / t).sum() / tokens.numel()

    return [net], loss


def ordo_loss(
    space: str, mode: str, a: Namespace, tokens: Tensor
) -> tuple[list[nn.Module], Callable[[], Tensor]]:
    """Denoiser and schedule of ordo, and the loss of one step; mode: see ``run``."""
    net = make_denoiser(space, a, positions="learned" if mode == "plain" else "both")
    fixed, dense = mode in ("fixed", "plain"), space == "dense"
    draws = 1 if fixed or dense else 2
    x = tokens[: a.rows // draws]
    kind = SPACES[space]
    objective = kind(a.length) if dense else kind(draws=draws)
    objective = objective.to(a.device)
    schedule = Linear(a.length) if fixed else Power(a.length, FreeTable(a.length))
    schedule = schedule.to(a.device)
    if "compile" in mode:  # as compile=true does it
        objective.estimate = torch.compile(objective.estimate, dynamic=False)
    counter = iter(range(10**9))
    order = torch.rand(tokens.shape, device=a.device).argsort(-1)
    fraction = torch.arange(a.rows, device=a.device)[:, None] / a.rows
    masked = torch.rand(tokens.shape, device=a.device) < fraction

    def loss() -> Tensor:
        if "bare" not in mode:
            return objective(net, schedule, x, StepRandom(0, next(counter))).loss
        if dense:
            logits, targets = net(tokens, order).flatten(0, 1), tokens.gather(1, order).flatten()
            return F.cross_entropy(logits, targets)
        return F.cross_entropy(
            net(tokens.masked_fill(masked, a.vocab), where=masked), tokens[masked]
        )

    return [net, schedule], loss


def make_step(name: str, a: Namespace) -> Callable[[], None]:
    """One whole training step of a variant: loss, backward pass, AdamW."""
    torch.manual_seed(0)
    tokens = torch.randint(a.vocab, (a.rows, a.length), device=a.device)
    space, _, mode = name.partition("_")
    if space == "reference":
        modules, loss = reference_loss(a, tokens)
    else:
        modules, loss = ordo_loss(space, mode, a, tokens)
    optimizer = torch.optim.AdamW([p for module in modules for p in module.parameters()], lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def run(a: Namespace) -> dict[str, Any]:
    """Variants: SPACE alone (learned), and with a mode.

    Modes: ``_plain`` (random orders, the reference's positions), ``_fixed`` (random orders),
    ``_bare`` (no objective), ``_compile`` (learned, compiled).
    """
    timing.start(a)
    peak = timing.peaks(make_step, ("reference", "time_plain", *SPACES), a, growth=False)
    names = ["reference", "time_plain"]
    modes = ["_fixed", "", "_bare", *(["_compile"] if a.compile else [])]
    names += [space + mode for mode in modes for space in SPACES]
    steps = {name: make_step(name, a) for name in names}
    seconds = timing.timed_in_turns(steps, a.rounds, a.steps, a.device, wall=True)
    tokens, middle = a.rows * a.length, timing.median(seconds)
    rate = timing.median(seconds, tokens)
    return {
        "ordo": rate["time_plain"],
        "reference": rate["reference"],
        "ratio": middle["reference"] / middle["time_plain"],
        "tokens_per_second": rate,
        "spread": {name: [tokens / max(v), tokens / min(v)] for name, v in seconds.items()},
        "overhead": {space: 1 - middle[f"{space}_bare"] / middle[space] for space in SPACES},
        "peak_mib": peak,
        **timing.about(a),
    }
