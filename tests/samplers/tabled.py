"""A denoiser that is one table of random numbers, and what a sampler did at every step: for rules
written as plain loops.

Nothing here uses the rules of the library. A rule is a function of the probabilities that the table
holds for what is revealed.
"""

from collections.abc import Callable, Iterator
from itertools import permutations, product
from math import exp

import numpy as np
import torch
from scipy import stats

from ordo.denoisers import SetDenoiser
from ordo.samplers import Trace


class Tabled(SetDenoiser):
    """Every revealed state has its own distributions, from all but flat to all but certain.

    drift: None: distributions of different states are independent. A number: they differ from one
    distribution per position by about so much, some states more and some less, so that positions
    settle and do not all influence one another.
    """

    table: torch.Tensor

    def __init__(self, seed: int, length: int = 6, vocab: int = 4, drift: float | None = None):
        super().__init__()
        self.length, self.vocab_size, self.mask_id = length, vocab, vocab
        random, states = np.random.default_rng(seed), (vocab + 1) ** length

        def logits(n: int) -> np.ndarray:
            return random.normal(size=(n, length, vocab)) * np.exp(
                random.uniform(-1.5, 1.8, size=(n, length, 1))
            )

        raw = logits(states) if drift is None else logits(1) + drift * logits(states)
        self.numbers = raw - np.log(np.exp(raw).sum(-1, keepdims=True))
        self.register_buffer("table", torch.tensor(self.numbers))

    def forward(self, tokens, where=None, present=None):
        places = (self.vocab_size + 1) ** torch.arange(self.length - 1, -1, -1)
        out = self.table[(tokens * places).sum(1)]
        return out if where is None else out[where]

    def p(self, shown: list[int]) -> np.ndarray:
        """Probabilities (length, vocab) where ``shown`` (the mask id where masked) is revealed."""
        return np.exp(
            self.numbers[np.ravel_multi_index(shown, (self.vocab_size + 1,) * self.length)]
        )


def steps(trace: Trace, row: int, mask: int) -> Iterator[tuple[list[int], list[int], list[int]]]:
    """By step: what is shown before it, the positions masked before it, and the positions revealed
    in it, in the order of decoding.
    """
    tokens, step, rank = (getattr(trace, name)[row].tolist() for name in ("tokens", "step", "rank"))
    for k in range(max(step) + 1):
        masked = [at for at in range(len(tokens)) if step[at] >= k]
        shown = [token if step[at] < k else mask for at, token in enumerate(tokens)]
        yield shown, masked, sorted((at for at in masked if step[at] == k), key=lambda at: rank[at])


def events(
    trace: Trace, row: int, mask: int, given: list[int] | None = None
) -> Iterator[tuple[list[int], dict, list[int]]]:
    """By step of a sampler that masks again: what is shown before it, {position: (token, log-
    probability)} revealed, and masked again.

    given: what the row is given, the mask id elsewhere.
    """
    assert trace.history is not None
    mine = trace.history.of_row(row)
    shown = [mask] * trace.tokens.shape[1] if given is None else list(given)
    columns = [x.tolist() for x in (mine.step, mine.position, mine.token, mine.log_prob)]
    rows = list(zip(*columns, strict=True))
    for k in range(max(columns[0], default=-1) + 1):
        here = [(at, token, log_p) for step, at, token, log_p in rows if step == k]
        revealed = {at: (token, log_p) for at, token, log_p in here if token >= 0}
        again = [at for at, token, _ in here if token < 0]
        yield list(shown), revealed, again
        for at, (token, _) in revealed.items():
            shown[at] = token
        for at in again:
            shown[at] = mask
    assert shown == trace.tokens[row].tolist()


Policy = Callable[[list[int], list[int]], Iterator[tuple[int, int, float]]]


def joint_law(
    policy: Policy, length: int, vocab: int
) -> dict[tuple[tuple[int, ...], tuple[int, ...]], float]:
    """The probability of every (order, tokens) of a sampler that decodes one position a step.

    policy: what is shown and what is masked -> (position, token, probability) of everything that
    may be revealed next.
    """
    out = {
        (order, tokens): 0.0
        for order in permutations(range(length))
        for tokens in product(range(vocab), repeat=length)
    }

    def walk(shown: list[int], order: tuple[int, ...], p: float) -> None:
        masked = [at for at in range(length) if at not in order]
        if not masked:
            out[order, tuple(shown)] += p
            return
        for at, token, q in policy(shown, masked):
            if q > 0:
                walk([token if i == at else x for i, x in enumerate(shown)], (*order, at), p * q)

    walk([vocab] * length, (), 1.0)
    assert abs(sum(out.values()) - 1) < 1e-9
    return out


def fit(trace: Trace, law: dict) -> float:
    """The p-value of a G test of the trace's orders and tokens; outcomes expected less than five
    times count as one.
    """
    seen = dict.fromkeys(law, 0)
    for order, tokens in zip(trace.order.tolist(), trace.tokens.tolist(), strict=True):
        seen[tuple(order), tuple(tokens)] += 1
    n = len(trace.tokens)
    rare = [key for key in law if n * law[key] < 5]
    common = [key for key in law if n * law[key] >= 5]
    found = [seen[key] for key in common] + [sum(seen[key] for key in rare)]
    wanted = [n * law[key] for key in common] + [sum(n * law[key] for key in rare)]
    if wanted[-1] < 1e-9:
        assert found.pop() == 0, "an impossible outcome"
        wanted.pop()
    assert len(common) > 8, "the law leaves something to test"
    return float(stats.power_divergence(found, wanted, lambda_="log-likelihood").pvalue)


def softmax(x: dict[int, float]) -> dict[int, float]:
    """Probabilities in proportion to exp(x)."""
    top = max(x.values())
    total = sum(exp(value - top) for value in x.values())
    return {at: exp(value - top) / total for at, value in x.items()}
