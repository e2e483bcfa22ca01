"""Bits per token in training and validation: of tokens that are decoded, not of given ones nor of
padding. And whose draws they are.
"""

import math

import lightning as L
import pytest
import torch

from ordo.data.module import Batch
from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.objectives import Dense, OrderSpace
from ordo.schedules import FreeTable, Power
from ordo.training import OptimizerSettings, OrderDiffusion

LENGTH, VOCAB, ROWS = 6, 3, 8
KNOWN = torch.rand(ROWS, LENGTH, generator=torch.Generator().manual_seed(1)) < 0.4
LENGTHS = torch.tensor([6, 3, 4, 6, 5, 2, 6, 4])
TOKENS = torch.randint(VOCAB, (ROWS, LENGTH), generator=torch.Generator().manual_seed(2))
CASES = {
    "plain": (None, None),
    "given": (KNOWN, None),
    "padded": (None, LENGTHS),
    "both": (KNOWN, LENGTHS),
}


def train(denoiser, objective, batches, steps=1):
    """The values that are logged in so many steps of training, each with a batch, and one
    validation on the first batch.
    """
    settings = OptimizerSettings(total_steps=10, lr=1e-12)
    module = OrderDiffusion(denoiser, Power(LENGTH, FreeTable(LENGTH)), objective, settings)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(max_steps=steps, accelerator="cpu", num_sanity_val_steps=0, **quiet)
    loaders = [
        torch.utils.data.DataLoader(some, batch_size=None) for some in (batches, batches[:1])
    ]
    trainer.fit(module, *loaders)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def blind(kind):
    """Says the same of every position, whatever is revealed: so its NELBO is a sum over decoded
    tokens, whatever the order.
    """
    torch.manual_seed(0)
    denoiser = kind(VOCAB, LENGTH, width=8, heads=2, layers=1)
    torch.nn.init.zeros_(denoiser.head.weight)
    return denoiser


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("objective", ["dense", "order"])
def test_bits_of_decoded_tokens(objective, case):
    known, lengths = CASES[case]
    batch = Batch(TOKENS, known, lengths)
    p = torch.tensor([0.6, 0.3, 0.1] if objective == "dense" else [1 / 3] * 3)
    denoiser = blind(OrderCausalTransformer if objective == "dense" else BidirectionalTransformer)
    with torch.no_grad():
        denoiser.head.bias.copy_(p.log())
    logged = train(denoiser, Dense(LENGTH) if objective == "dense" else OrderSpace(2), [batch])
    nats, decoded = 0.0, 0
    for row in range(ROWS):
        for at in range(LENGTH):
            if (lengths is None or at < lengths[row]) and (known is None or not known[row, at]):
                nats -= math.log(p[TOKENS[row, at]])
                decoded += 1
    want = nats / decoded / math.log(2)
    assert logged["train/bits_per_token"] == pytest.approx(want, rel=1e-5)
    assert logged["val/bits_per_token"] == pytest.approx(want, rel=1e-5)
    assert logged["val/nelbo"] == pytest.approx(nats / ROWS, rel=1e-5)
    assert logged["val/nelbo_uniform"] == pytest.approx(nats / ROWS, rel=1e-5)
    if objective == "dense":
        assert logged["val/mode"] == pytest.approx(nats / ROWS, rel=1e-5)


class Watched(OrderCausalTransformer):
    """Notes the orders that it is asked about, in training and elsewhere."""

    def nll(self, tokens, order, *rest, **named):
        self.__dict__.setdefault("orders", {True: [], False: []})[self.training].append(
            order.tolist()
        )
        return super().nll(tokens, order, *rest, **named)


def test_validation_has_draws_of_its_own():
    """No orders of a validation are those of a training step. All validations have the same."""
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        denoiser = Watched(VOCAB, LENGTH, width=8, heads=2, layers=1)
        train(denoiser, Dense(LENGTH), [Batch(TOKENS)] * 4, steps=4)
        orders = denoiser.__dict__["orders"]
        assert len(orders[True]) == 4
        for rows in orders[False]:
            for start in range(0, len(rows), ROWS):
                assert rows[start : start + ROWS] not in orders[True]
        found.append(orders[False])
    assert found[0] == found[1]
