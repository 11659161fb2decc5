"""The pictures of the first page and of those on other programs are those that docs/pictures.py draws."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"
MADE_BY_TESTS = {"napari.png", "counter.png"}
PAGES = ("imagej", "qupath", "regions", "napari", "spreadsheet", "notebook", "bioimageio", "counter")
MOST_OFF = 12
"""Mean difference of the grey values of two pictures of the same."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of matplotlib's libraries
def test_pictures_are_those_that_are_drawn(tmp_path: Path) -> None:
    found = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    assert found is not None
    assert found.loader is not None
    pictures = importlib.util.module_from_spec(found)
    found.loader.exec_module(pictures)
    made = pictures.make_pictures(tmp_path)
    assert {path.name for path in made} | MADE_BY_TESTS == {"overlay.png", *(f"{page}.png" for page in PAGES)}
    for path in made:
        with Image.open(path) as new, Image.open(DOCS / path.name) as kept:
            assert abs(new.width - kept.width) + abs(new.height - kept.height) < 20, path.name
            one, other = (np.asarray(each.convert("L").resize((400, 300)), float) for each in (new, kept))
            assert np.abs(one - other).mean() < MOST_OFF, path.name


@pytest.mark.parametrize("page", PAGES)
def test_every_page_on_a_program_shows_its_picture(page: str) -> None:
    assert f"]({page}.png)" in (DOCS / f"{page}.md").read_text(encoding="utf-8")
    assert (DOCS / f"{page}.png").exists()
