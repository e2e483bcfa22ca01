"""Conditionals: normalised, blind to what is masked, and equal however they are computed."""

import pytest
import torch

from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.denoisers.cost import nll_of_set
from ordo.samplers import ByLaw, Sampler, sample
from ordo.schedules import Linear

LENGTH, VOCAB = 6, 4
POSITIONS = ("rotary", "learned", "both")


def make(kind, **kwargs):
    torch.manual_seed(0)
    net = kind(VOCAB, LENGTH, width=16, heads=2, layers=2, **kwargs).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return net.eval().requires_grad_(False)


NETWORKS = [
    (kind, {"positions": p})
    for kind in (BidirectionalTransformer, OrderCausalTransformer)
    for p in POSITIONS
]
NETWORKS.append((BidirectionalTransformer, {"time_conditioning": True}))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(VOCAB, (7, LENGTH), generator=generator)
    order = torch.rand(7, LENGTH, generator=generator).argsort(-1)
    return tokens, order, torch.tensor([0, 1, 2, 3, 4, 5, 3])


@pytest.mark.parametrize(("kind", "kwargs"), NETWORKS)
def test_conditionals_agree_with_order_log_prob(kind, kwargs, batch):
    """Position pi(k) given the first k of pi: by ``conditionals`` one set at a time, and by
    ``order_log_prob`` for a whole order.
    """
    net = make(kind, **kwargs)
    tokens, order, _ = batch
    by_rank = net.order_log_prob(tokens, order)
    for k in range(LENGTH):
        log_prob = net.conditionals(tokens, order, torch.full((7,), k))
        assert torch.allclose(log_prob.exp().sum(-1), torch.ones(7, LENGTH, dtype=torch.float64))
        target = order[:, k]
        rows = torch.arange(7)
        assert torch.allclose(
            log_prob[rows, target, tokens[rows, target]], by_rank[:, k], atol=1e-12
        )


@pytest.mark.parametrize(("kind", "kwargs"), NETWORKS)
def test_masked_tokens_are_not_seen(kind, kwargs, batch):
    net = make(kind, **kwargs)
    tokens, order, k = batch
    masked = order.argsort(-1) >= k[:, None]
    other = torch.where(masked, (tokens + 1) % VOCAB, tokens)
    a, b = net.conditionals(tokens, order, k), net.conditionals(other, order, k)
    assert torch.equal(a[masked], b[masked])
    changed = torch.where(masked, tokens, (tokens + 1) % VOCAB)
    some = (k > 0)[:, None] & masked
    assert not torch.allclose(net.conditionals(changed, order, k)[some], a[some]), (
        "and revealed tokens are seen"
    )


@pytest.mark.parametrize(("kind", "kwargs"), NETWORKS)
def test_order_of_revealing(kind, kwargs, batch):
    """A bidirectional denoiser sees a set; an order-causal one may tell orders apart; neither sees
    the order of the masked rest.
    """
    net = make(kind, **kwargs)
    tokens, order, k = batch
    rank = order.argsort(-1)
    masked = rank >= k[:, None]
    suffix_flipped = torch.where(masked, LENGTH - 1 + k[:, None] - rank, rank).argsort(-1)
    a = net.conditionals(tokens, order, k)
    assert torch.allclose(
        net.conditionals(tokens, suffix_flipped, k)[masked], a[masked], atol=1e-12
    )
    prefix_flipped = torch.where(masked, rank, k[:, None] - 1 - rank).argsort(-1)
    same = torch.allclose(
        net.conditionals(tokens, prefix_flipped, k)[masked], a[masked], atol=1e-12
    )
    assert same == (not net.order_causal)


