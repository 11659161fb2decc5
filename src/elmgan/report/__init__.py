"""What people read of a run: pictures, plots, pages, and the record of how it came about."""

from elmgan.counting.picture import OUTLINE, for_display, outlines
from elmgan.report.contact_sheet import write_contact_sheet
from elmgan.report.overlay import overlay
from elmgan.report.page import facts_of, page
from elmgan.report.plot import MOST_POINTS, Dots, Line, Points, distribution_plot, dot_plot, scatter
from elmgan.report.record import run_record
from elmgan.report.thumbnail import thumbnail

__all__ = [
    "MOST_POINTS",
    "OUTLINE",
    "Dots",
    "Line",
    "Points",
    "distribution_plot",
    "dot_plot",
    "facts_of",
    "for_display",
    "outlines",
    "overlay",
    "page",
    "run_record",
    "scatter",
    "thumbnail",
    "write_contact_sheet",
]
