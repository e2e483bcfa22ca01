"""The history of a sampler: replayed event by event it gives the trace, whatever the rule, and
whatever the batch.
"""

from dataclasses import fields

import pytest
import torch
from laws import LENGTH, VOCAB, network, power

from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.samplers import (
    All,
    ByLaw,
    ByScore,
    ForwardBackward,
    InSteps,
    NonInfluence,
    One,
    OnGrid,
    PathPlanning,
    ReMDM,
    Sampler,
    Threshold,
    sample,
    sample_batches,
)

SAMPLERS = {
    "one_by_one": Sampler(),
    "parallel": Sampler(ByScore("margin"), InSteps(3)),
    "threshold": Sampler(ByScore(), Threshold(0.5)),
    "grid": Sampler(how_many=OnGrid(4)),
    "punt": Sampler(ByScore(), NonInfluence(0.05)),
    "blocks": Sampler(ByScore(), One(), block=2),
    "drawn": Sampler(ByScore(score_on="drawn"), InSteps(2)),
    "remdm": Sampler(how_many=OnGrid(8), revise=ReMDM(eta=0.4)),
    "remdm_confidence": Sampler(how_many=OnGrid(8), revise=ReMDM("rescale", 0.9, confidence=True)),
    "path_planning": Sampler(ByLaw(), All(), revise=PathPlanning(6, eta=1.5)),
    "forward_backward": Sampler(how_many=OnGrid(4), revise=ForwardBackward(2)),
}
REVISING = ("remdm", "remdm_confidence", "path_planning", "forward_backward")


def replayed(history, row, tokens, absent):
    """Position -> token, step, log-probability, times masked again, and the order of decoding, by
    plain rules of the game.
    """
    stands, again, order = {}, [0] * len(tokens), []
    last = -1
    events = zip(
        *(
            getattr(history.of_row(row), name).tolist()
            for name in ("step", "position", "token", "log_prob")
        ),
        strict=True,
    )
    for step, position, token, log_prob in events:
        assert step >= last, "in the order of time"
        assert position not in absent
        last = step
        if token < 0:
            del stands[position]
            order.remove(position)
            again[position] += 1
            assert log_prob == 0
        else:
            assert position not in stands
            stands[position] = (token, step, log_prob)
            order.append(position)
    return stands, again, order


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("given", [False, True])
def test_replaying_gives_the_trace(name, given):
    n = 12
    net, sampler, random = (
        network(BidirectionalTransformer),
        SAMPLERS[name],
        torch.Generator().manual_seed(1),
    )
    rest = {}
    if given:
        rest["known"] = torch.rand(n, LENGTH, generator=random) < 0.4
        rest["known"][0], rest["known"][1] = True, False  # nothing to decode, and everything
        rest["given"] = torch.randint(VOCAB, (n, LENGTH), generator=random)
        rest["lengths"] = torch.randint(1, LENGTH + 1, (n,), generator=random)
    trace = sample(net, sampler, n, schedule=power(), seed=3, history=True, **rest)
    assert trace.history is not None
    for i in range(n):
        length = int(rest["lengths"][i]) if given else LENGTH
        stands, again, order = replayed(trace.history, i, trace.tokens[i], range(length, LENGTH))
        for j in range(LENGTH):
            fixed = given and (j >= length or bool(rest["known"][i, j]))
            assert (j in stands) == (not fixed)
            if fixed:
                assert trace.step[i, j] == -1
            else:
                assert stands[j] == (trace.tokens[i, j], trace.step[i, j], trace.log_prob[i, j])
                assert order.index(j) == trace.rank[i, j]
        assert again == trace.remasked[i].tolist()
    assert (trace.history.token < 0).any() == (name in REVISING)
    plain = sample(net, sampler, n, schedule=power(), seed=3, **rest)
    assert plain.history is None
    assert all(
        torch.equal(getattr(plain, f.name), getattr(trace, f.name)) for f in fields(plain)[:-1]
    ), "keeping it changes nothing"


def test_history_of_some_rows_and_in_batches():
    net = network(BidirectionalTransformer)
    whole = sample(net, SAMPLERS["remdm"], 9, seed=5, history=True).history
    batched = sample_batches(net, SAMPLERS["remdm"], 9, 2, seed=5, history=True).history
    first = sample_batches(net, SAMPLERS["remdm"], 9, 2, seed=5, history=3).history
    for name in ("row", "step", "position", "token", "log_prob"):
        wanted = getattr(whole, name)
        assert torch.allclose(getattr(batched, name), wanted, atol=1e-12)
        assert torch.allclose(getattr(first, name), wanted[whole.row < 3], atol=1e-12)
    assert sample_batches(net, SAMPLERS["remdm"], 9, 2, seed=5).history is None


def test_history_where_nothing_is_decoded():
    given = torch.zeros(2, LENGTH, dtype=torch.int64)
    trace = sample(
        network(OrderCausalTransformer),
        Sampler(),
        given=given,
        known=torch.ones_like(given).bool(),
        history=True,
    )
    assert trace.history is not None
    assert len(trace.history.of_row(0).step) == 0
