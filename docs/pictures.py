"""Draws the pictures of the first page and of other programs' pages: ``python docs/pictures.py`` writes them here.

All are of drawn cells. Each shows what the page's program gets, read back as that program reads it. Two are made
elsewhere, since they take the program itself: napari.png by tests/apps/test_napari.py, and counter.png by
tests/export/test_counter.py.
"""

import csv
import io
import json
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from roifile import roiread

import elmgan
from elmgan.counting.picture import for_display
from elmgan.data.synthetic import SyntheticScene, draw
from elmgan.export.bioimageio import AUTHORS, COVER, LICENCE, write_package
from elmgan.images import write_image
from elmgan.models import find_bundle, read_bundle
from elmgan.work import count_images

HERE = Path(__file__).parent
ZOOM = 2
ORANGE, BLUE, WHITE, YELLOW = (255, 128, 0), (90, 176, 255), (255, 255, 255), (255, 230, 80)
REGIONS = {
    "left": [(15, 15), (271, 30), (301, 180), (226, 360), (30, 345)],
    "right": [(322, 45), (556, 30), (559, 360), (345, 330)],
}
"""Corners of regions in the picture, x and y."""

CONDITIONS = {"control": (62, 55, 70), "treated": (31, 38, 26)}
"""Cells that are drawn in the images of the spreadsheet."""


def drawn(cells: int = 45, seed: int = 5, rows: int = 384, columns: int = 576) -> NDArray:
    """Give drawn cells."""
    return draw(SyntheticScene(rows=rows, columns=columns, cells=cells), rng=np.random.default_rng(seed)).image


