"""What networks learn from: data sets, examples reduced to mask and totals, splits, synthetic cells."""

from elmgan.data.annotations import read_labels, read_truth, reduce_labels
from elmgan.data.append import append_example
from elmgan.data.examples import Example, load_example
from elmgan.data.faults import Tell
from elmgan.data.folder import read_data_set, read_sources
from elmgan.data.layouts import is_data_set, layout_of
from elmgan.data.likeness import group_alike
from elmgan.data.naming import Names
from elmgan.data.record import Record, read_grey, read_seen
from elmgan.data.splits import Sides, divide, split
from elmgan.data.survey import Survey, survey
from elmgan.data.table import SIDES

__all__ = [
    "SIDES",
    "Example",
    "Names",
    "Record",
    "Sides",
    "Survey",
    "Tell",
    "append_example",
    "divide",
    "group_alike",
    "is_data_set",
    "layout_of",
    "load_example",
    "read_data_set",
    "read_grey",
    "read_labels",
    "read_seen",
    "read_sources",
    "read_truth",
    "reduce_labels",
    "split",
    "survey",
]
