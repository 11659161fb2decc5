"""ROIs for ImageJ and from it."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from roifile import ROI_SUBTYPE, ROI_TYPE, ImagejRoi, roiread, roiwrite
from shapely import Polygon

from elmgan.counting.outlines import outlines_of
from elmgan.errors import UsageError
from elmgan.export import imagej
from elmgan.export.imagej import StackPlace, read_rois, roi_set
from label_images import HARD, drawn_cells, label_image


def read_back(path: Path, packed: bytes) -> list[ImagejRoi]:
    path.write_bytes(packed)
    rois = roiread(path)
    return rois if isinstance(rois, list) else [rois]


@pytest.mark.parametrize(
    "labels", [*map(label_image, HARD.values()), drawn_cells(rng=np.random.default_rng(0))], ids=[*HARD, "drawn"]
)
def test_rois_hold_the_pixels_of_the_cells(tmp_path: Path, labels: NDArray[np.uint32]) -> None:
    outlines = dict(outlines_of(labels))
    rois = read_back(tmp_path / "a.zip", roi_set(list(outlines.values())))
    assert [roi.name for roi in rois] == [f"cell {k}" for k in range(1, len(outlines) + 1)]
    for roi, number in zip(rois, outlines, strict=True):
        cell = labels == number
        rows, columns = (np.flatnonzero(cell.any(axis=axis)) for axis in (1, 0))
        assert (roi.top, roi.left, roi.bottom, roi.right) == (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        simple = len(outlines[number]) == len(outlines[number][0]) == 1
        assert (roi.roitype, roi.composite) == ((ROI_TYPE.TRACED, False) if simple else (ROI_TYPE.RECT, True))
    if rois:
        regions = read_rois(tmp_path / "a.zip").regions
        for region, number in zip(regions, outlines, strict=True):
            part = region.part(labels.shape)
            assert np.array_equal(part.box.of(labels == number), part.inside)


def test_places_in_stacks(tmp_path: Path) -> None:
    outlines = [of for _, of in outlines_of(label_image(["1"]))]
    for place in (StackPlace(), StackPlace(plane=7), StackPlace(z=2, t=3)):
        (roi,) = read_back(tmp_path / "a.zip", roi_set(outlines, place=place, prefix="t3 z2 "))
        assert (roi.position, roi.c_position, roi.z_position, roi.t_position) == (place.plane, 0, place.z, place.t)
        assert roi.name == "t3 z2 cell 1"
        (region,) = read_rois(tmp_path / "a.zip").regions
        assert (region.index or 0, region.z or 0, region.t or 0) == place


def test_the_bytes_are_those_of_roifile_and_zipfile(tmp_path: Path) -> None:
    outlines = [of for _, of in outlines_of(drawn_cells(rng=np.random.default_rng(1)))]
    place, file = StackPlace(z=2, t=3), tmp_path / "a.zip"
    rois = read_back(file, roi_set(outlines, place=place, prefix="z2 "))
    assert len(rois) > 10
    with zipfile.ZipFile(file) as zipped, zipfile.ZipFile(tmp_path / "b.zip", "w") as other:
        assert zipped.testzip() is None
        for roi, member in zip(rois, zipped.infolist(), strict=True):
            assert zipped.read(member) == roi.tobytes()
            other.writestr(zipfile.ZipInfo(member.filename), roi.tobytes())
        assert [member.date_time for member in zipped.infolist()] == [(1980, 1, 1, 0, 0, 0)] * len(rois)
    with zipfile.ZipFile(tmp_path / "b.zip") as other:
        assert other.namelist() == [f"z2 cell {k}.roi" for k in range(1, len(rois) + 1)]
    empty = read_zip(roi_set([]))
    assert empty == []


def read_zip(packed: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(packed)) as zipped:
        return zipped.namelist()


def test_more_cells_than_a_plain_zip_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    outlines = [of for _, of in outlines_of(label_image(["1.2.3"]))]
    plain = roi_set(outlines)
    monkeypatch.setattr(imagej, "MOST_MEMBERS", 2)
    assert read_zip(roi_set(outlines)) == read_zip(plain)


def test_far_corners(tmp_path: Path) -> None:
    ring = np.array([[70_000, 80_000], [70_000, 80_004], [70_002, 80_004], [70_002, 80_000]], np.int32)
    (tmp_path / "a.zip").write_bytes(roi_set([[[ring]]]))
    (region,) = read_rois(tmp_path / "a.zip").regions
    assert np.array_equal(region.rings[0], ring)
    near = ring - 45_000  # whole numbers that the format has no sign for
    (tmp_path / "b.zip").write_bytes(roi_set([[[near]]]))
    (region,) = read_rois(tmp_path / "b.zip").regions
    assert np.array_equal(region.rings[0], near)


def roi_of(kind: ROI_TYPE, **given: object) -> ImagejRoi:
    return ImagejRoi(roitype=kind, version=227, **given)  # type: ignore[arg-type]


BOX = {"left": 2, "top": 1, "right": 8, "bottom": 5}


def test_areas_are_regions(tmp_path: Path) -> None:
    polygon = ImagejRoi.frompoints([[2.5, 1], [6.5, 1], [6.5, 4], [2.5, 4]], name="drawn")
    rois = [roi_of(ROI_TYPE.RECT, name="box", **BOX), roi_of(ROI_TYPE.OVAL, name="oval", group=3, **BOX), polygon]
    roiwrite(tmp_path / "a.zip", rois)
    regions = read_rois(tmp_path / "a.zip").regions
    assert [(each.name, each.kind) for each in regions] == [("box", ""), ("oval", "group 3"), ("drawn", "")]
    box, oval, drawn = (Polygon(each.rings[0]) for each in regions)
    assert box.bounds == oval.bounds == (1, 2, 5, 8)
    assert box.area == 24
    assert oval.area == pytest.approx(np.pi * 6, rel=1e-3)
    assert drawn.bounds == (1, 2.5, 4, 6.5)
    rois[0].tofile(tmp_path / "one.roi")
    assert len(read_rois(tmp_path / "one.roi").regions) == 1


def test_what_has_no_inside_is_passed_over_and_told(tmp_path: Path) -> None:
    points = ImagejRoi.frompoints([[1, 2], [3, 4]])
    points.roitype = ROI_TYPE.POINT
    text = roi_of(ROI_TYPE.RECT, subtype=ROI_SUBTYPE.TEXT, name="text", **BOX)
    line = roi_of(ROI_TYPE.LINE, name="line", x1=1, x2=3)
    roiwrite(tmp_path / "a.zip", [points, text, line, roi_of(ROI_TYPE.RECT, name="box", **BOX)])
    drawn = read_rois(tmp_path / "a.zip")
    assert len(drawn.regions) == 1
    assert drawn.told == "1 without an inside (point), 1 without an inside (rect), 1 without an inside (line)"
    line.tofile(tmp_path / "line.roi")
    with pytest.raises(UsageError, match=r"line.roi holds 1 without an inside \(line\), and no area"):
        read_rois(tmp_path / "line.roi")


def test_what_is_no_roi_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = roi_set([[[np.array([[0, 0], [0, 2], [1, 2], [1, 0]], np.int32)]]])
    content = zipfile.ZipFile(io.BytesIO(whole)).read("cell 1.roi")
    for name, damaged in {
        "a.roi": b"",
        "b.roi": b"Iout",
        "c.roi": content[:70],
        "d.zip": whole[:50],
        "e.zip": b"",
        "f.roi": b"PNG" * 100,
    }.items():
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(UsageError, match=r"cannot be read as ROIs of ImageJ \(.*\): save it again") as refused:
            read_rois(tmp_path / name)
        assert "\n" not in str(refused.value)
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(UsageError, match="holds nothing, and no area"):
        read_rois(tmp_path / "empty.zip")
    monkeypatch.setattr(imagej, "MOST_UNPACKED", 10)
    (tmp_path / "a.zip").write_bytes(whole)
    (tmp_path / "a.roi").write_bytes(content)
    for name in ("a.zip", "a.roi"):
        with pytest.raises(UsageError, match="more than 0 MB"):
            read_rois(tmp_path / name)
