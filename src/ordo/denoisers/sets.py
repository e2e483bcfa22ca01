"""What all denoisers share, and what those share whose conditionals depend on the revealed set alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# (rows, tokens, order, n_revealed, where) -> log mu, for k of the n rows that the session was begun for:
# rows (k,) their numbers; tokens (k, length), the mask id where masked; order (k, length), a permutation whose first n_revealed (k,)
# positions are revealed, in turn; where (k, length) bool. Returns log mu of the positions where, (where.sum(), vocab), in row-major order.
Session = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


class OnDevice(nn.Module):
    """A module that knows where it is."""

    @property
    def device(self) -> torch.device:
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return torch.device("cpu")


def _seen(present: Tensor | None) -> dict[str, Tensor]:
    """For a denoiser of one's own, which may do without."""
    return {} if present is None else {"present": present}


def begin_session(denoiser: Any, n: int, present: Tensor | None = None) -> Session:
    """Calls of any denoiser for n rows in decoding: by its own ``session``, or by ``conditionals`` where the denoiser has none.

    Args:
        present: (n, length) bool, positions that are no padding; None: all.
    """
    if hasattr(denoiser, "session"):
        return denoiser.session(n, present)

    @torch.no_grad()
    def log_prob(
        rows: Tensor, tokens: Tensor, order: Tensor, n_revealed: Tensor, where: Tensor
    ) -> Tensor:
        some = {} if denoiser.order_causal else _seen(None if present is None else present[rows])
        clean = tokens.masked_fill(
            tokens == denoiser.mask_id, 0
        )  # conditionals are of clean tokens, and say what is seen by order
        return denoiser.conditionals(clean, order, n_revealed, **some)[where]

    return log_prob


class SetDenoiser(OnDevice):
    """A denoiser that is ``forward(tokens, where=None, present=None)``: logits of one revealed set, see BidirectionalTransformer.

    Subclasses set vocab_size, length and mask_id = vocab_size, which is what masked positions of ``tokens`` hold.
    """

    order_causal = False
    scores_targets = (
        False  # whether ``forward`` takes ``at`` and ``target``, see BidirectionalTransformer
    )
    vocab_size: int
    length: int
    mask_id: int

    def conditionals(
        self, tokens: Tensor, order: Tensor, n_revealed: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """log mu(. | first n_revealed of ``order``): (batch, length, vocab) float, meaningful at masked positions.

        tokens (batch, length) clean; order (batch, length); n_revealed (batch,). present (batch, length) bool: the others are not seen.
        """
        masked = order.argsort(-1) >= n_revealed[:, None]
        return self(tokens.masked_fill(masked, self.mask_id), **_seen(present)).log_softmax(-1)

    def order_log_prob(
        self, tokens: Tensor, order: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """log mu(x_{pi(i)} | x_{pi(<i)}) for every rank i: (batch, length), by ``length`` calls; absent positions, if any, come last in the
        order and mean nothing.
        """
        rank = order.argsort(-1)
        out = []
        for i in range(tokens.shape[1]):
            logits = self(
                tokens.masked_fill(rank >= i, self.mask_id), where=rank == i, **_seen(present)
            )
            out.append(logits.log_softmax(-1).gather(-1, tokens.gather(1, order[:, i : i + 1])))
        return torch.cat(out, dim=-1)

    def session(self, n: int, present: Tensor | None = None) -> Session:
        """Calls for n rows in decoding. present (n, length) bool: positions there are; the others are not seen."""

        @torch.no_grad()
        def log_prob(
            rows: Tensor, tokens: Tensor, order: Tensor, n_revealed: Tensor, where: Tensor
        ) -> Tensor:
            return self(
                tokens, where, **_seen(None if present is None else present[rows])
            ).log_softmax(-1)

        return log_prob
