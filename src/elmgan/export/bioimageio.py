"""A model as a package of bioimage.io, description 0.5: for bioimageio.core, ilastik, DeepImageJ, QuPath and others.

These programs read large images in tiles, and a tile's own grey values would give each tile another normalisation. The
package therefore leaves the span to the description's preprocessing, which sees the whole image, and the rest to the
graph; see :func:`~elmgan.export.standalone.normalised_part`.

It needs the package onnx, which the runtime is not installed with: import it on demand.
"""

import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import tifffile
import yaml
from numpy.typing import NDArray

from elmgan.counting import Model
from elmgan.data.synthetic import draw, sample_scene
from elmgan.engines.libraries import import_onnxruntime
from elmgan.errors import UsageError
from elmgan.export.standalone import normalised_part, with_network
from elmgan.files import whole_file
from elmgan.light import Normalisation
from elmgan.models import Bundle
from elmgan.models.bundle import sha256
from elmgan.report import overlay

FORMAT_VERSION = "0.5.4"
"""Of the description."""

LICENCE, AUTHORS = "BSD-3-Clause", ("The elmgan developers",)
"""Of the models that come with the program."""

CITED = {
    "text": "Deng, Wang, Zhang: ELMGAN: A GAN-based efficient lightweight multi-scale-feature-fusion multi-task model. "
    "Knowledge-Based Systems 252 (2022) 109434",
    "doi": "10.1016/j.knosys.2022.109434",
}

TEST_SIDE, _SEED = 512, 4
"""Of the drawn cells that the package is tested on, in pixels, and of their random numbers."""

EPSILON = 1e-6
"""What scale_range of the description adds to a span, so that none is 0."""

_NETWORK, RDF, _README, COVER = "model.onnx", "rdf.yaml", "README.md", "cover.png"

HOW_TO_USE = """
## How to use it

Give it one channel of a whole image in which cells are {brighter}. Its grey values are scaled by the preprocessing that
rdf.yaml names, taken over the whole image. Cells should be about as large in pixels as those it learned from{across}.

| output | what |
|---|---|
{outputs}

The program elmgan does more: it finds the scale, levels the background, leaves out margins, flags images that the model
does not know, and gives an interval. Counts of this package are those of elmgan at scale 1. Where a program reads an
image in tiles, cells at the image's edge may be counted otherwise, since it mirrors the image there.

## Validation

The table above has the scores on images that trained nothing. Count 20 of your images by hand before you trust a count.
"""


def write_package(path: Path, bundle: Bundle, *, licence: str, authors: Sequence[str]) -> None:
    """Write a model as a zip that bioimage.io's programs take.

    Args:
        path: The zip.
        bundle: The model.
        licence: Under which its weights may be used, by its SPDX name.
        authors: Who made it, by name; at least one.

    Raises:
        UsageError: The network cannot read images in tiles: it takes images of one size, or looks at all of an image.
        OutputError: The zip cannot be written.
    """
    card, architecture = bundle.card, bundle.card.architecture
    if not architecture.tiles:
        raise UsageError(
            f"{bundle.version} cannot read images in tiles, as bioimage.io's programs do: use --format onnx"
        )
    dark = card.view is not None and card.view.cells == "dark"
    graph = with_network(bundle, lambda image: normalised_part(image, card.normalisation))
    side = max(TEST_SIDE, _least_side(bundle))
    rng = np.random.default_rng(_SEED)
    image = draw(sample_scene((side, side), rng=rng).model_copy(update={"bright_on_dark": not dark}), rng=rng).image
    files = {_NETWORK: graph, _README: _readme(bundle, dark).encode(), COVER: _cover(bundle, image)}
    files |= _tests(graph, image, card.normalisation, dark=dark)
    described = _described(bundle, files, licence=licence, authors=authors, dark=dark)
    files[RDF] = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=120).encode()
    with whole_file(path, lasting=True) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def scaled_range(image: NDArray, normalisation: Normalisation, *, dark: bool = False) -> NDArray[np.float32]:
    """Do what the description's preprocessing does to a whole image, (row, column): its span becomes 0 to 1.

    Args:
        image: Grey values.
        normalisation: Whose percentiles end the span.
        dark: Whether cells are darker than the background, and the image is turned round first.
    """
    grey = image.astype(np.float32) * np.float32(-1 if dark else 1)
    low, high = np.percentile(grey, [normalisation.low, normalisation.high])
    return np.asarray((grey - low) / (high - low + EPSILON), np.float32)


def _least_side(bundle: Bundle) -> int:
    architecture = bundle.card.architecture
    return 2 * architecture.halo + architecture.multiple


def _tests(graph: bytes, image: NDArray, normalisation: Normalisation, *, dark: bool) -> dict[str, bytes]:
    """Give the drawn cells, and what the graph says of them, as files by name: for programs, and for people."""
    onnxruntime = import_onnxruntime()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs() if output.name != "count"]
    given = scaled_range(image, normalisation, dark=dark)[np.newaxis, np.newaxis]
    arrays = {"image": image.astype(np.float32)[np.newaxis, np.newaxis]}
    arrays |= dict(zip(names, session.run(names, {"image": given}), strict=True))
    files = {}
    for name, array in arrays.items():
        content = io.BytesIO()
        np.save(content, array)
        files[_file_of(name, "test")] = content.getvalue()
        sample = io.BytesIO()
        tifffile.imwrite(sample, image if name == "image" else array[0, 0], compression="zlib", metadata=None)
        files[_file_of(name, "sample")] = sample.getvalue()
    return files


