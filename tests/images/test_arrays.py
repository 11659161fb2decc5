"""Arrays of other libraries, with axes that they name or do not."""

from typing import Any

import dask.array
import numpy as np
import pytest
import torch
import xarray
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bundles import known, squares, tiny_bundle
from elmgan.counting import Model
from elmgan.errors import ImageError, UsageError
from elmgan.images import Tile, View, open_image

TINY = Model(tiny_bundle(), engine="onnxruntime", precision="fp32")
STACK = np.random.default_rng(0).integers(0, 4000, (2, 3, 4, 20, 30)).astype(np.uint16)
"""TCZYX."""


class Named:
    """An array of a library that is not installed here, with letters for its axes."""

    def __init__(self, pixels: NDArray, axes: Any) -> None:
        self.pixels, self.axes, self.shape = pixels, axes, pixels.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        return self.pixels


@pytest.mark.parametrize(
    "converted",
    [
        np.ascontiguousarray,
        lambda image: dask.array.from_array(image, chunks=(50, 40)),
        lambda image: xarray.DataArray(image),
        lambda image: xarray.DataArray(image, dims=("y", "x")),
        lambda image: xarray.DataArray(image.T, dims=("column", "row")),
        lambda image: xarray.DataArray(image[np.newaxis, ..., np.newaxis], dims=("well", "Y", "X", "C")),
        lambda image: xarray.DataArray(dask.array.from_array(image[np.newaxis], chunks=40), dims=("time", "y", "x")),
        lambda image: torch.from_numpy(image.astype(np.float32)).requires_grad_(),
        lambda image: torch.from_numpy(image.astype(np.int32)),
        lambda image: Named(image, "YX"),
        lambda image: Named(image[np.newaxis], ["z", "Y", "X"]),
        lambda image: image.tolist(),
    ],
)
def test_arrays_of_any_library_are_counted_alike(converted: Any) -> None:
    image = squares(7, (96, 130))
    plain, counted = TINY.count(image), TINY.count(converted(image))
    assert (counted.estimate, counted.shape) == (plain.estimate, (96, 130))
    assert np.array_equal(known(counted.mask), known(plain.mask))


def test_bfloat16_is_counted() -> None:
    image = torch.from_numpy(squares(7).astype(np.float32)).bfloat16()
    assert TINY.count(image).count == 7


def test_the_view_chooses_among_named_axes() -> None:
    few, many = squares(3), squares(9)
    stack = np.stack([np.stack([few, many]), np.stack([np.zeros_like(few), many])])
    image = xarray.DataArray(stack, dims=("z", "c", "y", "x"), coords={"c": ["DAPI", "GFP"]})
    assert TINY.count(image, channel="GFP").count == TINY.count(image, view=View(channel=2, z=2)).count == 9
    assert TINY.count(image, channel="dapi").count == 3
    assert TINY.count(image, view=View(channel="DAPI", z=2)).count == 0
    with pytest.raises(ImageError, match=r"the array: .* has channels 1 DAPI, 2 GFP; name one"):
        TINY.count(image)
    with pytest.raises(ImageError, match=r"has 2 planes .*: name it with --t"):
        TINY.count(image.rename(z="t"), channel=1)
    with pytest.raises(ImageError, match="an axis well of length 2, which is not known: give one"):
        TINY.count(image.rename(z="well"), channel=1)
    with pytest.raises(ImageError, match="axes t, time, y, x, of which two mean the same"):
        TINY.count(image.rename(z="t", c="time"))


def test_colour_with_names_is_colour() -> None:
    colour = np.repeat(squares(5)[..., np.newaxis], 3, axis=2)
    assert TINY.count(xarray.DataArray(colour, dims=("y", "x", "rgb"))).count == 5
    assert TINY.count(xarray.DataArray(colour.transpose(2, 0, 1), dims=("rgb", "y", "x")), channel=2).count == 5


@given(order=st.permutations("TCZYX"), z=st.sampled_from(["max", "mean", 1, 4]), t=st.sampled_from([1, 2]))
def test_planes_are_those_of_the_axes(order: list[str], z: str, t: int) -> None:
    array = STACK.transpose(["TCZYX".index(axis) for axis in order])
    expected = STACK[t - 1, 1]
    expected = expected.max(axis=0) if z == "max" else expected.mean(axis=0) if z == "mean" else expected[int(z) - 1]
    images: list[Any] = [array, dask.array.from_array(array), zarr.array(array)]
    for image in images:
        source = open_image(image, axes="".join(order))
        (plane,) = source.planes(View(channel=2, z=z, t=t))
        np.testing.assert_allclose(plane.read(), expected, rtol=1e-6)
        np.testing.assert_allclose(plane.read(Tile(3, 5, 7, 11)), expected[3:10, 5:16], rtol=1e-6)
        assert plane.read().flags.owndata or plane.read().base is not array


def test_only_the_chunks_that_are_asked_for_are_computed() -> None:
    computed: list[Any] = []

    def compute(block_info: Any) -> NDArray[np.uint8]:
        computed.append(block_info[None]["chunk-location"])
        return np.zeros((1, 8, 8), np.uint8)

    array = dask.array.map_blocks(
        compute, chunks=((1,) * 5, (8, 8), (8, 8)), dtype=np.uint8, meta=np.empty(0, np.uint8)
    )
    planes = open_image(array, axes="ZYX").planes(View(z=3))
    computed.clear()
    planes[0].read(Tile(0, 8, 8, 8))
    assert computed == [(2, 0, 1)]


@pytest.mark.parametrize(
    ("shape", "axes", "told"),
    [
        ((3, 20, 30), None, r"has the shape \(3, 20, 30\) and does not say what its axes are"),
        ((20,), None, "does not say what its axes are"),
        ((20, 30), "ZYX", r"axes is ZYX; an array of shape \(20, 30\) takes 2 letters"),
        ((20, 30), "YY", "each once"),
        ((20, 30, 4), "YXS", "colour has 3 samples"),
        ((0, 30), None, "no pixels"),
    ],
)
def test_arrays_that_are_no_images_are_refused(shape: tuple[int, ...], axes: str | None, told: str) -> None:
    with pytest.raises((ImageError, UsageError), match=told):
        open_image(np.zeros(shape, np.uint8), axes=axes)


def test_what_holds_no_grey_values_is_refused() -> None:
    with pytest.raises(ImageError, match="complex64, which are not grey values"):
        open_image(np.zeros((4, 4), np.complex64))
