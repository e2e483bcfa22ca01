"""Traces with known ends, of a small network, by every kind of sampler, with token strings."""

from functools import cache

import torch

from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.plots import Layout, TraceView
from ordo.samplers import All, ByLaw, ByScore, InSteps, OnGrid, PathPlanning, ReMDM, Sampler, sample

LAYOUT = ("kind", "names", "columns", "box")
ALPHABET = " abcdef\n<&"  # some that a page must escape
SAMPLERS = {
    "one_by_one": Sampler(),
    "parallel": Sampler(ByScore("margin"), InSteps(4)),
    "remdm": Sampler(how_many=OnGrid(12), revise=ReMDM(eta=0.4)),
    "path_planning": Sampler(ByLaw(), All(), revise=PathPlanning(6, eta=1.5)),
}


def make(name="one_by_one", n=2, length=16, known=False, lengths=None, vocab=10, seed=0):
    """A trace with its history, and the symbols of its rows."""
    torch.manual_seed(3)
    net = BidirectionalTransformer(vocab, length, width=16, heads=2, layers=1)
    for (
        parameter
    ) in net.parameters():  # far from its mild initialisation, so that probabilities differ
        torch.nn.init.normal_(parameter, std=0.5)
    rest = {}
    if known:
        random = torch.Generator().manual_seed(7)
        rest["known"] = torch.rand(n, length, generator=random) < 0.3
        rest["given"] = torch.randint(vocab, (n, length), generator=random)
    trace = sample(net.eval(), SAMPLERS[name], n, seed=seed, history=True, lengths=lengths, **rest)
    ends = [length] * n if lengths is None else lengths.tolist()
    return trace, [
        [letter(p, t) for p, t in enumerate(row[:end])]
        for row, end in zip(trace.tokens.tolist(), ends, strict=True)
    ]


def letter(position, token):
    return ALPHABET[token]


def view(**settings):
    """A view of a trace; settings of its layout may stand among those of the view."""
    own = {name: settings.pop(name) for name in LAYOUT if name in settings}
    return TraceView(layout=Layout(**own), **{"revised": letter} | settings)


@cache
def eight_long_rows():
    """1024 tokens, one by one, in random orders; sampled once for all tests."""
    torch.manual_seed(0)
    net = OrderCausalTransformer(27, 1024, width=16, heads=2, layers=1).eval()
    return sample(net, Sampler(), 8, seed=1)


def long_trace(n):
    """(trace, symbols of the first n rows)."""
    trace = eight_long_rows()
    letters = "abcdefghijklmnopqrstuvwxyz "
    return trace, [[letters[t] for t in row] for row in trace.tokens[:n].tolist()]
