"""Token ids of any width, of torch or NumPy, give the same numbers; all else is one clear line."""

import numpy as np
import pytest
import torch

from ordo.batch import Batch
from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.likelihood import (
    importance_bound,
    likelihood_report,
    many_orders,
    nelbo,
    order_log_prob,
    order_loss,
)
from ordo.objectives import Dense, OrderSpace, TimeSpace
from ordo.order import uniform_law
from ordo.randomness import StepRandom
from ordo.samplers import Sampler, sample
from ordo.schedules import FreeTable, Power

V, L = 5, 4
SIZE = {"width": 8, "heads": 2, "layers": 1}
TOKENS = torch.randint(V, (3, L), generator=torch.Generator().manual_seed(0))
NETS = {}


def made(kind):
    if kind not in NETS:
        torch.manual_seed(0)
        NETS[kind] = kind(V, L, **SIZE).eval()
    return NETS[kind]


SCHEDULE = Power(L, FreeTable(L))


def objective(make, kind):
    return lambda x: make(made(kind), SCHEDULE, x, StepRandom()).nelbo


ASK = {
    "dense": objective(Dense(L), OrderCausalTransformer),
    "order": objective(OrderSpace(), BidirectionalTransformer),
    "time": objective(TimeSpace(draws=4), BidirectionalTransformer),
    "nelbo": lambda x: nelbo(made(OrderCausalTransformer), SCHEDULE, x),
    "report": lambda x: likelihood_report(made(OrderCausalTransformer), SCHEDULE, x).values[
        "own_nelbo"
    ],
    "many": lambda x: many_orders(made(OrderCausalTransformer), x, uniform_law(L), 2).uniform,
    "one order": lambda x: order_log_prob(made(OrderCausalTransformer), x, torch.arange(L)),
    "losses": lambda x: (
        order_loss(made(OrderCausalTransformer), x, torch.arange(L).expand(3, L)).by_position
    ),
    "bound": lambda x: importance_bound(
        made(OrderCausalTransformer), SCHEDULE, x, 2, torch.Generator().manual_seed(0)
    ),
}


@pytest.mark.parametrize("name", ASK)
def test_ids_of_any_width(name):
    wanted = ASK[name](TOKENS)
    for ids in (TOKENS.int(), TOKENS.to(torch.uint8), TOKENS.numpy(), TOKENS.numpy().astype("u2")):
        assert torch.equal(ASK[name](ids), wanted)


def with_id(token):
    tokens = TOKENS.clone()
    tokens[1, 2] = token
    return tokens


MASK = "sequence 1 has the id 5 at position 2, the mask, which stands in no data: ids .* 0 to 4"
BAD = {
    "floats": (TOKENS.float(), TypeError, "whole numbers.*not values of torch.float32"),
    "float array": (TOKENS.numpy() / 1, TypeError, "not values of float64"),
    "truth": (TOKENS > 2, TypeError, "not values of torch.bool"),
    "text": ("abc", TypeError, "not a str"),
    "list": (TOKENS.tolist(), TypeError, "torch.as_tensor makes a tensor of a list of rows"),
    "one row": (TOKENS[0], ValueError, r"tokens must be \(n, length\), got the shape \(4,\)"),
    "too long": (torch.zeros(2, 6).long(), ValueError, "have length 6, the .* has 4 positions"),
    "too short": (TOKENS[:, :3], ValueError, "have length 3, the .* has 4 positions"),
    "mask": (with_id(V), ValueError, MASK),
    "large": (with_id(9), ValueError, "sequence 1 has the id 9 at position 2: ids .* 0 to 4"),
    "negative": (with_id(-1), ValueError, "sequence 1 has the id -1 at position 2"),
    "known": ((TOKENS, TOKENS), ValueError, r"known must be bool \(3, 4\)"),
    "lengths": ((TOKENS, None, torch.ones(2)), ValueError, r"lengths must be \(3,\)"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["dense", "order", "time", "nelbo", "report", "one order"])
def test_one_line(name, bad):
    batch, kind, line = BAD[bad]
    with pytest.raises(kind, match=line) as caught:
        ASK[name](batch)
    assert "\n" not in str(caught.value)


def test_padding_is_not_looked_at():
    denoiser = made(BidirectionalTransformer)
    padded, clean = (
        nelbo(denoiser, SCHEDULE, Batch(with_id(token), None, torch.tensor([4, 2, 4])))
        for token in (V, 0)
    )
    assert torch.equal(padded, clean)


def test_given_tokens_of_numpy():
    denoiser = made(OrderCausalTransformer)
    given, known = np.full((3, L), 2, np.int32), np.zeros((3, L), bool)
    known[:, 1] = True
    trace = sample(denoiser, Sampler(), given=given, known=known)
    same = sample(denoiser, Sampler(), given=torch.tensor(given).long(), known=torch.tensor(known))
    assert torch.equal(trace.tokens, same.tokens)
    assert (trace.tokens[:, 1] == 2).all()
    with pytest.raises(TypeError, match="given must be whole numbers"):
        sample(denoiser, Sampler(), given=given / 1, known=known)
