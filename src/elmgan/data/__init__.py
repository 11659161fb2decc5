"""What networks learn from: data set folders, examples reduced to mask and totals, splits, synthetic cells."""

from elmgan.data.examples import Example, load_example, read_truth, reduce_labels
from elmgan.data.folder import Record, read_data_set, read_sources
from elmgan.data.splits import split

__all__ = ["Example", "Record", "load_example", "read_data_set", "read_sources", "read_truth", "reduce_labels", "split"]
