"""What is revealed and masked again on a time grid and by path planning, step by step, against the
papers' formulas in plain loops.
"""

import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from tabled import Tabled, events

from ordo.samplers import All, ByLaw, ForwardBackward, OnGrid, PathPlanning, ReMDM, Sampler, sample
from ordo.schedules import FreeTable, Power

LENGTH, VOCAB = 6, 4
W = [math.exp(x) for x in (1.0, 0.6, 0.2, -0.2, -0.6, -1.0)]


def schedule():
    """alpha_l(t) = 1 - t^w_l."""
    power = Power(LENGTH, FreeTable(LENGTH))
    with torch.no_grad():
        next(power.network.parameters()).copy_(torch.tensor(W).log())
    return power


def alpha(t):
    return [1 - t**w for w in W]


def infilling(n):
    generator = torch.Generator().manual_seed(0)
    known = torch.rand(n, LENGTH, generator=generator) < 0.2
    return torch.randint(VOCAB, (n, LENGTH), generator=generator), known


class Counted:
    """Events of known probability, in groups: how far each group's number is from what is expected,
    in standard deviations.
    """

    def __init__(self):
        self.excess, self.variance = defaultdict(float), defaultdict(float)

    def add(self, group, happened, p):
        assert -1e-12 <= p <= 1 + 1e-12
        assert happened or p < 1 - 1e-12, (group, "was certain")
        assert not happened or p > 1e-12, (group, "was impossible")
        self.excess[group] += happened - p
        self.variance[group] += p * (1 - p)

    def check(self, least):
        told = [group for group, variance in self.variance.items() if variance > 5]
        assert len(told) >= least, "something to tell"
        for group in told:
            assert abs(self.excess[group]) < 4.5 * self.variance[group] ** 0.5, group


GRIDS = {
    "linear": (OnGrid(5), [1, 0.8, 0.6, 0.4, 0.2, 0]),
    "cosine": (OnGrid(4, "cosine"), [math.cos(math.pi * k / 8) for k in range(4)] + [0]),
    "hold": (OnGrid(8, hold=(0.6, 0.4)), [1, 0.8, 0.6, 0.4, 0.4, 0.4, 0.4, 0.2, 0]),
}


@pytest.mark.parametrize("name", GRIDS)
def test_times_of_a_grid(name):
    """hold: 3 of 8 calls stand still at alpha 0.6; of the other five 3 come before, and 2 after."""
    grid, times = GRIDS[name]
    assert np.allclose(grid.times(schedule()).numpy(), times, atol=1e-6)


def reveals(grid, times, revise, sigma, n=1500, eta_share=None):
    """Counts the events of every step. sigma(alpha_t, alpha_s): of one position. eta_share: of the
    row's revealed tokens, by the probability that each had when it was revealed.
    """
    net, counted = Tabled(0), Counted()
    given, known = infilling(n)
    trace = sample(
        net,
        Sampler(how_many=grid, revise=revise),
        schedule=schedule(),
        given=given,
        known=known,
        history=True,
    )
    for row in range(n):
        fixed = known[row].tolist()
        psi: dict[int, float] = {}
        start = [int(x) if held else VOCAB for x, held in zip(given[row], fixed, strict=True)]
        for k, (shown, revealed, again) in enumerate(events(trace, row, VOCAB, start)):
            alpha_t, alpha_s = alpha(times[k]), alpha(times[k + 1])
            free = [at for at in range(LENGTH) if shown[at] != VOCAB and not fixed[at]]
            shares = eta_share(psi, free) if eta_share else {}
            for at in range(LENGTH):
                if fixed[at]:
                    assert at not in revealed
                    assert at not in again
                elif shown[at] == VOCAB:  # 2503.00307, Eq. 5: what keeps the share revealed at s
                    s = 0.0 if eta_share else sigma(alpha_t[at], alpha_s[at])
                    p = (alpha_s[at] - (1 - s) * alpha_t[at]) / (1 - alpha_t[at])
                    counted.add((k, at, "revealed"), at in revealed, p)
                    assert at not in again, "what was just revealed stays for this step"
                else:
                    s = sigma(alpha_t[at], alpha_s[at]) * shares.get(at, 1.0)
                    counted.add((k, "masked", at), at in again, s)
                    if eta_share:
                        counted.add(
                            ("masked", "sure" if psi[at] > 0.5 else "unsure"), at in again, s
                        )
                    assert at not in revealed
            psi |= {at: math.exp(log_p) for at, (_, log_p) in revealed.items()}
            for at in again:
                del psi[at]
    counted.check(10)
    return counted


def test_ancestral_steps():
    """From t to s a masked position is revealed with probability (alpha_s - alpha_t) / (1 -
    alpha_t) (2511.19152, Eq. 2).
    """
    for name in ("linear", "cosine"):
        reveals(*GRIDS[name], None, lambda a_t, a_s: 0.0)


