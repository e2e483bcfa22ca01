"""The report of one run or evaluation: a page for newcomers, made of what the folder holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import yaml

from ordo.files import Json
from ordo.report.cost import PASS, cost_in_words
from ordo.report.numbers import LABELS, MEANINGS, QUOTE, cell, unit_name
from ordo.report.order import in_words
from ordo.report.page import (
    Block,
    Folded,
    Grid,
    Link,
    Markup,
    Picture,
    Saved,
    Section,
    Terms,
    Text,
    render,
    saved,
)
from ordo.report.paired import gain, unit_among
from ordo.report.pictures import likelihood_pictures, order_pictures, training_pictures
from ordo.report.record import Record
from ordo.report.samples import SPLITS, shown_samples
from ordo.report.words import Words, words_of

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
    "pass": PASS,
    "denoiser call (NFE)": "One pass of the network. Decoding one token at a time takes as many "
    "passes as there are tokens.",
}
EXPLAINED = {
    "shape": "Agreement of single columns with the training rows, 1 is best.",
    "trend": "Agreement of pairs of columns with the training rows, 1 is best.",
    "possible": "Share of samples that the task allows.",
    "log_prob_of_possible": "Mean log-probability of those under the task's law, nats.",
    "solved": "Share of puzzles solved: no rule is broken, and all clues are kept.",
    "violated_constraints": "Rows, columns and boxes of a puzzle that lack a value: 0 is best.",
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
    say = words_of(report["unit"])
    unit = unit_among(record, others.values())
    name = unit_name(unit, report["unit"])
    if "expected_rank" in record.values:
        out.append(law_in_words(record))
    if "precedence_kept" in report:
        pairs = f"the {len(record.order_edges or ())} pairs of {say.position}s"
        out.append(
            f"An order of the law keeps {report['precedence_kept']:.0%} of {pairs} that the task "
            "suggests; a random order keeps half."
        )
    values = [cell(report, "own_nelbo", unit) + f" {name}"]
    values += [f"{k}: {cell(other.report, 'own_nelbo', unit)}" for k, other in others.items()]
    out.append(
        f"{LABELS['own_nelbo']}: {'; '.join(values)} (mean ± standard error; lower is better)."
    )
    for values in (report.get("sample_quality") or {}).values():
        if "violated_constraints" in values and "solved" in values:
            units = 3 * report["board"]["columns"]
            out.append(
                f"Of {report['sampled']:,} samples {values['solved']:.0%} are solved. A sample "
                f"violates {values['violated_constraints']:.1f} of {units} rows, columns and boxes."
            )
    return out


def law_in_words(record: Record) -> str:
    """A sentence on the order law of a record that has mean ranks."""
    ranks, entropy = record.values["expected_rank"], record.values.get("order_entropy", math.nan)
    words = words_of(record.report["unit"])
    return in_words(ranks, float(entropy), record.order_labels, words)


def order_blocks(record: Record) -> list[Block]:
    """Pictures of the order law, or a sentence where the law is fixed."""
    if record.fixed_law and "expected_rank" in record.values:
        return [
            Text(f"The order law is fixed: training leaves it as it is. {law_in_words(record)}")
        ]
    return list(order_pictures(record))


def likelihoods(record: Record, others: Mapping[str, Record], own_label: str) -> Grid:
    """A row for each likelihood, a column for each model, the baseline first; and the cost.

    Beside a single baseline stands by how much this model is better.
    """
    say = words_of(record.report["unit"])
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
    note = say(f"Mean ± standard error over sequences: {over}. Lower is better.")
    if baseline is not None:
        columns.append("gain")
        better = say("is better, sequence by sequence; above 0 is better.")
        note += f" Gain: by how much {own_label} {better}"
    if "passes" in record.report:
        columns.append(say("cost of a sequence"))
        for row, key in zip(rows, LABELS, strict=True):
            row.append(cost_in_words(record.report, key))
        note += " A pass: " + say(PASS[0].lower() + PASS[1:])
    return Grid(columns, rows, note, "likelihoods")


def quality(report: Json) -> list[Block]:
    """Metrics of samples, where there are any."""
    rows, say = [], words_of(report["unit"])
    for values in (report.get("sample_quality") or {}).values():
        for key, value in values.items():
            if key.partition("_of_real")[1]:
                continue
            real = next((values[k] for k in values if k.startswith(f"{key}_of_real")), None)
            words = EXPLAINED.get(key, "")
            if "gram_divergence" in key:
                words = f"Divergence of {key[0]}-grams from real ones, nats: 0 is best."
            beside = "" if real is None else f"{real:.4f}"
            rows.append([key.replace("_", " "), f"{value:.4f}", beside, say(words)])
    if not rows:
        return []
    columns, note = ["metric", "samples"], f"Over {report.get('sampled'):,} samples."
    if any(row[2] for row in rows):
        columns.append(say("real sequences"))
        note += say(" Real sequences beside other real ones show how good the figure can get.")
    else:
        rows = [[name, value, words] for name, value, _, words in rows]
    return [Grid([*columns, "what it says"], rows, note, "metrics_of_samples")]


def in_line(value: object) -> str:
    """A value of the data's description: numbers with separators, parts by name."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {in_line(part)}" for name, part in value.items())
    if value is None:
        return "drawn afresh"
    return f"{value:,}" if isinstance(value, int) else str(value)


