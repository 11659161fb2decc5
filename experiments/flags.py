"""Say which images held out of a training run are flagged, and which once they are spoiled: for docs/flags.md.

    python experiments/flags.py DATASET SPLIT MODEL OUT

DATASET is a prepared data set folder, SPLIT the split.csv of a training run on it, MODEL the model to count with. Each
image is judged by all images that trained, and by the fluorescence images among them. OUT gets a JSON file: for a set
of images their number, how many have any and each flag, and what they count, once spoiled as a share of what they
counted before.
"""

import csv
import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.counting import Model
from elmgan.data import Record, read_data_set
from elmgan.images import read_image
from elmgan.light import to_grey
from elmgan.models import find_bundle, read_bundle
from elmgan.training.bundling import clumps_in, known_of, ranges_in

FLUORESCENCE = ("bbbc039", "dsb2018/fluorescence")
EVERY = {"bbbc039": 4, "dsb2018/fluorescence": 3}
"""Of the held-out images of a kind, every such one is spoiled."""

Spoil = Callable[[NDArray[np.float32]], NDArray]


def contrast(grey: NDArray[np.float32]) -> float:
    """Give about the step from background to cells."""
    return max(float(np.percentile(grey, 99) - np.median(grey)), 1e-6)


def relief(grey: NDArray[np.float32]) -> NDArray:
    """Subtract the image three pixels further on, as in interference contrast."""
    smooth = blurred(grey, 1.5)
    return np.asarray(smooth - np.roll(smooth, (3, 3), axis=(0, 1)))


def blurred(grey: NDArray[np.float32], deviation: float) -> NDArray:
    """Blur by a Gaussian of so many pixels."""
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), deviation))


def zoomed(grey: NDArray[np.float32], factor: float) -> NDArray:
    """Resize, and cut off what is beyond 1000 pixels."""
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, None, fx=factor, fy=factor, interpolation=method))[:1000, :1000]


def surrounded(grey: NDArray[np.float32], share: float) -> NDArray:
    """Add pixels without data, which are 0, below and to the right until they are this share of the image."""
    sides = [round(side * (1 / math.sqrt(1 - share) - 1)) for side in grey.shape]
    return np.pad(grey, [(0, side) for side in sides])


def noisy(grey: NDArray[np.float32], share: float) -> NDArray:
    """Add noise of this share of the contrast as standard deviation."""
    noise = np.random.default_rng(0).normal(0, share * contrast(grey), grey.shape)
    return grey + noise.astype(np.float32)


def clipped(grey: NDArray[np.float32], top: float) -> NDArray:
    """Give an 8-bit image that is white from this grey value on."""
    low = float(np.percentile(grey, 1))
    return np.asarray(np.clip((grey - low) / max(top - low, 1e-6) * 255, 0, 255), np.uint8)


SPOILS: dict[str, Spoil] = {
    "inverted": lambda grey: grey.max() - grey,
    "relief": relief,
    **{f"blur {deviation}": partial(blurred, deviation=deviation) for deviation in (4, 8)},
    **{f"zoom {factor}": partial(zoomed, factor=factor) for factor in (0.2, 0.33, 3)},
    **{f"noise {share}": partial(noisy, share=share) for share in (0.1, 0.2, 0.3)},
    **{f"surround {share}": partial(surrounded, share=share) for share in (0.15, 0.4)},
    "clipped": lambda grey: clipped(grey, float(np.percentile(grey, 99)) * 0.3),
}


def judged(model: Model, images: list[NDArray], before: float | None = None) -> dict[str, object]:
    """Count images, and count their flags."""
    results = [model.count(image) for image in images]
    flags = Counter(flag for result in results for flag in result.flags)
    total = sum(result.estimate or 0 for result in results)
    return {
        "images": len(images),
        "flagged": sum(bool(result.flags) for result in results),
        "flags": dict(sorted(flags.items())),
        "count": round(total if before is None else total / before, 3),
    }


def main(dataset: Path, split: Path, name: str, out: Path) -> None:
    """Judge everything and write what came out."""
    records = {record.name: record for record in read_data_set(dataset)}
    sides: dict[str, dict[str, list[Record]]] = {"train": defaultdict(list), "held out": defaultdict(list)}
    for row in csv.DictReader(split.read_text(encoding="utf-8").splitlines()):
        sides["train" if row["side"] == "train" else "held out"][row["kind"]].append(records[row["image"]])
    bundle = read_bundle(find_bundle(name))
    spoiled = [r for kind, every in EVERY.items() for r in sides["held out"][kind][::every]]
    results: dict[str, object] = {"model": bundle.version}
    for ranges, kinds in (("all", tuple(sides["train"])), ("fluorescence", FLUORESCENCE)):
        trained = [r for kind in kinds for r in sides["train"][kind]]
        training = ranges_in(trained, bundle.card.normalisation) | clumps_in(Model(bundle), trained)
        bundle = replace(bundle, card=bundle.card.model_copy(update={"training": training}))
        model = Model(replace(bundle, known=known_of(Model(bundle), trained)))
        found: dict[str, object] = {"training": training}
        for kind, those in sorted(sides["held out"].items()):
            found[f"held out {kind}"] = judged(model, [read_image(record.image) for record in those])
        greys = [to_grey(read_image(record.image)).astype(np.float32) for record in spoiled]
        before = sum(model.count(grey).estimate or 0 for grey in greys)
        for what, spoil in SPOILS.items():
            found[what] = judged(model, [spoil(grey) for grey in greys], before)
            print(ranges, what, found[what], flush=True)
        results[ranges] = found
    out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
