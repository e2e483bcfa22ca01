"""A run and its ``compare`` partner: the partner's configuration, and the page of both."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from ordo.data import SequenceData
from ordo.report import read_record, save_page
from ordo.report.comparison import comparison_page
from ordo.report.page import Link
from ordo.runs.checkpoint import find, step_of
from ordo.runs.evaluation import Evaluation, save_report_page
from ordo.runs.resume import run_of

PARTNER = "compared_with"  # the folder of a compare partner, within the run's
Found = tuple[Evaluation, SequenceData]


def comparison(config: DictConfig) -> DictConfig:
    """The configuration of the partner: the run's own with ``compare.changes`` merged over it, in a
    folder within the run's.
    """
    other = config.copy()
    with open_dict(other):
        for key, change in config.compare.changes.items():
            # A part that names its own _target_ replaces; settings merge.
            merges = (
                isinstance(change, DictConfig)
                and "_target_" not in change
                and isinstance(other.get(key), DictConfig)
            )
            other[key] = OmegaConf.merge(other[key], change) if merges else change
        other.compare = None
        other.output = str(Path(config.output) / PARTNER)
        other.resume = config.resume
        if config.resume and config.resume != "auto":
            # The partner of the run that goes on, if that partner had come so far.
            partner = run_of(find(config.resume)) / PARTNER
            other.resume = str(partner) if step_of(partner) is not None else None
        # What a run left there has been cleared, or never had a checkpoint.
        other.overwrite = other.resume is None
    return other


def report_both(config: DictConfig, one: Found, own: str, other: Found) -> None:
    """Writes the reports of a run and of its partner once more, now that both are there, and
    ``compare.html``, which sets the two side by side.

    Args:
        one, other: what was found of the run and of its partner, and on which data.
        own: what the run is called.
    """
    folder, label = Path(config.output), str(config.compare.label)
    partner = folder / PARTNER
    records = {label: read_record(partner), own: read_record(folder)}  # the baseline first
    page, _ = comparison_page(records, {label: "compared_with/report.html", own: "report.html"})
    save_page(page, [], folder, "compare.html")
    links = [
        Link("Both models side by side: curves, schedules, orders, samples", "compare.html"),
        Link(f"The report on {label} alone", "compared_with/report.html"),
    ]
    title, others = f"{config.name}, {own}", {label: records[label]}
    save_report_page(*one, folder, others=others, own_label=own, links=links, title=title)
    back = [
        Link(f"The report on {own}", "../report.html"),
        Link("Both side by side", "../compare.html"),
    ]
    title = f"{config.name}, {label}"
    save_report_page(*other, partner, own_label=label, links=back, title=title)