def make_pictures(out: Path) -> list[Path]:
    """Write all pictures to a folder."""
    with tempfile.TemporaryDirectory() as made:
        work, image = Path(made), drawn()
        write_image(work / "cells.tif", image)
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
                "properties": {"name": name},
            }
            for name, corners in REGIONS.items()
        ]
        (work / "regions.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        model = elmgan.load("nuclei")
        count_images(
            [work / "cells.tif"],
            work / "counted",
            model,
            measure=True,
            exports=["qupath", "imagej"],
            regions=work / "regions.geojson",
        )
        write_image(work / "overlay.tif", drawn(75, rows=512, columns=512))
        count_images([work / "overlay.tif"], work / "overlaid", model, overlays=True)
        pictures = {
            "overlay.png": Image.open(work / "overlaid" / "overlays" / "overlay.png").convert("RGB"),
            "imagej.png": in_imagej(image, work / "counted" / "imagej" / "cells.zip"),
            "qupath.png": in_qupath(image, work / "counted" / "qupath" / "cells.geojson"),
            "regions.png": in_regions(image, work / "counted"),
            "bioimageio.png": cover(work / "nuclei.zip"),
            "spreadsheet.png": in_spreadsheet(work, model),
            "notebook.png": in_notebook(),
        }
    for name, picture in pictures.items():
        picture.quantize(128).save(out / name, optimize=True)
    return [out / name for name in pictures]


def shown(image: NDArray) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Give an image in grey, enlarged, to draw on."""
    picture = Image.fromarray(for_display(image)).convert("RGB")
    picture = picture.resize((ZOOM * picture.width, ZOOM * picture.height), Image.Resampling.NEAREST)
    return picture, ImageDraw.Draw(picture)


def line(corners: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Give the corners of a polygon, x and y in the image, as a closed line in the picture."""
    return [(ZOOM * x, ZOOM * y) for x, y in [*corners, corners[0]]]


def in_imagej(image: NDArray, rois: Path) -> Image.Image:
    """Draw the ROIs of a RoiSet with their numbers, as the ROI Manager shows them."""
    picture, draws = shown(image)
    font = ImageFont.load_default(16)
    for number, roi in enumerate(roiread(rois), 1):
        for ring in roi.coordinates(multi=True):
            draws.line(line(ring.tolist()), fill=YELLOW, width=2)
        middle = ZOOM * (roi.left + roi.right) / 2, ZOOM * (roi.top + roi.bottom) / 2
        draws.text(middle, str(number), fill=WHITE, font=font, anchor="mm", stroke_width=2, stroke_fill=(0, 0, 0))
    return picture


def in_qupath(image: NDArray, cells: Path) -> Image.Image:
    """Draw the detections, filled by one of their measurements, as QuPath's measurement maps show them."""
    picture, draws = shown(image)
    features = json.loads(cells.read_text())["features"]
    areas = np.array([feature["properties"]["measurements"]["Area px^2"] for feature in features])
    ranks = (areas - areas.min()) / np.ptp(areas)
    colours = mpl.colormaps["viridis"](ranks, bytes=True)[:, :3].tolist()
    for feature, colour in zip(features, colours, strict=True):
        geometry = feature["geometry"]
        polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
        for outer, *_ in polygons:
            draws.polygon(line(outer), fill=tuple(colour), outline=ORANGE, width=2)
    told = f"Area px^2: {areas.min():.0f} (blue) to {areas.max():.0f} (yellow)"
    draws.text((16, 12), told, fill=WHITE, font=ImageFont.load_default(22), stroke_width=3, stroke_fill=(0, 0, 0))
    return picture


def in_regions(image: NDArray, counted: Path) -> Image.Image:
    """Draw regions with their counts over the outlined cells."""
    picture, draws = shown(image)
    for feature in json.loads((counted / "qupath" / "cells.geojson").read_text())["features"]:
        if feature["geometry"]["type"] == "Polygon":
            draws.line(line(feature["geometry"]["coordinates"][0]), fill=ORANGE, width=2)
    font = ImageFont.load_default(24)
    with (counted / "regions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for (name, corners), row in zip(REGIONS.items(), rows, strict=True):
        draws.line(line(corners), fill=BLUE, width=4)
        (x, y), told = line(corners)[0], f"{name}: {row['count']} ({row['low']} to {row['high']})"
        draws.text((x + 40, y + 40), told, fill=WHITE, font=font, stroke_width=3, stroke_fill=(0, 0, 0))
    return picture


def cover(package: Path) -> Image.Image:
    """Give the picture that the package of bioimage.io has of itself."""
    write_package(package, read_bundle(find_bundle("nuclei")), licence=LICENCE, authors=AUTHORS)
    with zipfile.ZipFile(package) as archive:
        return Image.open(io.BytesIO(archive.read(COVER))).convert("RGB")


def in_spreadsheet(work: Path, model: elmgan.Model) -> Image.Image:
    """Draw a table of counts, and the means of two conditions with a bar for each."""
    folder = work / "images"
    for seed, (condition, numbers) in enumerate(CONDITIONS.items()):
        for k, cells in enumerate(numbers):
            (folder / condition).mkdir(parents=True, exist_ok=True)
            write_image(folder / condition / f"{k + 1}.tif", drawn(cells, seed=10 * seed + k, rows=384, columns=384))
    count_images([folder], work / "table", model)
    with (work / "table" / "counts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = ["image", "count", "low", "high", "objects", "flags"]
    figure, (left, right) = plots(11, 3.4, [3, 2])
    left.axis("off")
    table = left.table([[row[name] for name in columns] for row in rows], colLabels=columns, loc="center")
    table.auto_set_font_size(False)
    table.set_fontsize(10)
    table.scale(1.1, 1.8)
    counts: Mapping[str, list[float]] = {
        name: [float(row["estimate"]) for row in rows if row["image"].startswith(name)] for name in CONDITIONS
    }
    means = [float(np.mean(of)) for of in counts.values()]
    right.bar(
        list(counts), means, yerr=[float(np.std(of, ddof=1)) for of in counts.values()], color="#4c8fb5", capsize=6
    )
    right.set_ylabel("cells in an image, mean and SD")
    return rendered(figure)


def in_notebook() -> Image.Image:
    """Run the notebook's cells up to its first picture, and take that."""
    cells = json.loads((HERE.parent / "examples" / "cells.ipynb").read_text(encoding="utf-8"))["cells"]
    mpl.use("agg")
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")  # where there is a screen
            exec(source, names)
        if "imshow" in source:
            return rendered(names["figure"])
    raise ValueError("the notebook shows no image")


def plots(width: float, height: float, ratios: Sequence[float]) -> tuple:
    """Give a figure with plots beside each other."""
    mpl.use("agg")
    import matplotlib.pyplot as plt

    return plt.subplots(1, len(ratios), figsize=(width, height), width_ratios=ratios, layout="constrained")


def rendered(figure: object) -> Image.Image:
    """Give a figure as a picture."""
    import matplotlib.pyplot as plt

    content = io.BytesIO()
    figure.savefig(content, dpi=110, bbox_inches="tight")  # type: ignore[attr-defined]
    plt.close(figure)  # type: ignore[arg-type]
    return Image.open(content).convert("RGB")


if __name__ == "__main__":
    print("\n".join(map(str, make_pictures(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE))))