def typed(command: list[str]) -> str:
    """A command of ``provenance.json`` as it is typed."""
    return " ".join(command if command[0] == "ordo" else ["python", *command])


def about(record: Record) -> list[Block]:
    """Times, data, versions, configuration: all that a reader needs to run the training again."""
    report, provenance = record.report, record.provenance
    say = words_of(report["unit"])
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
        [say(f"data: {key.replace('_', ' ')}"), in_line(data[key])]
        for key in kept
        if data.get(key) is not None
    ]
    if provenance:
        evaluated = report.get("provenance", provenance)["command"]
        if provenance["command"]:
            facts.append(["command", typed(provenance["command"])])
        if evaluated and evaluated != provenance["command"]:
            facts.append(["command of this report", typed(evaluated)])
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
    """Metrics and pictures of samples, the trace, and the first samples beside real sequences."""
    blocks: list[Block] = [*quality(report), *more]
    shown = shown_samples(report)
    if trace is not None:
        blocks.append(Markup(trace))
    if shown:
        say = words_of(report["unit"])
        above = "" if trace is None else "; the trace above is of these"
        blocks += [Text(say(f"The first sequences that were drawn{above}.")), *shown]
    return blocks


def in_calls(report: Json) -> list[Block]:
    """A line on likelihoods of K denoiser calls; nothing where a call decodes one token."""
    calls = report["settings"].get("calls")
    if calls is None:
        return []
    return [
        Text(
            f"All four are of decoding in at most {calls} calls of the network. Tokens of one call "
            "are independent given those of earlier calls. Random orders stand for steps that are "
            "equally probable for every position, the one order for the most probable step of "
            "every position."
        )
    ]


def run_page(
    record: Record,
    *,
    others: Mapping[str, Record] | None = None,
    own_label: str = "model",
    more: Sequence[Picture] = (),
    trace: str | None = None,
    links: Sequence[Link] = (),
    title: str | None = None,
) -> tuple[str, list[Saved]]:
    """The page, and what is saved beside it: pictures, and tables that have a name.

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
    say = words_of(report["unit"])
    meanings = Terms({LABELS[key]: say(words) for key, words in MEANINGS.items()})
    table = likelihoods(record, others, own_label)
    parts = [
        Section(
            "How likely the data are",
            [table, *in_calls(report), Text(QUOTE), meanings, *links, first],
        ),
        Section(say("In which order tokens are decoded"), order_blocks(record)),
        Section("Samples", samples(report, more, trace)),
        Section("Where the loss is", list(losses)),
        Section("Training", list(training_pictures(record))),
        Section("The run", about(record)),
        Section("Words", [glossary(say)]),
    ]
    title = f"{title or record.name}: report"
    return render(title, subtitle, summary(record, others), parts), saved(parts)


def glossary(say: Words) -> Terms:
    """What the words of a page mean, with the nouns of its data."""
    return Terms({say(word): say(meaning) for word, meaning in WORDS.items()})
