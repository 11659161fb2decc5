"""ROIs as ImageJ and Fiji have them: cells as a RoiSet for the ROI Manager, and areas that were drawn as regions."""

import io
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi

from elmgan.counting import Polygon, Region
from elmgan.errors import UsageError, one_line
from elmgan.export.drawn import DrawnRegions

VERSION = 227
"""Of ImageJ's format, as ImageJ 1.52 and later write it."""

MOVE_TO, LINE_TO, CLOSE_PATH = 0.0, 1.0, 4.0
"""Words of the path of a composite ROI."""

MOST_WHOLE = 60_000
"""Pixels from the corner up to which ImageJ has whole coordinates; beyond it they are fractions."""

_FAR, _MOST_POINTS = 1 << 15, 1 << 16
"""Pixels from the corner, and points of a ROI, from which on its format has other ways to write them."""

_FIRST, _OFFSET, _NAME = struct.Struct(">4shBxhhhhH"), struct.Struct(">i"), struct.Struct(">ii")
"""Of ImageJ's format: the beginning of the first header; where the second lies; where the name lies, and its length."""

_ABOUT, _PLACE, _END = struct.Struct("<5H3I2H"), struct.Struct("<3H2I"), struct.Struct("<4s4H2IH")
"""Of a zip: what either header of a member has, where it lies, and the end."""

_FIRST_DAY, MOST_MEMBERS = 33, 1 << 16
"""1980-01-01 as a zip has it, so that the same cells are the same file; members from which on it has other ways."""

_HEADER, _AFTER_NUMBER, _BYTES_OF_POINT, _BYTES_OF_OFFSET, _NAME_OFFSET, _AFTER_NAME = 64, _FIRST.size, 4, 4, 16, 24
"""Bytes of either header, and of what is in them."""

MOST_UNPACKED = 1 << 28
"""Bytes of a file of ROIs, unpacked, that are read."""

ROUND = 256
"""Vertices that an oval is taken for; its area is 0.01 % smaller then."""

ROI_AREAS = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)


class StackPlace(NamedTuple):
    """Where a ROI is shown: on a plane of a stack, or on z and t of a hyperstack; each from 1, 0 for everywhere."""

    plane: int = 0
    z: int = 0
    t: int = 0


EVERYWHERE = StackPlace()


def roi_set(outlines: Sequence[Sequence[Polygon]], *, place: StackPlace = EVERYWHERE, prefix: str = "") -> bytes:
    """Give the RoiSet.zip of cells, which Fiji's ROI Manager opens.

    A cell is a traced ROI, as the wand makes it. One with holes, or in several parts, is a composite ROI.

    Args:
        outlines: The polygons of cells 1 to n.
        place: Where they are shown.
        prefix: What their names begin with; they end with the number of the cell.

    >>> ring = np.array([[0, 0], [0, 2], [1, 2], [1, 0]], np.int32)
    >>> zipfile.ZipFile(io.BytesIO(roi_set([[[ring]]]))).namelist()
    ['cell 1.roi']
    """
    traced, members = _Traced(place), {}
    for number, polygons in enumerate(outlines, 1):
        name = f"{prefix}cell {number}"
        whole = len(polygons) == len(polygons[0]) == 1
        content = traced.content(polygons[0][0], name) if whole else None
        members[f"{name}.roi"] = content or _roi(polygons, name, place).tobytes()
    return _stored(members)


def _stored(members: dict[str, bytes]) -> bytes:
    """Give a zip of small files, not compressed, in a quarter of the time that zipfile takes."""
    if len(members) >= MOST_MEMBERS:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as zipped:
            for name, content in members.items():
                zipped.writestr(zipfile.ZipInfo(name), content)
        return file.getvalue()
    parts, directory, offset = [], [], 0
    for name, content in members.items():
        # Version, flags, method, time and date, checksum, both sizes, and the lengths of the name and of what follows.
        about = _ABOUT.pack(20, 0, 0, 0, _FIRST_DAY, zlib.crc32(content), len(content), len(content), len(name), 0)
        encoded = name.encode("ascii")
        parts += [b"PK\3\4", about, encoded, content]
        directory += [b"PK\1\2\x14\0", about, _PLACE.pack(0, 0, 0, 0, offset), encoded]
        offset += 4 + _ABOUT.size + len(encoded) + len(content)
    listed = b"".join(directory)
    end = _END.pack(b"PK\5\6", 0, 0, len(members), len(members), len(listed), offset, 0)
    return b"".join((*parts, listed, end))


class _Traced:
    """Writes traced ROIs of one place as roifile does, which takes ten times as long for each."""

    def __init__(self, place: StackPlace) -> None:
        ring, name = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], np.int32), "a"
        content = _roi([[ring]], name, place).tobytes()
        second = _HEADER + len(ring) * _BYTES_OF_POINT
        self._between = content[_AFTER_NUMBER : _HEADER - _BYTES_OF_OFFSET]
        self._second = content[second : second + _NAME_OFFSET], content[second + _AFTER_NAME : second + _HEADER]

    def content(self, ring: NDArray[np.int32], name: str) -> bytes | None:
        """Give the file of a ring; None of one that takes fractions, or more points than have room."""
        points = ring.T[::-1]
        (left, top), (right, bottom) = points.min(axis=1).tolist(), points.max(axis=1).tolist()
        number = points.shape[1]
        if max(right, bottom) >= _FAR or number >= _MOST_POINTS:
            return None
        second = _HEADER + number * _BYTES_OF_POINT
        places = points.astype(">i2")
        places[0] -= left
        places[1] -= top
        return b"".join(
            (
                _FIRST.pack(b"Iout", VERSION, ROI_TYPE.TRACED, top, left, bottom, right, number),
                self._between,
                _OFFSET.pack(second),
                places.tobytes(),
                self._second[0],
                _NAME.pack(second + _HEADER, len(name)),
                self._second[1],
                name.encode("utf-16-be"),
            )
        )


