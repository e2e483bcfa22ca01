"""The report of one run or evaluation: a page for newcomers, made of what the folder holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from ordo.files import Json, write_whole
from ordo.report.numbers import LABELS, MEANINGS, cell, unit_name
from ordo.report.order import in_words
from ordo.report.page import (
    Block,
    Folded,
    Grid,
    Lines,
    Link,
    Markup,
    Picture,
    Section,
    Terms,
    Text,
    render,
)
from ordo.report.paired import gain, unit_among
from ordo.report.pictures import likelihood_pictures, order_pictures, training_pictures
from ordo.report.record import Record

WORDS = {
    "order of decoding": "A masked diffusion model starts from masks alone and reveals its tokens "
    "one after another; which position comes next is drawn from the order law.",
    "order law": "The probability of every order. ordo can learn the law: each position has a "
    "noise schedule, and the schedules decide who comes first.",
    "mode order": "The most probable order under the law.",
    "order of mean ranks": "Positions by their mean rank under the law. It stands in for the most "
    "probable order where that order has no closed form: for schedules whose law is not of "
    "Plackett-Luce, and for laws that depend on the tokens, averaged over sequences.",
    "-log p, nats, bits": "How surprising data are to the model: the lower, the better the model "
    "knows the data. 1 bit is .693 nats.",
    "NELBO": "Negative evidence lower bound: the mean over orders of -log p in that order. An "
    "upper bound on -log p of the model that draws its order from the law.",
    "loss of a token": "-log of the probability that the denoiser gave the true token, knowing the "
    "tokens revealed before.",
    "denoiser call (NFE)": "One pass of the network. Decoding one token at a time takes as many "
    "passes as there are tokens.",
}
SPLITS = {"val": "validation", "test": "test"}
EXPLAINED = {
    "shape": "Agreement of single columns with the training rows, 1 is best.",
    "trend": "Agreement of pairs of columns with the training rows, 1 is best.",
    "possible": "Share of samples that the task allows.",
    "log_prob_of_possible": "Mean log-probability of those under the task's law, nats.",
    "solved": "Share of puzzles solved.",
    "valid": "Share of molecules that RDKit can read and sanitise.",
    "unique": "Share of different molecules among the valid ones.",
    "novel": "Share of these that are not training molecules.",
    "valid_unique_novel": "New molecules a sample.",
    "distinct_strings": "Share of different strings, molecules or not.",
    "strings_not_in_train": "Share of these that are not among the training strings.",
    "sequence_accuracy": "Share of sequences that are right throughout.",
    "unigram_entropy": "Entropy of single tokens, nats: low where samples repeat themselves.",
}


def duration(seconds: float) -> str:
    """Such as ``4.2 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def summary(record: Record, others: Mapping[str, Record]) -> list[str]:
    """What a reader should know first, in sentences."""
    report, out = record.report, []
    unit = unit_among(record, others.values())
    name = unit_name(unit, report["unit"])
    if "expected_rank" in record.values:
        out.append(law_in_words(record))
    if "precedence_kept" in report:
        pairs = f"the {len(record.order_edges or ())} pairs of positions"
        out.append(
            f"An order of the law keeps {report['precedence_kept']:.0%} of {pairs} that the task "
            "suggests; a random order keeps half."
        )
    values = [cell(report, "own_nelbo", unit) + f" {name}"]
    values += [f"{k}: {cell(other.report, 'own_nelbo', unit)}" for k, other in others.items()]
    out.append(
        f"{LABELS['own_nelbo']}: {'; '.join(values)} (mean ± standard error; lower is better)."
    )
    return out


def law_in_words(record: Record) -> str:
    """A sentence on the order law of a record that has mean ranks."""
    ranks, entropy = record.values["expected_rank"], record.values.get("order_entropy", math.nan)
    return in_words(ranks, float(entropy), record.order_labels, record.report["unit"] == "column")


def likelihoods(record: Record, others: Mapping[str, Record], own_label: str) -> Grid:
    """A row for each likelihood, a column for each model, the baseline first.

    Beside a single baseline stands by how much this model is better.
    """
    models = {**others, own_label: record}
    unit = unit_among(record, others.values())
    entry = record.report["estimates"]
    rows = [[LABELS[key], *(cell(r.report, key, unit) for r in models.values())] for key in LABELS]
    columns = [unit_name(unit, record.report["unit"]), *models]
    baseline = next(iter(others.values())) if len(others) == 1 else None
    if baseline is not None:
        for row, key in zip(rows, LABELS, strict=True):
            row.append(gain(baseline, record, key, unit))
    nelbos, exact = (entry[key]["sequences"] for key in ("own_nelbo", "mode_exact"))
    over = f"{nelbos}" if nelbos == exact else f"{nelbos} for the NELBOs, {exact} for the others"
    note = (
        f"Mean ± standard error over sequences: {over}. Lower is better. Compare models by the "
        "same row, and not by one row alone: a sharper order law lowers the NELBO under the "
        "own law without making the model better."
    )
    if baseline is not None:
        columns.append("gain")
        note += (
            f" Gain: by how much {own_label} is better, sequence by sequence; above 0 is better."
        )
    return Grid(columns, rows, note)


