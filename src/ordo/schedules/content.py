"""Laws over decoding orders that depend on the tokens: a forward law given the clean sequence, a reverse law given what is revealed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ordo.order import PlackettLuce
from ordo.schedules.floor import with_floor
from ordo.schedules.token_network import LogBound, NormSig
from ordo.settings import BelowOne, NonNegative, Positive, Size, checked


@checked
class ContentSchedule(nn.Module):
    """alpha_l(t) = 1 - t^{w_l(x)} given clean x; in reverse a masked l is revealed, as token v, at rate r_l(z) u_v mu_l(v | z) / t.

    Given x the times are tau_l = U^{1 / w_l(x)}, so that the forward law of orders is Plackett-Luce in w(x). The reverse process stays at z
    between jumps, and in log t its rates are constant then: from t the next jump comes at t U^{1 / W(z)}, W(z) = sum over masked l of
    rho_l(z), rho_l = r_l E_mu[u], and reveals l with probability rho_l / W and then v with probability u_v mu_l(v) / E_mu[u]. Times
    therefore integrate out: what a model says of x is said by this jump chain alone, and it is what decodes.

    A subclass says w (``log_w``), r (``log_r``) and u (``log_u``). Tokens are (n, length) int64, the mask id where masked; present
    (n, length) bool: the others are padding; results (n, length) float64. ``Power`` is the case w = r, u = 1.
    """

    depends_on_tokens = True
    _where: Tensor

    def __init__(self, length: Size):
        super().__init__()
        self.length = length
        self.register_buffer(
            "_where", torch.zeros(()), persistent=False
        )  # knows the device, also where nothing is learned

    def log_w(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """log w of clean tokens."""
        raise TypeError(f"{type(self).__name__} must define log_w(tokens, present)")

    def log_r(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """log r of partly masked tokens, meaningful where masked."""
        raise TypeError(f"{type(self).__name__} must define log_r(tokens, present)")

    def log_r_along(
        self,
        tokens: Tensor,
        order: Tensor,
        mask_id: int,
        present: Tensor | None = None,
        first: int = 0,
    ) -> Tensor:
        """log r after each prefix, of ``first`` positions or more, of orders (n, length) of clean tokens: (n, length - first, length)
        float64, [:, i] after first + i are revealed.

        A row a prefix goes through ``log_r``; a subclass that knows better overrides it.
        """
        n, length = order.shape
        hidden = (
            order.argsort(-1)[:, None] >= torch.arange(first, length, device=order.device)[:, None]
        )
        rows = torch.where(hidden, mask_id, tokens[:, None]).flatten(0, 1)
        return self.log_r(
            rows, None if present is None else present.repeat_interleave(length - first, 0)
        ).view(n, -1, length)

    def log_u(self) -> Tensor | None:
        """log u (vocab,) float64; None: u = 1, which spares the logits of all other tokens."""
        return None

    def law(self, tokens: Tensor | None = None, present: Tensor | None = None) -> PlackettLuce:
        """The forward law of orders given clean tokens: one for each of the n rows. Raises ValueError without tokens."""
        if tokens is None:
            raise ValueError(
                f"the order law of {type(self).__name__} depends on the tokens: train it with objective content_order, content_time or "
                "content_dense, decode with sampler by_rates, and measure it with ordo.likelihood.content_nelbo"
            )
        return PlackettLuce(self.log_w(tokens, present))


@checked
class PerVocabulary(ContentSchedule):
    """w_l(x) = u_{x_l}, r = 1: a rate for every token, and in reverse for every token that l may become (GenMD4, Shi et al. 2406.04329).

    Args: vocab_size; init_std of log u at the start; bound: ``|log u|`` at most this, None: free. log u has mean 0 before the bound, as a
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
class PerContext(ContentSchedule):
    """w(x) from one network of the tokens and r(z) from another (LoMDM, 2602.02112).

    Args:
        forward_network, reverse_network: modules that take (tokens (n, length), present (n, length) bool or None) -> (n, length), such as
            ``TokenNetwork``; no gradient may pass to the denoiser, or the law would move what it is learned from (``FeatureHead`` stops
            it). A reverse network with a method ``along(tokens, order, first)``, such as ``PooledNetwork``, gives all prefixes of an order
            at once.
        bounds: from a network's numbers to log weights, for both: ``NormSig`` (None: LoMDM's), or ``LogBound``.
        floor: every next choice of either law keeps at least probability floor / (number of positions), see ``with_floor``; 0: no floor.
        base: module whose forward() gives (length,), such as ``FreeTable``, added to log w and log r alike, after the bounds: a law of
            positions, which costs no velocity, from which the networks depart. None: 0.
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

    def log_r_along(
        self,
        tokens: Tensor,
        order: Tensor,
        mask_id: int,
        present: Tensor | None = None,
        first: int = 0,
    ) -> Tensor:
        along = getattr(self.reverse_network, "along", None)
        if along is None:
            return super().log_r_along(tokens, order, mask_id, present, first)
        return self._log_weights(
            along(tokens, order, first), None if present is None else present[:, None]
        )

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


@checked
class OrderPosterior(PerContext):
    """``PerContext`` with free log w, for the jump bound: orders as latent variables, q(order | x) Plackett-Luce in w(x), and a generative
    p(next position | revealed) = r_l(z) / sum over masked r (LO-ARM, 2503.05979). bound: ``|log w|`` and ``|log r|`` at most
    this, without the base; None: free. floor, base: as of ``PerContext``.
    """

    def __init__(
        self,
        length: Size,
        forward_network: nn.Module,
        reverse_network: nn.Module,
        bound: Positive | None = None,
        floor: BelowOne = 0.0,
        base: nn.Module | None = None,
    ):
        super().__init__(length, forward_network, reverse_network, LogBound(bound), floor, base)
