"""What people read of a run: pictures, tables, one page that loads nothing, and a record of how it came about."""

from elmgan.reporting.files import Failure, write_table, write_text
from elmgan.reporting.overlay import OUTLINE, for_display, outlines, overlay
from elmgan.reporting.page import facts_of, number_cards, page
from elmgan.reporting.plot import MOST_POINTS, Dots, Line, Points, dot_plot, scatter
from elmgan.reporting.record import run_record
from elmgan.reporting.thumbnail import thumbnail

__all__ = [
    "MOST_POINTS",
    "OUTLINE",
    "Dots",
    "Failure",
    "Line",
    "Points",
    "dot_plot",
    "facts_of",
    "for_display",
    "number_cards",
    "outlines",
    "overlay",
    "page",
    "run_record",
    "scatter",
    "thumbnail",
    "write_table",
    "write_text",
]
