"""Which positions deterministic rules choose at every step, against plain loops written from the
papers' definitions.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from tabled import Tabled, steps

from ordo.samplers import (
    ByGroups,
    ByLaw,
    ByOrder,
    ByScore,
    EntropyBounded,
    Factor,
    InSteps,
    NonInfluence,
    One,
    Sampler,
    Settled,
    Stable,
    Threshold,
    TokenRule,
    factorisation_kl,
    sample,
)
from ordo.schedules import FreeTable, Power

LENGTH, VOCAB = 6, 4
SEEDS = range(3)


def confidence(q):
    return max(q)


def margin(q):
    ascending = sorted(q)
    return ascending[-1] - ascending[-2]


def entropy(q):
    return -sum(x * math.log(x) for x in q)


KEYS = {
    "confidence": confidence,
    "margin": margin,
    "entropy": lambda q: -entropy(q),
}  # larger: decoded earlier


def surest(score, p, masked):
    """The masked positions, the surest one first."""
    return sorted(masked, key=lambda at: KEYS[score](p[at]), reverse=True)


def infilling(n, seed):
    """Rows with different numbers of given positions; the first row has none."""
    generator = torch.Generator().manual_seed(seed)
    known = torch.rand(n, LENGTH, generator=generator) < torch.linspace(0, 0.7, n)[:, None]
    return {"given": torch.randint(VOCAB, (n, LENGTH), generator=generator), "known": known}


def check(sampler, rule, n=40, drift=None, schedule=None):
    """Every step of every row reveals what the rule says, in that order. Returns the numbers of
    positions revealed in a step.

    rule: (p (length, vocab), masked positions, positions of the row to decode in all, memory of the
    row) -> positions.
    """
    counts = []
    for seed in SEEDS:
        net = Tabled(seed, drift=drift)
        trace = sample(net, sampler, seed=seed, schedule=schedule, **infilling(n, seed))
        for row in range(n):
            memory: dict = {}
            total = int((trace.step[row] >= 0).sum())
            for shown, masked, chosen in steps(trace, row, VOCAB):
                p = net.p(shown)
                assert chosen == rule(p, masked, total, memory), (seed, row, shown)
                counts.append(len(chosen))
                if sampler.what.plain:
                    for at in chosen:
                        assert trace.log_prob[row, at].item() == pytest.approx(
                            math.log(p[at, trace.tokens[row, at]])
                        )
    return counts


@pytest.mark.parametrize("score", KEYS)
def test_the_surest_position_comes_first(score):
    """MaskGIT's confidence (2202.04200), the margin of 2502.06768, the least entropy: one position
    a step.
    """
    check(
        Sampler(ByScore(score), One()),
        lambda p, masked, total, memory: surest(score, p, masked)[:1],
    )


def revealed_after(shape, k, calls, total):
    """Positions of ``total`` that are revealed after k of the calls. MaskGIT's cosine leaves
    floor(cos(pi k / 2 calls) total) masked.
    """
    if shape == "uniform":
        return math.ceil(k * total / calls - 1e-9)
    if shape == "cosine":
        return total - math.floor(math.cos(math.pi / 2 * k / calls) * total + 1e-9)
    return math.ceil(sum(shape[:k]) * total / sum(shape) - 1e-9)


@pytest.mark.parametrize("score", KEYS)
@pytest.mark.parametrize("shape", ["uniform", "cosine", (1, 3, 2)])
def test_numbers_of_positions_given_beforehand(shape, score):
    """A step of the plan that would reveal nothing is left out."""
    calls = 3 if isinstance(shape, tuple) else 4

    def rule(p, masked, total, memory):
        done = total - len(masked)
        plan = [revealed_after(shape, k, calls, total) for k in range(1, calls + 1)]
        target = next(number for number in plan if number > done)
        return surest(score, p, masked)[: target - done]

    sampler = Sampler(
        ByScore(score), InSteps(shape=shape) if isinstance(shape, tuple) else InSteps(calls, shape)
    )
    assert {1, 2} <= set(check(sampler, rule))


@pytest.mark.parametrize("length", [5, 6, 16])
def test_cosine_steps_begin_small(length):
    for calls in range(1, length + 1):
        after = [revealed_after("cosine", k, calls, length) for k in range(calls + 1)]
        assert InSteps(calls, "cosine").sizes(length) == [
            b - a for a, b in pairwise(after) if b > a
        ]
    assert InSteps(4, "cosine").sizes(16) == [2, 3, 5, 6]


@pytest.mark.parametrize("block", [2, 4])
def test_blocks_from_the_left(block):
    """Semi-autoregressive: the leftmost block that is not whole, by confidence, each in a number of
    calls of its own.
    """

    def rule(p, masked, total, memory):
        number = masked[0] // block
        mine = [at for at in masked if at // block == number]
        size = memory.setdefault(number, len(mine))
        done = size - len(mine)
        target = next(
            n for n in (revealed_after("uniform", k, 2, size) for k in (1, 2)) if n > done
        )
        return surest("confidence", p, mine)[: target - done]

    check(Sampler(ByScore(), InSteps(2), block=block), rule)


def test_threshold():
    """Fast-dLLM (2505.22618): all positions as sure as the threshold, or the surest one."""

    def rule(p, masked, total, memory):
        ranked = surest("confidence", p, masked)
        return [at for at in ranked if max(p[at]) >= 0.7] or ranked[:1]

    assert {1, 2, 3} <= set(check(Sampler(ByScore(), Threshold(0.7)), rule))


def test_factor():
    """Fast-dLLM (2505.22618): the largest n with (n + 1) (1 - c_n) < factor."""

    def rule(p, masked, total, memory):
        ranked = surest("confidence", p, masked)
        n = 1
        while n < len(ranked) and (n + 2) * (1 - max(p[ranked[n]])) < 1.2:
            n += 1
        return ranked[:n]

    assert {1, 2, 3} <= set(check(Sampler(ByScore(), Factor(1.2)), rule))


@pytest.mark.parametrize("score", ["entropy", "confidence"])
def test_entropy_bounded(score):
    """EB (2505.24857): the largest U, by key, with the sum of entropies less the largest of them at
    most gamma.
    """

    def rule(p, masked, total, memory):
        ranked = surest(score, p, masked)
        best = ranked[:1]
        for n in range(2, len(ranked) + 1):
            some = [entropy(p[at]) for at in ranked[:n]]
            if sum(some) - max(some) > 0.6:
                break
            best = ranked[:n]
        return best

    assert {1, 2, 3} <= set(check(Sampler(ByScore(score), EntropyBounded(0.6)), rule))


@pytest.mark.parametrize("history", [1, 2])
def test_settled_positions(history):
    """KLASS (2511.05664): sure enough, and KL(now || step before) small for ``history`` steps; the
    surest one where there is none.
    """
    told = []

    def rule(p, masked, total, memory):
        for at in masked:
            before = memory.get("before")
            if before is not None:
                kl = sum(a * math.log(a / b) for a, b in zip(p[at], before[at], strict=True))
                memory[at] = memory.get(at, 0) + 1 if kl < 0.05 else 0
        memory["before"] = p
        ranked = surest("confidence", p, masked)
        settled = [at for at in ranked if memory.get(at, 0) >= history and max(p[at]) >= 0.5]
        told.append(len(settled))
        return settled or ranked[:1]

    check(Sampler(Stable(confidence=0.5, kl=0.05, history=history), Settled()), rule, drift=0.2)
    assert {0, 1, 2} <= set(told)


def test_non_influence():
    """PUNT (2510.21961): halves of the positions by confidence; what the first half moves in the
    second waits.
    """
    moved = []
    for seed in SEEDS:
        net = Tabled(seed, drift=0.15)
        fixed = infilling(40, seed)
        for at_most in (None, 3):
            sampler = Sampler(ByScore(), NonInfluence(0.02, at_most), TokenRule(temperature=0))
            trace = sample(net, sampler, **fixed)
            for row in range(40):
                calls = 0
                for shown, masked, chosen in steps(trace, row, VOCAB):
                    p, calls = net.p(shown), calls + 1
                    ranked = surest("confidence", p, masked)[:at_most]
                    trying = {place: at for place, at in enumerate(ranked)}
                    for level in (4, 2, 1):
                        early = [at for place, at in trying.items() if not place & level]
                        late = [place for place in trying if place & level]
                        if not early or not late:
                            continue
                        calls += 1
                        q = net.p(
                            [
                                int(p[at].argmax()) if at in early else token
                                for at, token in enumerate(shown)
                            ]
                        )
                        for place in late:
                            a, b = p[trying[place]], q[trying[place]]
                            if sum(x * math.log(x / y) for x, y in zip(a, b, strict=True)) > 0.02:
                                del trying[place]
                    assert chosen == list(trying.values())
                    moved.append(len(ranked) - len(chosen))
                    assert [trace.tokens[row, at].item() for at in chosen] == [
                        p[at].argmax() for at in chosen
                    ]
                assert trace.calls[row].item() == calls
    assert {0, 1, 2} <= set(moved)


GROUPS = {
    "bisection": {1: [[0]], 6: [[2], [0, 4], [1, 3, 5]], 7: [[3], [1, 5], [0, 2, 4, 6]]},
    "dilated": {1: [[0]], 6: [[0, 4], [2], [1, 3, 5]], 8: [[0, 4], [2, 6], [1, 3, 5, 7]]},
    "left_to_right": {3: [[0], [1], [2]]},
    "right_to_left": {3: [[2], [1], [0]]},
}


@pytest.mark.parametrize("name", GROUPS)
def test_orders_of_positions(name):
    """One a step and, where the order comes in groups, a group a step; given positions are left
    out.
    """
    for length, groups in GROUPS[name].items():
        assert ByOrder(name).groups(length) == groups
    groups = ByOrder(name).groups(LENGTH)
    order = [at for group in groups for at in group]
    check(
        Sampler(ByOrder(name)),
        lambda p, masked, total, memory: [at for at in order if at in masked][:1],
    )

    def whole_group(p, masked, total, memory):
        return next(some for group in groups if (some := [at for at in group if at in masked]))

    check(Sampler(ByOrder(name), ByGroups(ByOrder(name))), whole_group)


def test_the_order_of_the_law():
    """The mode of Plackett-Luce: by descending weight, several a step too."""
    schedule = Power(LENGTH, FreeTable(LENGTH))
    log_w = np.random.default_rng(0).normal(size=LENGTH)
    with torch.no_grad():
        next(schedule.network.parameters()).copy_(torch.tensor(log_w))

    def rule(p, masked, total, memory):
        return sorted(masked, key=lambda at: -log_w[at])[:1]

    check(Sampler(ByLaw(0)), rule, schedule=schedule)

    def several(p, masked, total, memory):
        done = total - len(masked)
        target = next(
            n for n in (revealed_after("uniform", k, 2, total) for k in (1, 2)) if n > done
        )
        return sorted(masked, key=lambda at: -log_w[at])[: target - done]

    check(Sampler(ByLaw(0), InSteps(2)), several, schedule=schedule)


def test_factorisation_kl_by_hand():
    """Steps of 1 and 2: the second step's tokens cost the loss after one token each."""
    profile = torch.tensor([3.0, 2.0, 0.5], dtype=torch.float64)
    assert factorisation_kl(profile, [1, 2]) == pytest.approx((3 + 2 * 2) - 5.5)
    assert factorisation_kl(profile, [3]) == pytest.approx(3 * 3 - 5.5)
    assert factorisation_kl(profile, [2, 1]) == pytest.approx(2 * 3 + 0.5 - 5.5)
