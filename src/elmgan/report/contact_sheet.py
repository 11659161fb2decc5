"""A contact sheet: some images of a data set on one picture, with what is known of each."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from elmgan.counting.picture import OUTLINE, for_display, outlines
from elmgan.data import Record, read_grey, read_truth
from elmgan.images import write_png

ACROSS, MOST = 6, 30
PICTURE_SIDE, GAP, LINE = 240, 12, 16
"""Of a picture, between pictures, and of a line of text, in pixels."""

TINT = 0.25
"""Share of the outline's colour where there is cell."""


def write_contact_sheet(path: Path, records: Sequence[Record]) -> None:
    """Draw up to 30 images of a data set, from few to many cells within each kind, their cells tinted and outlined.

    Args:
        path: PNG to write.
        records: The data set, at least one image.

    Raises:
        DataError: When an annotation does not fit its image.
        ImageError: When a file cannot be read.
        OutputError: When the sheet cannot be written.
    """
    ordered = sorted(records, key=lambda record: (record.kind, record.count is None, record.count or 0))
    shown = [ordered[k] for k in np.linspace(0, len(ordered) - 1, min(MOST, len(ordered))).round().astype(int)]
    pictures = [small_picture(record) for record in shown]
    across, down = PICTURE_SIDE + GAP, max(len(picture) for picture in pictures) + 2 * LINE + GAP
    rows = -(-len(shown) // ACROSS)
    sheet = Image.new("RGB", (min(ACROSS, len(shown)) * across + GAP, rows * down + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for k, (record, picture) in enumerate(zip(shown, pictures, strict=True)):
        left, bottom = GAP + k % ACROSS * across, (k // ACROSS + 1) * down - 2 * LINE
        sheet.paste(Image.fromarray(picture), (left, bottom - len(picture)))
        for line, text in enumerate((shortened(record.name), known(record))):
            draw.text((left, bottom + 1 + line * LINE), text, fill="black", font=font)
    write_png(path, np.asarray(sheet))


def shortened(name: str, most: int = 34) -> str:
    """Cut the middle out of a long name."""
    return name if len(name) <= most else f"{name[: most // 2]}...{name[3 - most // 2 :]}"


def small_picture(record: Record) -> NDArray[np.uint8]:
    """Fit an image into PICTURE_SIDE pixels, (row, column, RGB), with its mask tinted and outlined, or its labels each.

    The tint shows on which side of an outline the cells are.
    """
    grey = read_grey(record)
    regions = read_truth(record, grey.shape)[0]
    scale = PICTURE_SIDE / max(grey.shape)
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    small = cv2.resize(for_display(grey), size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    picture = np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2RGB), np.uint8)
    if regions is not None:
        cells = cv2.resize(regions, size, interpolation=cv2.INTER_NEAREST)
        picture[cells > 0] = ((1 - TINT) * picture[cells > 0] + TINT * np.array(OUTLINE)).astype(np.uint8)
        picture[outlines(cells)] = OUTLINE
    return picture


def known(record: Record) -> str:
    """Say in a line what is known of an image."""
    cells = "count not known" if record.count is None else f"{record.count:g} cell" + "s" * (record.count != 1)
    mask = "" if record.mask or record.labels else "no mask"
    return ", ".join(fact for fact in (cells, mask, record.kind, record.split) if fact)
