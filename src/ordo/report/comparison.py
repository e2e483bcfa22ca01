"""Runs side by side: settings that differ, likelihoods, paired differences, curves, samples."""

from __future__ import annotations

from collections.abc import Mapping

from ordo import plots
from ordo.report.numbers import LABELS, MEANINGS, cell, unit_name
from ordo.report.page import Block, Grid, Lines, Link, Picture, Section, Terms, Text, render
from ordo.report.paired import gain, not_comparable, paired, unit_among
from ordo.report.record import Record, curve
from ordo.report.run_page import WORDS, law_in_words
from ordo.report.settings import differing, flat, setting_text

__all__ = ["comparison_page", "labels", "paired"]
MOST_DRAWN = 8  # runs with pictures and samples of their own: nobody reads more side by side
LABEL_CHARACTERS = 48


def labels(records: list[Record]) -> list[str]:
    """A short name for every run, no two alike: the settings that differ, or else the folders."""
    settings = [flat(record.config, str(record.config.get("output", ""))) for record in records]
    keys = {key: key.removesuffix("._target_").rpartition(".")[2] for key in differing(settings)}
    names = [
        ", ".join(f"{short} {setting_text(key, s.get(key))}" for key, short in keys.items())
        for s in settings
    ]
    folders = [str(record.folder) for record in records]
    if len(set(names)) < len(names) or max(map(len, names)) > LABEL_CHARACTERS or "" in names:
        parts = [folder.split("/") for folder in folders]
        same, shortest = 0, min(map(len, parts))
        while same + 1 < shortest and len({tuple(p[: same + 1]) for p in parts}) == 1:
            same += 1
        names = ["/".join(p[same:]) for p in parts]
    return names if len(set(names)) == len(names) else folders


def likelihoods(runs: Mapping[str, Record]) -> list[Block]:
    """The likelihoods of every run in its unit, and by how much it is better than the first run."""
    first, *rest = runs
    units = {name: unit_among(r, runs.values()) for name, r in runs.items()}
    words = {name: unit_name(units[name], r.report["unit"]) for name, r in runs.items()}
    rows = []
    for name, r in runs.items():
        cells = [cell(r.report, key, units[name]) for key in LABELS]
        counts = (r.report.get(key) for key in ("parameters", "steps"))
        cells += ["-" if count is None else f"{count:,}" for count in counts]
        seconds = f"{r.report['fit_seconds']:.0f}" if "fit_seconds" in r.report else "-"
        rows.append([name, words[name], *cells, seconds])
    columns = ["run", "unit", *LABELS.values(), "parameters", "steps", "seconds of training"]
    blocks: list[Block] = [
        Grid(columns, rows, "Mean ± standard error over sequences; lower is better.")
    ]
    gains = [
        [n, words[n], *(gain(runs[first], runs[n], key, units[n]) for key in LABELS)] for n in rest
    ]
    if gains:
        note = (
            f"By how much a run is better than {first}, sequence by sequence: above 0 is better, "
            "below 0 worse. The error is that of the paired difference, usually far smaller than "
            "those above. A dash: scored on other sequences."
        )
        blocks.append(Grid([f"gain over {first}", "unit", *LABELS.values()], gains, note))
    blocks.append(Terms({LABELS[key]: meaning for key, meaning in MEANINGS.items()}))
    return blocks


def curves(runs: Mapping[str, Record]) -> list[Picture]:
    """Validation against training and loss against number revealed, all runs in each."""
    out = []
    series = {name: curve(r.metrics, "val/bits_per_token") for name, r in runs.items()}
    series = {name: pair for name, pair in series.items() if len(pair[0])}
    if series:
        ylabel = "validation NELBO, own law (bits per token)"
        figure = plots.training_curves(series, "optimiser steps", ylabel)
        caption = "Validation during training, every run under its own order law."
        out.append(Picture("validation", figure, caption))
    pairs = {name: r.report["loss_by_revealed"]["own"] for name, r in runs.items()}
    figure = plots.loss_by_revealed(
        {name: (c["nats"], c["standard_error"]) for name, c in pairs.items()}
    )
    caption = "Loss of the next token by the number that stand already, in every run's own orders."
    out.append(Picture("loss_by_revealed", figure, caption))
    return out


def comparison_page(
    runs: Mapping[str, Record], links: Mapping[str, str] | None = None
) -> tuple[str, list[Picture]]:
    """The page and its pictures.

    Args:
        runs: label -> record, see ``labels``. The first run is the baseline of all others.
        links: label -> where the run's own report is.

    Raises ValueError for fewer than two runs.
    """
    if len(runs) < 2:
        raise ValueError("a comparison needs at least two runs")
    settings = [flat(r.config, str(r.config.get("output", ""))) for r in runs.values()]
    names = differing(settings)
    rows = [
        [label, *(setting_text(n, s.get(n)) for n in names), str(r.folder)]
        for (label, r), s in zip(runs.items(), settings, strict=True)
    ]
    drawn = dict(list(runs.items())[:MOST_DRAWN])
    pictures: list[Block] = []
    words = [line[0].upper() + line[1:] + "."] if (line := not_comparable(runs)) else []
    for i, (label, r) in enumerate(drawn.items()):
        unit = unit_among(r, runs.values())
        value = f"{cell(r.report, 'own_nelbo', unit)} {unit_name(unit, r.report['unit'])}"
        words.append(f"{label}: {LABELS['own_nelbo']} {value}.")
        if "expected_rank" in r.values:
            words[-1] += " " + law_in_words(r)
        if "alpha" in r.values:
            figure = plots.schedule_curves(r.values["t"], r.values["alpha"], r.order_labels)
            caption = f"{label}: noise schedules. The uppermost curve is decoded first; if all "
            caption += "coincide, every order is equally probable."
            pictures.append(Picture(f"schedule_{i}", figure, caption))
        if "orders" in r.values:
            figure = plots.order_heatmap(plots.rank_probability(r.values["orders"]), r.order_labels)
            caption = f"{label}: probability of every rank for every position."
            pictures.append(Picture(f"order_{i}", figure, caption))
    samples: list[Block] = []
    for label, r in drawn.items():
        if r.report.get("samples"):
            samples += [Text(label), Lines(r.report["samples"][:4])]
        if r.report.get("sample_rows"):
            samples += [Text(label), Grid(r.report["sample_columns"], r.report["sample_rows"][:4])]
    note = f"Pictures of the first {MOST_DRAWN} of {len(runs)} runs."
    own = [Link(f"The report on {label}", to) for label, to in (links or {}).items()]
    parts = [
        Section(
            "Settings that differ",
            [Grid(["run", *(n.removesuffix("._target_") for n in names), "folder"], rows), *own],
        ),
        Section("Likelihoods", likelihoods(runs)),
        Section("Curves", list(curves(drawn))),
        Section(
            "Schedules and orders", [Text(note), *pictures] if len(runs) > MOST_DRAWN else pictures
        ),
        Section("Samples", samples),
        Section("Words", [Terms(WORDS)]),
    ]
    found = [block for part in parts for block in part.blocks if isinstance(block, Picture)]
    title = f"{len(runs)} runs side by side"
    subtitle = "Masked diffusion models: likelihoods, curves, orders of decoding."
    return render(title, subtitle, words, parts), found
