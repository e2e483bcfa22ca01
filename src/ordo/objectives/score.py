"""The score part of a law's gradient: what is taken from an advantage and which draws are made, to make it less noisy and no less right.

Of E_q f(z) with z drawn by a law q, the score part is E[f grad log q(z)]. Every choice here keeps its mean (tests/objectives/test_score.py
holds all of them to enumeration):

* a baseline may be taken from f if z does not influence it: other, independent draws of the same sequence; numbers from earlier steps;
* of draws that depend on each other each alone keeps its mean, but none may be the other's baseline. So mirrored pairs take theirs from
  other pairs or earlier steps, or are used as DisARM does, whose closed form accounts for the dependence;
* what is taken from f though z does influence it must be put back with its own gradient: PL-RELAX.

REBAR is not offered: its surrogate is the objective itself at a relaxed z, and the denoisers here take masks, not mixtures of a token and
the mask; what they would say of one has not been trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ordo.objectives.output import (
    check_draws,
    count_tokens,
    leave_one_out,
    mean_over_ranks,
    surprise,
)
from ordo.order import OrderLaw, PlackettLuce
from ordo.randomness import StepRandom
from ordo.settings import BelowOne, Size, checked

RIDGE = 1e-3  # of the running regression, relative to each feature's mean square; the mean of f is not shrunk


@dataclass(frozen=True)
class Race:
    """The exponential race behind the first ``chosen`` (rows,) choices of an order: log arrival times (rows, length) as functions of log w.

    free: with the uniforms fixed. given: with the choices and what is left of the noise fixed. The same numbers with other gradients, which
    is the coupling of REBAR (1703.07370): given the choices, the gaps between arrivals are still exponential and independent.
    """

    free: Tensor
    given: Tensor
    chosen: Tensor
    decoded: Tensor


def race(
    law: OrderLaw, u: Tensor, order: Tensor, n_known: Tensor, k: Tensor, decoded: Tensor
) -> Race:
    """Of orders (rows, length) from uniforms u (rows, length), ranks n_known .. k - 1 (rows,) chosen; decoded (rows, length) bool.

    PL-RELAX's conditional keys (Gadetsky et al., 1911.10036), by the race: the choice at rank i comes a gap E_i / W_i after the one before,
    W_i the sum of w over what is left; what is not chosen comes E_l / w_l after the last choice. Raises ValueError for another law.
    """
    if not isinstance(law, PlackettLuce):
        raise ValueError(
            "score.control=relax needs a Plackett-Luce order law: a power schedule, or one that depends on the tokens"
        )
    log_w = law.log_w.expand(u.shape)
    free = (-u.log()).log() - log_w
    rank = torch.arange(u.shape[1], device=u.device)
    chosen = (rank >= n_known[:, None]) & (rank < k[:, None])
    there = decoded.gather(1, order)
    w = torch.where(there, log_w.gather(1, order).exp(), 0.0)
    total = torch.where(there, w.flip(-1).cumsum(-1).flip(-1), 1.0)
    w = torch.where(there, w, 1.0)
    t = free.detach().exp().gather(1, order)
    # Clean of rounding: ranks that are chosen ascend in t.
    before = torch.where(rank > n_known[:, None], t.roll(1, 1), 0.0)
    gap = torch.where(chosen, (t - before) * (total.detach() / total), 0.0)
    last = gap.sum(-1, keepdim=True)
    given = torch.where(chosen, gap.cumsum(-1), last + (t - last.detach()) * (w.detach() / w))
    given = torch.where(there, given, 1.0).clamp(min=torch.finfo(torch.float64).tiny).log()
    return Race(
        free, torch.zeros_like(free).scatter(1, order, given), (k - n_known).clamp(min=0), decoded
    )


def soft_revealed(log_t: Tensor, chosen: Tensor, decoded: Tensor) -> Tensor:
    """How far each position is among the first ``chosen`` (rows,) arrivals, (rows, length) in (0, 1), 0 where not decoded: a smooth
    function of log arrival times (rows, length). O(rows * length^2).
    """
    earlier = torch.sigmoid(log_t[:, :, None] - log_t[:, None, :]) * decoded[:, None, :]
    return (
        torch.sigmoid(chosen[:, None] - earlier.sum(-1)) * decoded
    )  # a position counts itself as half


@checked
class ScoreFunction(nn.Module):
    """Baseline, draws and control variate of the score part.

    baseline: ``rloo``: the mean of the other draws of the same sequence (Kool et al. 2019), draws >= 2.
        ``ema``: a running mean of f; also with draws = 1, which spends all rows on different sequences.
        ``learned``: a running regression of f on what no choice moves: how many positions are decoded, and with it the number revealed (or
        the time) and its square, and with ``unigram`` the sequence's cost under its positions' running token frequencies; draws = 1 too.
    antithetic: ``none``. ``mirror``: the second half of the draws is made of 1 - u (draws even; rloo takes the other pairs: draws >= 4).
        ``disarm``, masks only: such pairs, each used as in DisARM (Dong et al., 2006.10680), which integrates out u given both masks:
        1/2 (f - f')(z_l - z'_l) sigmoid(abs theta_l) grad theta_l, theta the log-odds of being masked; no baseline beside it.
    control: ``none``. ``relax``, orders only: PL-RELAX with the surrogate c = beta . (soft memberships of the prefix), ``soft_revealed``:
        (f - c(given)) grad log q + grad c(free) - grad c(given), see ``race``; the rest of f goes on to the baseline. beta by the running
        regression of f on them, so that no gradient of a gradient and no second optimiser is needed.

    decay: of the running regression and mean, whose coefficients come from earlier steps only. length: positions, for relax and unigram;
    vocab_size: for unigram.

    Raises ValueError for a choice that lacks what it needs.
    """

    second: Tensor
    cross: Tensor
    counts: Tensor

    def __init__(
        self,
        baseline: Literal["rloo", "ema", "learned"] = "rloo",
        antithetic: Literal["none", "mirror", "disarm"] = "none",
        control: Literal["none", "relax"] = "none",
        decay: BelowOne = 0.95,
        unigram: bool = False,
        length: Size | None = None,
        vocab_size: Size | None = None,
    ):
        super().__init__()
        if antithetic == "disarm" and baseline != "rloo":
            raise ValueError(
                f"score.antithetic=disarm takes the difference of a pair and no other baseline; set score.baseline=rloo, not {baseline}"
            )
        if (control == "relax" or unigram) and length is None:
            raise ValueError("score.control=relax and score.unigram=true need score.length")
        if unigram and vocab_size is None:
            raise ValueError("score.unigram=true counts tokens: give score.vocab_size")
        if unigram and baseline != "learned" and control != "relax":
            raise ValueError(
                "score.unigram=true is a feature of score.baseline=learned and score.control=relax; set one of them"
            )
        self.baseline, self.antithetic, self.control, self.decay, self.unigram = (
            baseline,
            antithetic,
            control,
            decay,
            unigram,
        )
        n = (
            1
            + (baseline == "learned") * (3 + 2 * unigram)
            + (control == "relax") * ((length or 0) + unigram)
        )
        if baseline != "rloo" or control == "relax":
            self.register_buffer("second", torch.zeros(n, n, dtype=torch.float64))
            self.register_buffer("cross", torch.zeros(n, dtype=torch.float64))
        if unigram:
            self.register_buffer(
                "counts", torch.zeros(length or 0, vocab_size or 0, dtype=torch.float64)
            )

    def check(self, draws: int, learned: bool, masks: bool) -> None:
        """masks: of independent masks, not of orders. Raises ValueError where draws per sequence are too few or do not pair, or where a
        choice is for the other of the two.
        """
        if masks and self.control == "relax":
            raise ValueError(
                "score.control=relax is for orders (objective order, content_order); set score.control=none"
            )
        if not masks and self.antithetic == "disarm":
            raise ValueError(
                "score.antithetic=disarm is for independent masks (objective time, content_time); set mirror"
            )
        if self.antithetic != "none" and draws % 2:
            raise ValueError(
                f"score.antithetic={self.antithetic} pairs the draws: set objective.draws even, not {draws}"
            )
        if learned and self.baseline == "rloo":
            check_draws(draws, 2, "the leave-one-out gradient of a learned schedule")
            if self.antithetic == "mirror" and draws < 4:
                raise ValueError(
                    "score.antithetic=mirror: a draw must not be its mirror's baseline, they depend on each other; "
                    "set objective.draws=4, or score.baseline=ema or learned"
                )

    def uniforms(
        self, random: StepRandom, draws: int, n: int, length: int, device: torch.device | str
    ) -> Tensor:
        """(draws, n, length) float64 in (0, 1): independent, or in mirrored pairs i and i + draws / 2."""
        if self.antithetic == "none":
            return random.uniform(draws, n, length, device)
        u = random.uniform(draws // 2, n, length, device)
        return torch.cat([u, 1.0 - u])

    def of_orders(
        self,
        f: Tensor,
        log_q: Tensor,
        spread: Tensor,
        tokens: Tensor,
        decoded: Tensor | None,
        run: Race | None = None,
    ) -> Tensor:
        """To be added to f (draws, batch), whose mean is then a surrogate with the law's whole gradient: (draws, batch).

        log_q (draws, batch): of the choices. spread (batch,): what says how many are revealed, or the time. decoded (batch, length) bool,
        None: all. run: of the rows draw * batch + b, needed for relax.
        """
        if self.baseline == "rloo" and self.control == "none":
            return self._less_the_others(f) * log_q
        rare = self._surprise(tokens, decoded)
        features = [torch.ones_like(f)[..., None]]
        if self.baseline == "learned":
            features.append(self._fixed_features(spread, decoded, rare).expand(*f.shape, -1))
        soft = None
        if self.control == "relax":
            assert run is not None, "control=relax needs the race"
            soft = [
                self._soft_features(x, run, rare).view(*f.shape, -1) for x in (run.free, run.given)
            ]
            features.append(soft[1].detach())
        begun = self.second[0, 0] > 0
        beta, residual = self._regress(f.detach(), torch.cat(features, -1))
        # At the first step there is no mean yet to take away: then no step of the schedule either.
        advantage = self._less_the_others(residual) if self.baseline == "rloo" else residual * begun
        out = advantage * log_q
        if soft is not None:
            out = out + ((soft[0] - soft[1]) * beta[-soft[0].shape[-1] :]).sum(-1)
        return out

    def of_masks(
        self,
        f: Tensor,
        masked: Tensor,
        log_masked: Tensor,
        log_clean: Tensor,
        spread: Tensor,
        tokens: Tensor,
        decoded: Tensor | None,
    ) -> Tensor:
        """As ``of_orders`` for independent masks (draws, batch, length) bool; log-probabilities (batch, length) of masked and of clean."""
        if self.antithetic != "disarm":
            clean = log_clean if decoded is None else torch.where(decoded, log_clean, 0.0)
            return self.of_orders(
                f, torch.where(masked, log_masked, clean).sum(-1), spread, tokens, decoded
            )
        half = len(f) // 2
        differ = masked[:half].double() - masked[half:].double()
        log_odds = log_masked - log_clean
        weight = (
            0.5
            * (f[:half] - f[half:]).detach()[..., None]
            * differ
            * torch.sigmoid(log_odds.detach().abs())
        )
        pair = torch.where(differ != 0, weight * log_odds, 0.0).sum(-1)
        return torch.cat([pair, pair])

    def _less_the_others(self, f: Tensor) -> Tensor:
        """f (draws, batch) less the mean of draws that are independent of it, detached."""
        if self.antithetic == "none":
            return leave_one_out(f)
        f = f.detach()
        pairs = f.view(2, len(f) // 2, -1).mean(0)
        others = (pairs.sum(0) - pairs) / (len(pairs) - 1)
        return f - torch.cat([others, others])

    def _fixed_features(
        self, spread: Tensor, decoded: Tensor | None, rare: Tensor | None
    ) -> Tensor:
        """(batch, 3 or 5): nothing that a choice moves."""
        share = torch.ones_like(spread) if decoded is None else decoded.double().mean(-1)
        features = [share, share * spread, share * spread.square()]
        if rare is not None:
            features += [rare.sum(-1), rare.sum(-1) * spread]
        return torch.stack(features, -1)

    def _soft_features(self, log_t: Tensor, run: Race, rare: Tensor | None) -> Tensor:
        """(rows, length or length + 1): soft memberships, and the surprise to expect of the next token, times as many as are decoded."""
        soft = soft_revealed(log_t, run.chosen, run.decoded)
        if rare is None:
            return soft
        left = torch.where(run.decoded, 1.0 - soft, 0.0)
        mean = (left * rare.repeat(len(left) // len(rare), 1)).sum(-1) / left.sum(-1).clamp(
            min=1e-9
        )
        return torch.cat([soft, (run.decoded.sum(-1) * mean)[:, None]], -1)

    @torch.no_grad()
    def _regress(self, f: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (n,) of features (draws, batch, n) from earlier steps, the first of a constant, and what they leave of f. Learns in
        training mode.
        """
        ridge = RIDGE * self.second.diagonal() + 1e-12
        ridge = torch.cat([torch.full_like(ridge[:1], 1e-12), ridge[1:]])
        beta = torch.linalg.solve_ex(self.second + torch.diag(ridge), self.cross)[
            0
        ]  # _ex: no look at the result
        residual = f - features @ beta
        if self.training:
            flat = features.flatten(0, 1)
            second, cross = mean_over_ranks(
                flat.T @ flat / len(flat), flat.T @ f.flatten() / len(flat)
            )
            self.second += (1 - self.decay) * (second - self.second)
            self.cross += (1 - self.decay) * (cross - self.cross)
        return beta, residual

    def _surprise(self, tokens: Tensor, decoded: Tensor | None) -> Tensor | None:
        """``surprise`` of the tokens (batch, length), 0 where not decoded; counts in training mode, after the look: what this step's
        tokens say comes too late for it. None without ``unigram``.
        """
        if not self.unigram:
            return None
        there = torch.ones_like(tokens, dtype=torch.bool) if decoded is None else decoded
        out = surprise(self.counts, tokens, there)
        if self.training:
            count_tokens(self.counts, tokens, there)
        return out
