"""Rules that mask revealed tokens again: what they keep, and what they do to the law."""

from dataclasses import dataclass, field

import torch
from laws import LENGTH, markov_chain, network, power

from ordo.denoisers import BidirectionalTransformer, ChainOracle
from ordo.samplers import (
    All,
    ByLaw,
    ByScore,
    ForwardBackward,
    InSteps,
    OnGrid,
    PathPlanning,
    ReMDM,
    Sampler,
    sample,
)


@dataclass(frozen=True)
class Watched(OnGrid):
    """Notes at every step which share of positions is revealed when it begins."""

    revealed: list = field(default_factory=list)

    def choose(self, view):
        self.revealed.append(1 - view.eligible.double().mean(0))
        return super().choose(view)


def test_remasking_keeps_the_share_revealed():
    """ReMDM and the corrector: at every time as many positions are revealed as the schedule says,
    position by position.
    """
    oracle, schedule, n = ChainOracle.of_chain(LENGTH, 2, 0.3), power(), 8_000
    for revise, rounds in (
        (ReMDM(eta=0.3), 1),
        (ReMDM("rescale", 0.9), 1),
        (ForwardBackward(2), 3),
    ):
        grid = Watched(6, "equal_mass")
        trace = sample(oracle, Sampler(how_many=grid, revise=revise), n, schedule=schedule)
        assert trace.remasked.sum() > n, "something happened"
        times = grid.times(schedule)
        assert len(grid.revealed) == 6 * rounds
        for step, seen in enumerate(grid.revealed):
            alpha = (
                schedule.alpha(times[step // rounds : step // rounds + 1])[0]
                if step >= rounds
                else torch.zeros(LENGTH)
            )
            assert ((seen - alpha).abs() < 4.5 * (alpha * (1 - alpha) / n).sqrt() + 1e-9).all(), (
                revise,
                step,
            )


def test_what_remasking_does_to_the_law():
    """On an oracle, total variation from the law: the corrector mends parallel decoding; ReMDM,
    which reveals more at once the more it masks again, does not, however many steps it has.
    """
    law, n = markov_chain(), 12_000
    code = 2 ** torch.arange(6)

    def distance(calls, revise=None):
        trace = sample(law.oracle, Sampler(how_many=OnGrid(calls), revise=revise), n)
        seen = torch.bincount((trace.tokens * code).sum(1), minlength=len(law.p)).double() / n
        return (seen[(law.sequences * code).sum(1)] - law.p).abs().sum().item() / 2

    assert distance(8, ForwardBackward(2)) < 0.5 * distance(8)
    assert distance(32) < 0.35 * distance(8)
    assert distance(32, ReMDM(eta=0.3)) > 0.35 * distance(8, ReMDM(eta=0.3))


def test_path_planning_without_remasking_is_top_k_by_the_drawn_token():
    net = network(BidirectionalTransformer)
    planned = sample(net, Sampler(ByLaw(), All(), revise=PathPlanning(5, eta=0.0)), 300)
    top_k = sample(net, Sampler(ByScore(score_on="drawn"), InSteps(5)), 300)
    assert torch.equal(planned.tokens, top_k.tokens)
    assert torch.equal(planned.rank, top_k.rank)
