"""What the info command prints of an image, and of a folder of images."""

from collections import Counter
from pathlib import Path
from typing import Any

from rich.table import Table

from elmgan.apps.terminal import console, many
from elmgan.errors import ImageError
from elmgan.images import Scene, Source, View, channel_names, described, find_images, kinds_told

MOST_SCENES = 12
"""Scenes that are told one by one."""


def image_json(source: Source) -> dict[str, Any]:
    """What was found in an image as JSON: all but the number of scenes is of scene 1."""
    return {
        "file": str(source.path),
        "axes": source.axes,
        "shape": list(source.shape),
        "dtype": str(source.dtype),
        "channels": list(source.channels),
        "pixel_size_um": source.pixel_size,
        "levels": [list(sides) for sides in source.scenes[0].levels],
        "scenes": len(source.scenes),
    }


def print_image(source: Source, view: View) -> None:
    """Print what was found in an image, and what would be counted of it."""
    table = Table(box=None, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    for name, fact in _facts(source, view).items():
        table.add_row(name, fact)
    terminal = console()
    terminal.out(str(source.path))
    terminal.print(table)


def _facts(source: Source, view: View) -> dict[str, str]:
    first = source.scenes[0]
    facts = {"kind": source.kind}
    if len(source.scenes) == 1:
        facts["pixels"] = described(first)
    else:
        facts["scenes"] = str(len(source.scenes))
        for k, scene in enumerate(source.scenes[:MOST_SCENES], 1):
            facts[f"scene {k}"] = ", ".join(filter(None, (scene.name, scene.fault or described(scene))))
    if first.levels:
        facts["levels"] = f"smaller copies of {', '.join(f'{rows} x {columns}' for rows, columns in first.levels)}"
    if "C" in first.axes or first.channels:
        facts["channels"] = channel_names(first)
    elif "S" in first.axes:
        facts["channels"] = "colour: 1 red, 2 green, 3 blue"
    facts["pixel size"] = _size(first)
    for note in source.notes:
        facts["note"] = note
    try:
        planes = source.planes(view)
        depths = {plane.described.length("Z") for plane in planes if isinstance(plane.z, str)}
        of_depths = f", the {view.z} of {depths.pop()} along z" if len(depths) == 1 else ""
        facts["counted"] = many(len(planes), "plane") + of_depths + (f" ({view.told})" if view.told else "")
    except ImageError as error:
        facts["counted"] = f"nothing: {str(error).removeprefix(f'{source.path}: ')}"
    return facts


def _size(scene: Scene) -> str:
    size = scene.pixel_size
    if not {"x", "y"} <= size.keys():
        return "not known"
    z = f", {size['z']:.4g} µm from plane to plane" if "z" in size else ""
    return f"{size['x']:.4g} x {size['y']:.4g} µm{z}"


def folder_json(folder: Path) -> dict[str, Any]:
    """How many images of which kind are in a folder, and what is passed over, as JSON."""
    found = find_images([folder])
    kinds = Counter(image.path.suffix.lower() for image in found.images)
    return {"folder": str(folder), "images": len(found.images), "kinds": dict(kinds), "passed_over": found.passed_over}


def print_folder(folder: Path) -> None:
    """Print how many images of which kind are in a folder, what is passed over, and what to do with them."""
    found = find_images([folder])
    kinds = Counter(image.path.suffix.lower() for image in found.images)
    terminal = console()
    terminal.out(f"{folder}, a folder of {many(len(found.images), 'image')}: {kinds_told(kinds)}")
    if found.told:
        terminal.out(found.told)
    terminal.out(f"count them: elmgan count {folder} -o OUT; a data set has them in images/, with masks/ or counts.csv")
