"""Many images in one go: the count of a folder, its table, masks, overlays and report, interrupted and resumed."""

from elmgan.jobs.contact_sheet import write_contact_sheet
from elmgan.jobs.count import Counted, count_images
from elmgan.jobs.table import Row
from elmgan.reporting import Failure

__all__ = ["Counted", "Failure", "Row", "count_images", "write_contact_sheet"]
