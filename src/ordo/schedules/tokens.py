"""Schedules whose order law depends on the tokens: one law given the clean sequence, one in
reverse.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ordo.batch import Batch
from ordo.order import PlackettLuce
from ordo.schedules.base import Schedule
from ordo.schedules.bounds import LogBound, NormSig, with_floor
from ordo.settings import BelowOne, NonNegative, Positive, Size, checked
from ordo.steps import StepLaw


@checked
class TokenSchedule(Schedule):
    """alpha_l(t) = 1 - t^{w_l(x)} given clean x; in reverse a masked l is revealed as token v at
    rate r_l(z) u_v mu_l(v | z) / t.

    Given x the arrival times are tau_l = U^{1 / w_l(x)}, so the forward law of orders is
    Plackett-Luce in w(x). The reverse process stays at z between jumps. In log t its rates are
    constant there: from t the next jump comes at t U^{1 / W(z)}, W(z) = sum over masked l of
    rho_l(z), rho_l = r_l E_mu[u]. The jump reveals l with probability rho_l / W, and then v with
    probability u_v mu_l(v) / E_mu[u]. So times integrate out: what a model says of x is said by
    this chain of jumps alone, and the chain is what decodes.

    A subclass says w (``log_w``), r (``log_r``) and u (``log_u``). ``Power`` is the case w = r, u =
    1.
    """

    depends_on_tokens = True

    def log_w(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """log w of clean sequences.

        Args:
            tokens: (n, length) int64.
            present: (n, length) bool, False where padding; None: there is no padding.

        Returns (n, length) float64.
        """
        raise TypeError(f"{type(self).__name__} must define log_w(tokens, present)")

    def log_r(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """log r of partly masked sequences, meaningful where masked: as ``log_w``, with the mask id
        where masked.
        """
        raise TypeError(f"{type(self).__name__} must define log_r(tokens, present)")

    def log_r_along(self, batch: Batch, order: Tensor, mask_id: int, first: int = 0) -> Tensor:
        """log r after each prefix of at least ``first`` positions of orders (n, length).

        Every prefix goes through ``log_r`` as a row; a subclass that knows better overrides this.

        Returns (n, length - first, length) float64; [:, i] is log r after first + i positions are
        revealed.
        """
        n, length = order.shape
        ranks = torch.arange(first, length, device=order.device)
        hidden = order.argsort(-1)[:, None] >= ranks[:, None]
        rows = torch.where(hidden, mask_id, batch.tokens[:, None]).flatten(0, 1)
        present = batch.present
        present = None if present is None else present.repeat_interleave(length - first, 0)
        return self.log_r(rows, present).view(n, -1, length)

    def law(self, batch: Batch | Tensor | None = None) -> PlackettLuce:
        """The forward law of orders, one for each sequence of the batch. Raises ValueError without
        a batch.
        """
        if batch is None:
            raise ValueError(
                f"the order law of {type(self).__name__} depends on the tokens: say for which, "
                "law(batch)"
            )
        batch = Batch.of(batch)
        return PlackettLuce(self.log_w(batch.tokens, batch.present))

    def steps(self, calls: int) -> StepLaw:
        """Raises ValueError: steps are laws of positions."""
        name = type(self).__name__
        raise ValueError(
            f"calls={calls} needs a law of positions, and {name} depends on the tokens"
        )

    def at_time(self, t: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        log_w = self.log_w(batch.tokens, batch.present)
        log_masked = log_w.exp() * t.log()[:, None]
        # log(1 - t^w) rounds to log 0 where w is tiny and t all but 1.
        log_clean = torch.log(-torch.expm1(log_masked.clamp(max=-torch.finfo(torch.float64).tiny)))
        return log_w.exp() / t[:, None], log_masked, log_clean


@checked
class PerVocabulary(TokenSchedule):
    """w_l(x) = u_{x_l}, r = 1: a rate for every token, in reverse for every token that l may become
    (GenMD4, Shi et al. 2406.04329).

    Args:
        length: positions.
        vocab_size: tokens.
        init_std: of log u at the start.
        bound: ``|log u|`` stays below; None: no bound. log u has mean 0 before the bound, since a
            common factor of all u changes nothing. Equal u are the uniform law.
    """

    def __init__(
        self,
        length: Size,
        vocab_size: Size,
        init_std: NonNegative = 0.0,
        bound: Positive | None = None,
    ):
        super().__init__(length)
        self.table = nn.Parameter(init_std * torch.randn(vocab_size))
        self.bounds = LogBound(bound)

    def log_u(self) -> Tensor:
        raw = self.table.double()
        return self.bounds(raw - raw.mean())

    def log_w(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        return self.log_u()[tokens]

    def log_r(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        return torch.zeros(tokens.shape, dtype=torch.float64, device=tokens.device)


@checked
class PerContext(TokenSchedule):
    """w(x) from one network of the tokens and r(z) from another (LoMDM, 2602.02112).

    With ``bounds=LogBound()`` and the jump bound this is LO-ARM's order posterior (2503.05979):
    orders are latent variables, q(order | x) is Plackett-Luce in w(x), p(next position | revealed)
    is r_l(z) / sum of r.

    Args:
        length: positions.
        forward_network, reverse_network: modules that take tokens (n, length) and present (n,
            length) bool or None, and give (n, length), such as ``TokenNetwork``. No gradient may
            pass to the denoiser, or the law would move what it is learned from (``FeatureHead``
            stops the gradient). A reverse network with a method ``along(tokens, order, first)``,
            such as ``PooledNetwork``, gives all prefixes of an order at once.
        bounds: from a network's numbers to log weights: ``NormSig`` (None: LoMDM's), or
            ``LogBound``.
        floor: every next choice of either law has probability floor / (number of positions) or
            more, see ``with_floor``; 0: no floor.
        base: module whose forward() gives (length,), such as ``FreeTable``. It is added to log w
            and log r after the bounds: a law of positions, from which the networks depart, and
            which costs no reverse gap. None: 0.
    """

    def __init__(
        self,
        length: Size,
        forward_network: nn.Module,
        reverse_network: nn.Module,
        bounds: nn.Module | None = None,
        floor: BelowOne = 0.0,
        base: nn.Module | None = None,
    ):
        super().__init__(length)
        self.floor, self.base = floor, base
        self.forward_network, self.reverse_network = forward_network, reverse_network
        self.bounds = NormSig() if bounds is None else bounds

    def log_w(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        return self._bounded(self.forward_network, tokens, present)

    def log_r(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        return self._bounded(self.reverse_network, tokens, present)

    def log_r_along(self, batch: Batch, order: Tensor, mask_id: int, first: int = 0) -> Tensor:
        along = getattr(self.reverse_network, "along", None)
        if along is None:
            return super().log_r_along(batch, order, mask_id, first)
        present = batch.present
        raw = along(batch.tokens, order, first)
        return self._log_weights(raw, None if present is None else present[:, None])

    def _bounded(self, network: nn.Module, tokens: Tensor, present: Tensor | None) -> Tensor:
        raw = network(tokens, present)
        if raw.shape != tokens.shape:
            raise ValueError(
                f"a schedule network gave shape {tuple(raw.shape)} for tokens {tuple(tokens.shape)}"
            )
        return self._log_weights(raw, present)

    def _log_weights(self, raw: Tensor, present: Tensor | None) -> Tensor:
        """From a network's numbers (..., length)."""
        log_w = self.bounds(raw.double(), present)
        if self.base is not None:
            offset = self.base().double()
            if offset.shape != (self.length,):
                raise ValueError(
                    f"the base gave shape {tuple(offset.shape)} for length {self.length}"
                )
            log_w = log_w + (offset - offset.mean())[: raw.shape[-1]]
        return with_floor(log_w, self.floor, present)