def _file_of(tensor: str, kind: str) -> str:
    return f"{kind}_{tensor}.{'npy' if kind == 'test' else 'tif'}"


def _described(
    bundle: Bundle, files: dict[str, bytes], *, licence: str, authors: Sequence[str], dark: bool
) -> dict[str, Any]:
    card, architecture = bundle.card, bundle.card.architecture
    opset = max(each.version for each in onnx.load_from_string(files[_NETWORK]).opset_import if not each.domain)
    what = [*(["segmentation"] if card.segments else []), *(["cell-counting"] if card.counts else [])]

    def file(name: str) -> dict[str, str]:
        return {"source": name, "sha256": sha256(files[name])}

    def examples(tensor: str) -> dict[str, dict[str, str]]:
        return {f"{kind}_tensor": file(_file_of(tensor, kind)) for kind in ("test", "sample")}

    def axes(halo: int, scale: int, **size: Any) -> list[dict[str, Any]]:
        """Batch, channel, rows and columns; of an input, which has no halo, or of an output."""
        space = []
        for axis in ("y", "x"):
            described: dict[str, Any] = {"type": "space", "id": axis, "scale": float(scale)}
            if halo:
                space.append(described | {"halo": halo, "size": {"tensor_id": "image", "axis_id": axis}})
            else:
                space.append(described | {"concatenable": True, "size": size})
        return [
            {"type": "batch", "size": 1},
            {"type": "channel", "channel_names": ["grey" if not halo else "cell"]},
            *space,
        ]

    normalisation = card.normalisation
    scaling = {"min_percentile": normalisation.low, "max_percentile": normalisation.high, "eps": EPSILON}
    preprocessing: list[dict[str, Any]] = [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}]
    preprocessing += [{"id": "scale_linear", "kwargs": {"gain": -1.0, "offset": 0.0}}] if dark else []
    preprocessing += [{"id": "scale_range", "kwargs": {"axes": ["y", "x"]} | scaling}]
    outputs: list[dict[str, Any]] = []
    if card.segments:
        outputs.append(
            {
                "id": "probability",
                "description": f"of cell, 0 to 1; cell from {card.threshold:g} on",
                "axes": axes(architecture.halo, 1),
                "data": {"type": "float32", "range": [0.0, 1.0]},
                **examples("probability"),
            }
        )
    if card.counts:
        outputs.append(
            {
                "id": "count_map",
                "description": "cells per 4 x 4 pixels; its sum is the number of cells",
                "axes": axes(architecture.halo // architecture.stride, architecture.stride),
                "data": {"type": "float32"},
                **examples("count_map"),
            }
        )
    return {
        "type": "model",
        "format_version": FORMAT_VERSION,
        "name": f"elmgan {card.name}".replace(".", " "),
        "description": (card.description or "Counts and segments cells in microscope images.")[:1000],
        "authors": [{"name": name} for name in authors],
        "license": licence,
        "cite": [CITED],
        "tags": ["2d", "microscopy", "cells", "onnx", *what, card.name],
        "documentation": _README,
        "covers": [COVER],
        "timestamp": card.created,
        "inputs": [
            {
                "id": "image",
                "description": f"one channel, cells {_brighter(dark)}",
                "axes": axes(0, 1, min=_least_side(bundle), step=architecture.multiple),
                "data": {"type": "float32"},
                **examples("image"),
                "preprocessing": preprocessing,
            }
        ],
        "outputs": outputs,
        "weights": {"onnx": file(_NETWORK) | {"opset_version": opset}},
        "config": {
            "elmgan": {
                "version": bundle.version,
                "learned": list(card.learned),
                "threshold": card.threshold,
                "training_data": [source.model_dump(mode="json") for source in card.data],
            },
        },
    }


def _brighter(dark: bool) -> str:
    return "darker than the background" if dark else "brighter than the background"


def _readme(bundle: Bundle, dark: bool) -> str:
    card = bundle.card
    across = math.nan if bundle.known is None else bundle.known.diameter
    outputs = [
        *([f"| probability | of cell; cell from {card.threshold:g} on |"] if card.segments else []),
        *(["| count_map | cells per 4 x 4 pixels; the count is its sum |"] if card.counts else []),
    ]
    used = HOW_TO_USE.format(
        brighter=_brighter(dark),
        across="" if math.isnan(across) else f", {across:.0f} pixels across",
        outputs="\n".join(outputs),
    )
    return f"{bundle.readme.rstrip()}\n{used}"


def _cover(bundle: Bundle, image: NDArray) -> bytes:
    """Give a PNG of drawn cells, beside them what the model finds."""
    result = Model(bundle, "onnxruntime", precision="fp32").count(image, scale=1)
    cells = np.zeros(image.shape, np.uint8) if result.mask is None else result.labels()
    number = f"{result.objects} objects" if result.count is None else f"{result.count} cells"
    halves = [overlay(image, np.zeros_like(cells), "image"), overlay(image, cells, number)]
    return bytes(cv2.imencode(".png", np.hstack(halves)[..., ::-1])[1].tobytes())
