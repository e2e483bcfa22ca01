"""What samples are worth beside real sequences: the metrics of a report.

A metric of your own is a callable with the arguments of ``SampleQuality``.
"""

from __future__ import annotations

import sys

import torch

from ordo.data import SequenceData, SmilesData, SudokuData, TableData, TaskData
from ordo.data.module import Rows
from ordo.errors import install
from ordo.metrics import (
    canonical,
    has_rdkit,
    molecule_quality,
    ngram_divergence,
    shape,
    string_quality,
    sudoku_quality,
    trend,
    unigram_entropy,
)
from ordo.samplers import Trace

FEWEST = 100  # samples below which shares and divergences say nothing


class SampleQuality:
    """The cheap metrics that fit the data.

    * Tables: Shape and Trend of ``ordo.metrics`` against the training rows, 1 is best; beside them
      the Shape and Trend of the split's own rows.
    * Tasks with a known law: the share of samples that the law can produce, and the mean
      log-probability of these under the law, nats. Where all tokens follow from given ones, as in
      star graphs: the share of sequences that are right throughout.
    * Sudokus: the share solved, and how many rows, columns and boxes break a rule.
    * Other sequences: the n-gram divergence from the split (Jensen-Shannon, nats, 0 is best),
      beside that of as many real sequences, and the entropy of single tokens, nats. Documents have
      no such metrics, because their lengths differ.

    There are no metrics for fewer than 100 samples, or fewer than 100 real sequences to compare.
    """

    def __call__(self, samples: Trace, real: Rows, data: SequenceData) -> dict[str, float]:
        """Metrics by name.

        Args:
            samples: on the CPU.
            real: the rows of the split. Sample i had the given tokens of row i, and so on in turn.
        """
        tokens, n = samples.tokens, len(samples.tokens)
        if n < FEWEST:
            return {}
        if isinstance(data, TableData):
            kinds, train = data.codec.kinds, data.frames["train"]
            drawn = data.codec.decode(tokens, seed=0)
            held_out = data.codec.decode(real.tokens[:n].long(), seed=0)
            measures = {"shape": shape}
            if len(kinds) > 1:
                measures["trend"] = trend  # of pairs of columns
            out = {}
            for name, measure in measures.items():
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
            if bool(possible.any()):
                out["log_prob_of_possible"] = log_prob[possible].mean().item()
            return out
        if isinstance(data, SudokuData):
            known = None if real.known is None else real.known[torch.arange(n) % len(real)]
            return sudoku_quality(tokens, data.box, real.tokens[torch.arange(n) % len(real)], known)
        if real.lengths is not None or real.known is not None:
            return {}
        half = min(n, len(real) // 2)
        if half < FEWEST:
            return {}
        whole = real.tokens[: 2 * half].long()
        out = {}
        for size in range(1, min(4, data.length) + 1):
            name = f"{size}gram_divergence"
            out[name] = ngram_divergence(tokens[:half], whole[:half], size)
            out[f"{name}_of_real"] = ngram_divergence(whole[half:], whole[:half], size)
        return out | {
            "unigram_entropy": unigram_entropy(tokens[:half]),
            "unigram_entropy_of_real": unigram_entropy(whole[:half]),
        }


class MoleculeQuality:
    """Metrics of SMILES, the strings of molecules.

    ``molecule_quality`` has the share of valid samples, of different molecules among the valid
    samples, and of new molecules among the different ones. ``string_quality`` has the shares of
    different and new strings. New is what is not in the training split. Without RDKit there are
    metrics of strings only, and a line on standard error. There are no metrics for fewer than 100
    samples, or for other data.
    """

    def __call__(self, samples: Trace, real: Rows, data: SequenceData) -> dict[str, float]:
        """Arguments and result are those of ``SampleQuality``."""
        if not isinstance(data, SmilesData) or len(samples.tokens) < FEWEST:
            return {}
        strings, train = data.decode(samples.tokens), data.smiles["train"]
        out = string_quality(strings, set(train))
        if not has_rdkit():
            missing = "validity, uniqueness and novelty of molecules need RDKit"
            print(f"{missing}: {install('molecules')}", file=sys.stderr)
            return out
        known = {molecule for molecule in canonical(train) if molecule is not None}
        return molecule_quality(strings, known) | out
