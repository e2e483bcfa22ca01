"""Laws over decoding orders that depend on the tokens: a forward law given the clean sequence, a reverse law given what is revealed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ordo.order import PlackettLuce


class ContentSchedule(nn.Module):
    """alpha_l(t) = 1 - t^{w_l(x)} given clean x; in reverse a masked position l is revealed, as token v, at rate r_l(z) u_v mu_l(v | z) / t.

    The forward law of orders given x is Plackett-Luce in w(x). The jump chain of the reverse process, which is what decodes, reveals l with
    probability r_l E_mu[u] / W(z), W(z) = sum over masked l of r_l E_mu[u], and then v with probability u_v mu_l(v) / E_mu[u].
    A subclass says w, r and u; a static schedule is w = r and u = 1.
    """

    def __init__(self, length: int):
        super().__init__()
        self.length = length

    def law(self, tokens: Tensor) -> PlackettLuce:
        """The order law given clean tokens (n, length)."""
        raise TypeError(f"{type(self).__name__} must define law(tokens)")

    def log_r(self, tokens: Tensor, masked: Tensor) -> Tensor:
        """log r (n, length) float64, given tokens (n, length) with the mask id where masked (n, length) bool."""
        raise TypeError(f"{type(self).__name__} must define log_r(tokens, masked)")

    def log_u(self) -> Tensor | None:
        """log u (vocab,) float64, or None: 1."""
        return None


class PerVocabulary(ContentSchedule):
    """w_l(x) = u_{x_l}, r = 1: a rate for every token (GenMD4, Shi et al. 2406.04329)."""

    def __init__(self, length: int, vocab_size: int, init_std: float = 0.0):
        super().__init__(length)
        self.table = nn.Parameter(init_std * torch.randn(vocab_size))

    def log_u(self) -> Tensor:
        raw = self.table.double()
        return raw - raw.mean()

    def law(self, tokens: Tensor) -> PlackettLuce:
        return PlackettLuce(self.log_u()[tokens])

    def log_r(self, tokens: Tensor, masked: Tensor) -> Tensor:
        return torch.zeros(tokens.shape, dtype=torch.float64, device=tokens.device)


class PerContext(ContentSchedule):
    """w(x) and r(z) from two networks of tokens (LoMDM, 2602.02112; as a bound on orders LO-ARM, 2503.05979)."""

    def __init__(self, length: int, forward_network: nn.Module, reverse_network: nn.Module):
        super().__init__(length)
        self.forward_network, self.reverse_network = forward_network, reverse_network

    def law(self, tokens: Tensor) -> PlackettLuce:
        return PlackettLuce(self.forward_network(tokens).double())

    def log_r(self, tokens: Tensor, masked: Tensor) -> Tensor:
        return self.reverse_network(tokens).double()
