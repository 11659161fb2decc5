"""A plane that is looked at a strip at a time is seen as it is as a whole."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from elmgan.errors import ImageError
from elmgan.images import Tile
from elmgan.light import Normalisation, Surveyed, see, survey_plane

NORMALISATION = Normalisation()


def field(shape: tuple[int, int] = (620, 840), seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    image = np.zeros(shape, np.float32)
    for _ in range(60):
        centre = int(rng.integers(shape[1])), int(rng.integers(shape[0]))
        cv2.circle(image, centre, 12, float(rng.uniform(200, 500)), cv2.FILLED)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 2) + 300 + rng.normal(0, 8, shape), np.float32)


def surveyed(image: NDArray, rows: int, **asked: Any) -> Surveyed:
    return survey_plane(lambda tile: tile.of(image), image.shape[:2], NORMALISATION, rows=rows, **asked)


def put_together(image: NDArray, found: Surveyed, rows: int = 111) -> tuple[NDArray, NDArray]:
    """What the network sees of the box, and which of its pixels hold data."""
    box, seen, held = found.box, [], []
    for top in range(box.top, box.top + box.height, rows):
        tile = Tile(top, box.left, min(rows, box.top + box.height - top), box.width)
        part = found.seen(tile.of(image), tile)
        seen.append(part.normalised)
        held.append(np.ones(part.grey.shape, bool) if part.data is None else part.data)
    return np.concatenate(seen), np.concatenate(held)


def images() -> dict[str, NDArray]:
    plain = field()
    whole = plain.astype(np.uint16)
    gaps, none, debris = plain.copy(), plain.copy(), plain.copy()
    gaps[:90] = gaps[300:320, 400:500] = np.nan
    none[:, :150] = -9999
    debris[500:520, 600:800] = 5000
    turn = cv2.getRotationMatrix2D((420, 310), 9, 1)
    merge = np.stack([whole / 4, np.full_like(whole, 30), whole[::-1] / 4], axis=-1).clip(0, 255).astype(np.uint8)
    stain = 10.0 ** (-(plain[..., np.newaxis] - 280) / 500 * np.array([0.65, 0.7, 0.29]))
    slide = (stain * (240, 235, 238)).clip(0, 255).astype(np.uint8)
    return {
        "uint16": whole,
        "inverted": 65535 - whole,
        "uint8": (plain / 4).astype(np.uint8),
        "float": plain,
        "margin": np.pad(whole, ((0, 40), (70, 0))),
        "bright frame": np.pad(whole, 50, constant_values=65535),
        "rotated": cv2.warpAffine(whole, turn, (840, 620)),
        "NaN": gaps,
        "-9999": none,
        "slope": (plain + np.linspace(0, 900, 840)).astype(np.float32),
        "debris": debris.astype(np.uint16),
        "merge": merge,
        "stained": slide,
    }


@pytest.mark.parametrize("rows", [64, 257, 5000])
@pytest.mark.parametrize("kind", images())
def test_strips_show_what_the_whole_image_shows(kind: str, rows: int) -> None:
    image = images()[kind]
    whole, found = see(image, NORMALISATION), surveyed(image, rows)
    assert found.box == whole.box
    assert (found.channel, found.remarks, found.stains) == (whole.channel, whole.remarks, whole.stains)
    seen, held = put_together(image, found)
    np.testing.assert_allclose(seen, whole.box.of(whole.normalised), atol=1e-5)
    assert np.array_equal(held, np.ones_like(held) if whole.data is None else whole.box.of(whole.data))


def test_each_kind_is_treated_as_it_is_meant_to_be() -> None:
    """The comparison above says nothing if no image has what it is to show."""
    found = {kind: surveyed(image, 100) for kind, image in images().items()}
    assert found["margin"].box == Tile(0, 70, 620, 840)
    assert found["stained"].channel == "haematoxylin"
    assert found["merge"].stains == (1, 3)
    assert "debris" in found["debris"].remarks
    assert (
        np.ptp([np.median(part) for part in np.array_split(put_together(images()["slope"], found["slope"])[0], 5, 1)])
        < 0.1
    )


@pytest.mark.parametrize("channel", [1, "red", "haematoxylin"])
def test_a_channel_can_be_named(channel: int | str) -> None:
    image = images()["stained"]
    found = surveyed(image, 100, channel=channel)
    seen, _ = put_together(image, found)
    np.testing.assert_allclose(seen, see(image, NORMALISATION, channel=channel).normalised, atol=2e-2)


def test_each_row_is_read_once_where_nothing_looks_like_a_margin() -> None:
    image, read = images()["uint16"], []

    def reading(tile: Tile) -> NDArray:
        read.append((tile.top, tile.height))
        return tile.of(image)

    survey_plane(reading, image.shape, NORMALISATION, rows=100)
    assert read == [(top, min(100, 620 - top)) for top in range(0, 620, 100)]


def test_a_plane_without_data_is_refused() -> None:
    with pytest.raises(ImageError, match="no pixel holds data"):
        surveyed(np.full((300, 200), np.nan, np.float32), 64)


def test_the_preview_is_small() -> None:
    found = surveyed(np.zeros((40, 5000), np.uint8) + np.arange(5000, dtype=np.uint8), 8)
    assert found.preview.shape == (14, 1667)
