"""Corrected examples are added to a data set that can be read again."""

from pathlib import Path

import numpy as np
import pytest

from elmgan.data import append_example, read_data_set, read_grey
from elmgan.errors import DataError, OutputError
from elmgan.images import open_image

IMAGE = np.random.default_rng(0).integers(0, 4000, (40, 50)).astype(np.uint16)
MASK = np.zeros((40, 50), bool)
MASK[3:9, 4:12] = True


def test_what_is_added_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    colour = np.repeat(IMAGE[::-1, :, np.newaxis] // 16, 3, axis=2).astype(np.uint8)
    names = [
        append_example(folder, "a b/c: 1", IMAGE, mask=MASK, count=3, pixel_size={"x": 0.5, "y": 0.5}),
        append_example(folder, "a_b_c_1", IMAGE[:, ::-1], count=2.5),
        append_example(folder, "A b c 1", colour, mask=MASK),
    ]
    assert names == ["a_b_c_1.tif", "a_b_c_1-2.tif", "A_b_c_1-3.tif"]
    records = {record.file_name: record for record in read_data_set(folder)}
    assert [records[name].count for name in names] == [3, 2.5, None]
    assert [records[name].mask is not None for name in names] == [True, False, True]
    assert np.array_equal(read_grey(records[names[0]]), IMAGE)
    with open_image(folder / "images" / names[0]) as source:
        assert source.pixel_size["x"] == pytest.approx(0.5)
    with open_image(folder / "images" / names[2]) as source:
        assert source.axes == "YXS"


def test_other_columns_and_rows_of_the_table_stay(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    table = tmp_path / "counts.csv"
    table.write_text("\ufeffimage,group,count\nold.tif,plate 1,7\n", encoding="utf-8")
    append_example(tmp_path, "new", IMAGE, count=4)
    assert table.read_text(encoding="utf-8") == "image,group,count\nold.tif,plate 1,7\nnew.tif,,4\n"


@pytest.mark.parametrize("content", ["image;count\na.tif;3\n", "picture,count\n", "image,count\na.tif,3,4\n", ""])
def test_a_table_that_takes_no_row_is_left_as_it_is(tmp_path: Path, content: str) -> None:
    (tmp_path / "images").mkdir()
    table = tmp_path / "counts.csv"
    table.write_text(content)
    with pytest.raises(DataError, match=r"counts\.csv takes no other row"):
        append_example(tmp_path, "new", IMAGE, count=4)
    assert table.read_text() == content
    assert not list((tmp_path / "images").iterdir())


def test_what_is_no_example_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing is known of it"):
        append_example(tmp_path / "new", "a", IMAGE)
    with pytest.raises(DataError, match=r"the mask has the shape \(39, 50\), the image \(40, 50\)"):
        append_example(tmp_path / "new", "a", IMAGE, mask=MASK[1:])
    assert not (tmp_path / "new").exists()
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(DataError, match="is no data set with images/"):
        append_example(tmp_path, "a", IMAGE, count=1)
    with pytest.raises(OutputError, match=r"holiday\.jpg cannot be written"):
        append_example(tmp_path / "holiday.jpg", "a", IMAGE, count=1)
