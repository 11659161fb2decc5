"""The cells of a plane some rows at a time: the same measures and outlines as from the whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from bundles import squares, tiny_bundle
from elmgan.counting import Model, pieces, predictor, streaming
from elmgan.counting.pieces import KeptMap, pieces_of
from elmgan.errors import ImageError
from elmgan.images import Tile, open_image

MODEL = Model(tiny_bundle(), "onnxruntime", tile=64)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "BAND_PIXELS", 1 << 14)
    monkeypatch.setattr(streaming, "ROWS", 50)
    monkeypatch.setattr(streaming, "STRIP_PIXELS", 1 << 13)
    monkeypatch.setattr(pieces, "PIECE_PIXELS", 1 << 13)


def padded(image: NDArray, rows: int, columns: int) -> NDArray:
    return np.pad(image, ((rows, 0), (columns, 0)))


IMAGES: dict[str, NDArray] = {
    "squares": squares(40, (460, 330)),
    "a margin": padded(squares(40, (460, 330)), 40, 80),
    "one": squares(1, (460, 330)),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_cells_are_measured_as_in_the_whole(kind: str, tmp_path: Path) -> None:
    image, size = IMAGES[kind], {"x": 0.5, "y": 0.5}
    tifffile.imwrite(tmp_path / "image.tif", image)
    with open_image(tmp_path / "image.tif") as source:
        (plane,) = source.planes(MODEL.view)
        whole = MODEL.count(plane)
        streamed = MODEL.stream(plane, scratch=tmp_path)
        found: list[dict[str, NDArray]] = []
        outlines: dict[int, Any] = {}
        for piece in streamed.pieces():
            cells = piece.cells({"": plane.read(piece.tile)}, pixel_size=size)
            found.append(cells)
            outlines |= zip(cells["cell"].tolist(), piece.outlines(), strict=True)
        streamed.close()
    expected = whole.cells(image, pixel_size=size)
    together = {name: np.concatenate([cells[name] for cells in found]) for name in expected}
    order = np.argsort(together["cell"])
    assert len(found) > 1 or kind == "one"
    for name, values in expected.items():
        np.testing.assert_allclose(together[name][order], values, rtol=1e-4, atol=1e-4, err_msg=name)
    for number, polygons in enumerate(whole.outlines(), 1):
        assert [[ring.tolist() for ring in each] for each in outlines[number]] == [
            [ring.tolist() for ring in each] for each in polygons
        ]


def test_each_cell_is_in_one_piece() -> None:
    labels = np.zeros((300, 100), np.uint32)
    rng = np.random.default_rng(0)
    for number in range(1, 60):
        row, column = rng.integers(0, 290), rng.integers(0, 95)
        labels[row : row + rng.integers(1, 120), column : column + rng.integers(1, 5)] = number
    there = np.unique(labels)[1:]
    found = list(pieces_of((labels[top : top + 7] for top in range(0, 300, 7)), labels.shape, None))
    assert len(found) > 1
    assert sorted(np.concatenate([piece.numbers for piece in found]).tolist()) == there.tolist()
    for piece in found:
        for k, number in enumerate(piece.numbers.tolist(), 1):
            np.testing.assert_array_equal(piece.labels == k, piece.tile.of(labels) == number)
            assert (piece.labels == k).sum() == (labels == number).sum()


def test_a_cell_that_does_not_fit_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "CELL_PIXELS", 1 << 13)
    labels = np.ones((400, 100), np.uint32)
    with pytest.raises(ImageError, match="too large to be measured"):
        list(pieces_of((labels[top : top + 50] for top in range(0, 400, 50)), labels.shape, None))


def test_any_rows_of_a_kept_map_have_its_sum() -> None:
    values = np.random.default_rng(0).random((6, 5)).astype(np.float32)
    kept = KeptMap(Tile(3, 2, height=22, width=18), (40, 30), None)
    kept.add(values[:2])
    kept.add(values[2:])
    everything = kept.rows(range(40))
    assert everything.shape == (10, 8)
    assert everything.sum() == pytest.approx(values.sum(), rel=1e-6)
    cut = [kept.rows(range(top, min(top + 7, 40))).sum() for top in range(0, 40, 7)]
    assert sum(cut) == pytest.approx(values.sum(), rel=1e-6)
    aligned = KeptMap(Tile(0, 0, 24, 20), (24, 20), None)
    aligned.add(values)
    np.testing.assert_allclose(aligned.rows(range(8, 16)), values[2:4], rtol=1e-6)
    kept.close()
    aligned.close()
