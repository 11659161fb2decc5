"""Masks that are none, or odd, and names that differ from those of their images."""

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from elmgan.data import read_data_set
from elmgan.data.layouts import by_pattern
from elmgan.data.masks import look_at
from elmgan.errors import DataError
from elmgan.images import write_png


def discs(seed: int = 0, cells: int = 12, size: int = 200, radius: int = 12) -> NDArray[np.uint8]:
    """Instance labels of discs, which may cover one another."""
    labels = np.zeros((size, size), np.uint8)
    for k, (row, column) in enumerate(np.random.default_rng(seed).integers(15, size - 15, (cells, 2)).tolist(), 1):
        cv2.circle(labels, (column, row), radius, k, -1)
    return labels


def as_jpeg(mask: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    stream = BytesIO()
    Image.fromarray(mask).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


MASK = (discs() > 0) * np.uint8(255)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("radius", [4, 12, 25])
def test_what_a_mask_is_made_of(seed: int, radius: int) -> None:
    labels = discs(seed, radius=radius)
    mask = (labels > 0) * np.uint8(255)
    picture = cv2.GaussianBlur(mask, (0, 0), radius) // 2 + np.random.default_rng(seed).integers(0, 90, mask.shape)
    colours = np.random.default_rng(seed).integers(40, 255, (256, 3)).astype(np.uint8)
    colours[0] = 0
    small = cv2.resize(mask, (70, 70), interpolation=cv2.INTER_AREA)
    made: dict[str, list[NDArray]] = {
        "two values": [mask, mask > 0, mask.astype(np.uint16) * 257, np.zeros_like(mask), np.dstack([mask, 0 * mask])],
        "no background": [np.where(mask > 0, np.uint8(1), np.uint8(2))],
        "labels": [labels, labels.astype(np.uint16) * 300, labels.astype(np.float32), 7 * labels.astype(np.int32)],
        "colours": [colours[labels]],
        "classes": [labels % 3, np.where(labels > 0, 1 + (np.indices(labels.shape).sum(0) % 2), 0)],
        "soft": [small, cv2.GaussianBlur(mask, (0, 0), 0.6), cv2.resize(mask / np.float32(255), (330, 330))],
        "damaged": [as_jpeg(mask, quality) for quality in (50, 75, 90)],
        "picture": [picture, cv2.GaussianBlur(mask, (0, 0), 9).astype(np.float32) / 255],
    }
    for sort, masks in made.items():
        assert [look_at(one).sort for one in masks] == [sort] * len(masks)


def data_set(folder: Path, masks: dict[str, NDArray], counts: dict[str, float] | None = None) -> list[str]:
    """Write images, bright where the first mask has cells, with masks; give what is told, faults at the end."""
    for k, (name, mask) in enumerate(masks.items()):
        image = np.random.default_rng(k).integers(0, 30, mask.shape[:2], dtype=np.uint8) + discs(k) // 2 * 20
        write_png(folder / f"images/{name}.png", image.astype(np.uint8))
        path = folder / f"masks/{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mask).save(path)
    if counts:
        lines = "".join(f"{name},{count}\n" for name, count in counts.items())
        (folder / "counts.csv").write_text("image,count\n" + lines)
    told: list[str] = []
    try:
        read_data_set(folder, tell=told.append)
    except DataError as error:
        told += str(error).split("\n  ")[1:]
    return [line.replace(f"{folder}/", "") for line in told]


def masked(k: int) -> NDArray[np.uint8]:
    return (discs(k) > 0) * np.uint8(255)


def test_good_masks_are_taken_without_a_word(tmp_path: Path) -> None:
    assert data_set(tmp_path, {str(k): masked(k) for k in range(3)}) == []


def test_labels_in_the_place_of_masks_are_refused_together(tmp_path: Path) -> None:
    assert data_set(tmp_path, {"a": discs(0), "b": discs(1, cells=20), "c": discs(2, cells=1)}) == [
        "masks/ holds 20 numbers: these are instance labels; move them to labels/"
    ]


def test_labels_in_colour_are_told_as_such(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(1, 255, (256, 3)).astype(np.uint8) * (np.arange(256) > 0)[:, None]
    (fault,) = data_set(tmp_path, {str(k): colours.astype(np.uint8)[discs(k)] for k in range(2)})
    assert fault.startswith("masks/ holds 12 colours: these are instance labels; save them in grey, a number for each")


def test_three_cells_in_three_colours_do_not_make_labels_of_masks(tmp_path: Path) -> None:
    """As in BBBC039, where colours part cells that touch."""
    few = np.zeros((200, 200), np.uint8)
    few[20:40, 20:40], few[90:110, 90:110], few[150:170, 20:40] = 1, 2, 3
    many = discs(1, cells=60, radius=8)
    many[many > 0] = 1 + many[many > 0] % 3
    more = np.rot90(many)
    told = data_set(tmp_path, {"a": few, "b": many, "c": np.ascontiguousarray(more)})
    assert len(told) == 3
    assert all("holds 4 values; all but 0 are taken for cell" in line for line in told)


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (
            as_jpeg(MASK, 75),
            "values where a mask has two: it has values in between, as after JPEG",
        ),
        (cv2.GaussianBlur(MASK, (0, 0), 0.6), "values where a mask has two: its edges are soft, as after smoothing"),
        (cv2.GaussianBlur(MASK, (0, 0), 9), "values where a mask has two: it is a picture"),
        (MASK // 255 + 1, "has two values, and none of them is 0; set the background to 0"),
    ],
)
def test_masks_that_are_no_masks_are_refused(tmp_path: Path, mask: NDArray[np.uint8], told: str) -> None:
    (fault,) = data_set(tmp_path, {"a": mask.astype(np.uint8), "b": masked(1)})
    assert fault.startswith("masks/a.png: ")
    assert told in fault


def test_masks_without_foreground_are_told(tmp_path: Path) -> None:
    empty = np.zeros((200, 200), np.uint8)
    told = data_set(tmp_path, {"a": empty, "b": masked(1), "c": empty, "d": empty}, {"c": 0, "d": 12})
    assert told == [
        "masks/a.png: the mask of a has no foreground: are there no cells?",
        "2 of 4 images have a count; 2 without: a.png, b.png",
        "masks/d.png: the mask of d has no foreground, and its count is 12; correct the count, or remove this file",
    ]


def test_masks_that_are_all_empty_are_refused_unless_nothing_is_there(tmp_path: Path) -> None:
    empty = {name: np.zeros((200, 200), np.uint8) for name in "ab"}
    (fault,) = data_set(tmp_path, empty)
    assert fault.startswith("masks/a.png: the mask of a has no foreground, and no other mask has")
    assert data_set(tmp_path, empty, {"a": 0, "b": 0}) == []


@pytest.mark.parametrize("colour", [0, 255])
def test_a_mask_in_the_alpha_channel_is_told(tmp_path: Path, colour: int) -> None:
    flat = np.full((200, 200), colour, np.uint8)
    (fault,) = data_set(tmp_path, {str(k): np.dstack([flat, flat, flat, masked(k)]) for k in range(1)})[-1:]
    assert fault == "masks/0.png: its picture is in the alpha channel, which is not read; save it in grey"


def test_inverted_masks_are_told(tmp_path: Path) -> None:
    """By the bright part of the image outside, or by a border that is all foreground."""
    mostly = np.full((200, 200), 255, np.uint8)
    mostly[masked(1) > 0] = 0
    mostly[:, :30] = 0
    told = data_set(tmp_path, {"a": 255 - masked(0), "b": mostly, "c": masked(2)})
    assert len(told) == 2
    assert told[0].endswith("% is foreground, and so is the border: is it inverted? Cell is what is not 0")
    assert told[1].endswith("% is foreground, and the image is brighter outside: is it inverted? Cell is what is not 0")


def test_crowded_masks_are_not_taken_for_inverted(tmp_path: Path) -> None:
    mask = discs(0, cells=200)
    image = np.where(mask > 0, 200, 20).astype(np.uint8)
    assert 0.5 < (mask > 0).mean() < 0.95
    write_png(tmp_path / "images/a.png", image)
    write_png(tmp_path / "masks/a.png", (mask > 0) * np.uint8(255))
    told: list[str] = []
    read_data_set(tmp_path, tell=told.append)
    assert told == []


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["img_0", "img_1"], ["img_0_mask", "img_1_mask"]),
        (["img_0", "img_10"], ["img_0-seg", "img_10-seg"]),
        (["1", "2", "11"], ["1_cp_masks", "11_cp_masks"]),
        (["a b", "c"], ["mask of a b", "mask of c"]),
        (["p/a", "p/b", "q/a"], ["p/gt_a_new", "q/gt_a_new"]),
        (["image_01", "image_02"], ["mask_02", "mask_01"]),
        (["01_raw", "02_raw"], ["01_labels", "02_labels"]),
        (["img001", "img002", "img003"], ["mask002"]),
        (["01_DAPI", "02_DAPI"], ["01", "02"]),
        (["p/1 w1 dapi", "p/2 w1 dapi"], ["p/mask 2"]),
        (["1.ome", "12.ome"], ["1_seg", "12_seg"]),
        (["a", "b"], ["a_mask"]),  # whose a stands in it twice
    ],
)
def test_names_that_all_differ_in_one_way_are_matched(images: list[str], masks: list[str]) -> None:
    found = by_pattern(masks, images)
    assert set(found) == set(masks)
    for mask, image in found.items():
        assert [part for part in mask if part.isdigit()][:1] == [part for part in image if part.isdigit()][:1]
        assert mask.split("/")[0] == image.split("/")[0] or "/" not in image


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["img_0", "img_1"], ["img_0_mask", "img_1_seg"]),
        (["img_0", "img_1"], ["img_0_mask", "img_2_mask"]),
        (["1", "2"], ["11", "12"]),  # of other images
        (["1", "2"], ["10", "20"]),
        (["a", "aa"], ["aaa"]),  # of either
        (["ctl_1", "ctl_2", "drug_1", "drug_2"], ["mask_1", "mask_2"]),
        (["img_a1", "img_a2"], ["mask_b1", "mask_b2"]),
        (["img_a1_w1", "img_b1_w1"], ["mask_1", "mask_2"]),
    ],
)
def test_names_that_differ_in_several_ways_are_not_guessed(images: list[str], masks: list[str]) -> None:
    assert by_pattern(masks, images) == {}


