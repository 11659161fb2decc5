"""What the plugin does in a thread of its own: planes are counted one by one."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import tifffile
from numpy.typing import NDArray

from elmgan import load
from elmgan.apps.napari.layers import CountedLayer, layer_source, view_of
from elmgan.counting import Model, Result, Row
from elmgan.counting.row import DECIMALS
from elmgan.errors import ImageError
from elmgan.images import Plane, View, open_image
from elmgan.models.bundle import CARD
from elmgan.work.earlier import Earlier
from elmgan.work.names import output_stems
from elmgan.work.plan import MASKS, picture_files
from elmgan.work.views import SAMPLE, evenly

CountedPlane = tuple[CountedLayer, Row, Result]


def count_layers(
    layers: Sequence[tuple[Any, str]], model: str | Path, texts: dict[str, str], *, quick: bool = False
) -> Iterator[tuple[int, CountedPlane | None]]:
    """Count the planes of layers; give the number of planes there are, and after it each plane's outcome with it.

    Args:
        layers: Image layers, each with its axes.
        model: Name or path of the model.
        texts: Field of the view -> what was typed; empty for the model's own.
        quick: Look at each plane once.

    Raises:
        ElmganError: A layer, or what was typed, is none that can be counted.
    """
    changed = Path(model, CARD).stat().st_mtime_ns if Path(model, CARD).exists() else 0
    counter = _loaded(str(model), changed)
    view = view_of(texts, counter.view)
    found = [CountedLayer(layer, axes, layer_source(layer, axes).planes(view)) for layer, axes in layers]
    total = sum(len(each.planes) for each in found)
    yield total, None
    for counted in found:
        of_layer = counter
        if view.scale == "auto" and not quick:
            of_layer = counter.at_scales_of(counted.planes[k] for k in evenly(len(counted.planes), SAMPLE))
        for plane in counted.planes:
            yield total, (counted, *_counted(of_layer, plane, quick))


@lru_cache(maxsize=1)
def _loaded(model: str, changed: int) -> Model:
    """Load a model, or give the one that was loaded before if it has not changed since."""
    return load(model)


def _counted(model: Model, plane: Plane, quick: bool) -> tuple[Row, Result]:
    begun = perf_counter()
    result = model.count(plane, quick=quick)
    row = Row.of(result, plane, image=str(plane.source.path), seconds=0, model=model.version)  # separates the cells
    return row.model_copy(update={"seconds": round(perf_counter() - begun, DECIMALS["seconds"])}), result


def counted_before(out: Path, earlier: Earlier, row: Row) -> tuple[NDArray, NDArray | None]:
    """Read the plane of a row of an earlier count, and its mask, None where there is none.

    Args:
        out: The count's folder.
        earlier: What it holds.
        row: One of its rows.

    Raises:
        ImageError: The image is no longer where it was, or has no such plane any more.
    """
    paths = [path for folder in earlier.folders if (path := Path(folder) / row.image).exists()]
    if not paths:
        raise ImageError(f"{row.image} is in none of the folders that it was counted in: {', '.join(earlier.folders)}")
    view = View.model_validate({name: earlier.settings[name] for name in View.model_fields})
    with open_image(paths[0], axes=earlier.settings["axes"]) as source:
        planes = [plane for plane in source.planes(view) if plane.place == row.place]
        if not planes:
            raise ImageError(f"{paths[0]} has changed since it was counted: it has no {row.place} any more")
        pixels = planes[0].read()
    stems = dict(zip(earlier.rows, output_stems(list(earlier.rows)), strict=True))
    rows = earlier.rows[row.image]
    files = picture_files(out, stems[row.image], [each.place for each in rows])[MASKS]
    path = files[[each.place for each in rows].index(row.place)]
    if not path.exists():
        return pixels, None
    of_scene = [each for each in rows if each.scene == row.scene]
    times, depths = (list(dict.fromkeys(getattr(each, axis) for each in of_scene)) for axis in ("t", "z"))
    return pixels, tifffile.imread(path, key=times.index(row.t) * len(depths) + depths.index(row.z)) > 0