def test_given_positions_are_read_by_position(batch):
    """Two networks of equal weights: with ``given`` any order of the given ones is what the plain
    one says of these by position.
    """
    given = [1, 2, 4]
    plain, net = make(OrderCausalTransformer), make(OrderCausalTransformer, given=given)
    net.load_state_dict(plain.state_dict())
    tokens, order, _ = batch
    rest = [[p for p in row if p not in given] for row in order.tolist()]
    first = [[p for p in row if p in given] for row in order.tolist()]
    arranged = torch.tensor([a + b for a, b in zip(first, rest, strict=True)])
    straight = torch.tensor([given + b for b in rest])
    assert not torch.equal(arranged, straight)
    for k in range(3, LENGTH):
        n = torch.full((7,), k)
        assert torch.equal(
            net.conditionals(tokens, arranged, n), plain.conditionals(tokens, straight, n)
        )
    assert torch.equal(
        net.order_log_prob(tokens, arranged)[:, 3:], plain.order_log_prob(tokens, straight)[:, 3:]
    )
    for k in range(3):  # not all of them are revealed: as asked
        n = torch.full((7,), k)
        assert torch.equal(
            net.conditionals(tokens, arranged, n), plain.conditionals(tokens, arranged, n)
        )
    # One model, however it is asked, also where they do not come first.
    rows = torch.arange(7)
    elsewhere = torch.tensor([set(row[:3]) != set(given) for row in order.tolist()])
    for some in (arranged, order):
        by_rank = net.order_log_prob(tokens, some)
        for k in range(LENGTH):
            log_prob = net.conditionals(tokens, some, torch.full((7,), k))[
                rows, some[:, k], tokens[rows, some[:, k]]
            ]
            same = elsewhere if some is order and k < 3 else torch.full((7,), k >= 3)
            assert torch.allclose(log_prob[same], by_rank[same, k], atol=1e-12)
    # Decoding with one more given: it is read after those that all rows are given, and scored as it
    # is drawn.
    known = torch.isin(torch.arange(LENGTH), torch.tensor([0, *given])).expand(7, -1)
    trace = sample(
        net, Sampler(ByLaw()), 7, schedule=Linear(LENGTH), seed=0, given=tokens, known=known
    )
    decoded = [
        [p for p in sorted(range(LENGTH), key=row.__getitem__) if row[p] >= 0]
        for row in trace.rank.tolist()
    ]
    drawn = torch.tensor([[*given, 0, *row] for row in decoded])
    assert torch.allclose(
        net.order_log_prob(trace.tokens, drawn)[:, 4:].sum(1),
        trace.log_prob.double().sum(1),
        atol=1e-6,
    )
    with pytest.raises(ValueError, match="given positions must be in"):
        OrderCausalTransformer(VOCAB, LENGTH, width=8, heads=2, given=[LENGTH])


def test_rows_of_a_batch_do_not_mix(batch):
    tokens, order, k = batch
    for kind in (BidirectionalTransformer, OrderCausalTransformer):
        net = make(kind)
        assert torch.allclose(
            net.conditionals(tokens[2:3], order[2:3], k[2:3]),
            net.conditionals(tokens, order, k)[2:3],
            atol=1e-12,
        )


def test_head_on_selected_positions_only(batch):
    net, tokens = make(BidirectionalTransformer), batch[0].clone()
    where = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    tokens[where] = net.mask_id
    assert torch.allclose(net(tokens)[where], net(tokens, where=where), atol=1e-12)
    assert net(tokens).shape[-1] == VOCAB, "the mask is no class of the output"


def test_bad_arguments():
    with pytest.raises(ValueError, match="positions"):
        BidirectionalTransformer(VOCAB, LENGTH, positions="sinusoidal")
    with pytest.raises(ValueError, match="head"):
        OrderCausalTransformer(VOCAB, LENGTH, width=10, heads=3)


