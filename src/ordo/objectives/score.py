"""The score part of a law's gradient: what is taken from an advantage, to make the gradient less
noisy and no less right.

For z drawn by a law q, the score part of the gradient of E_q f(z) is E[f grad log q(z)]. Every
choice here keeps its mean (tests/objectives/test_score.py holds all of them to enumeration):

* A baseline may be taken from f if z does not influence the baseline: other, independent draws of
  the same sequence; numbers from earlier steps.
* Draws that depend on each other keep their mean one by one, but none may be the baseline of
  another. So mirrored pairs take their baseline from other pairs or from earlier steps.
* What is taken from f though z does influence it must be put back with its own gradient: PL-RELAX.

REBAR is not offered: its surrogate is the objective itself at a relaxed z. The denoisers here take
masks, not mixtures of a token and the mask; what they would say of a mixture has not been trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ordo.batch import Batch
from ordo.objectives.base import check_draws, leave_one_out
from ordo.objectives.prefix import Prefix
from ordo.objectives.running import Frequencies, RunningRegression
from ordo.order import OrderLaw, PlackettLuce
from ordo.randomness import StepRandom
from ordo.settings import Size, checked


@dataclass(frozen=True)
class Race:
    """The exponential race behind the choices of a prefix: log arrival times as functions of log w.

    free: (rows, length), with the uniforms fixed.
    given: (rows, length), with the choices and what is left of the noise fixed. The same numbers as
        ``free`` with other gradients, which is the coupling of REBAR (1703.07370): given the
        choices, the gaps between arrivals are still exponential and independent.
    chosen: (rows,), how many choices were made.
    decoded: (rows, length) bool.
    """

    free: Tensor
    given: Tensor
    chosen: Tensor
    decoded: Tensor


def race(law: OrderLaw, u: Tensor, prefix: Prefix, batch: Batch) -> Race:
    """The race that uniforms u (rows, length) ran to make a prefix.

    PL-RELAX's conditional keys (Gadetsky et al., 1911.10036), by the race: the choice at rank i
    comes a gap E_i / W_i after the one before, W_i the sum of w over what is left; a position that
    is not chosen comes E_l / w_l after the last choice. Raises ValueError for another law than
    Plackett-Luce.
    """
    if not isinstance(law, PlackettLuce):
        raise ValueError(
            "score.relax needs a Plackett-Luce order law: a power schedule, or one that depends on "
            "the tokens"
        )
    order, first, k = prefix.order, prefix.n_given[:, None], prefix.n_revealed[:, None]
    log_w, decoded = law.log_w.expand(u.shape), batch.decoded
    free = (-u.log()).log() - log_w
    rank = torch.arange(u.shape[1], device=u.device)
    chosen = (rank >= first) & (rank < k)
    inside = decoded.gather(1, order)
    w = torch.where(inside, log_w.gather(1, order).exp(), 0.0)
    total = torch.where(inside, w.flip(-1).cumsum(-1).flip(-1), 1.0)
    w = torch.where(inside, w, 1.0)
    t = free.detach().exp().gather(1, order)
    # Clean of rounding: ranks that are chosen ascend in t.
    before = torch.where(rank > first, t.roll(1, 1), 0.0)
    gap = torch.where(chosen, (t - before) * (total.detach() / total), 0.0)
    last = gap.sum(-1, keepdim=True)
    given = torch.where(chosen, gap.cumsum(-1), last + (t - last.detach()) * (w.detach() / w))
    given = torch.where(inside, given, 1.0).clamp(min=torch.finfo(torch.float64).tiny).log()
    count = (prefix.n_revealed - prefix.n_given).clamp(min=0)
    return Race(free, torch.zeros_like(free).scatter(1, order, given), count, decoded)


def soft_revealed(log_t: Tensor, chosen: Tensor, decoded: Tensor) -> Tensor:
    """How far each position is among the first ``chosen`` (rows,) arrivals: a smooth function of
    log arrival times.

    log_t, decoded: (rows, length) -> (rows, length) in (0, 1), 0 where not decoded. O(rows *
        length^2).
    """
    earlier = torch.sigmoid(log_t[:, :, None] - log_t[:, None, :]) * decoded[:, None, :]
    # A position counts itself as half.
    return torch.sigmoid(chosen[:, None] - earlier.sum(-1)) * decoded


@checked
class ScoreFunction(nn.Module):
    """Baseline, draws and control variate of the score part.

    Args:
        baseline: ``rloo``: the mean of the other draws of the same sequence (Kool et al. 2019),
            draws >= 2. ``ema``: a running mean of f, which also serves draws = 1: all rows go to
            different sequences. ``learned``: a running regression of f on features that no draw can
            influence: how many positions are decoded, that number times the progress (number
            revealed, or time) and times its square, and with ``unigram`` how rare the sequence's
            tokens are; also for draws = 1.
        antithetic: ``none``. ``mirror``, for masks only: the second half of the draws is made of 1
            - u (draws even; rloo takes the other pairs, so draws >= 4).
        relax: for orders only: PL-RELAX with the surrogate c = beta . (soft memberships of the
            prefix), see ``soft_revealed``: (f - c(given)) grad log q + grad c(free) - grad
            c(given), see ``race``. The rest of f goes on to the baseline. beta comes from the
            running regression, so that neither a gradient of a gradient nor a second optimiser is
            needed.
        unigram: ``learned`` and ``relax`` also regress on the sequence's cost under token
            frequencies.
        length: positions, for relax and unigram.
        vocab_size: for unigram.

    Raises ValueError for a choice that lacks what it needs.
    """

    def __init__(
        self,
        baseline: Literal["rloo", "ema", "learned"] = "rloo",
        antithetic: Literal["none", "mirror"] = "none",
        relax: bool = False,
        unigram: bool = False,
        length: Size | None = None,
        vocab_size: Size | None = None,
    ):
        super().__init__()
        if (relax or unigram) and length is None:
            raise ValueError("score.relax=true and score.unigram=true need score.length")
        if unigram and baseline != "learned" and not relax:
            raise ValueError(
                "score.unigram=true is a feature of score.baseline=learned and score.relax=true; "
                "set one"
            )
        self.baseline, self.antithetic, self.relax = baseline, antithetic, relax
        n = 1 + (baseline == "learned") * (3 + 2 * unigram) + relax * ((length or 0) + unigram)
        learns = baseline != "rloo" or relax
        self.regression = RunningRegression(1, n, ridge=1e-3) if learns else None
        self.frequencies = Frequencies(length or 0, vocab_size) if unigram else None

    def check(self, draws: int, learned: bool, masks: bool) -> None:
        """Raises ValueError where draws are too few or do not pair, or a choice is not for what is
        drawn.

        masks: whether independent masks are drawn; else orders are.
        """
        if masks and self.relax:
            raise ValueError(
                "score.relax=true is for orders (objective=order); set score.relax=false"
            )
        if not masks and self.antithetic == "mirror":
            raise ValueError(
                "score.antithetic=mirror is for masks (objective=time); set it to none"
            )
        if self.antithetic == "mirror" and draws % 2:
            raise ValueError(
                f"score.antithetic=mirror pairs the draws: set objective.draws even, not {draws}"
            )
        if learned and self.baseline == "rloo":
            check_draws(draws, 2, "the leave-one-out gradient of a learned schedule")
            if self.antithetic == "mirror" and draws < 4:
                raise ValueError(
                    "score.antithetic=mirror: a draw must not be the baseline of its mirror, "
                    "since they depend on each other; set objective.draws=4, or "
                    "score.baseline=ema or learned"
                )

    def uniforms(
        self, random: StepRandom, draws: int, n: int, length: int, device: torch.device | str
    ) -> Tensor:
        """(draws, n, length) float64 in (0, 1): independent, or in mirrored pairs i and i + draws /
        2.
        """
        if self.antithetic == "none":
            return random.uniform(draws, n, length, device)
        u = random.uniform(draws // 2, n, length, device)
        return torch.cat([u, 1.0 - u])

    def forward(
        self, f: Tensor, log_q: Tensor, progress: Tensor, batch: Batch, run: Race | None = None
    ) -> Tensor:
        """Add this to f: the mean of the sum has the full gradient in the law's parameters.

        Args:
            f: (draws, n), nats.
            log_q: (draws, n), the log-probability of what was drawn.
            progress: (n,), what says how many are revealed, or the time.
            batch: the n sequences.
            run: for relax, the race of the rows draw * n + sequence.

        Returns (draws, n).
        """
        if self.regression is None:
            return self._less_the_others(f) * log_q
        rare = None if self.frequencies is None else self.frequencies.surprise_then_count(batch)
        features = [torch.ones_like(f)[..., None]]
        if self.baseline == "learned":
            features.append(self._fixed_features(progress, batch, rare).expand(*f.shape, -1))
        soft = None
        if self.relax:
            assert run is not None, "relax needs the race"
            soft = [
                self._soft_features(x, run, rare).view(*f.shape, -1) for x in (run.free, run.given)
            ]
            features.append(soft[1].detach())
        begun = self.regression.begun
        residual, beta = self.regression(f[..., None], torch.cat(features, -1)[..., None, :])
        residual = residual[..., 0]
        # At the first step there is no mean yet to take away: then no step of the schedule either.
        advantage = self._less_the_others(residual) if self.baseline == "rloo" else residual * begun
        out = advantage * log_q
        if soft is not None:
            out = out + ((soft[0] - soft[1]) * beta[0, -soft[0].shape[-1] :]).sum(-1)
        return out

    def _less_the_others(self, f: Tensor) -> Tensor:
        """f (draws, n) less the mean of draws that are independent of it, detached."""
        if self.antithetic == "none":
            return leave_one_out(f)
        f = f.detach()
        pairs = f.view(2, len(f) // 2, -1).mean(0)
        others = (pairs.sum(0) - pairs) / (len(pairs) - 1)
        return f - torch.cat([others, others])

    @staticmethod
    def _fixed_features(progress: Tensor, batch: Batch, rare: Tensor | None) -> Tensor:
        """(n, 3 or 5): features that no draw can influence."""
        share = batch.decoded.double().mean(-1)
        features = [share, share * progress, share * progress.square()]
        if rare is not None:
            features += [rare.sum(-1), rare.sum(-1) * progress]
        return torch.stack(features, -1)

    @staticmethod
    def _soft_features(log_t: Tensor, run: Race, rare: Tensor | None) -> Tensor:
        """(rows, length or length + 1): soft memberships, and the cost to expect of what is left to
        decode.
        """
        soft = soft_revealed(log_t, run.chosen, run.decoded)
        if rare is None:
            return soft
        left = torch.where(run.decoded, 1.0 - soft, 0.0)
        mean = (left * rare.repeat(len(left) // len(rare), 1)).sum(-1)
        mean = mean / left.sum(-1).clamp(min=1e-9)
        return torch.cat([soft, (run.decoded.sum(-1) * mean)[:, None]], -1)