def largest(a_t, a_s):
    """min(1, (1 - alpha_s) / alpha_t): ReMDM's largest sigma."""
    return min(1.0, (1 - a_s) / a_t) if a_t > 0 else 1.0


def test_remdm_cap_and_rescale():
    reveals(*GRIDS["linear"], ReMDM(eta=0.25), lambda a_t, a_s: min(0.25, largest(a_t, a_s)))
    reveals(*GRIDS["linear"], ReMDM("rescale", 0.6), lambda a_t, a_s: 0.6 * largest(a_t, a_s))


def test_remdm_loop():
    """Only where time stands still."""
    reveals(
        *GRIDS["hold"],
        ReMDM(eta=0.25, loop=True),
        lambda a_t, a_s: min(0.25, largest(a_t, a_s)) if a_t == a_s else 0.0,
    )


def test_remdm_by_confidence():
    """sigma shared out by exp(-psi), psi the probability that the token had when it was revealed:
    the unsure ones are masked more.
    """

    def shares(psi, free):
        total = sum(math.exp(-psi[at]) for at in free)
        return {at: math.exp(-psi[at]) / total for at in free}

    counted = reveals(
        *GRIDS["linear"], ReMDM("rescale", 1.0, confidence=True), largest, eta_share=shares
    )
    assert min(counted.variance["masked", kind] for kind in ("sure", "unsure")) > 100


def test_forward_backward():
    """After each step ``rounds`` times back from s to t, by masking with probability 1 - alpha_t /
    alpha_s, and the step again.
    """
    rounds, n, counted, net = 2, 1500, Counted(), Tabled(1)
    (grid, times), (given, known) = GRIDS["linear"], infilling(1500)
    sampler = Sampler(how_many=grid, revise=ForwardBackward(rounds))
    trace = sample(net, sampler, schedule=schedule(), given=given, known=known, history=True)
    for row in range(n):
        fixed = known[row].tolist()
        start = [int(x) if held else VOCAB for x, held in zip(given[row], fixed, strict=True)]
        for step, (shown, revealed, again) in enumerate(events(trace, row, VOCAB, start)):
            k, turn = divmod(step, rounds + 1)
            alpha_t, alpha_s = alpha(times[k]), alpha(times[k + 1])
            for at in range(LENGTH):
                if fixed[at]:
                    assert at not in again
                    continue
                if shown[at] == VOCAB:
                    counted.add(
                        (step, at), at in revealed, (alpha_s[at] - alpha_t[at]) / (1 - alpha_t[at])
                    )
                if turn == rounds:
                    assert not again
                elif shown[at] != VOCAB or at in revealed:
                    counted.add((step, "back", at), at in again, 1 - alpha_t[at] / alpha_s[at])
    counted.check(40)


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize(("eta", "shape"), [(1.0, "uniform"), (3.0, "cosine"), (0.0, "uniform")])
def test_path_planning(eta, shape, planned):
    """P2 (2502.03540): all masked tokens are drawn, and the best share of all free positions stays:
    new tokens by the probability they were drawn with, old ones by that which the denoiser, or a
    planner who sees the whole, now gives them, to the power eta.
    """
    calls, n = 5, 100
    net, planner = Tabled(2), Tabled(3)
    given, known = infilling(n)
    revise = PathPlanning(calls, shape, eta, planner if planned else None)
    trace = sample(
        net, Sampler(ByLaw(), All(), revise=revise), given=given, known=known, history=True
    )
    masked_old = 0
    for row in range(n):
        fixed = known[row].tolist()
        start = [int(x) if held else VOCAB for x, held in zip(given[row], fixed, strict=True)]
        free = [at for at in range(LENGTH) if not fixed[at]]
        for k, (shown, revealed, again) in enumerate(events(trace, row, VOCAB, start), 1):
            assert sorted(revealed) == [at for at in free if shown[at] == VOCAB]
            p = net.p(shown)
            whole = [revealed[at][0] if at in revealed else token for at, token in enumerate(shown)]
            judge = planner.p(whole) if planned else p
            score = {at: math.log(p[at][whole[at]]) for at in revealed}
            score |= {at: eta * math.log(judge[at][whole[at]]) for at in free if at not in revealed}
            x = k / calls
            share = (
                1.0 if k >= calls else x if shape == "uniform" else 1 - math.cos(math.pi * x / 2)
            )
            stays = math.ceil(share * len(free) - 1e-9)
            best = sorted(free, key=lambda at: score[at], reverse=True)  # equal ones by position
            assert sorted(again) == sorted(best[stays:]), (row, k)
            masked_old += len(set(again) - set(revealed))
    assert (masked_old > 20) == (eta > 0)