@pytest.mark.parametrize("most", [1, 7, 100, 10**6])
def test_costs_in_parts_are_the_costs(most, monkeypatch):
    """-log mu of targets and its gradients, with few logits at a time, against log_softmax of all
    logits; both denoisers.
    """
    from ordo.denoisers import layers

    monkeypatch.setattr(layers.head_cost, "__defaults__", (most,))
    tokens = torch.randint(5, (3, 6), generator=torch.Generator().manual_seed(0))
    order = torch.rand(3, 6, generator=torch.Generator().manual_seed(1)).argsort(-1)
    where = torch.rand(3, 6, generator=torch.Generator().manual_seed(2)) < 0.6
    weight = torch.rand(3, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for kind in (BidirectionalTransformer, OrderCausalTransformer):
        torch.manual_seed(0)
        net = kind(5, 6, width=8, heads=2, layers=2).double()
        z = tokens.masked_fill(where, 5)
        if kind is BidirectionalTransformer:
            log_p = net(z).log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
            at = where.flatten().nonzero()[:, 0]
            want, got, w = -log_p[where], net.nll(z, at, tokens[where]), weight[where]
        else:
            log_p = (
                net(tokens, order)
                .log_softmax(-1)
                .gather(-1, tokens.gather(1, order)[..., None])[..., 0]
            )
            want, got, w = -log_p, net.nll(tokens, order), weight
        assert torch.allclose(got, want, atol=1e-12)
        gradients = [
            torch.autograd.grad((w * cost).sum(), list(net.parameters())) for cost in (want, got)
        ]
        for a, b in zip(*gradients, strict=True):
            assert torch.allclose(a, b, atol=1e-12)
        with torch.no_grad():
            again = (
                net.nll(z, at, tokens[where])
                if kind is BidirectionalTransformer
                else -net.order_log_prob(tokens, order)
            )
        assert torch.allclose(again, want, atol=1e-12)


def test_costs_with_time_conditioning():
    """The last block at some positions only, modulated by each row's own noise level."""
    torch.manual_seed(0)
    net = BidirectionalTransformer(
        5, 6, width=8, heads=2, layers=2, time_conditioning=True
    ).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    tokens = torch.randint(5, (3, 6), generator=torch.Generator().manual_seed(0))
    where = torch.tensor([[1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0]]).bool()
    z = tokens.masked_fill(where, 5)
    want = -net(z).log_softmax(-1).gather(-1, tokens[..., None])[..., 0][where]
    got = net.nll(z, where.flatten().nonzero()[:, 0], tokens[where])
    assert torch.allclose(got, want, atol=1e-12)
    for a, b in zip(
        *(
            torch.autograd.grad(x.sum(), list(net.parameters()), allow_unused=True)
            for x in (want, got)
        ),
        strict=True,
    ):
        assert (a is None and b is None) or torch.allclose(a, b, atol=1e-12)


class Shifted(BidirectionalTransformer):
    """A read-out of its own: every position has another bias."""

    def read_out_at(self, x, position):
        return self.head(x) + position[..., None] * torch.arange(self.vocab_size)

    def read_out(self, x, where):
        logits = self.read_out_at(x, torch.arange(x.shape[1]).expand(x.shape[:2]))
        return logits if where is None else logits[where]


def test_a_read_out_of_its_own(batch):
    """``nll`` goes through it without being told."""
    net, tokens = make(Shifted), batch[0]
    where = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    z = tokens.masked_fill(where, net.mask_id)
    want = -net(z).log_softmax(-1).gather(-1, tokens[..., None])[..., 0][where]
    assert torch.allclose(net.nll(z, where.flatten().nonzero()[:, 0], tokens[where]), want)
    assert torch.allclose(nll_of_set(net, z, tokens, where)[where], want)


@pytest.mark.parametrize("kind", [BidirectionalTransformer, OrderCausalTransformer])
def test_recomputed_blocks_give_the_same_gradients(kind):
    """With dropout too: the second computation draws what the first drew. And nothing inside a
    block is kept.
    """
    tokens = torch.randint(5, (3, 6), generator=torch.Generator().manual_seed(0))
    inputs = (
        (tokens.masked_fill(torch.rand(3, 6) < 0.5, 5),)
        if kind is BidirectionalTransformer
        else (tokens, torch.rand(3, 6).argsort(-1))
    )
    out, kept = [], []
    for recompute in (False, True):
        torch.manual_seed(0)
        net = kind(5, 6, width=8, heads=2, layers=3, dropout=0.3, recompute=recompute)
        torch.manual_seed(1)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x
        ):
            loss = net(*inputs).square().mean()
        out.append(torch.autograd.grad(loss, list(net.parameters())))
        kept.append(sum(sizes))
    for a, b in zip(*out, strict=True):
        assert torch.allclose(a, b, atol=1e-7)
    assert kept[1] < 0.5 * kept[0]