@pytest.mark.parametrize("folder", ["masks", "Masks", "labels", "dots"])
def test_annotations_named_by_a_pattern_are_taken_and_told(tmp_path: Path, folder: str) -> None:
    for k in range(2):
        write_png(tmp_path / f"Images/img_{k}.png", np.random.default_rng(k).integers(0, 255, (40, 50), dtype=np.uint8))
        objects = np.zeros((40, 50), np.uint8)
        objects[5, 5] = 1
        write_png(tmp_path / folder / f"IMG_{k}_mask.png".replace("IMG", "img"), objects)
    told: list[str] = []
    records = read_data_set(tmp_path, tell=told.append)
    assert [(record.mask or record.labels or record.dots) is not None for record in records] == [True, True]
    (line,) = told
    assert line.startswith(f"{tmp_path / folder / 'img_0_mask.png'}: is taken for the ")
    assert line.endswith(" of img_0.png, and so on: all 2 names follow this pattern")


def test_names_of_another_case_or_form_are_matched(tmp_path: Path) -> None:
    for folder, names in (("images", ["Zu\u0308rich", "B"]), ("masks", ["Z\u00fcrich", "b"])):
        for k, name in enumerate(names):
            pixels = discs(k) if folder == "images" else masked(k)
            write_png(tmp_path / folder / f"{name}.png", pixels)
    assert all(record.mask for record in read_data_set(tmp_path))
    write_png(tmp_path / "masks/B.PNG", masked(1))
    (tmp_path / "masks/B.PNG").rename(tmp_path / "masks/B.tif")
    with pytest.raises(DataError, match=r"B\.tif: belongs to B\.png, as b\.png does; remove one"):
        read_data_set(tmp_path)


