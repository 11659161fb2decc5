"""What is known of the files of shared data's ``formats``, and what a reader told held against it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest


def check(entry: dict[str, Any], told: dict[str, Any]) -> None:
    """Hold what was read of a file against what is known of it."""
    assert told["wrong"] == []
    first, *others = told["scenes"]
    assert len(others) + 1 == entry["scenes"]
    for key in ("axes", "shape", "dtype"):
        assert first[key] == entry[key]
    assert first["channels"] == entry["channels"]
    assert first["pixel_size_um"] == pytest.approx(entry["pixel_size_um"], rel=1e-3)
    numbers = entry["first_plane"]
    assert first["first"] == pytest.approx([numbers["min"], numbers["max"], numbers["mean"]], abs=1e-4)
    for scene, known in zip(told["scenes"], entry.get("scene_shapes", []), strict=False):
        axes, shape, dtype = known if isinstance(known[0], str) else (scene["axes"], known, scene["dtype"])
        assert (scene["axes"], scene["shape"], scene["dtype"]) == (axes.replace("M", "T"), shape, dtype)
        assert ("tiles" in scene["note"]) == ("M" in axes)


def entries(shared_data: Path) -> dict[str, dict[str, Any]]:
    listed = json.loads((shared_data / "formats" / "formats.json").read_text(encoding="utf-8"))
    return {entry["file"]: entry for entry in listed}


def run(python: str | Path, *arguments: object) -> Any:
    """Let another process read files, for its limits or for its Python."""
    command = [str(python), str(Path(__file__).with_name("vendor_files.py")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
