"""The size of a TIFF's pixels, where the program that wrote it knew it."""

import re
from collections.abc import Mapping
from xml.etree.ElementTree import ParseError, fromstring

import numpy as np
from tifffile import RESUNIT, TiffFile, TiffPage

from elmgan.images.units import MICROMETRES

UNITS: dict[int, str] = {
    RESUNIT.INCH: "inch",
    RESUNIT.CENTIMETER: "cm",
    RESUNIT.MILLIMETER: "mm",
    RESUNIT.MICROMETER: "um",
}
LIKELY = (0.01, 10.0)
"""Micrometres: sizes in inch or centimetre beyond these, and one micrometre exactly, are defaults of programs."""


def micrometres(size: object, unit: str) -> float:
    """Length in micrometres, of a number or its text; 0 where it is none or its unit is not known.

    >>> micrometres("200", "nm"), micrometres(0.5, "micron"), micrometres("?", "nm"), micrometres(1, "pixel")
    (0.2, 0.5, 0.0, 0.0)
    """
    try:
        length = float(str(size)) * MICROMETRES.get(unit.strip().casefold(), 0.0)
    except ValueError:
        return 0.0
    return length if 0 < length < 1e6 else 0.0


def pixel_size(file: TiffFile, page: TiffPage, name: str = "") -> dict[str, float]:
    """Find x, y and z in micrometres, as far as the file gives them.

    Args:
        file: The file; an OME-TIFF is read elsewhere.
        page: First of the scene.
        name: Of the scene.
    """
    sizes: Mapping[str, float] = {}
    if file.is_imagej:
        sizes = _imagej(file, page)
    elif file.is_lsm:
        meta = file.lsm_metadata or {}
        sizes = {axis: micrometres(meta.get(f"VoxelSize{axis.upper()}"), "m") for axis in "xyz"}
    elif file.is_stk:
        sizes = _stk(file)
    elif file.is_scn:
        sizes = _scn(page, name)
    elif file.is_sis:
        meta = file.sis_metadata or {}
        sizes = {axis: micrometres(meta.get(f"pixelsize{axis}"), "m") for axis in "xy"}
    elif file.is_svs:
        found = re.search(r"\bMPP\s*=\s*([0-9.]+)", page.description)
        sizes = dict.fromkeys("xy", micrometres(found[1] if found else None, "um"))
    known = {axis: size for axis, size in sizes.items() if size > 0}
    return known if known or file.is_imagej or file.is_lsm or file.is_stk else _by_resolution(page)


def _imagej(file: TiffFile, page: TiffPage) -> dict[str, float]:
    meta = file.imagej_metadata or {}
    unit = str(meta.get("unit", ""))
    x, y = (micrometres(1 / value if value > 0 else None, unit) for value in page.resolution)
    if unit.casefold() in ("inch", "cm") and not (_is_likely(x) and _is_likely(y)):
        return {}  # what ImageJ makes of a resolution for printing
    return {"x": x, "y": y, "z": micrometres(meta.get("spacing"), unit)}


def _stk(file: TiffFile) -> dict[str, float]:
    meta = file.stk_metadata or {}
    if not meta.get("SpatialCalibration"):
        return {}
    unit = str(meta.get("CalibrationUnits", ""))
    steps = np.unique(meta.get("ZDistance", 0.0))
    sizes = {axis: micrometres(meta.get(f"{axis.upper()}Calibration"), unit) for axis in "xy"}
    return {**sizes, "z": micrometres(abs(float(steps[0])), "um") if len(steps) == 1 else 0.0}


def _scn(page: TiffPage, name: str) -> dict[str, float]:
    """Nanometres of the view that an image of this name shows, by its pixels."""
    for image, view in scn_views(page.parent.pages.first.description):
        if image == name:
            x, y = micrometres(view[0], "nm"), micrometres(view[1], "nm")
            return {"x": x / page.imagewidth, "y": y / page.imagelength}
    return {}


def scn_views(xml: str) -> list[tuple[str, tuple[str, str]]]:
    """Name of each image of a Leica SCN, and width and height of its view in nanometres."""
    try:
        root = fromstring(xml)
    except ParseError:
        return []
    views = []
    for image in root.iterfind("{*}collection/{*}image"):
        view = image.find("{*}view")
        if view is not None:
            views.append((image.get("name", "Unknown"), (view.get("sizeX", ""), view.get("sizeY", ""))))
    return views


def scn_overview(xml: str) -> str | None:
    """Name of the image of a Leica SCN that shows the whole slide beside the others; ``None`` if there is none."""
    views = scn_views(xml)
    collection = fromstring(xml).find("{*}collection") if views else None
    whole = (collection.get("sizeX"), collection.get("sizeY")) if collection is not None else None
    return next((name for name, view in views if view == whole), None) if len(views) > 1 else None


def _by_resolution(page: TiffPage) -> dict[str, float]:
    unit = UNITS.get(page.resolutionunit, "")
    x, y = (micrometres(1 / value if value > 0 else None, unit) for value in page.resolution)
    return {"x": x, "y": y} if unit == "um" or (_is_likely(x) and _is_likely(y)) else {}


def _is_likely(size: float) -> bool:
    return LIKELY[0] <= size <= LIKELY[1] and abs(size - 1) > 1e-6