def test_a_folder_of_annotations_that_is_not_read_is_told(tmp_path: Path) -> None:
    told = data_set(tmp_path, {"a": masked(0), "b": masked(1)})
    for name in ("ground_truth", "runs", "old masks"):
        (tmp_path / name).mkdir()
    read_data_set(tmp_path, tell=told.append)
    assert told == [
        f"{tmp_path / name}: is not read; elmgan reads images/, masks/, labels/ and dots/"
        for name in ("ground_truth", "old masks")
    ]


def test_images_not_counted_yet_are_left_out_and_told(tmp_path: Path) -> None:
    for k in range(20):
        write_png(tmp_path / f"images/{k:02}.png", discs(k))
    (tmp_path / "counts.csv").write_text("image,count\n" + "".join(f"{k:02},{k or ''}\n" for k in range(20)))
    told: list[str] = []
    assert len(read_data_set(tmp_path, tell=told.append)) == 19
    assert told == [
        "19 of 20 images have a count; 1 without: 00.png",
        "left out, with neither mask nor count: 00.png",
    ]
    (tmp_path / "counts.csv").write_text("image,count\n05,7\n")
    assert len(read_data_set(tmp_path, tell=told.append)) == 1
    assert told[-1].endswith("09.png, 10.png and 9 more")
