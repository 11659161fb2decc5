"""A model, what runs it and a page in one HTML file, which counts in a browser: offline, with nothing installed.

The browser does what :meth:`elmgan.Model.count` does, in the same steps: ``in_browser/`` has the page and the scripts,
with elmgan's own numbers from :func:`rules_of`. Light is seen by the graph of
:func:`~elmgan.export.standalone.seeing`, which takes the package onnx: import this on demand.
"""

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from elmgan import __version__
from elmgan.counting import hills, looks
from elmgan.counting.clumps import NO_CLUMP
from elmgan.counting.scaling import LARGEST_SCALE, SMALLEST_SCALE
from elmgan.errors import UsageError, one_line
from elmgan.export.standalone import seeing
from elmgan.files import whole_file
from elmgan.images import View
from elmgan.light import appearance, no_data, normalise
from elmgan.light.see import BLEED, COLOUR_PIXELS, DARK, DIFFERENT, PALETTE
from elmgan.models import Bundle, shortcoming
from elmgan.trust import ADVICE, flags, interval, nearness

_FOLDER = Path(__file__).parent / "in_browser"
PAGE, STYLE, PAGE_SCRIPT = "counter.html", "style.css", "page.js"
WORKER_SCRIPTS = ("read.js", "measure.js", "cells.js", "count.js")
"""What counts, in a thread of the browser."""

RUNTIME = "onnxruntime-web"
"""The package of npm that runs the graphs."""

RUNTIME_SCRIPT, RUNTIME_WASM = "dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"
"""Of the package: what loads the runtime, and the runtime."""

_MOST_BYTES = 1 << 27
"""Of a file of the package; it has 14 MB."""

_TILE = 1024
"""Side of the tiles in which the browser reads large images, without their halo: all memory of a page has 4 GB."""

CHANNELS = (None, "luminance", 1, 2, 3)
"""What of a view's channel the page can show."""

MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated \
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the \
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit \
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the \
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE \
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR \
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR \
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""
"""The licence of the runtime, which has to go with it."""


def write_counter(path: Path, bundle: Bundle, runtime: Path) -> None:
    """Write the HTML file.

    Args:
        path: The file.
        bundle: The model; its network in eight bits is taken, if it has one.
        runtime: Folder of the unpacked package :data:`RUNTIME`.

    Raises:
        UsageError: The folder is none of that package, or the model counts in a way that the page cannot.
        OutputError: The file cannot be written.
    """
    content = counter(bundle, runtime)
    with whole_file(path, lasting=True) as temporary:
        temporary.write_bytes(content.encode())


