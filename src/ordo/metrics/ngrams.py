"""Samples of sequences against real ones: n-grams and single tokens."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from torch import Tensor


def ngram_divergence(samples: Tensor, real: Tensor, n: int = 3, by_position: bool = False) -> float:
    """Jensen-Shannon divergence, nats in 0..ln 2, between the n-grams of two sets of sequences.

    Few samples look different by chance: compare with as many real sequences.

    Args:
        samples: (a, length) int64.
        real: (b, length) int64.
        n: tokens of an n-gram.
        by_position: the mean over places of an n-gram, for columns or tasks in which a place has a
            meaning; False, as for text: n-grams of all places are pooled.

    Raises ValueError for shapes that do not fit.
    """
    if (
        samples.ndim != 2
        or real.ndim != 2
        or samples.shape[1] != real.shape[1]
        or not 1 <= n <= samples.shape[1]
    ):
        raise ValueError(
            f"need two sets of sequences of one length of at least n={n}, got "
            f"{tuple(samples.shape)} and {tuple(real.shape)}"
        )
    a, b = (rows.cpu().unfold(1, n, 1).numpy() for rows in (samples, real))  # (rows, places, n)
    if by_position:
        return float(np.mean([_divergence(a[:, i], b[:, i]) for i in range(a.shape[1])]))
    return _divergence(a.reshape(-1, n), b.reshape(-1, n))


def _divergence(a: np.ndarray, b: np.ndarray) -> float:
    both = np.concatenate([a, b])
    base = int(both.max()) + 1
    if (
        base ** both.shape[1] < 2**62
    ):  # as one number each: sorting rows is some twenty times slower
        both = both @ base ** np.arange(both.shape[1], dtype=np.int64)
    _, code = np.unique(both, axis=0, return_inverse=True)
    p, q = (
        np.bincount(code[: len(a)], minlength=code.max() + 1),
        np.bincount(code[len(a) :], minlength=code.max() + 1),
    )
    return float(jensenshannon(p, q) ** 2)


def unigram_entropy(samples: Tensor) -> float:
    """Entropy in nats of single tokens pooled over samples (a, length).

    It is low if a sampler repeats itself.
    """
    return float(entropy(np.bincount(samples.cpu().numpy().ravel())))
