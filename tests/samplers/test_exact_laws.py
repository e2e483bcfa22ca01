"""Samplers that claim to be exact one position at a time, with denoisers that are exactly right:
their samples must follow the law.
"""

from dataclasses import dataclass, field

import pytest
import torch
from laws import LAWS, markov_chain

from ordo.samplers import ByLaw, ByOrder, ByScore, InSteps, Sampler, TokenRule, sample
from ordo.schedules import FreeTable, Kumaraswamy, Power, Schedule

N = 50_000
LEAST = 1e-4  # p-value
EXACT = {
    "law": Sampler(),
    "mode": Sampler(ByLaw(0)),
    "tempered": Sampler(ByLaw(0.5)),
    "left_to_right": Sampler(ByOrder()),
    "right_to_left": Sampler(ByOrder("right_to_left")),
    "bisection": Sampler(ByOrder("bisection")),
    "dilated": Sampler(ByOrder("dilated")),
    "confidence": Sampler(ByScore("confidence")),
    "margin": Sampler(ByScore("margin")),
    "entropy": Sampler(ByScore("entropy")),
    "noisy_confidence": Sampler(ByScore("confidence", noise=1.0)),
    "random": Sampler(ByScore("random")),
    "blocks": Sampler(ByScore("entropy"), block=3),
    "as_many_steps_as_positions": Sampler(ByLaw(), InSteps(16)),
}


def schedule(length: int) -> Schedule:
    power = Power(length, FreeTable(length))
    with torch.no_grad():
        next(power.network.parameters()).copy_(
            torch.randn(length, generator=torch.Generator().manual_seed(0))
        )
    return power


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", EXACT)
def test_samples_follow_the_law(name, law):
    known = LAWS[law]()
    sampler = EXACT[name]
    assert sampler.exact or name == "as_many_steps_as_positions"
    # Most draws for the law's own sampler; enough to tell for the other ones.
    n = {"law": N}.get(name, N // 3) // (5 if law == "sudoku" else 1)
    trace = sample(known.oracle, sampler, n, schedule=schedule(known.oracle.length))
    assert known.test(trace.tokens) > LEAST
    assert (trace.calls == known.oracle.length).all()


def test_another_family_of_schedules():
    known = LAWS["hidden_markov"]()
    assert (
        known.test(
            sample(
                known.oracle, Sampler(), N, schedule=Kumaraswamy(5, FreeTable(5), FreeTable(5))
            ).tokens
        )
        > LEAST
    )


@dataclass(frozen=True)
class ArgmaxAtTheEnd(TokenRule):
    """What some published samplers do in their last step, of six here."""

    draws: list = field(default_factory=list)

    def draw(self, log_prob, u):
        self.draws.append(len(u))
        tokens, log_p = super().draw(log_prob, u)
        return log_prob.argmax(-1) if len(self.draws) == 6 else tokens, log_p


@pytest.mark.parametrize(
    "sampler",
    [
        Sampler(ByScore("confidence", score_on="drawn")),
        Sampler(what=ArgmaxAtTheEnd()),
        Sampler(what=TokenRule(temperature=0.9)),
        Sampler(what=TokenRule(top_p=0.95)),
        Sampler(ByScore("confidence"), InSteps(3)),
    ],
    ids=["drawn", "argmax", "temperature", "top_p", "parallel"],
)
def test_a_broken_sampler_is_found_out(sampler):
    law = markov_chain()
    assert not sampler.exact or isinstance(sampler.what, ArgmaxAtTheEnd)
    assert law.test(sample(law.oracle, sampler, N).tokens) < 1e-10


def test_rare_tokens():
    """An event of probability 1e-9, among the uniform numbers that could lead to it: float32 loses
    it.
    """
    rare = torch.tensor([1 - 1e-9, 1e-9], dtype=torch.float64).log().expand(N, -1)
    u = 1 - 1e-8 * torch.rand(N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens, log_p = TokenRule().draw(rare, u)
    share = tokens.double().mean().item()
    assert abs(share - 0.1) < 4 * (0.1 * 0.9 / N) ** 0.5
    assert torch.allclose(log_p[tokens == 1], torch.tensor(1e-9, dtype=torch.float64).log())
    in_float32, _ = TokenRule().draw(rare, u.float().clamp(max=1 - 2**-24).double())
    assert abs(in_float32.double().mean().item() - 0.1) > 0.05


def test_no_impossible_token_at_the_ends():
    possible = torch.tensor([0.0, 0.5, 0.5, 0.0], dtype=torch.float64).log()
    u = torch.tensor([2.0**-53, 1 - 2.0**-53, 0.5], dtype=torch.float64)
    assert TokenRule().draw(possible.expand(3, -1), u)[0].tolist() == [1, 2, 2]
