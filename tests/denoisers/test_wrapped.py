"""A network of one's own as a denoiser, and what is said of one that does not fit."""

import pytest
import torch
from torch import nn

from ordo.denoisers import wrap
from ordo.errors import ConfigError
from ordo.likelihood import nelbo, order_log_prob
from ordo.likelihood.exact import enumerate_orders
from ordo.objectives import Dense, OrderSpace
from ordo.order import uniform_law
from ordo.randomness import StepRandom
from ordo.samplers import Sampler, sample
from ordo.schedules import FreeTable, Power

V, L = 3, 4


class Net(nn.Module):
    """Sees the mean of all embeddings; classes: of its output. Dropout, to see its mode."""

    def __init__(self, rows=V + 1, classes=V, length=L):
        super().__init__()
        self.token, self.place = nn.Embedding(rows, 8), nn.Parameter(torch.randn(length, 8))
        self.out, self.drop = nn.Linear(8, classes), nn.Dropout(0.5)

    def forward(self, ids):
        x = self.token(ids) + self.place
        return self.out(self.drop(torch.tanh(x + x.mean(1, keepdim=True))))


@pytest.mark.parametrize("classes", [V, V + 1, V + 3])
def test_by_hand(classes):
    """Log-likelihood of an order: the network asked rank by rank, softmax over the V tokens."""
    torch.manual_seed(0)
    net = Net(classes=classes)
    denoiser = wrap(net, V, L).eval()
    tokens = torch.tensor([[0, 2, 1, 1], [2, 2, 0, 1]])
    order = torch.tensor([2, 0, 3, 1])
    total = torch.zeros(2)
    for rank in range(L):
        ids = torch.full((2, L), V)
        ids[:, order[:rank]] = tokens[:, order[:rank]]
        log_p = net(ids)[:, order[rank], :V].log_softmax(-1)
        total += log_p.gather(1, tokens[:, order[rank], None])[:, 0]
    torch.testing.assert_close(order_log_prob(denoiser, tokens, order), total.double())
    law = uniform_law(L)
    with torch.no_grad():
        exact = enumerate_orders(denoiser, law, tokens).nelbo
    assert torch.allclose(nelbo(denoiser, law, tokens, draws=4000), exact, atol=0.1)
    drawn = sample(denoiser, Sampler(), 5, seed=1)
    assert int(drawn.tokens.max()) < V
    objective, schedule = OrderSpace(), Power(L, FreeTable(L))
    objective(denoiser, schedule, tokens, StepRandom()).loss.backward()
    assert net.out.weight.grad[:V].abs().max() > 0


def test_the_trial_call_leaves_no_trace():
    net = Net()
    net.drop.eval()
    state = torch.get_rng_state()
    wrap(net, V, L)
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training
    assert not net.drop.training


class Gives(nn.Module):
    def __init__(self, out):
        super().__init__()
        self.value = out

    def forward(self, ids):
        return self.value


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (Net(rows=V), "Net fails on two rows .* the mask is id 3, so an embedding needs 4 rows"),
        (Net(length=5), "Net fails on two rows of ids"),
        (Net(classes=2), r"logits \(2, 4, 3\) .* it gives the shape \(2, 4, 2\)"),
        (Gives(torch.zeros(2, V, L)), r"it gives the shape \(2, 3, 4\)"),
        (Gives(torch.zeros(2, L)), r"it gives the shape \(2, 4\)"),
        (Gives((torch.zeros(2, L, V),)), "it gives a tuple"),
        (Gives(torch.zeros(2, L, V).long()), "it gives torch.int64"),
        (Gives(torch.full((2, L, V), torch.nan)), "some of them are NaN"),
        (lambda ids: ids, "wrap takes a torch.nn.Module, not function"),
    ],
)
def test_what_does_not_fit(module, line):
    with pytest.raises(ConfigError, match=line) as caught:
        wrap(module, V, L)
    assert "\n" not in str(caught.value)


def test_a_network_that_nobody_wrapped():
    net, schedule, tokens = Net(), Power(L, FreeTable(L)), torch.zeros(2, L).long()
    line = r"Net is no denoiser: make it one by ordo.denoisers.wrap\(module, vocab_size, length\)"
    for ask in (
        lambda: Dense(L)(net, schedule, tokens, StepRandom()),
        lambda: nelbo(net, schedule, tokens),
        lambda: sample(net, Sampler(), 2),
    ):
        with pytest.raises(TypeError, match=line):
            ask()


def test_padding_is_refused():
    denoiser = wrap(Net(), V, L)
    with pytest.raises(ValueError, match="cannot be told of padding"):
        sample(denoiser, Sampler(), 2, lengths=torch.tensor([2, 4]))
