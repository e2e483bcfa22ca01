"""Pages about runs: what a run left in its folder, as one HTML file a run or a comparison."""

from ordo.report.numbers import LABELS, UNITS, cell, unit_of
from ordo.report.page import Picture, Section, render
from ordo.report.record import Record, read_record
from ordo.report.run_page import run_page
from ordo.report.saving import save_page

__all__ = [
    "LABELS",
    "UNITS",
    "Picture",
    "Record",
    "Section",
    "cell",
    "read_record",
    "render",
    "run_page",
    "save_page",
    "unit_of",
]
