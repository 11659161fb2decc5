"""Files that microscopes and their programs wrote, through the whole count: each is counted, or refused by name."""

import sys
from pathlib import Path

import pytest
import tifffile

from bundles import tiny_bundle
from elmgan.counting import Model
from elmgan.data import load_example, read_data_set
from elmgan.errors import DataError
from elmgan.images import View
from elmgan.light import Normalisation
from elmgan.work import count_images

MODEL = Model(tiny_bundle())


@pytest.fixture(scope="module")
def formats(shared_data: Path) -> Path:
    folder = shared_data / "formats"
    if not folder.is_dir():
        pytest.skip(f"no vendor files at {folder}")
    return folder


def test_every_file_is_counted_or_refused_by_name(formats: Path, tmp_path: Path) -> None:
    counted = count_images([formats], tmp_path / "out", MODEL, view=View(channel=1), labels=True)
    given = {path.name for path in formats.iterdir() if path.suffix not in {".md", ".json", ".nd", ".ome", ".files"}}
    refused = {failure.image for failure in counted.failures}
    assert {row.image for row in counted.rows} | refused == given
    czi = {name for name in given if name.endswith(".czi")}
    assert refused <= (set() if sys.version_info >= (3, 12) else czi)
    planes = {name: [row.place for row in counted.rows if row.image == name] for name in given}
    assert planes["nd2-timelapse.nd2"] == [(1, t, 1) for t in range(1, 54)]
    assert planes["ome-t3-c2-z10.ome.tif"] == [(1, t, "max") for t in (1, 2, 3)]
    assert [place[0] for place in planes["lif-3series.lif"]] == [1, *[2] * 4, *[3] * 3]
    assert planes["ome-multifile-c1.ome.tif"] == [(1, 1, "max")]  # of its own pages alone
    assert {row.channel for row in counted.rows if row.image == "nd2-multichannel.nd2"} == {"Mono"}
    assert any("passed over: 1 file .json, 1 file .md" in note for note in counted.notes)
    with tifffile.TiffFile(tmp_path / "out" / "labels" / "nd2-timelapse.tif") as labels:
        assert labels.asarray().shape == (53, 64, 64)


def test_several_channels_are_refused_with_their_names(formats: Path, tmp_path: Path) -> None:
    names = ("nd2-multichannel.nd2", "dv-c2-z17.dv", "imagej-c2.tif")
    counted = count_images([formats / name for name in names], tmp_path / "out", MODEL)
    assert not counted.rows
    told = {failure.image: failure.error for failure in counted.failures}
    assert "channels 1 Mono, 2 DAPI, 3 FITC BP, 4 TRITC BP; name one with --channel" in told["nd2-multichannel.nd2"]
    assert all("name one with --channel" in error for error in told.values())


def test_a_data_set_of_several_channels_takes_the_one_that_is_named(shared_data: Path) -> None:
    folder = shared_data.parent / "cases" / "data_two_channels"
    if not folder.is_dir():
        pytest.skip(f"no case at {folder}")
    with pytest.raises(DataError, match=r"name one with --channel"):
        read_data_set(folder)
    (record,) = read_data_set(folder, view=View(channel=2))
    (other,) = read_data_set(folder, view=View(channel=1))
    one, two = (load_example(each, Normalisation()).image for each in (record, other))
    assert one.shape == two.shape
    assert (one != two).any()
