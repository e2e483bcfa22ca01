"""Which token: the rule that turns the denoiser's distribution at a position into a draw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ordo.settings import Count, NonNegative, PositiveShare, checked


@checked
@dataclass(frozen=True)
class TokenRule:
    """The temperature, then the top_k most probable tokens, then the fewest tokens that hold
    probability top_p. Everything is computed in float64.

    float32 Gumbel noise would act as a temperature below 1 (Zheng et al. 2409.02908). Here one
    uniform number of 52 bits is looked up in the cumulative distribution.

    Args:
        temperature: 0: the most probable token.
        top_k: None: all tokens.
    """

    temperature: NonNegative = 1.0
    top_p: PositiveShare = 1.0
    top_k: Count | None = None

    @property
    def plain(self) -> bool:
        """Whether tokens are drawn from the denoiser's own distribution."""
        return self.temperature == 1 and self.top_p == 1 and self.top_k is None

    def log_probs(self, log_prob: Tensor) -> Tensor:
        """Log-probabilities (m, vocab) of the denoiser to those drawn from, float64 nats."""
        out = log_prob.double()
        if self.temperature == 0:
            best = out.argmax(-1, keepdim=True)
            return torch.full_like(out, -torch.inf).scatter(-1, best, 0.0)
        if self.plain:
            return out.log_softmax(-1)
        out = out / self.temperature
        if self.top_k is not None and self.top_k < out.shape[-1]:
            worst = out.topk(self.top_k, dim=-1).values[..., -1:]
            out = out.masked_fill(out < worst, -torch.inf)
        if self.top_p < 1:
            ranked, index = out.log_softmax(-1).sort(dim=-1, descending=True, stable=True)
            # Probability of the tokens ahead: 0 for the most probable token, which always stays.
            before = ranked.exp().cumsum(-1) - ranked.exp()
            left_out = torch.zeros_like(out, dtype=torch.bool).scatter(
                -1, index, before >= self.top_p
            )
            out = out.masked_fill(left_out, -torch.inf)
        return out.log_softmax(-1)

    def draw(self, log_prob: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (m,) and their log-probabilities under the rule, (m,) float64 nats.

        Args:
            log_prob: of the denoiser, (m, vocab).
            u: (m,) float64 in (0, 1).
        """
        log_p = self.log_probs(log_prob)
        tokens = invert(log_p, u)
        return tokens, log_p.gather(-1, tokens[:, None])[:, 0]


def invert(log_p: Tensor, u: Tensor) -> Tensor:
    """The token whose interval of the cumulative distribution holds u, (m,).

    A token of probability 0 has an empty interval, also at the ends of the range.

    Args:
        log_p: (m, vocab) float64.
        u: (m,) in (0, 1).
    """
    cumulative = log_p.exp().cumsum(-1)
    return (cumulative <= (u * cumulative[:, -1])[:, None]).sum(-1)
