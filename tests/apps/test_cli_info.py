"""The info command on data sets; on models it is tested with the rest of the command line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner, Result

from bundles import write_tiny
from elmgan.apps.cli import app
from elmgan.data.synthetic import write_data_set
from elmgan.images import write_mask
from pyramids import by_means, write_pyramid


def elmgan(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "[b]data"  # not taken for markup
    write_data_set(folder, 3, seed=5, size=(96, 128))
    return folder


def test_info_tells_what_a_data_set_holds(data: Path) -> None:
    before = sorted(data.rglob("*"))
    done = elmgan("info", data)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"{data}, a data set in the layout of elmgan\n")
    for told in ("96 x 128 (3)", "uint8 (3)", "3, 3 of them from labels", "cells from", "█"):
        assert told in done.stdout
    assert done.stderr == ""
    assert sorted(data.rglob("*")) == before  # nothing is written unless asked for


def test_info_prints_json(data: Path) -> None:
    told = json.loads(elmgan("info", data, "--json").stdout)
    assert (told["folder"], told["layout"]) == (str(data), "elmgan")
    assert (told["images"], told["masks"], told["counts"], told["groups"]) == (3, 3, 3, 3)
    assert sum(number for _, _, number in told["histogram"]) == 3


def test_info_draws_a_contact_sheet_where_told(tmp_path: Path, data: Path) -> None:
    sheet = tmp_path / "new" / "sheet.png"
    done = elmgan("info", data, "--sheet", sheet)
    assert done.exit_code == 0, done.stderr
    assert f"wrote {sheet}" in done.stdout
    with Image.open(sheet) as picture:
        assert picture.width > 3 * 200
    assert elmgan("info", data, "--sheet", sheet, "--quiet").output == ""


def test_info_tells_the_faults_of_a_data_set(tmp_path: Path, data: Path) -> None:
    (data / "masks/synthetic_001.tif").rename(data / "masks/other.tif")
    (data / "counts.csv").write_text("image,count\nsynthetic_000,-3\n")
    done = elmgan("info", data, "--sheet", tmp_path / "sheet.png")
    assert (done.exit_code, done.stdout) == (2, "")
    head, *faults = done.stderr.splitlines()
    assert head == f"error: the data set {data} has faults:"
    assert len(faults) == 2
    assert not (tmp_path / "sheet.png").exists()


def test_info_tells_what_is_odd_in_a_data_set(data: Path) -> None:
    for name in ("counts.csv", "labels"):
        (data / name).rename(data.parent / name)
    for path in sorted((data / "masks").iterdir())[:2]:
        write_mask(path, tifffile.imread(path) == 0)
    done = elmgan("info", data)
    assert done.exit_code == 0
    assert re.search(r"foreground +0\.\d+ to 0\.\d+ of an image", done.stdout)
    assert re.search(r"mask values +2 *$", done.stdout, re.MULTILINE)
    assert re.search(r"cell size +\d+ to \d+ pixels across, median \d+", done.stdout)
    notes = done.stderr.splitlines()
    assert [note.rsplit("/", 1)[1][:17] for note in notes] == ["synthetic_000.tif", "synthetic_001.tif"]
    assert all(note.endswith("is it inverted? Cell is what is not 0") for note in notes)
    told = json.loads(elmgan("info", data, "--json").stdout)
    assert told["notes"] == notes
    assert told["values"] == [2, 2]
    assert 0 < told["foreground"][0] < 0.5 < told["foreground"][1] < 1
    assert elmgan("info", data, "--quiet").output == ""


def test_info_knows_models_from_data_sets(tmp_path: Path, data: Path) -> None:
    model = write_tiny(tmp_path)
    assert "tiny@" in elmgan("info", model).stdout
    (model / "model.json").unlink()
    (tmp_path / "empty").mkdir()
    for what, code, told in [
        (("info", model), 2, "it has no model.json"),
        (("info", tmp_path / "empty"), 2, "empty holds no image that is read; elmgan reads"),
        (
            ("info", "nuclie"),
            2,
            "nuclie does not exist: give a file, a folder, or a shipped model (nuclei,",
        ),
        (("info", "--sheet", "a.png"), 2, "--sheet draws images of a data set"),
        (("info", data, "--sheet", data / "counts.csv" / "a.png"), 1, "cannot be written"),
    ]:
        done = elmgan(*what)
        assert done.exit_code == code
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1


def stack(path: Path) -> Path:
    pixels = np.zeros((3, 2, 40, 50), np.uint16)
    channels = {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "GFP"]}, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", metadata=channels)
    return path


def test_info_shows_what_was_found_in_an_image(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.ome.tif")
    done = elmgan("info", path)
    assert (done.exit_code, done.stderr) == (0, "")
    for shown in ("TIFF", "ZCYX 3 x 2 x 40 x 50, uint16", "1 DAPI, 2 GFP", "0.5 x 0.5 µm", "name one with --channel"):
        assert shown in " ".join(done.stdout.split())
    assert "1 plane, the max of 3 along z (channel dapi)" in elmgan("info", path, "--channel", "dapi").stdout
    assert "3 planes" in elmgan("info", path, "--channel", 2, "--z", "each").stdout
    assert json.loads(elmgan("info", path, "--json").stdout) == {
        "file": str(path),
        "axes": "ZCYX",
        "shape": [3, 2, 40, 50],
        "dtype": "uint16",
        "channels": ["DAPI", "GFP"],
        "pixel_size_um": {"x": 0.5, "y": 0.5},
        "levels": [],
        "scenes": 1,
    }
    assert elmgan("info", path, "--quiet").output == ""


def test_info_shows_smaller_copies(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.zarr", by_means(np.zeros((90, 70), np.uint8) + 1, copies=2))
    assert "levels smaller copies of 45 x 35, 22 x 17" in " ".join(elmgan("info", path).stdout.split())
    assert json.loads(elmgan("info", path, "--json").stdout)["levels"] == [[45, 35], [22, 17]]


def test_info_shows_what_a_folder_holds(tmp_path: Path) -> None:
    stack(tmp_path / "a.tif")
    (tmp_path / "b.vsi").touch()
    done = elmgan("info", tmp_path)
    assert done.exit_code == 0
    assert "a folder of 1 image: 1 file .tif" in done.stdout
    assert "passed over: 1 file .vsi" in done.stdout
    told = json.loads(elmgan("info", tmp_path, "--json").stdout)
    assert (told["images"], told["kinds"], told["passed_over"]) == (1, {".tif": 1}, {".vsi": 1})
