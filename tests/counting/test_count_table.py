from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmgan.counting import Result, Row
from elmgan.counting.row import COLUMNS, read_table
from elmgan.files import write_table
from elmgan.images import Plane, Scene, View

name = st.builds(
    "{}{}".format,
    st.sampled_from(["", "=", "+", "-", "@", "'", "''", "'="]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
)
flags = st.lists(st.sampled_from(["empty", "saturated", "blurred"]), unique=True).map(tuple)
amount = st.floats(0, 1e6)
number = st.integers(1, 10**6)
rows = st.builds(
    Row,
    image=name,
    scene=number,
    t=number,
    z=number | st.sampled_from(["max", "mean"]),
    channel=st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    scale=st.sampled_from([0.1, 0.125, 1.0, 10.0]),
    count=st.none() | st.integers(0, 10**6),
    objects=st.none() | st.integers(0, 10**6),
    low=st.none() | amount,
    high=st.none() | amount,
    estimate=st.none() | amount,
    foreground=st.none() | st.floats(0, 1),
    seconds=amount,
    flags=flags,
    model=st.just("tiny@01234567"),
)


@given(st.lists(rows, max_size=3))
def test_a_table_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, written: list[Row]) -> None:
    path = tmp_path_factory.mktemp("table") / "counts.csv"
    write_table(path, COLUMNS, [row.texts() for row in written])
    assert read_table(path) == written


def test_the_columns_are_those_of_the_contract(tmp_path: Path) -> None:
    mask = np.zeros((4, 10), dtype=bool)
    mask[0, 0] = True
    flat = mask.astype(np.float32)
    result = Result(mask.shape, 12.5, mask, flat, flat, flags=("empty", "saturated"), scale=0.5)
    source = SimpleNamespace(scenes=(Scene("CYX", (2, 4, 10), np.dtype(np.uint16)),))
    plane = Plane(source, 1, 3, "max", "DAPI", 0, View())  # type: ignore[arg-type]
    row = Row.of(result, plane, image="sub/ä,1.tif", seconds=0.25, model="tiny@01234567")
    path = tmp_path / "counts.csv"
    write_table(path, COLUMNS, [row.texts()])
    assert path.read_bytes().decode() == (
        "image,scene,t,z,channel,count,estimate,low,high,objects,foreground,flags,unlike,"
        "scale,height,width,seconds,model\n"
        '"sub/ä,1.tif",1,3,max,DAPI,13,12.50,,,1,0.0250,empty;saturated,,0.5,4,10,0.250,tiny@01234567\n'
    )


@pytest.mark.parametrize("content", ["image,count\na,1\n", "a\n\0,\n", "image\na,b,c\n"])
def test_another_table_is_not_taken_for_ours(tmp_path: Path, content: str) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match="Row"):
        read_table(path)


@given(rows)
def test_a_small_row_is_the_same_row(row: Row) -> None:
    small = row.small()
    assert small == row
    assert hash(small) == hash(row)
    assert small.model_dump() == row.model_dump()
    assert small.texts() == row.texts()
    assert small.model_copy(update={"seconds": 1.0}).seconds == 1
