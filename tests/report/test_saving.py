"""Tables of a page as files, the words of a page, and what a likelihood is said to cost."""

import csv
import io

import pytest
import torch
from matplotlib.figure import Figure

from ordo.data.module import Batch
from ordo.denoisers import BidirectionalTransformer, OrderCausalTransformer
from ordo.likelihood.orders import importance_bound, nelbo, order_log_prob
from ordo.order import uniform_law
from ordo.report.cost import passes
from ordo.report.page import Grid
from ordo.report.saving import csv_text, latex_text
from ordo.report.settings import short_names
from ordo.report.words import words_of

TABLE = Grid(
    ["nats & more", "model_1", "gain"],
    [["NELBO, own", "2.5 ± 0.1", "-"], ['a "b" 5%', "3", "+0.25 ± 0.5"]],
)


def test_csv_has_errors_apart():
    rows = list(csv.reader(io.StringIO(csv_text(TABLE))))
    assert rows == [
        ["nats & more", "model_1", "model_1, standard error", "gain", "gain, standard error"],
        ["NELBO, own", "2.5", "0.1", "-", ""],
        ['a "b" 5%', "3", "", "+0.25", "0.5"],
    ]


def test_latex():
    lines = latex_text(TABLE).splitlines()
    assert lines[0] == r"\begin{tabular}{lrr}"
    assert lines[2] == r"nats \& more & model\_1 & gain \\"
    assert lines[4] == r"NELBO, own & 2.5 $\pm$ 0.1 & - \\"
    assert lines[5] == r'a "b" 5\% & 3 & +0.25 $\pm$ 0.5 \\'
    assert lines[-1] == r"\end{tabular}"


def test_nouns():
    table, text = words_of("column"), words_of("char")
    sentence = "Positions of a sequence, its tokens; positional, tokenizer"
    assert text(sentence) == sentence
    assert table(sentence) == "Columns of a row, its cells; positional, tokenizer"
    assert words_of("cell")(sentence) == "Cells of a puzzle, its cells; positional, tokenizer"
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_xlabel("position j")
    axes.set_title("tokens", loc="left")
    axes.set_xticks([0], ["token"])
    table.relabel(figure)
    assert (axes.get_xlabel(), axes.get_title(loc="left")) == ("column j", "cells")
    assert axes.get_xticklabels()[0].get_text() == "token", "a column's own name"


def test_short_names_of_settings():
    names = ["schedule._target_", "denoiser.width", "schedule.width", "seed"]
    told = ["schedule", "denoiser.width", "schedule.width", "seed"]
    assert short_names(names) == dict(zip(names, told, strict=True))


@pytest.mark.parametrize("kind", [OrderCausalTransformer, BidirectionalTransformer])
def test_passes_are_the_rows_that_the_network_reads(kind):
    """Counted in the first layer of the network, sequence by sequence."""
    length, n = 6, 5
    denoiser = kind(vocab_size=3, length=length, width=8, heads=2, layers=1).eval()
    read = []
    layer = next(m for m in denoiser.modules() if isinstance(m, torch.nn.Embedding))
    batch, law = Batch(torch.randint(3, (n, length))), uniform_law(length)
    counted = {
        "own_nelbo": lambda: nelbo(denoiser, law, batch, 4),
        "mode_exact": lambda: order_log_prob(denoiser, batch, law.mode()),
        "importance": lambda: importance_bound(denoiser, law, batch, 3),
    }
    handle = layer.register_forward_hook(lambda module, inputs, output: read.append(len(inputs[0])))
    settings = {"draws": 4, "importance_draws": 3}
    told = passes(settings, length, length, denoiser.order_causal, depends_on_tokens=False)
    for name, score in counted.items():
        read.clear()
        score()
        assert sum(read) == n * told[name], name
    handle.remove()
    assert told["uniform_nelbo"] == told["own_nelbo"]