def quality(report: Json) -> list[Block]:
    """Metrics of samples, where there are any."""
    rows = []
    for values in (report.get("sample_quality") or {}).values():
        for key, value in values.items():
            if key.partition("_of_real")[1]:
                continue
            real = next((values[k] for k in values if k.startswith(f"{key}_of_real")), None)
            words = EXPLAINED.get(key, "")
            if "gram_divergence" in key:
                words = f"Divergence of {key[0]}-grams from real ones, nats: 0 is best."
            beside = "" if real is None else f"{real:.4f}"
            rows.append([key.replace("_", " "), f"{value:.4f}", beside, words])
    if not rows:
        return []
    note = (
        f"Over {report.get('sampled')} samples. Real sequences beside other real ones show how "
        "good the figure can get."
    )
    return [Grid(["metric", "samples", "real sequences", "what it says"], rows, note)]


def in_line(value: object) -> str:
    """A value of the data's description: numbers with separators, parts by name."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {in_line(part)}" for name, part in value.items())
    if value is None:
        return "drawn afresh"
    return f"{value:,}" if isinstance(value, int) else str(value)


def about(record: Record) -> list[Block]:
    """Times, data, versions, configuration: all that a reader needs to run the training again."""
    report, provenance = record.report, record.provenance
    seconds = {"training": report.get("fit_seconds")} | report.get("seconds", {})
    facts = [
        [f"time: {name}", duration(value)]
        for name, value in seconds.items()
        if value is not None and value >= 0.05
    ]
    for key, words in (("parameters", "parameters"), ("steps", "optimiser steps")):
        if report.get(key) is not None:
            facts.append([words, f"{report[key]:,}"])
    data = provenance.get("data", {})
    kept = ("name", "source", "md5", "length", "vocab_size", "sequences", "tokenizer", "seed")
    facts += [
        [f"data: {key.replace('_', ' ')}", in_line(data[key])]
        for key in kept
        if data.get(key) is not None
    ]
    if provenance:
        facts.append(["command", " ".join(["python", *provenance["command"]])])
        evaluated = report.get("provenance", provenance)["command"]
        if evaluated != provenance["command"]:
            facts.append(["command of this report", " ".join(["python", *evaluated])])
        facts += [
            ["code", str(provenance["git_commit"])],
            ["device", f"{provenance['device']} (× {provenance.get('devices', 1)})"],
        ]
        packages = {"python": provenance["python"], **provenance["packages"]}
        versions = [f"{name} {version}" for name, version in packages.items() if version]
        facts.append(["versions", ", ".join(versions)])
    blocks: list[Block] = [Grid(["", ""], facts)]
    if data:
        blocks.append(Folded("Everything known of the data", json.dumps(data, indent=1)))
    if record.config:
        text = yaml.safe_dump(record.config, sort_keys=False, allow_unicode=True)
        blocks.append(Folded("The whole configuration", text))
    return blocks


def samples(report: Json, more: Sequence[Picture], trace: str | None) -> list[Block]:
    """Metrics and pictures of samples, the trace, and the first samples themselves."""
    lines, rows = report.get("samples") or [], report.get("sample_rows") or []
    first, drawn = len(lines) + len(rows), report.get("sampled", 0)
    note = ""
    if drawn > first:
        note = f"The first {first} of {drawn}; all are in {report['samples_file']}."
    blocks: list[Block] = [*quality(report), *more]
    if trace is not None:
        blocks.append(Markup(trace))
    if lines:
        above = "" if trace is None else "; the trace above is of these"
        blocks += [Text(f"The first sequences that were drawn{above}."), Lines(lines, note)]
    if rows:
        blocks.append(Grid(report["sample_columns"], rows, note))
    return blocks


def run_page(
    record: Record,
    *,
    others: Mapping[str, Record] | None = None,
    own_label: str = "model",
    more: Sequence[Picture] = (),
    trace: str | None = None,
    links: Sequence[Link] = (),
    title: str | None = None,
) -> tuple[str, list[Picture]]:
    """The page, and its pictures.

    Args:
        others: label -> record, of runs whose likelihoods stand beside those of this run.
        own_label: the name of this run beside others.
        more: pictures of the samples.
        trace: HTML of ``ordo.plots.trace_fragment``.
        links: to other pages.
        title: None: the name of the run.
    """
    report, others = record.report, others or {}
    data = (record.provenance.get("data") or {}).get("name", "")
    split = SPLITS.get(report.get("split", ""), "")
    subtitle = (
        "Masked diffusion model with a learned or fixed order of decoding, on the "
        f"{split} split of the data “{data}”."
    )
    first, *losses = likelihood_pictures(record)
    meanings = Terms({LABELS[key]: words for key, words in MEANINGS.items()})
    table = likelihoods(record, others, own_label)
    parts = [
        Section("How likely the data are", [table, meanings, *links, first]),
        Section("In which order tokens are decoded", list(order_pictures(record))),
        Section("Samples", samples(report, more, trace)),
        Section("Where the loss is", list(losses)),
        Section("Training", list(training_pictures(record))),
        Section("The run", about(record)),
        Section("Words", [Terms(WORDS)]),
    ]
    pictures = [block for part in parts for block in part.blocks if isinstance(block, Picture)]
    title = f"{title or record.name}: report"
    return render(title, subtitle, summary(record, others), parts), pictures


def save_page(
    page: str, pictures: Sequence[Picture], folder: Path, name: str = "report.html"
) -> None:
    """The page as a file, and its pictures once more as PNGs in ``pictures/``."""
    for picture in pictures:
        path = folder / "pictures" / f"{picture.name}.png"
        write_whole(path, lambda partial, png=picture.png: partial.write_bytes(png))
    write_whole(folder / name, lambda path: path.write_text(page, encoding="utf-8"))
