"""A sampler: four rules, and what is known of them before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

from ordo.samplers.how_many import HowMany, One
from ordo.samplers.revise import Revise
from ordo.samplers.what import TokenRule
from ordo.samplers.where import ByLaw, Where
from ordo.settings import Count, checked


@checked
@dataclass(frozen=True)
class Sampler:
    """Four rules: where, how_many, what and revise. The default decodes one position at a time in
    orders of the schedule's own law.

    Args:
        block: decode the leftmost ``block`` positions first, then the next ones
            (semi-autoregressive); None: all positions at once are open.

    Raises ValueError for rules that do not go together.
    """

    where: Where = field(default_factory=ByLaw)
    how_many: HowMany = field(default_factory=One)
    what: TokenRule = field(default_factory=TokenRule)
    revise: Revise | None = None
    block: Count | None = None

    def __post_init__(self) -> None:
        if self.block is not None and self.revise is not None:
            raise ValueError("block goes without a remasking rule")
        if self.revise is not None:
            self.revise.check(self.how_many, order_causal=False)

    @property
    def deterministic(self) -> bool:
        """Whether the positions of every step are a function of what is revealed, so that
        log p(x) is exact (DUEL, 2603.01367).
        """
        return self.where.deterministic and self.how_many.deterministic and self.revise is None

    @property
    def order_known(self) -> bool:
        """Whether the probability of an order is known: the order is deterministic, or positions
        are drawn one at a time by the schedule's law.
        """
        return self.deterministic or (
            isinstance(self.where, ByLaw)
            and self.how_many.single
            and self.revise is None
            and self.block is None
        )

    @property
    def exact(self) -> bool:
        """Whether an exact denoiser gives exact samples: one position at a time, chosen before its
        token, and the token drawn as it is.

        A schedule with u != 1 (``log_u``) is an exception: ``ByLaw`` then tilts tokens by u.
        """
        return (
            self.how_many.single
            and self.where.score_on == "distribution"
            and self.what.plain
            and self.revise is None
        )

    @property
    def draws_first(self) -> bool:
        """Whether tokens are drawn at all eligible positions before positions are chosen."""
        return self.where.score_on == "drawn" or self.how_many.draws_first

    def why_no_likelihood(self) -> str:
        """Why ``log_prob`` of this sampler is not defined; empty where it is defined."""
        if self.revise is not None:
            return "tokens are masked again, and many ways lead to one sequence"
        if self.where.score_on == "drawn":
            return (
                "positions are chosen by tokens that were drawn, also by those that are thrown away"
            )
        if self.deterministic:
            return ""
        more = (
            "; use nelbo, importance_bound or, up to 14 positions, subset_likelihood with the "
            "order law"
        )
        return (
            "positions are drawn at random, and the sum over all draws is not known"
            f"{more if self.order_known else ''}"
        )