def counter(bundle: Bundle, runtime: Path) -> str:
    """Give the HTML; see :func:`write_counter`."""
    _check(bundle)
    card, version = bundle.card, _version_of(runtime)
    rules = rules_of(bundle)
    data = {
        "rules": json.dumps(rules, allow_nan=False).replace("<", r"\u003c"),
        "script": _packed(_read(runtime, RUNTIME_SCRIPT)),
        "wasm": _packed(_read(runtime, RUNTIME_WASM)),
        "seeing": _packed(seeing(card.normalisation)),
        "network": _packed(bundle.onnx if bundle.int8 is None else bundle.int8),
    }
    script, style = _own(PAGE_SCRIPT), _own(STYLE)
    policy = {
        "default-src": "'none'",
        "script-src": f"'{_digest(script)}' 'wasm-unsafe-eval' blob:",
        "worker-src": "blob:",
        "style-src": f"'{_digest(style)}'",
        "img-src": "blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    lacks = shortcoming(card.learned)
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(PAGE).render(
        policy="; ".join(f"{name} {value}" for name, value in policy.items()),
        version=bundle.version,
        description=card.description,
        elmgan=__version__,
        runtime=version,
        precision="fp32" if bundle.int8 is None else "eight bits",
        licence=MIT,
        promise=_sentence("counts have no interval" if card.calibration is None else card.calibration.promise),
        learned=_sentence(lacks or "the outlined objects are separated by shape and need not be as many as the count"),
        diameter=rules["diameter"],
        pixel_size=bundle.known is not None and bundle.known.pixel_size is not None,
        data={name: Markup(content) for name, content in data.items()},
        worker=Markup("\n".join(map(_own, WORKER_SCRIPTS))),
        script=Markup(script),
        style=Markup(style),
    )


def rules_of(bundle: Bundle) -> dict[str, Any]:
    """Give the numbers by which an image is seen, measured, judged and separated, as the scripts take them."""
    card, known = bundle.card, bundle.known
    architecture, view = card.architecture, card.view or View()
    known = known if known is not None and known.usable and card.segments and card.counts else None
    diameter = math.nan if known is None else known.diameter
    return {
        "version": bundle.version,
        "segments": card.segments,
        "counts": card.counts,
        "threshold": card.threshold,
        "training": {name: list(ends) for name, ends in card.training.items()},
        "view": {"scale": view.scale, "factor": view.factor, "channel": view.channel},
        "calibration": None
        if card.calibration is None
        else {
            "gain": card.calibration.gain,
            "quantile": card.calibration.quantile,
            "near_enough": interval.NEAR_ENOUGH,
            "doubt_share": interval.SHARE,
            "and_cells": interval.AND_CELLS,
        },
        "known": None if known is None else _known(known),
        "diameter": None if math.isnan(diameter) else diameter,
        "scales": [SMALLEST_SCALE, LARGEST_SCALE],
        "multiple": architecture.multiple,
        "halo": architecture.halo,
        "stride": architecture.stride,
        "tile": math.ceil(_TILE / architecture.multiple) * architecture.multiple,
        # light
        "most_pixels": normalise.MOST_PIXELS,
        "detail_gain": normalise.DETAIL_GAIN,
        "stands_out": appearance.STANDS_OUT,
        "rim": appearance.RIM,
        "disc": (np.argwhere(appearance.DISC) - appearance.RIM).tolist(),
        "colour_pixels": COLOUR_PIXELS,
        "bleed": BLEED,
        "dark": DARK,
        "different": DIFFERENT,
        "palette": PALETTE,
        "least_run": no_data.LEAST_RUN,
        "share_of_side": no_data.SHARE_OF_SIDE,
        # looks
        "grid": looks.GRID,
        "smaller": looks.SMALLER,
        "window": looks.WINDOW,
        "most_enlarged": looks.MOST_ENLARGED,
        "least_side": looks.LEAST_SIDE,
        "signal": looks.SIGNAL,
        "under": looks.UNDER,
        "little": looks.LITTLE,
        "doubt": looks.DOUBT,
        "few": looks.FEW,
        "much_nearer": looks.MUCH_NEARER,
        "nearest": nearness.NEAREST,
        "same_place": nearness.SAME_PLACE,
        # cells
        "farthest": float(hills.FARTHEST),
        "smoothing": hills.SMOOTHING,
        "neck": hills.NECK,
        "weight": hills.WEIGHT,
        "crumb": hills.CRUMB,
        "no_clump": NO_CLUMP,
        # flags
        "ceilings": [1, *(2**bits - 1 for bits in flags.SENSOR_BITS)],
        "saturated_share": flags.SATURATED_SHARE,
        "doubtful_share": flags.DOUBTFUL_SHARE,
        "least_contrast": flags.LEAST_CONTRAST,
        "factor": flags.FACTOR,
        "room": flags.ROOM,
        "advice": ADVICE,
    }


def _known(known: nearness.KnownImages) -> dict[str, Any]:
    compared = known.compared
    rows = {"images": compared.images, "calibrated": compared.calibrated}
    return {
        "measures": nearness.MEASURES,
        "middle": compared.middle.tolist(),
        "unit": compared.unit.tolist(),
        "near": known.near,
        "far": known.far,
    } | {
        name: [[None if math.isnan(value) else round(value, 5) for value in row] for row in of.tolist()]
        for name, of in rows.items()
    }


def _check(bundle: Bundle) -> None:
    card = bundle.card
    if not card.architecture.tiles:
        raise UsageError(f"{bundle.version} cannot read images in tiles, as the page does: use --format onnx")
    if card.view is not None and (card.view.cells != "auto" or card.view.channel not in CHANNELS):
        raise UsageError(f"{bundle.version} counts with {card.view.told}, which the page cannot: use --format onnx")


def _version_of(runtime: Path) -> str:
    how = f"fetch it with: npm pack {RUNTIME} && tar -xzf {RUNTIME}-*.tgz, which makes the folder package"
    try:
        described: Mapping[str, Any] = json.loads((runtime / "package.json").read_bytes())
        name, version = described["name"], described["version"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UsageError(f"--runtime {runtime} is no unpacked {RUNTIME} ({one_line(error)}): {how}") from None
    if name != RUNTIME:
        raise UsageError(f"--runtime {runtime} is the package {name}, not {RUNTIME}: {how}")
    return str(version)


def _read(runtime: Path, name: str) -> bytes:
    try:
        size = (runtime / name).stat().st_size
        if size > _MOST_BYTES:
            raise UsageError(f"--runtime {runtime}: {name} has {size >> 20} MB, more than any of {RUNTIME}")
        return (runtime / name).read_bytes()
    except OSError as error:
        raise UsageError(
            f"--runtime {runtime} has no {name} ({one_line(error)}): take another version of {RUNTIME}"
        ) from None


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _own(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