def _roi(polygons: Sequence[Polygon], name: str, place: StackPlace) -> ImagejRoi:
    rings = [ring[:, ::-1] for polygon in polygons for ring in polygon]
    points = rings[0] if len(rings) == 1 else np.concatenate(rings)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    roi = ImagejRoi(version=VERSION, name=name, left=left, top=top, right=right, bottom=bottom)
    if len(rings) == 1:
        roi.roitype, roi.n_coordinates = ROI_TYPE.TRACED, len(points)
        roi.integer_coordinates = points - (left, top)
        if max(right, bottom) > MOST_WHOLE:
            roi.options |= ROI_OPTIONS.SUB_PIXEL_RESOLUTION
            roi.subpixel_coordinates = points.astype(np.float32)
    else:
        roi.roitype = ROI_TYPE.RECT
        roi.multi_coordinates = np.concatenate([_path(ring) for ring in rings])
        roi.shape_roi_size = len(roi.multi_coordinates)
    roi.position, roi.z_position, roi.t_position = place
    return roi


def _path(ring: NDArray[np.int32]) -> NDArray[np.float32]:
    words = np.full((len(ring), 3), LINE_TO, np.float32)
    words[0, 0] = MOVE_TO
    words[:, 1:] = ring
    return np.append(words.ravel(), np.float32(CLOSE_PATH))


def read_rois(path: Path) -> DrawnRegions:
    """Read the areas of a .roi or a RoiSet.zip as regions.

    Points, lines and texts, which have no inside, are passed over.

    Raises:
        UsageError: It cannot be read, or holds no area.
    """
    try:
        rois = [ImagejRoi.frombytes(content) for content in _contents(path)]
        regions, passed_over = [], Counter[str]()
        for roi in rois:
            rings = _rings(roi)
            if rings is None:
                passed_over[f"without an inside ({roi.roitype.name.lower()})"] += 1
            elif not rings:
                passed_over["empty"] += 1
            else:
                regions.append(_region(roi, rings))
    except UsageError:
        raise
    except Exception as error:  # on damaged bytes the decoder raises whatever it trips over
        raise UsageError(f"{path} cannot be read as ROIs of ImageJ ({one_line(error)}): save it again") from None
    drawn = DrawnRegions(regions, passed_over)
    if not regions:
        raise UsageError(f"{path} holds {drawn.told or 'nothing'}, and no area: draw areas such as polygons, and save")
    return drawn


def _contents(path: Path) -> list[bytes]:
    if path.suffix.lower() != ".zip":
        _check_size(path, path.stat().st_size)
        return [path.read_bytes()]
    with zipfile.ZipFile(path) as zipped:
        members = [member for member in zipped.infolist() if member.filename.lower().endswith(".roi")]
        _check_size(path, sum(member.file_size for member in members))
        return [zipped.read(member) for member in members]


def _check_size(path: Path, size: int) -> None:
    if size > MOST_UNPACKED:
        raise UsageError(f"{path} holds more than {MOST_UNPACKED >> 20} MB: save fewer ROIs in it")


def _region(roi: ImagejRoi, rings: list[NDArray[np.float64]]) -> Region:
    t, z = roi.t_position or None, roi.z_position or None
    group = f"group {roi.group}" if roi.group else ""
    return Region(roi.name, group, rings, t=t, z=z, index=roi.position or None)


def _rings(roi: ImagejRoi) -> list[NDArray[np.float64]] | None:
    """Lines round an area, in rows and columns; None of what is no area."""
    if roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.ARROW, ROI_SUBTYPE.IMAGE):
        return None
    if roi.composite:
        parts = list(roi.coordinates(multi=True))
    elif roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL):
        left, top, right, bottom = float(roi.left), float(roi.top), float(roi.right), float(roi.bottom)
        if roi.subpixelrect:
            left, top, right, bottom = roi.xd, roi.yd, roi.xd + roi.widthd, roi.yd + roi.heightd
        if roi.roitype == ROI_TYPE.RECT:
            parts = [np.array([(left, top), (right, top), (right, bottom), (left, bottom)])]
        else:
            angles = np.linspace(0, 2 * np.pi, ROUND, endpoint=False)
            middle, reach = ((left + right) / 2, (top + bottom) / 2), ((right - left) / 2, (bottom - top) / 2)
            parts = [np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach + middle]
    elif roi.roitype in ROI_AREAS:
        parts = [np.asarray(roi.coordinates())]
    else:
        return None
    rings = [np.asarray(part, np.float64)[:, ::-1] for part in parts if len(part) > 2]
    if not all(np.isfinite(ring).all() for ring in rings):
        raise ValueError("its coordinates are not finite")
    return rings
