"""What samples are worth, beside real sequences: the metrics of a report. One of your own is a callable as ``SampleQuality`` is."""

from __future__ import annotations

import sys

import torch

from ordo.data import SequenceData, SmilesData, SudokuData, TableData, TaskData
from ordo.data.module import Rows
from ordo.metrics import (
    canonical,
    has_rdkit,
    molecule_quality,
    ngram_divergence,
    shape,
    string_quality,
    trend,
    unigram_entropy,
)
from ordo.samplers import Trace

FEWEST = 100  # samples below which shares and divergences say nothing


class SampleQuality:
    """The cheap metrics that fit the data.

    Tables: Shape and Trend of ``ordo.metrics`` against the training rows (1 is best), and those of the split's own rows. Tasks with a
    known law: share of samples that the law can produce, mean log p of those under the law (nats); where all follows from what is
    given, as in star graphs, share of sequences that are right throughout. Sudokus: share solved. Other sequences: n-gram divergence
    (Jensen-Shannon, nats, 0 is best) from the split, beside that of as many real sequences, and entropy of single tokens (nats); not
    for documents, whose lengths differ. Nothing for fewer than 100 samples, or real sequences on either side.
    """

    def __call__(self, samples: Trace, real: Rows, data: SequenceData) -> dict[str, float]:
        """samples: on the CPU. real: the rows of the split, of which the first gave the samples what was given. Returns name -> value."""
        tokens, n = samples.tokens, len(samples.tokens)
        if n < FEWEST:
            return {}
        if isinstance(data, TableData):
            kinds, train = data.codec.kinds, data.frames["train"]
            drawn, held_out = (
                data.codec.decode(rows, seed=0) for rows in (tokens, real.tokens[:n].long())
            )
            out = {}
            for name, measure in (("shape", shape), ("trend", trend))[
                : len(kinds)
            ]:  # Trend is of pairs of columns
                out[name] = measure(train, drawn, kinds)
                out[f"{name}_of_real_rows"] = measure(train, held_out, kinds)
            return out
        if isinstance(data, TaskData) and real.known is not None and data.entropy == 0:
            right = tokens == real.tokens[torch.arange(n) % len(real)]
            return {"sequence_accuracy": right.all(1).double().mean().item()}
        if isinstance(data, TaskData):
            log_prob = data.task.log_prob(tokens)
            possible = log_prob > -torch.inf
            out = {"possible": possible.double().mean().item()}
            return out | (
                {"log_prob_of_possible": log_prob[possible].mean().item()}
                if bool(possible.any())
                else {}
            )
        if isinstance(data, SudokuData):
            right = tokens == real.tokens[torch.arange(n) % len(real)]
            return {"solved": right.all(1).double().mean().item()}
        if real.lengths is not None or real.known is not None:
            return {}
        half = min(n, len(real) // 2)
        if half < FEWEST:
            return {}
        whole = real.tokens[: 2 * half].long()
        out = {}
        for size in range(1, min(4, data.length) + 1):
            out[f"{size}gram_divergence"] = ngram_divergence(tokens[:half], whole[:half], size)
            out[f"{size}gram_divergence_of_real"] = ngram_divergence(
                whole[half : 2 * half], whole[:half], size
            )
        return out | {
            "unigram_entropy": unigram_entropy(tokens[:half]),
            "unigram_entropy_of_real": unigram_entropy(whole[:half]),
        }


class MoleculeQuality:
    """Of SMILES: shares of valid samples, of different molecules among them, and of new ones among those (``molecule_quality``), and of
    different and new strings (``string_quality``); new is what is not in the training split. Without RDKit of strings only, and a line on
    standard error. Nothing for fewer than 100 samples, or other data.
    """

    def __call__(self, samples: Trace, real: Rows, data: SequenceData) -> dict[str, float]:
        """As ``SampleQuality``."""
        if not isinstance(data, SmilesData) or len(samples.tokens) < FEWEST:
            return {}
        strings, train = data.decode(samples.tokens), data.smiles["train"]
        out = string_quality(strings, set(train))
        if not has_rdkit():
            print(
                "validity, uniqueness and novelty of molecules need RDKit: pip install -e '.[molecules]'",
                file=sys.stderr,
            )
            return out
        return (
            molecule_quality(
                strings, {molecule for molecule in canonical(train) if molecule is not None}
            )
            | out
        )
