"""How far off counts are by how far images are from those that a model knows: what sets flags and intervals.

    python experiments/trust.py rows DATA DATASET SPLIT MODEL ROWS
    python experiments/trust.py tables ROWS

The first counts images and writes a row for each to the CSV file ROWS: those of DATASET that validated (held out),
240 that did, each spoiled in one way (spoiled), the images of DATA/foreign whose count is known and every second one of
bbbc005 and fifth one of vgg_cells (foreign). The second tells, of what is in ROWS, how far off counts are by distance,
in units of that up to which images are near, and how many intervals would hold with other constants of
:func:`elmgan.trust.spread`. The constants were chosen on held-out, spoiled and `foreign` images; bbbc005 and vgg_cells
chose nothing.
"""

import csv
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from elmgan.counting import Model
from elmgan.data import Record, read_data_set
from elmgan.data.record import read_seen
from elmgan.images import read_image
from elmgan.models import find_bundle, read_bundle
from elmgan.work.views import at_scales
from kinds import listed

Image = NDArray[np.float32]

COLUMNS = ("kind", "side", "spoiled", "truth", "estimate", "objects", "doubt", "far", "flags", "low", "high")
SPOILED = 240


def gamma(grey: Image) -> Image:
    """Darken what is between."""
    low, high = float(grey.min()), float(grey.max())
    return np.asarray(low + (high - low) * ((grey - low) / max(high - low, 1e-6)) ** 2.2, np.float32)


def noisy(grey: Image, share: float) -> Image:
    """Add noise of this share of the span as standard deviation."""
    noise = np.random.default_rng(0).normal(0, share * float(np.ptp(np.percentile(grey, (0.2, 99.8)))), grey.shape)
    return grey + noise.astype(np.float32)


def zoomed(grey: Image, factor: float) -> Image:
    """Resize."""
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, None, fx=factor, fy=factor, interpolation=method), np.float32)


def blurred(grey: Image, deviation: float) -> Image:
    """Blur by a Gaussian of so many pixels."""
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), deviation), np.float32)


