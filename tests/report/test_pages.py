"""report.html, compare.html and the metrics of samples.

They show what was computed, and need nothing from outside.
"""

import base64
import io
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from tiny_runs import call

from ordo.data import Addition, StarGraph, SudokuData, TableData, TaskData
from ordo.data.module import Rows
from ordo.report import LABELS, Section, cell, read_record, render, run_page
from ordo.report.page import Folded, Grid, Lines, Picture, Terms, Text
from ordo.runs.build import build_data
from ordo.samplers import Trace
from ordo.training import SampleQuality


class Page(HTMLParser):
    """Links, sources, ids, cells of tables and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.urls, self.ids, self.rows, self.text, self.samples, self._open = [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.urls += [attributes[name] for name in ("src", "href") if name in attributes]
        self.ids += [attributes["id"]] if "id" in attributes else []
        self._open.append((tag, attributes.get("class")))
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tag, kind = self._open[-1] if self._open else ("", None)
        if tag in ("td", "th"):
            self.rows[-1].append(data)
        if kind == "sample":
            self.samples.append(data)
        if tag not in ("style", "script"):
            self.text.append(data)


@pytest.mark.parametrize(
    "name",
    [
        "text/report.html",
        "text/compared_with/report.html",
        "text/compare.html",
        "table/report.html",
        "sudoku/report.html",
    ],
)
def test_needs_nothing_from_outside(runs, name):
    path = runs / name
    page = Page(path.read_text(encoding="utf-8"))
    pictures = {file.read_bytes() for file in (path.parent / "pictures").glob("*.png")}
    shown = 0
    assert len(set(page.ids)) == len(page.ids)
    for url in page.urls:
        if url.startswith("data:image/png;base64,"):
            png = base64.b64decode(url.partition(",")[2])
            assert min(Image.open(io.BytesIO(png)).size) > 300
            shown += 1
            assert name == "text/compare.html" or png in pictures
        elif url.startswith("#"):
            assert url[1:] in page.ids
        elif url != "data:,":
            assert (path.parent / url).is_file(), url
    # Of a fixed law, that of the partner and that of the Sudoku, there are no pictures.
    fixed = "compared_with" in name or "sudoku" in name
    assert shown >= (4 if "compare.html" in name else 5 if fixed else 8)
    assert fixed == ("The order law is fixed" in " ".join(page.text))
    if "compare.html" not in name:
        assert shown == len(pictures) - 2 * fixed, "training draws two of the law in any case"
    assert not re.search(
        r"@import|url\(|fetch\(|XMLHttpRequest|import\(", path.read_text(encoding="utf-8")
    )
    assert path.stat().st_size < 1_500_000


def test_the_numbers_are_those_of_the_report(runs):
    page = Page((runs / "text" / "report.html").read_text())
    own, other = (
        json.loads((runs / "text" / part / "report.json").read_text())
        for part in ("", "compared_with")
    )
    for key, label in (
        ("own_nelbo", "NELBO, own order law"),
        ("mode_exact", "exact -log p, one order"),
    ):
        rows = [row[:3] for row in page.rows]
        assert [
            label,
            cell(other, key, "bits_per_token"),
            cell(own, key, "bits_per_token"),
        ] in rows, "the baseline first"
    for key, label in LABELS.items():  # written out, not by the function that writes the page
        shown = [r["estimates"][key] for r in (other, own)]
        cells = [
            f"{e['nats'] / 8 / math.log(2):.4f} ± {e['standard_error'] / 8 / math.log(2):.4f}"
            for e in shown
        ]
        values = [
            np.load(runs / "text" / part / "report_values.npz")[key]
            for part in ("compared_with", "")
        ]
        better = values[0] - values[1]
        scale = 1 / (8 * math.log(2))  # bits a character of the 8
        error = better.std(ddof=1) / math.sqrt(len(better))
        gain = f"{better.mean() * scale:+.4f} ± {error * scale:.4f}"
        cost = {"mode_exact": "1 pass: 1 order", "importance": "2 passes: 2 orders"}
        assert [label, *cells, gain, cost.get(key, "1 pass")] in page.rows
    assert ["optimiser steps", "4"] in page.rows
    assert ["parameters", f"{own['parameters']:,}"] in page.rows
    drawn = (runs / "text" / "drawn.txt").read_text().splitlines()
    assert page.samples == drawn + own["real_samples"], "the model's, then real ones"
    data = build_data(OmegaConf.load(runs / "text" / "config.yaml"))
    assert len(own["real_samples"]) == 8
    assert set(own["real_samples"]) <= set(data.decode(data.val_set.tokens))
    assert len(drawn) == 8
    assert own["sampled"] == 8
    assert set(own["seconds"]) == {"likelihoods", "scoring many orders", "sampling", "metrics"}


def test_the_page_follows_from_the_folder(runs):
    """A report can be made anew without the model; only the trace, which was drawn, is missing."""
    record = read_record(runs / "text" / "compared_with")
    again, saved = run_page(record)
    first = Page((record.folder / "report.html").read_text())
    assert [url for url in Page(again).urls if url.startswith("data:image")] == [
        u for u in first.urls if u.startswith("data:image")
    ]
    for folder, kind, of in (("pictures", "png", Picture), ("tables", "csv", Grid)):
        there = {path.stem for path in (record.folder / folder).glob(f"*.{kind}")}
        # The pictures of the law that training draws are not shown of a fixed law.
        there -= {"order", "order_over_training"}
        assert {part.name for part in saved if isinstance(part, of)} == there


def test_a_table(runs):
    page = Page((runs / "table" / "report.html").read_text())
    report = json.loads((runs / "table" / "report.json").read_text())
    drawn = pd.read_csv(runs / "table" / "drawn.csv", dtype=str, keep_default_na=False)
    assert len(drawn) == 120
    assert report["sample_rows"] == drawn.head(20).to_numpy().tolist()
    for row in report["sample_rows"]:
        assert row in page.rows, "as they are in the file, < and > included"
    assert any("<y>" in row for row in page.rows)
    quality = report["sample_quality"]["quality"]
    assert ["shape", f"{quality['shape']:.4f}", f"{quality['shape_of_real_rows']:.4f}"] in [
        row[:3] for row in page.rows
    ]
    assert {"marginals", "pair_difference"} <= {
        path.stem for path in (runs / "table" / "pictures").glob("*.png")
    }
    assert report["labels"] == ["age", "city", "gain"]
    first = json.loads(
        re.search(
            r'<script type="application/json" class="data">(.*?)</script>',
            (runs / "table" / "report.html").read_text(),
            re.S,
        )[1]
    )
    assert report["sample_rows"][0][0] in json.dumps(first), (
        "the trace shows the numbers that the file has"
    )

    real = pd.read_csv(runs / "my.csv", dtype=str, keep_default_na=False).to_numpy().tolist()
    assert len(report["real_rows"]) == 20
    for row in report["real_rows"]:
        assert any(row[:2] == other[:2] and float(row[2]) == float(other[2]) for other in real)
        assert row in page.rows


def test_a_table_has_columns_rows_and_cells(runs):
    html = (runs / "table" / "report.html").read_text()
    for part in ("style", "script", "pre"):  # the configuration has names of its own
        html = re.sub(rf"<{part}\b.*?</{part}>", "", html, flags=re.DOTALL)
    told = " ".join(Page(html).text)
    assert "In which order cells are decoded" in told
    assert not re.search(r"\b(position|sequence|token)s?\b", re.sub(r"\S+=\S+", "", told), re.I)


def test_comparison(runs, tmp_path, monkeypatch, capfd):
    output = tmp_path / "side"
    arguments = [runs / "text" / "compared_with", runs / "text", "--output", output]
    # `text` holds both: named twice, each is there once.
    status, out, err = call("ordo compare", *arguments, monkeypatch=monkeypatch, capfd=capfd)
    assert (status, err) == (0, "")
    assert "2 runs" in out
    table = pd.read_csv(output / "compare.csv")
    values = [np.load(runs / "text" / part / "report_values.npz") for part in ("compared_with", "")]
    difference = values[1]["own_nelbo"] - values[0]["own_nelbo"]
    assert table["own_nelbo_difference"].tolist() == pytest.approx([0, difference.mean()])
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    assert table["own_nelbo_difference_standard_error"][1] == pytest.approx(error)
    page = Page((output / "compare.html").read_text())
    assert table["run"].tolist() == ["schedule Linear", "schedule Power"]
    assert "bits per char, gain " in out
    scale = 1 / (8 * math.log(2))  # bits a character of the 8
    gain = f"{-difference.mean() * scale:+.4f} ± {error * scale:.4f}"
    assert any(
        row[:2] == ["schedule Power", "bits per char"] and gain in row for row in page.rows
    ), "the unit of the table above"
    assert gain in out


def test_runs_on_other_data(runs, tmp_path, monkeypatch, capfd):
    """One line, on standard error and on the page; a unit a row; no gain."""
    arguments = [
        runs / "text" / "compared_with",
        runs / "table",
        "--output",
        tmp_path / "side",
        "--labels",
        "chars",
        "rows",
    ]
    status, out, err = call("ordo compare", *arguments, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0
    assert err == (
        "not comparable with chars on val of 'embedded', in bits per char, because their data are "
        "others: rows on val of 'my.csv', in nats per row\n"
    )
    lines = out.splitlines()
    assert re.fullmatch(r"chars: NELBO, own order law [\d.]+ ± [\d.]+ bits per char", lines[0])
    assert re.fullmatch(r"rows: NELBO, own order law [\d.]+ ± [\d.]+ nats per row", lines[1])
    page = Page((tmp_path / "side" / "compare.html").read_text())
    reports = [
        json.loads((runs / part / "report.json").read_text())
        for part in ("text/compared_with", "table")
    ]
    named = (("chars", "bits per char", "bits_per_token"), ("rows", "nats per row", "nats"))
    for (label, unit, key), report in zip(named, reports, strict=True):
        assert [label, unit, *(cell(report, name, key) for name in LABELS)] in [
            row[:6] for row in page.rows
        ]
    assert ["rows", "nats per row", "-", "-", "-", "-"] in page.rows
    assert f"N{err.strip()[1:]}." in " ".join(page.text)
    assert pd.read_csv(tmp_path / "side" / "compare.csv")["comparable"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table"], "only one run"),
        (["nowhere"], "no report.json in or below"),
        (["text", "--labels", "a"], "there are 2 runs"),
        (["text", "--labels", "a", "a"], "there are 2 runs"),
    ],
)
def test_bad_comparisons(runs, tmp_path, monkeypatch, capfd, arguments, message):
    there = [runs / a if not a.startswith("-") and a != "a" else a for a in arguments]
    status, _, err = call(
        "ordo compare",
        *there,
        "--output",
        tmp_path / "side",
        monkeypatch=monkeypatch,
        capfd=capfd,
    )
    assert status != 0
    assert message in err
    assert not (tmp_path / "side").exists()


def test_what_is_shown_is_text():
    bad = "<script>alert(1)</script> & \"'"
    blocks = [
        Text(bad),
        Grid([bad], [[bad]], bad),
        Lines([bad], bad),
        Folded(bad, bad),
        Terms({bad: bad}),
    ]
    page = render(bad, bad, [bad], [Section(bad, blocks), Section("empty")])
    assert "<script>" not in page
    assert "".join(Page(page).text).count(bad) == 16
    assert "empty" not in page


def trace(tokens):
    zeros = torch.zeros_like(tokens)
    return Trace(tokens, zeros, zeros, zeros.double(), zeros, zeros[:, 0])


def test_quality_of_a_task():
    data = TaskData(Addition(1), eval_size=8)
    right, wrong = torch.tensor([1, 2, 0, 3]), torch.tensor([1, 2, 0, 4])
    samples = trace(torch.stack([right] * 90 + [wrong] * 30))
    found = SampleQuality()(samples, Rows(right[None]), data)
    assert found == {"possible": 0.75, "log_prob_of_possible": pytest.approx(-2 * math.log(10))}
    assert SampleQuality()(trace(samples.tokens[:99]), Rows(right[None]), data) == {}


def test_quality_of_sudokus():
    data = SudokuData(box=2, bank=4, eval_size=5, clues=[8, 12])
    data.setup()
    tokens = data.test_set.tokens[torch.arange(120) % 5].clone()
    tokens[3::5, 0] = (tokens[3::5, 0] + 1) % 4  # every puzzle of one kind has a wrong cell
    found = SampleQuality()(trace(tokens), data.test_set, data)
    # One wrong cell breaks its row, its column and its box.
    assert found == {"solved": 0.8, "violated_constraints": pytest.approx(0.2 * 3)}


def test_quality_of_star_graphs():
    data = TaskData(StarGraph(), eval_size=10)
    data.setup()
    tokens = data.test_set.tokens[torch.arange(120) % 10].clone()
    tokens[3::10, -2] = (tokens[3::10, -2] + 1) % 20  # every tenth path has a wrong node
    assert SampleQuality()(trace(tokens), data.test_set, data) == {"sequence_accuracy": 0.9}


def test_quality_of_tables():
    from ordo.metrics import shape, trend

    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=500), "b": random.choice(["u", "v"], 500)})
    data = TableData(frame=frame, bins=8)
    data.setup()
    tokens = data.train_rows(0, 1).tokens[:150].long()
    found = SampleQuality()(trace(tokens), data.test_set, data)
    drawn = data.codec.decode(tokens, seed=0)
    assert found["shape"] == shape(data.frames["train"], drawn, data.codec.kinds)
    assert found["trend"] == trend(data.frames["train"], drawn, data.codec.kinds)
    assert set(found) == {"shape", "trend", "shape_of_real_rows", "trend_of_real_rows"}
