"""A file is a source of planes: opened without its pixels, and read plane by plane as a view says."""

from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from elmgan.errors import ImageError, UsageError
from elmgan.images import Plane, Tile, View, image_size, open_image, read_image
from numpy_files import NpyReader


@pytest.fixture(autouse=True)
def numpy_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy files are images here."""
    monkeypatch.setattr("elmgan.images.source.readers", lambda: (NpyReader,))
    monkeypatch.setattr(NpyReader, "closed", 0)


def saved(folder: Path, axes: str, array: NDArray) -> Path:
    path = folder / f"image.{axes}.npy"
    np.save(path, array)
    return path


def values(*shape: int, dtype: Any = np.uint16) -> NDArray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def test_a_source_is_described_without_its_pixels(tmp_path: Path) -> None:
    with open_image(saved(tmp_path, "TZYX", values(2, 3, 5, 7))) as source:
        assert (source.axes, source.shape, source.dtype.name) == ("TZYX", (2, 3, 5, 7), "uint16")
        assert source.pixel_size == {"x": 0.5, "y": 0.5}
        assert source._reader.reads == []  # type: ignore[attr-defined]
        assert repr(source) == "Source(image.TZYX.npy: NumPy, TZYX 2 x 3 x 5 x 7, uint16)"
    assert NpyReader.closed == 1


@pytest.mark.parametrize(
    ("view", "places"),
    [
        (View(), [(1, 1, "max"), (1, 2, "max")]),
        (View(z="mean", t=2), [(1, 2, "mean")]),
        (View(z="each", t=1), [(1, 1, 1), (1, 1, 2), (1, 1, 3)]),
        (View(z=2), [(1, 1, 2), (1, 2, 2)]),
    ],
)
def test_a_view_says_which_planes(tmp_path: Path, view: View, places: list[Any]) -> None:
    array = values(2, 3, 5, 7)
    with open_image(saved(tmp_path, "TZYX", array)) as source:
        planes = source.planes(view)
        assert [plane.place for plane in planes] == places
        for plane in planes:
            of_time = array[plane.t - 1].astype(float)
            expected = {"max": of_time.max(0), "mean": of_time.mean(0)}.get(str(plane.z))
            expected = of_time[int(plane.z) - 1] if expected is None else expected
            assert plane.read() == pytest.approx(expected)


@given(
    top=st.integers(0, 4),
    left=st.integers(0, 6),
    height=st.integers(1, 5),
    width=st.integers(1, 7),
    z=st.sampled_from(["max", "mean", 1]),
)
def test_a_part_of_a_plane_is_the_part_of_its_whole(
    tmp_path_factory: pytest.TempPathFactory, top: int, left: int, height: int, width: int, z: Any
) -> None:
    path = saved(tmp_path_factory.mktemp("part"), "ZYX", values(3, 5, 7))
    region = Tile(top, left, min(height, 5 - top), min(width, 7 - left))
    with open_image(path) as source:
        plane = source.planes(View(z=z))[0]
        assert np.array_equal(plane.read(region), region.of(plane.read()))


def test_each_scene_has_its_planes(tmp_path: Path) -> None:
    path = saved(tmp_path, "YX", values(5, 7))
    np.save(f"{path}.1", values(9, 4))
    Path(f"{path}.1.npy").rename(f"{path}.1")
    with open_image(path) as source:
        assert [(plane.scene, plane.shape) for plane in source.planes()] == [(1, (5, 7)), (2, (9, 4))]
        assert [plane.shape for plane in source.planes(View(scene=2))] == [(9, 4)]
        with pytest.raises(ImageError, match=r"has no scene 3: there are 2, counted from 1"):
            source.planes(View(scene=3))
    with pytest.raises(ImageError, match=r"has 2 planes \(YX 5 x 7, uint16\), and one is taken here: .*--scene"):
        read_image(path)


class Named(NpyReader):
    channels = ("DAPI", "525", "dapi 2")


def test_several_channels_are_named_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elmgan.images.source.readers", lambda: (Named,))
    array = values(3, 5, 7)
    path = saved(tmp_path, "CYX", array)
    with open_image(path) as source:
        with pytest.raises(ImageError, match=r"CYX 3 x 5 x 7, uint16 has channels 1 DAPI, 2 525, 3 dapi 2; name one"):
            source.planes()
        for named, index, shown in (("dapi", 0, "DAPI"), (2, 1, "525"), ("525", 1, "525"), ("DAPI 2", 2, "dapi 2")):
            (plane,) = source.planes(View(channel=named))
            assert plane.channel == shown
            assert np.array_equal(plane.read(), array[index])
        assert {read[3] for read in source._reader.reads} == {0, 1, 2}  # type: ignore[attr-defined]  # no channel for another
        for wrong in ("GFP", 4, "red"):
            with pytest.raises(ImageError, match=r"DAPI|not colour"):
                source.planes(View(channel=wrong))


def test_colour_is_seen_whole_or_by_a_sample(tmp_path: Path) -> None:
    array = values(5, 7, 3, dtype=np.uint8)
    with open_image(saved(tmp_path, "YXS", array)) as source:
        (plane,) = source.planes()
        assert (plane.channel, plane.samples, plane.read().shape) == ("luminance", 3, (5, 7, 3))
        (plane,) = source.planes(View(channel=2))
        assert (plane.channel, plane.samples) == ("green", 1)
        assert np.array_equal(plane.read(), array[..., 1])
        with pytest.raises(ImageError, match=r"has no channel 4"):
            source.planes(View(channel=4))


def test_what_a_grey_image_does_not_have_is_refused(tmp_path: Path) -> None:
    with open_image(saved(tmp_path, "YX", values(5, 7))) as source:
        for view, told in (
            (View(t=2), "has no t 2: there is 1"),
            (View(z=3), "has no z 3"),
            (View(channel=2), r"has one channel \(YX 5 x 7, uint16\), and no 2: leave --channel 2 out"),
            (View(channel="haematoxylin"), "is not colour"),
        ):
            with pytest.raises(ImageError, match=told):
                source.planes(view)
        assert [plane.channel for plane in source.planes(View(channel=1))] == ["1"]


def test_pixels_without_data_are_no_value_in_a_projection(tmp_path: Path) -> None:
    array = np.ones((2, 2, 2), np.float64)
    array[1, 0, 0], array[:, 1, 1] = np.nan, np.nan
    with open_image(saved(tmp_path, "ZYX", array)) as source:
        for z in ("max", "mean"):
            pixels = source.planes(View().changed(z=z))[0].read()
            assert pixels.dtype == np.float32
            assert np.array_equal(pixels, np.array([[1, 1], [1, np.nan]]), equal_nan=True)


def test_one_bit_and_large_numbers(tmp_path: Path) -> None:
    assert read_image(saved(tmp_path, "YX", np.eye(3, dtype=bool))).tolist()[0] == [255, 0, 0]
    with pytest.raises(ImageError, match=r"beyond 3.4e38"):
        read_image(saved(tmp_path, "YX", np.full((2, 2), 1e300)))
    assert np.isinf(read_image(saved(tmp_path, "YX", np.full((2, 2), np.inf)))).all()
    with pytest.raises(ImageError, match="complex64 are not grey values"):
        read_image(saved(tmp_path, "YX", np.ones((2, 2), np.complex64)))


def test_a_plane_that_is_too_large_is_told_before_it_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path, "YX", values(20, 30))
    with (
        open_image(path, most_pixels=599) as source,
        pytest.raises(ImageError, match=r"20 x 30 pixels, more than the 599 that are allowed: .* --max-pixels"),
    ):
        source.planes()
    with open_image(path, most_pixels=600) as source:
        assert source.planes()[0].read().shape == (20, 30)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty, as after a broken copy"),
        (b"text", r"is not an image of a kind that is read, whatever its name says; open it in Fiji"),
    ],
)
def test_what_is_no_image_is_refused_with_the_way_out(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ImageError, match=f"a.npy: {told}"):
        open_image(tmp_path / "a.npy")
    with pytest.raises(ImageError, match="does not exist"):
        open_image(tmp_path / "absent.npy")
    with pytest.raises(ImageError, match="is a folder and no image"):
        open_image(tmp_path)


def test_axes_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, "YX", values(3, 5, 7))
    for axes in ("ZXY", "ZZYX", "QYX", "ZY"):
        with pytest.raises(UsageError, match=f"--axes is {axes}; expected letters of T, Z, C, each once, then YX"):
            open_image(path, axes=axes)
    assert read_image(path, View(z=2), axes="ZYX").shape == (5, 7)


def test_an_error_names_the_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: NpyReader, scene: int, **place: Any) -> NDArray:
        raise ZeroDivisionError("over the edge")

    monkeypatch.setattr(NpyReader, "read", broken)
    with (
        open_image(saved(tmp_path, "TYX", values(2, 5, 7))) as source,
        pytest.raises(ImageError, match=r"npy: t 2: is damaged or of a kind that cannot be read \(over the edge\)"),
    ):
        source.planes()[1].read()


def test_threads_take_turns(tmp_path: Path) -> None:
    array = values(8, 50, 70)
    with open_image(saved(tmp_path, "TYX", array)) as source:
        read: dict[int, NDArray] = {}

        def work(plane: Plane) -> None:
            read[plane.t] = plane.read()

        threads = [Thread(target=work, args=(plane,)) for plane in source.planes()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(np.array_equal(read[k + 1], array[k]) for k in range(8))


def test_the_size_is_that_of_the_plane(tmp_path: Path) -> None:
    assert image_size(saved(tmp_path, "ZYX", values(3, 5, 7))) == (5, 7)


def test_a_view_that_cannot_be_is_told_by_its_option() -> None:
    with pytest.raises(UsageError, match=r"--z is middle; expected max, mean, each, or a number from 1"):
        View().changed(z="middle")
    with pytest.raises(UsageError, match=r"--t is 0; .*--scale is 20.0; expected auto, or 0.1 to 10"):
        View().changed(t="0", scale=20.0)
    assert View().changed(t="3", z="2", channel="auto", cells="dark") == View(t=3, z=2, cells="dark")
    assert View(channel=2).changed(channel="auto").channel is None


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({}, {"channel": "DAPI"}, True),
        ({"channel": 2}, {"channel": 3}, False),
        ({"channel": 2}, {}, False),
        ({}, {"channel": "red"}, False),
        ({}, {"scale": 0.5}, False),
        ({"scale": 0.5}, {"scale": 0.5}, True),
        ({}, {"cells": "dark"}, False),
        ({}, {"z": "mean"}, False),
        ({"z": 3}, {"z": "each"}, True),
        ({"scene": 2, "t": 1}, {}, True),
    ],
)
def test_views_that_show_alike(one: dict[str, Any], other: dict[str, Any], alike: bool) -> None:
    assert View(**one).shows_alike(View(**other)) is alike
