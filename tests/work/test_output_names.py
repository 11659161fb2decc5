from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmgan.images import FoundImage
from elmgan.work.names import image_names, output_stems

part = st.text(alphabet="aAbB.-2é", min_size=1, max_size=4).filter(lambda name: name.strip("."))
path = st.lists(part, min_size=1, max_size=3).map("/".join)


def found(*paths: tuple[str, str]) -> list[FoundImage]:
    return [FoundImage(Path(path), PurePosixPath(relative)) for path, relative in paths]


@given(st.lists(path, unique=True))
def test_no_two_images_write_the_same_file(names: list[str]) -> None:
    stems = output_stems(names)
    assert len({stem.casefold() for stem in stems}) == len(names)
    assert all(
        stem.startswith(str(PurePosixPath(name).with_suffix(""))) for name, stem in zip(names, stems, strict=True)
    )


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["a.tif", "sub/a.tif", "b.v2.png"], ["a", "sub/a", "b.v2"]),
        (["a.tif", "a.png", "c.jpg"], ["a.tif", "a.png", "c"]),
        (["A.tif", "a.tif"], ["A.tif", "a.tif-2"]),
        (["b.tif", "b-t1.tif", "c-z2.tif"], ["b.tif", "b-t1", "c-z2"]),
        (["b.tif", "b-scene2-t1-z3.tif"], ["b.tif", "b-scene2-t1-z3"]),
        (["1.tif", "12.tif", "a-t.tif", "t1.tif"], ["1", "12", "a-t", "t1"]),
        (["a.png.tif", "a.png", "a.tif"], ["a.png", "a.png-2", "a.tif"]),
        (["caf\u00e9.tif", "cafe\u0301.tif"], ["caf\u00e9.tif", "cafe\u0301.tif-2"]),
    ],
)
def test_stems(names: list[str], stems: list[str]) -> None:
    assert output_stems(names) == stems


@given(st.lists(st.tuples(path, path), unique=True))
def test_every_image_has_a_name_of_its_own(parts: list[tuple[str, str]]) -> None:
    images = found(*((f"/data/{folder}/{relative}", relative) for folder, relative in parts))
    images = list({image.path: image for image in images}.values())
    names = image_names(images)
    assert len(set(names)) == len(images)
    assert all(name.endswith(str(image.relative)) for name, image in zip(names, images, strict=True))


def test_folders_tell_images_apart() -> None:
    assert image_names(found(("/p1/x/a.tif", "a.tif"), ("/p2/x/a.tif", "a.tif"), ("/p2/x/b.tif", "b.tif"))) == [
        "p1/x/a.tif",
        "p2/x/a.tif",
        "b.tif",
    ]
    assert image_names(found(("a.tif", "a.tif"), ("sub/../b.tif", "b.tif"))) == ["a.tif", "b.tif"]


def test_a_name_that_a_table_cannot_hold_is_escaped() -> None:
    names = ["\udcff.tif", "a\nb.tif", "é\u3000b.tif"]  # the first is not UTF-8
    escaped = ["\\udcff.tif", "a\\nb.tif", "é\u3000b.tif"]
    assert image_names(found(*((f"/p/{name}", name) for name in names))) == escaped


def test_what_is_escaped_stays_apart_from_what_looks_alike() -> None:
    assert image_names(found(("/p/a\nb.tif", "a\nb.tif"), ("/p/a\\nb.tif", "a\\nb.tif"))) == [
        "a\\nb.tif",
        "a\\\\nb.tif",
    ]
