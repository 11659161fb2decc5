"""Choose the constants of `elmgan.counting.separation`, and score the choice on other images.

    python experiments/separation.py DATASET SPLIT MODEL OUT

DATASET is a prepared data set folder with labels, SPLIT the split.csv of a training run on it, MODEL the name or path
of a model. The two constants of shape are tried on true masks, the two of the count on the model's masks and count
maps, on at most 50 images a group, of the training side only; so is the one constant of a plain watershed of the same
masks. OUT gets a JSON file with the grids and, for the best pairs, for the constants in the program and for what they
are compared with, the AP50 of the validation side. Groups (bbbc039, fluorescence, other) weigh alike. It also gets the
time of one core for a drawn image of 520 x 696 pixels with 110 cells.
"""

import csv
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

import elmgan
from elmgan.benchmark.counting import field
from elmgan.counting import Model, hills
from elmgan.counting import separate as separate_cells
from elmgan.data import read_data_set, read_labels
from elmgan.images import read_image
from elmgan.scores import average_precision
from table import SEPARATED

SMOOTHINGS = (0.5, 0.75, 1.0, 1.25, 1.5)
NECKS = (0.85, 0.88, 0.9, 0.91, 0.92, 0.94)
WEIGHTS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
CRUMBS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
DISTANCES = (1, 2, 3, 4, 5, 7, 10, 14)
CALLS = 51
MOST = 50
SEED = 0


@dataclass(frozen=True)
class Item:
    """An image's true labels, (row, column), and what is separated: a mask, and a count map where one is known."""

    labels: NDArray[np.uint16]
    mask: NDArray[np.bool_]
    count_map: NDArray[np.float32] | None


Groups = dict[str, list[Item]]
Results = dict[str, Any]
Separate = Callable[[NDArray[np.bool_], NDArray[np.float32] | None], NDArray]


def group_of(kind: str) -> str:
    """Put the rare kinds of dsb2018 together."""
    name = kind.split("/")[-1]
    return name if name in ("bbbc039", "fluorescence") else "other"


def read(dataset: Path, split: Path, side: str, most: int, model: Model | None = None) -> Groups:
    """Read the labels of one side, at most so many a group, drawn by seed; with their masks, or a model's."""
    names: dict[str, list[str]] = defaultdict(list)
    with split.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["side"] == side:
                names[group_of(row["kind"])].append(row["image"])
    images = {record.name: record.image for record in read_data_set(dataset)}
    rng = np.random.default_rng(SEED)
    groups: Groups = {}
    for group, members in names.items():
        drawn = [members[k] for k in rng.permutation(len(members))[:most]]
        groups[group] = []
        for name in drawn:
            labels = read_labels(dataset / "labels" / f"{name}.tif")
            result = None if model is None else model.count(read_image(images[name]))
            if result is None or result.mask is None:
                groups[group].append(Item(labels, labels > 0, None))
            else:
                groups[group].append(Item(labels, result.mask, result.count_map))
    return groups


def ap50(groups: Groups, separate: Separate = separate_cells) -> dict[str, float]:
    """Give the mean AP50 of each group with the constants as they are set, and the groups' mean."""
    scores = {
        group: float(np.mean([average_precision(separate(item.mask, item.count_map), item.labels) for item in members]))
        for group, members in sorted(groups.items())
    }
    return {name: round(score, 4) for name, score in (scores | {"mean": float(np.mean(list(scores.values())))}).items()}


def components(mask: NDArray[np.bool_], _: NDArray[np.float32] | None) -> NDArray[np.int32]:
    """Give plain connected components, to compare with."""
    return cv2.connectedComponents(mask.astype(np.uint8))[1].astype(np.int32)


def by_shape(mask: NDArray[np.bool_], _: NDArray[np.float32] | None) -> NDArray[np.uint32]:
    """Separate without the count map, to compare with."""
    return separate_cells(mask)


def plain_watershed(mask: NDArray[np.bool_], _: NDArray[np.float32] | None, *, distance: int) -> NDArray:
    """Separate as is usual: a watershed from the maxima of the distance to the edge, at least so many pixels apart."""
    depth = distance_transform_edt(mask)
    parts = components(mask, None)
    markers = np.zeros(mask.shape, np.int32)
    peaks = peak_local_max(depth, min_distance=distance, labels=parts, exclude_border=False)  # type: ignore[no-untyped-call]
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return np.asarray(watershed(-depth, markers, mask=mask))  # type: ignore[no-untyped-call]


def best_plain_watershed(train: Groups) -> int:
    """Choose how far apart a plain watershed's maxima are at least."""
    scores = {distance: ap50(train, partial(plain_watershed, distance=distance))["mean"] for distance in DISTANCES}
    return max(scores, key=lambda distance: scores[distance])


def milliseconds(network: Model, distance: int) -> Results:
    """Time ours and a plain watershed on a core, in turns: median and quartiles of a call."""
    result = network.count(field(0))
    assert result.mask is not None
    ways: dict[str, Separate] = {
        SEPARATED: separate_cells,
        "plain watershed": partial(plain_watershed, distance=distance),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    cv2.setNumThreads(1)
    for _ in range(CALLS):
        for name, separate in ways.items():
            begun = time.process_time()
            separate(result.mask, result.count_map)
            times[name].append(1e3 * (time.process_time() - begun))
    rows = {
        name: [round(float(value), 2) for value in np.percentile(found, (50, 25, 75))] for name, found in times.items()
    }
    return {"cells": result.objects, "median and quartiles of a call": rows}


def search(names: tuple[str, str], grid: Iterable[tuple[float, float]], train: Groups, validation: Groups) -> Results:
    """Try pairs of constants on the training side; score the best and the program's own on the validation side."""
    own = tuple(getattr(hills, name) for name in names)

    def score(values: tuple[float, ...], groups: Groups) -> Results:
        for name, value in zip(names, values, strict=True):
            setattr(hills, name, value)
        return {name.lower(): value for name, value in zip(names, values, strict=True)} | {"ap50": ap50(groups)}

    tried = []
    for values in grid:
        tried.append(score(values, train))
        print(tried[-1], flush=True)
    best = max(tried, key=lambda row: row["ap50"]["mean"])
    chosen = tuple(best[name.lower()] for name in names)
    found: Results = {"train": tried, "best": score(chosen, validation), "program": score(own, validation)}
    print({name: found[name] for name in ("best", "program")})
    return found


def main(dataset: Path, split: Path, model: str, out: Path) -> None:
    """Search both grids and write what came out."""
    network = elmgan.load(model)
    results: Results = {"seed": SEED, "model": network.version}
    for task, names, grid, source in (
        ("true masks", ("SMOOTHING", "NECK"), product(SMOOTHINGS, NECKS), None),
        ("masks of the model", ("WEIGHT", "CRUMB"), product(WEIGHTS, CRUMBS), network),
    ):
        train = read(dataset, split, "train", MOST, source)
        validation = read(dataset, split, "validation", sys.maxsize, source)
        images = {
            side: {group: len(members) for group, members in sorted(groups.items())}
            for side, groups in (("train", train), ("validation", validation))
        }
        results[task] = {"images": images} | search(names, grid, train, validation)
        distance = best_plain_watershed(train)
        results[task] |= {
            "components": ap50(validation, components),
            "plain watershed": ap50(validation, partial(plain_watershed, distance=distance)) | {"distance": distance},
            "by shape": ap50(validation, by_shape),
        }
        print({name: results[task][name] for name in ("components", "plain watershed", "by shape")}, flush=True)
    results["milliseconds of a core"] = milliseconds(network, distance)
    print(results["milliseconds of a core"])
    out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
