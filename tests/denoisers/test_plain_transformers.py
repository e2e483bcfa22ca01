"""The two transformers against loops over slots, heads and numbers, written from their definitions;
and their dropout.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer

LENGTH, VOCAB, HEADS = 5, 3, 2
KINDS = [BidirectionalTransformer, OrderCausalTransformer]
POSITIONS = ["rotary", "learned", "both"]


def make(kind, positions):
    torch.manual_seed(0)
    net = kind(VOCAB, LENGTH, width=8, heads=HEADS, layers=2, positions=positions).double().eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.6)
    return net, {name: x.numpy() for name, x in net.state_dict().items()}


def normed(x, w, name):
    x = (x - x.mean()) / math.sqrt(x.var() + 1e-5)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x):
    return np.array([0.5 * y * (1 + math.erf(y / math.sqrt(2))) for y in x])


def turned(x, position):
    """RoPE (2104.09864): number j and number j + half are a point, turned by position / 10000^(2j /
    len).
    """
    half = len(x) // 2
    point = x[:half] + 1j * x[half:]
    point = point * np.exp(1j * position * 10000.0 ** (-2 * np.arange(half) / len(x)))
    return np.concatenate([point.real, point.imag])


def through_blocks(x, w, query_at, key_at, may_see):
    """x: a vector for every slot. query_at, key_at: positions that slots turn by, None: no rotary.
    may_see(i, j) of slots.
    """
    n, width = len(x), len(x[0])
    head = width // HEADS
    for block in (f"blocks.{i}" for i in range(2)):
        q, k, v = (
            [
                (
                    w[f"{block}.qkv.weight"][part * width : (part + 1) * width]
                    @ normed(y, w, f"{block}.norm_attention")
                )
                for y in x
            ]
            for part in range(3)
        )
        seen = []
        for i in range(n):
            parts = []
            for h in range(HEADS):
                own = slice(h * head, (h + 1) * head)
                others = [j for j in range(n) if may_see(i, j)]
                mine = q[i][own] if query_at is None else turned(q[i][own], query_at[i])
                theirs = [
                    k[j][own] if key_at is None else turned(k[j][own], key_at[j]) for j in others
                ]
                weight = np.exp([mine @ y / math.sqrt(head) for y in theirs])
                parts.append(
                    sum(a * v[j][own] for a, j in zip(weight / weight.sum(), others, strict=True))
                )
            seen.append(np.concatenate(parts))
        x = [y + w[f"{block}.out.weight"] @ z for y, z in zip(x, seen, strict=True)]
        hidden = [
            gelu(
                w[f"{block}.up.weight"] @ normed(y, w, f"{block}.norm_mlp") + w[f"{block}.up.bias"]
            )
            for y in x
        ]
        x = [
            y + w[f"{block}.down.weight"] @ z + w[f"{block}.down.bias"]
            for y, z in zip(x, hidden, strict=True)
        ]
    return np.stack([w["head.weight"] @ normed(y, w, "norm") + w["head.bias"] for y in x])


@pytest.mark.parametrize("positions", POSITIONS)
def test_order_causal(positions):
    """Slot i carries token pi(i - 1) and predicts position pi(i); keys turn by where their token
    stands, queries by what they predict.
    """
    net, w = make(OrderCausalTransformer, positions)
    tokens, order = torch.tensor([[2, 0, 1, 1, 0]]), torch.tensor([[3, 0, 4, 1, 2]])
    pi = order[0].tolist()
    carried = [VOCAB] + [int(tokens[0, at]) for at in pi[:-1]]
    stands = [0] + [at + 1 for at in pi[:-1]]  # 0: before the first position
    predicts = [at + 1 for at in pi]
    x = [w["token.weight"][token] for token in carried]
    if positions != "rotary":
        x = [
            y + w["stands_at.weight"][a] + w["predicts.weight"][b]
            for y, a, b in zip(x, stands, predicts, strict=True)
        ]
    rotary = positions != "learned"
    want = through_blocks(
        x, w, predicts if rotary else None, stands if rotary else None, lambda i, j: j <= i
    )
    with torch.no_grad():
        assert np.allclose(net(tokens, order)[0].numpy(), want, atol=1e-5)


@pytest.mark.parametrize("positions", POSITIONS)
def test_bidirectional(positions):
    """Every position attends to all that are present."""
    net, w = make(BidirectionalTransformer, positions)
    tokens, length = torch.tensor([[2, VOCAB, 1, VOCAB, 0]]), 4
    x = [w["token.weight"][token] for token in tokens[0].tolist()]
    if positions != "rotary":
        x = [y + w["position.weight"][at] for at, y in enumerate(x)]
    at = list(range(LENGTH)) if positions != "learned" else None
    present = torch.arange(LENGTH)[None] < length
    for some, end in ((None, LENGTH), (present, length)):
        want = through_blocks(x, w, at, at, lambda i, j, end=end: j < end)
        with torch.no_grad():
            assert np.allclose(net(tokens, present=some)[0, :end].numpy(), want[:end], atol=1e-5)


def only(kind, part):
    """A wide denoiser of one block whose other half is silent and whose logits are what leaves the
    block.
    """
    torch.manual_seed(0)
    net = kind(VOCAB, LENGTH, width=256, heads=2, layers=1, dropout=0.25)
    net.norm, net.head = nn.Identity(), nn.Identity()
    silent = [net.blocks[0].out] if part == "mlp" else [net.blocks[0].down]
    for parameter in [parameter for layer in silent for parameter in layer.parameters()]:
        nn.init.zeros_(parameter)
    return net


@pytest.mark.parametrize("part", ["mlp", "attention"])
@pytest.mark.parametrize("kind", KINDS)
def test_dropout(kind, part):
    """In training alone, in attention and in the MLP; of the MLP's numbers the share that was asked
    for, and the others are scaled.
    """
    net = only(kind, part)
    tokens, order = torch.tensor([[2, 0, 1, 1, 0]] * 4), torch.tensor([[3, 0, 4, 1, 2]] * 4)
    inputs = (tokens,) if kind is BidirectionalTransformer else (tokens, order)
    with torch.no_grad():
        whole = net.eval()(*inputs)
        assert torch.equal(net(*inputs), whole)
        a, b = (net.train()(*inputs) for _ in range(2))
        assert not torch.allclose(a, b)
        if part == "mlp":
            net.blocks[0].down.weight.zero_()
            net.blocks[0].down.bias.zero_()
            before = net(*inputs)  # the block adds nothing now
            added = whole - before
            dropped = (a - before).abs() < 1e-6 * added.abs().max()
            assert dropped.float().mean().item() == pytest.approx(0.25, abs=0.04)
            assert torch.allclose((a - before)[~dropped], added[~dropped] / 0.75, atol=1e-5)
