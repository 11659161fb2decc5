"""Count images of known and of foreign kinds as they are, folder by folder, and say how good counts and flags are.

    python experiments/kinds.py DATA DATASET SPLIT MODEL OUT

DATA holds the public data sets, DATASET is the prepared one of `nuclei`, SPLIT the split.csv of the training run on it,
MODEL the model to count with. OUT gets a JSON file: kind -> number of images, scores, how many are flagged, how many
intervals are given and hold, and of images whose count is wrong, by more than a quarter and 3 cells, how many are
flagged. No image trained the model. Those of bsst265 are held-out ones at their own magnification, whose scale is found
by all of the folder. The table of docs/flags.md and README.md are drawn from it by hand.
"""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from elmgan.counting import Model
from elmgan.data import Record, read_data_set
from elmgan.models import find_bundle, read_bundle
from elmgan.scores import Score
from elmgan.work import score_image
from elmgan.work.views import at_scales

QUARTER, AND = 0.25, 3
"""A count is wrong if it is off by more than this share and so many cells."""


def held_out(data_set: Path, split: Path) -> list[Record]:
    """Give the images of the prepared data set that did not train."""
    with split.open(newline="", encoding="utf-8") as lines:
        sides = {row["image"]: row["side"] for row in csv.DictReader(lines)}
    return [record for record in read_data_set(data_set) if sides.get(record.name, "train") != "train"]


def listed(folder: Path, *, count: str = "count") -> list[Record]:
    """Give the images that an images.csv lists, with their counts where it has them."""
    with (folder / "images.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    records = []
    for row in rows:
        path = folder / "images" / row["image"]
        labels = folder / "labels" / f"{path.stem}.png"
        records.append(
            Record(
                path.stem,
                path,
                None,
                labels if labels.exists() else None,
                float(row[count]) if row[count] else None,
                path.stem,
                row.get("kind", folder.name),
            )
        )
    return records


def folders(data: Path, data_set: Path, split: Path) -> Iterator[tuple[str, list[Record], list[Record]]]:
    """Give kind, the images by which its scale is found, and those that are scored."""
    known = held_out(data_set, split)
    kinds: dict[str, list[Record]] = defaultdict(list)
    for record in known:
        kinds[record.kind].append(record)
    large = {record.name.rpartition("/")[2] for record in kinds.pop("bsst265 as it is", []) + kinds.pop("bsst265", [])}
    for kind, records in sorted(kinds.items()):
        yield kind, records, records
    own = listed(data / "bsst265")
    yield "bsst265, as they are", own, [record for record in own if record.name in large]
    foreign: dict[str, list[Record]] = defaultdict(list)
    for record in listed(data / "foreign"):
        foreign[record.kind].append(record)
    for kind, records in foreign.items():
        yield f"foreign: {kind}", records, records
    simulated = [record for record in read_data_set(data / "bbbc005") if record.count is not None]
    for stain in ("w1", "w2"):
        some = [record for record in simulated if stain in record.name]
        yield f"bbbc005/{stain}", some, some
    dense = read_data_set(data / "vgg_cells")
    yield "vgg_cells", dense, dense


def is_wrong(score: Score) -> bool:
    """Say whether a count is far off."""
    assert score.truth is not None
    assert score.estimate is not None
    return abs(score.estimate - score.truth) > QUARTER * score.truth + AND


def told(scores: Sequence[Score]) -> dict[str, float]:
    """Give what is known of the scores of a kind."""
    counted = [score for score in scores if score.truth is not None]
    wrong = [is_wrong(score) for score in counted]
    flagged = [bool(score.flags) for score in counted]
    given = [score for score in counted if score.low is not None and score.high is not None]
    means = {
        name: float(np.mean(values))
        for name in ("dice", "ap50")
        if (values := [value for score in scores if (value := getattr(score, name)) is not None])
    }
    if counted:
        errors = np.array([(score.estimate or 0) - (score.truth or 0) for score in counted])
        means |= {
            "mean count": float(np.mean([score.truth or 0 for score in counted])),
            "mae": float(np.abs(errors).mean()),
            "bias": float(errors.mean()),
        }
    return {
        "images": len(scores),
        "flagged": sum(bool(score.flags) for score in scores),
        **{name: round(value, 4) for name, value in means.items()},
        "wrong": sum(wrong),
        "wrong and flagged": sum(a and b for a, b in zip(wrong, flagged, strict=True)),
        "right": len(wrong) - sum(wrong),
        "right and flagged": sum(not a and b for a, b in zip(wrong, flagged, strict=True)),
        "intervals": len(given),
        "intervals that hold": sum((s.low or 0) <= (s.truth or 0) <= (s.high or 0) for s in given),
    }


def main(data: Path, data_set: Path, split: Path, name: str, out: Path) -> None:
    """Count everything and write what came out."""
    model = Model(read_bundle(find_bundle(name)), parallel=True)
    results: dict[str, object] = {"model": model.version, "engine": str(model.runtime)}
    together: dict[str, list[Score]] = defaultdict(list)
    with ThreadPoolExecutor(2) as pool:
        for kind, sample, records in folders(data, data_set, split):
            suited = at_scales(model, [record.image for record in sample], model.view)
            shown = [replace(record, view=model.view) for record in records]
            scores = list(pool.map(lambda record, suited=suited: score_image(suited, record), shown))
            results[kind] = {"scales": suited.usual, **told(scores)}
            print(kind, results[kind], flush=True)
            for name_of_all in ("dsb2018", "foreign"):
                if kind.startswith(name_of_all):
                    together[name_of_all] += scores
        results |= {f"{kind}, all": told(scores) for kind, scores in together.items()}
    out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 6:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], Path(sys.argv[5]))
