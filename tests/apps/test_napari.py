"""The plugin in napari itself, without a screen."""

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bundles import squares, write_tiny
from elmgan.counting import Model
from elmgan.data import read_data_set
from elmgan.images import read_image, write_image
from elmgan.models import read_bundle
from elmgan.work import count_images

pytestmark = pytest.mark.filterwarnings("ignore")  # of napari's own libraries

PATIENCE = 60
"""Seconds that a count may take."""

SERVER = "Xvfb -displayfd 1 -screen 0 1600x1000x24 -nolisten tcp & server=$!; cat > /dev/null; kill $server"
"""A server of X that ends with the tests, whose pipe it reads. If it ended before, Qt would end them."""

SERVERS: list[subprocess.Popen[bytes]] = []
"""Those that were started: their pipes stay open."""


@pytest.fixture(scope="module")
def screen() -> Iterator[None]:
    """A server of X that nobody sees, where OpenGL is computed by the processor. Nothing is drawn but when asked."""
    if find_spec("napari") is None:
        pytest.skip("needs napari (pip install 'napari[pyqt6]')")
    if shutil.which("Xvfb") is None:
        pytest.skip("needs Xvfb (apt-get install xvfb)")
    server = subprocess.Popen(
        ["sh", "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert server.stdout is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", f":{server.stdout.readline().decode().strip()}")
        patch.setenv("QT_QPA_PLATFORM", "offscreen")
        patch.setenv("LIBGL_ALWAYS_SOFTWARE", "1")
        yield
    server.stdout.close()
    server.returncode = 0  # it goes on, and nobody waits for it
    SERVERS.append(server)


@pytest.fixture(scope="module")
def dock(screen: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The plugin in a viewer, with a model whose answers are known."""
    import napari

    viewer = napari.Viewer(show=False)
    _, dock = viewer.window.add_plugin_dock_widget("elmgan", "Count cells")
    dock.model.insertItem(0, str(write_tiny(tmp_path_factory.mktemp("model"))))
    yield dock
    viewer.close()


@pytest.fixture
def widget(dock: Any) -> Iterator[Any]:
    dock.model.setCurrentIndex(0)
    yield dock
    until(lambda: dock._worker is None)
    dock.viewer.layers.clear()
    dock._forget()
    for box in dock.view.values():
        box.setCurrentText("")


@pytest.fixture
def viewer(widget: Any) -> Any:
    return widget.viewer


def until(done: Callable[[], bool]) -> None:
    """Let Qt work until something is so."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        QApplication.processEvents()
        time.sleep(0.01)


def counted(widget: Any, *, every: bool = False) -> None:
    (widget.count_all if every else widget.count_selected)()
    until(lambda: widget._worker is None)


def texts(widget: Any, column: str) -> list[str]:
    names = [widget.table.horizontalHeaderItem(k).text() for k in range(widget.table.columnCount())]
    return [widget.table.item(row, names.index(column)).text() for row in range(widget.table.rowCount())]


def test_the_manifest_is_whole(screen: None) -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("elmgan")
    assert [widget.display_name for widget in manifest.contributions.widgets] == ["Count cells"]
    for command in manifest.contributions.commands:
        module, _, name = str(command.python_name).partition(":")
        assert callable(getattr(__import__(module, fromlist=[name]), name))


def test_a_layer_is_counted(viewer: Any, widget: Any) -> None:
    viewer.add_image(squares(7), name="a", scale=(0.5, 0.5), translate=(3, 4))
    counted(widget)
    assert texts(widget, "count") == ["7"]
    mask, labels, count_map = (viewer.layers[f"{what} of a"] for what in ("mask", "cells", "count map"))
    assert labels.data.max() == 7
    assert np.array_equal(mask.data > 0, labels.data > 0)
    for layer, factor in ((mask, 1), (labels, 1), (count_map, 4)):
        assert layer.scale.tolist() == [0.5 * factor] * 2
        # Extents are of pixels' edges: the same place in the world.
        np.testing.assert_allclose(layer.extent.world, viewer.layers["a"].extent.world, atol=0.25 * factor)
    assert count_map.data.sum() == pytest.approx(7, abs=0.4)
    viewer.layers.selection.active = viewer.layers["a"]
    counted(widget)  # again: the layers are replaced
    assert len(viewer.layers) == 4


def test_all_images_are_counted_but_for_what_was_counted(viewer: Any, widget: Any) -> None:
    viewer.add_image(squares(3), name="a")
    viewer.add_image(np.stack([squares(2), squares(6), squares(4)]), name="stack")
    viewer.add_points(np.zeros((1, 2)))
    counted(widget, every=True)
    counted(widget, every=True)
    assert texts(widget, "image") == ["a", "stack"]
    assert texts(widget, "count") == ["3", "6"]
    assert texts(widget, "z") == ["1", "max"]
    widget.view["z"].setCurrentText("each")
    viewer.layers.selection.active = viewer.layers["stack"]
    counted(widget)
    assert texts(widget, "count") == ["2", "6", "4"]
    widget.show_row(1)
    assert viewer.dims.current_step[0] == 1


def test_what_goes_wrong_is_told(viewer: Any, widget: Any) -> None:
    widget.count_selected()
    assert widget.told.text() == "select an image layer first"
    widget.count_all()
    assert widget.told.text() == "there is no image layer"
    viewer.add_image(np.stack([squares(2)] * 2), name="two")
    widget.axes.setText("CYX")
    counted(widget)
    assert "name one with --channel" in widget.told.text()
    widget.view["z"].setCurrentText("top")
    counted(widget)
    assert "--z is top; expected max, mean, each" in widget.told.text()
    assert widget.table.rowCount() == 0
    for press in (widget.count_in_shapes, lambda: widget.add_to_data_set(Path("x"))):
        press()
        assert "first" in widget.told.text()


def test_a_count_can_be_cancelled(viewer: Any, widget: Any) -> None:
    viewer.add_image(np.stack([squares(2)] * 200), name="many")
    widget.view["z"].setCurrentText("each")
    widget.count_selected()
    until(lambda: widget.table.rowCount() > 0)
    widget.count_selected()
    assert "a count is running" in widget.told.text()
    widget.stop()
    until(lambda: widget._worker is None)
    done = widget.table.rowCount()
    assert 0 < done < 200
    assert viewer.layers["mask of many"].data[:done].any(axis=(1, 2)).all()
    assert not viewer.layers["mask of many"].data[done:].any()


def test_cells_are_counted_in_shapes(viewer: Any, widget: Any) -> None:
    viewer.add_image(squares(9), name="a", scale=(0.5, 0.5))
    counted(widget)
    halves = [np.array([(-0.25, a), (-0.25, b), (47.75, b), (47.75, a)]) for a, b in ((-0.25, 24.75), (24.75, 59.75))]
    line = np.array([(0, 0), (10, 10)])
    shapes = viewer.add_shapes([*halves, line], shape_type=["polygon", "rectangle", "line"])
    widget.count_in_shapes()
    cells = shapes.features["cells"]
    assert cells[:2].sum() == pytest.approx(viewer.layers["count map of a"].data.sum(), abs=0.01)
    assert np.isnan(cells[2])
    assert "cells" in widget.told.text()


def test_corrected_examples_become_a_data_set(viewer: Any, widget: Any, tmp_path: Path) -> None:
    viewer.add_image(np.stack([squares(2), squares(6)]), name="my stack")
    widget.view["z"].setCurrentText("each")
    counted(widget)
    mask = viewer.layers["mask of my stack"]
    mask.selected_label, mask.brush_size = 1, 5
    mask.paint((1, 80, 100), 1)
    viewer.dims.set_current_step(0, 1)
    folder = tmp_path / "mine"
    widget.table.item(1, widget.table.columnCount() - 1).setText("seven")
    widget.add_to_data_set(folder)
    assert "seven is no number of cells" in widget.told.text()
    widget.table.item(1, widget.table.columnCount() - 1).setText("7")
    widget.add_to_data_set(folder)
    widget.table.selectRow(0)
    widget.add_to_data_set(folder)
    first, second = read_data_set(folder)
    assert (first.name, first.count, second.name, second.count) == ("my_stack_t1_z1", 2, "my_stack_t1_z2", 7)
    assert second.mask is not None
    painted = read_image(second.mask) > 0
    assert np.array_equal(painted, mask.data[1] > 0)
    assert painted[80, 100]


def test_the_table_is_saved(viewer: Any, widget: Any, tmp_path: Path) -> None:
    viewer.add_image(squares(4), name="a")
    counted(widget)
    widget.table.item(0, widget.table.columnCount() - 1).setText("5")
    widget.save_table(tmp_path / "counts.csv")
    with (tmp_path / "counts.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["image"], row["count"], row["by hand"]) == ("a", "4", "5")


def test_an_earlier_count_is_opened(viewer: Any, widget: Any, tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.tif", squares(5))
    count_images([tmp_path / "images"], tmp_path / "out", Model(read_bundle(write_tiny(tmp_path))))
    widget.open_earlier(tmp_path / "images")
    assert "holds no count" in widget.told.text()
    widget.open_earlier(tmp_path / "out")
    assert texts(widget, "count") == ["5"]
    widget.show_row(0)
    assert np.array_equal(viewer.layers["a.tif"].data, squares(5))
    viewer.layers["mask of a.tif"].paint((90, 110), 1)
    widget.table.selectRow(0)
    widget.add_to_data_set(tmp_path / "mine")
    (record,) = read_data_set(tmp_path / "mine")
    assert (record.count, record.mask is not None) == (5, True)


def test_sample_data_can_be_opened_and_counted(viewer: Any, widget: Any, tmp_path: Path) -> None:
    widget.model.setCurrentText("nuclei-small")
    viewer.open_sample("elmgan", "cells")
    viewer.open_sample("elmgan", "stack")
    assert [layer.ndim for layer in viewer.layers] == [2, 3, 3]
    counted(widget, every=True)
    truth = [int(name.removesuffix(" cells").rpartition(" ")[2]) for name in texts(widget, "image")]
    assert [int(count) for count in texts(widget, "count")] == pytest.approx(truth, rel=0.2)


LOOKED_AT = """
import sys, time

import napari
from PIL import Image
from qtpy.QtWidgets import QApplication

viewer = napari.Viewer()
_, dock = viewer.window.add_plugin_dock_widget("elmgan", "Count cells")
viewer.open_sample("elmgan", "cells")
dock.count_selected()
while dock._worker is not None:
    QApplication.processEvents()
    time.sleep(0.01)
viewer.window.resize(1400, 900)
for _ in range(50):
    QApplication.processEvents()
    time.sleep(0.01)
viewer.reset_view()
Image.fromarray(viewer.window.screenshot(flash=False, canvas_only=False)[..., :3]).save(sys.argv[1])
viewer.close()
"""


def test_it_can_be_looked_at(screen: None, tmp_path: Path) -> None:
    """The picture of docs/napari.md; ELMGAN_SCREENSHOT says where to keep it. Qt may end the process."""
    path = Path(os.environ.get("ELMGAN_SCREENSHOT", tmp_path / "napari.png"))
    command = [sys.executable, "-W", "ignore", "-c", LOOKED_AT, str(path)]
    done = subprocess.run(
        command, env=os.environ | {"QT_QPA_PLATFORM": "xcb"}, capture_output=True, text=True, check=False
    )
    if "Could not load the Qt platform plugin" in done.stderr:
        pytest.skip("Qt lacks libraries of the system to draw; .ci/run lists them")
    assert done.returncode == 0, done.stderr
    shown = np.asarray(Image.open(path)).astype(int)
    canvas = shown[100:-100, 350:900]
    orange = (canvas[..., 0] > canvas[..., 2] + 60).mean()
    assert 0.03 < orange < 0.3  # where the mask is
