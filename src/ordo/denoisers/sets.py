"""What all denoisers share, and what denoisers share whose conditionals depend on the revealed set
alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ordo.denoisers.protocol import Denoiser, Session


class OnDevice(nn.Module):
    """A module that knows where it is."""

    @property
    def device(self) -> torch.device:
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return torch.device("cpu")


def seen(present: Tensor | None) -> dict[str, Tensor]:
    """Arguments of a call: a denoiser of one's own may do without ``present``."""
    return {} if present is None else {"present": present}


def begin_session(denoiser: Denoiser, n: int, present: Tensor | None = None) -> Session:
    """Calls of any denoiser for n rows in decoding: by its ``session``, or by ``conditionals`` if
    the denoiser has no ``session``.

    Args:
        present: positions that are no padding, (n, length) bool; None: all.
    """
    session = getattr(denoiser, "session", None)
    if session is not None:
        return session(n, present)

    @torch.no_grad()
    def log_prob(
        rows: Tensor, tokens: Tensor, order: Tensor, n_revealed: Tensor, where: Tensor
    ) -> Tensor:
        # Conditionals are of clean tokens: what is seen is said by the order.
        clean = tokens.masked_fill(tokens == denoiser.mask_id, 0)
        if denoiser.order_causal or present is None:
            return denoiser.conditionals(clean, order, n_revealed)[where]
        some = seen(present[rows])
        return denoiser.conditionals(clean, order, n_revealed, **some)[where]

    return log_prob


class SetDenoiser(OnDevice):
    """A denoiser that is ``forward(tokens, where=None, present=None)``: the logits of one revealed
    set, see BidirectionalTransformer.

    Subclasses set vocab_size, length and mask_id = vocab_size; masked positions of ``tokens`` hold
    the mask id.
    """

    order_causal: bool = False
    vocab_size: int
    length: int
    mask_id: int

    def conditionals(
        self, tokens: Tensor, order: Tensor, n_revealed: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """log mu(. | first n_revealed of ``order``), (batch, length, vocab) float, meaningful at
        masked positions.

        Args:
            tokens: clean, (batch, length).
            order: (batch, length).
            n_revealed: (batch,).
            present: (batch, length) bool; absent positions are not seen.
        """
        masked = order.argsort(-1) >= n_revealed[:, None]
        return self(tokens.masked_fill(masked, self.mask_id), **seen(present)).log_softmax(-1)

    def order_log_prob(
        self, tokens: Tensor, order: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """log mu(x_{pi(i)} | x_{pi(<i)}) for every rank i, (batch, length), by ``length`` calls.

        Absent positions, if any, come last in the order; results at their ranks mean nothing.
        """
        rank = order.argsort(-1)
        out = []
        for i in range(tokens.shape[1]):
            z = tokens.masked_fill(rank >= i, self.mask_id)
            log_prob = self(z, where=rank == i, **seen(present)).log_softmax(-1)
            out.append(log_prob.gather(-1, tokens.gather(1, order[:, i : i + 1])))
        return torch.cat(out, dim=-1)

    def session(self, n: int, present: Tensor | None = None) -> Session:
        """Calls for n rows in decoding. present: (n, length) bool; other positions are not seen."""

        @torch.no_grad()
        def log_prob(
            rows: Tensor, tokens: Tensor, order: Tensor, n_revealed: Tensor, where: Tensor
        ) -> Tensor:
            some = seen(None if present is None else present[rows])
            return self(tokens, where, **some).log_softmax(-1)

        return log_prob