def striped(grey: Image) -> Image:
    """Leave out every so many rows, as a camera that drops lines."""
    spoiled = grey.copy()
    spoiled[:: max(3, len(grey) // 20)] = grey.min()
    return spoiled


SPOILS: dict[str, Callable[[Image], Image]] = {
    **{f"blur {deviation}": partial(blurred, deviation=deviation) for deviation in (1.5, 3)},
    **{f"noise {share}": partial(noisy, share=share) for share in (0.05, 0.1, 0.25)},
    **{f"zoom {factor}": partial(zoomed, factor=factor) for factor in (0.33, 0.5, 2)},
    "inverted": lambda grey: grey.max() - grey,
    "gamma": gamma,
    "dim": lambda grey: np.round(grey * np.float32(20 / max(float(grey.max()), 1e-6))),
    "stripes": striped,
}


def rows(data: Path, data_set: Path, split: Path, name: str) -> Iterable[dict[str, object]]:
    """Count everything."""
    model = Model(read_bundle(find_bundle(name)), parallel=True)
    known = model.known
    assert known is not None

    def row(record: Record, side: str, spoil: str = "", by: Model = model) -> dict[str, object] | None:
        pixels = read_image(record.image)
        if spoil:  # of what is seen of it, so that slides are spoiled too
            pixels = SPOILS[spoil](read_seen(record, model.card.normalisation).grey.astype(np.float32))
        result = by.count(pixels, cells="bright" if spoil and record.kind.startswith("dsb2018/purple") else None)
        low, high = result.interval or ("", "")
        return {
            "kind": record.kind,
            "side": side,
            "spoiled": spoil,
            "truth": record.count,
            "estimate": result.estimate,
            "objects": result.objects,
            "doubt": round(known.doubt(result.distance), 4),
            "far": int(result.distance is not None and result.distance > known.far),
            "flags": ";".join(result.flags),
            "low": low,
            "high": high,
        }

    with split.open(newline="", encoding="utf-8") as lines:
        sides = {row["image"]: row["side"] for row in csv.DictReader(lines)}
    counted = [record for record in read_data_set(data_set) if record.count is not None]
    held = [record for record in counted if sides[record.name] == "validation" and "as-it-is" not in record.name]
    trained = [record for record in counted if sides[record.name] == "train"]
    np.random.default_rng(3).shuffle(trained)
    with ThreadPoolExecutor(2) as pool:
        yield from filter(None, pool.map(lambda record: row(record, "held out"), held))
        spoils = list(SPOILS)
        pairs = [(record, spoils[k % len(spoils)]) for k, record in enumerate(trained[:SPOILED])]
        yield from filter(None, pool.map(lambda pair: row(pair[0], "spoiled", pair[1]), pairs))
        strange = [record for record in listed(data / "foreign") if record.count is not None]
        kinds = {record.kind: [other for other in strange if other.kind == record.kind] for record in strange}
        simulated = [record for record in read_data_set(data / "bbbc005") if record.count is not None]
        for stain in ("w1", "w2"):
            kinds[f"bbbc005/{stain}"] = [record for record in simulated if stain in record.name][::2]
        kinds["vgg_cells"] = read_data_set(data / "vgg_cells")[::5]
        for kind, records in kinds.items():
            suited = at_scales(model, [record.image for record in records], model.view)
            for found in pool.map(lambda record, by=suited: row(record, "foreign", by=by), records):
                yield {**(found or {}), "kind": kind}


def numbers(table: Sequence[Mapping[str, str]], column: str) -> NDArray[np.float64]:
    """Give a column as numbers."""
    return np.array([float(row[column] or "nan") for row in table])


def tables(table: Sequence[Mapping[str, str]]) -> None:
    """Print what is known of errors, flags and intervals."""
    truth, estimate, doubt, far = (numbers(table, name) for name in ("truth", "estimate", "doubt", "far"))
    side = np.array([row["side"] for row in table])
    relative = np.abs(estimate - truth) / (truth + 5)
    print("doubt         images  median, 9th decile of |error| / (count + 5)")
    edges = [0, 0.3, 0.5, 0.7, 0.85, 1, 1.25, 1.5, 2, 3, 1e9]
    for low, high in pairwise(edges):
        some = relative[(doubt >= low) & (doubt < high)]
        if len(some):
            print(f"{low:5g} to {high:5g}  {len(some):5d}   {np.median(some):.3f}, {np.percentile(some, 90):.3f}")
    held = (side == "held out") & (far == 0)
    for start in (0.3, 0.5, 0.7, 0.85):
        for share in (0, 0.1, 0.25, 0.5, 1):
            width = np.sqrt(np.maximum(estimate, 0) + 1) + share * np.maximum(doubt - start, 0) * (estimate + 4)
            error = np.abs(estimate - truth) / width
            quantile = np.quantile(error[held], 0.9)
            inside = error <= quantile
            told = [
                f"start {start}, share {share}: quantile {quantile:.2f}",
                f"width held out {np.median(2 * quantile * width[held]):.1f}",
            ]
            for name in ("held out", "spoiled", "foreign"):
                some = (side == name) & (far == 0)
                told.append(f"{name} {inside[some].mean():.3f} of {some.sum()}")
            print("; ".join(told))


def main(arguments: Sequence[str]) -> None:
    """Do the one or the other."""
    if len(arguments) == 6 and arguments[0] == "rows":
        with Path(arguments[5]).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            for row in rows(Path(arguments[1]), Path(arguments[2]), Path(arguments[3]), arguments[4]):
                writer.writerow(row)
                file.flush()
    elif len(arguments) == 2 and arguments[0] == "tables":
        with Path(arguments[1]).open(newline="", encoding="utf-8") as file:
            tables(list(csv.DictReader(file)))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
