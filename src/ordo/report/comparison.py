"""Runs side by side: settings that differ, likelihoods, paired differences, curves, samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ordo import plots
from ordo.report.numbers import LABELS, MEANINGS, QUOTE, cell, unit_name
from ordo.report.page import (
    Block,
    Grid,
    Link,
    Picture,
    Saved,
    Section,
    Terms,
    Text,
    render,
    saved,
)
from ordo.report.paired import comparable, gain, not_comparable, paired, unit_among
from ordo.report.pictures import order_pictures, told
from ordo.report.record import Record, curve
from ordo.report.run_page import glossary, law_in_words
from ordo.report.samples import shown_samples
from ordo.report.settings import differing, flat, setting_text, short_names
from ordo.report.words import Words, words_of

__all__ = ["comparison_page", "labels", "paired"]
MOST_DRAWN = 8  # runs with pictures and samples of their own: nobody reads more side by side
LABEL_CHARACTERS = 48
MOST_SAMPLES = 4  # of a run
COMPARED = ("schedule", "order")  # pictures of the order law that stand side by side


def labels(records: list[Record]) -> list[str]:
    """A short name for every run, no two alike: by the settings that differ.

    Where these make long names, as few as tell the runs apart, and others as far as there is room:
    first the parts of another class. Runs of one and the same settings have their folders' names
    too.
    """
    settings = [flat(record.config, str(record.config.get("output", ""))) for record in records]
    keys = short_names(differing(settings))
    cells = {key: [setting_text(key, run.get(key)) for run in settings] for key in keys}

    def names(some: Iterable[str]) -> list[str]:
        used = list(some)
        return [
            ", ".join(f"{keys[key]} {cells[key][i]}" for key in used) for i in range(len(records))
        ]

    whole = names(keys)
    if max(map(len, whole)) > LABEL_CHARACTERS:
        chosen: list[str] = []
        while len(set(names(chosen))) < len(set(whole)):
            left = [key for key in keys if key not in chosen]
            chosen.append(max(left, key=lambda key: len(set(names([*chosen, key])))))
        for key in sorted(keys, key=lambda key: not key.endswith("_target_")):
            if key not in chosen and max(map(len, names([*chosen, key]))) <= LABEL_CHARACTERS:
                chosen.append(key)
        whole = names(key for key in keys if key in chosen)
    if len(set(whole)) == len(whole) and "" not in whole:
        return whole
    apart = [
        f"{name} ({folder})" if name and whole.count(name) > 1 else name or folder
        for name, folder in zip(whole, _short_folders(records), strict=True)
    ]
    return apart if len(set(apart)) == len(apart) else [str(record.folder) for record in records]


def _short_folders(records: list[Record]) -> list[str]:
    """The folders without the parts that all have in common."""
    parts = [str(record.folder).split("/") for record in records]
    same, shortest = 0, min(map(len, parts))
    while same + 1 < shortest and len({tuple(p[: same + 1]) for p in parts}) == 1:
        same += 1
    return ["/".join(p[same:]) for p in parts]


def likelihoods(runs: Mapping[str, Record]) -> list[Block]:
    """The likelihoods of every run in its unit, and by how much it is better than the first run."""
    first, *rest = runs
    say = common_words(runs)
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
    note = say("Mean ± standard error over sequences; lower is better.")
    blocks: list[Block] = [Grid(columns, rows, note, "likelihoods"), Text(QUOTE)]
    gains = [
        [n, words[n], *(gain(runs[first], runs[n], key, units[n]) for key in LABELS)] for n in rest
    ]
    if gains:
        note = f"By how much a run is better than {first}" + say(
            ", sequence by sequence: above 0 is better, below 0 worse. The error is that of the "
            "paired difference, usually far smaller than those above. A dash: scored on other "
            "sequences."
        )
        columns = [f"gain over {first}", "unit", *LABELS.values()]
        blocks.append(Grid(columns, gains, note, "gains"))
    blocks.append(Terms({LABELS[key]: say(meaning) for key, meaning in MEANINGS.items()}))
    return blocks


def common_words(runs: Mapping[str, Record]) -> Words:
    """The nouns of the runs' data, or the general ones where runs have different data."""
    units = {r.report["unit"] for r in runs.values()}
    return words_of(units.pop()) if len(units) == 1 else Words()


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
    return [told(picture, common_words(runs)) for picture in out]


def comparison_page(
    runs: Mapping[str, Record], links: Mapping[str, str] | None = None
) -> tuple[str, list[Saved]]:
    """The page, and what is saved beside it: pictures, and tables that have a name.

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
        if r.fixed_law:
            words[-1] += " Training leaves this order law as it is: there are no pictures of it."
        for picture in order_pictures(r):
            if picture.name in COMPARED:
                named = {"name": f"{picture.name}_{i}", "caption": f"{label}: {picture.caption}"}
                pictures.append(replace(picture, **named))
    samples: list[Block] = []
    base = next(iter(runs.values()))
    for label, r in drawn.items():
        new = r is base or not comparable(base, r)  # real sequences that do not stand here yet
        if found := shown_samples(r.report, MOST_SAMPLES, real=new):
            samples += [Text(label), *found]
    note = f"Pictures of the first {MOST_DRAWN} of {len(runs)} runs."
    own = [Link(f"The report on {label}", to) for label, to in (links or {}).items()]
    parts = [
        Section(
            "Settings that differ",
            [Grid(["run", *short_names(names).values(), "folder"], rows, name="settings"), *own],
        ),
        Section("Likelihoods", likelihoods(runs)),
        Section("Curves", list(curves(drawn))),
        Section(
            "Schedules and orders", [Text(note), *pictures] if len(runs) > MOST_DRAWN else pictures
        ),
        Section("Samples", samples),
        Section("Words", [glossary(common_words(runs))]),
    ]
    title = f"{len(runs)} runs side by side"
    subtitle = "Masked diffusion models: likelihoods, curves, orders of decoding."
    return render(title, subtitle, words, parts), saved(parts)
