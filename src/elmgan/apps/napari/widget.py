"""The dock widget of the plugin: what is counted, how, and what came of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Shapes
from napari.qt.threading import create_worker
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from elmgan.apps.napari.job import CountedPlane, count_layers, counted_before
from elmgan.apps.napari.layers import WITH_INSIDE, CountedLayer, cells_in, guess_axes, regions_of
from elmgan.counting import Row
from elmgan.counting.row import COLUMNS
from elmgan.data import append_example
from elmgan.errors import ElmganError, UsageError, one_line
from elmgan.files import write_table
from elmgan.models import shipped
from elmgan.trust import ADVICE
from elmgan.work.earlier import Earlier, read_earlier

DOCK_COLUMNS = ("image", "t", "z", "count", "low", "high", "objects", "flags")
"""Columns of the table that the dock has of a row; behind them, what people counted themselves."""

BY_HAND = "by hand"

CHOICES = {
    "z": ("", "max", "mean", "each"),
    "t": ("", "each"),
    "channel": ("", "luminance", "red", "haematoxylin"),
    "scale": ("", "auto"),
    "cells": ("", "auto", "bright", "dark"),
}
"""Field of the view -> what is offered; a number, or a channel's name, can be typed. Empty is the model's own."""

OTHER = "another ..."

MASK_COLOURS = {1: (1.0, 0.5, 0.0, 1.0), None: (0.0, 0.0, 0.0, 0.0)}
"""Colours of a mask."""


class CountCells(QWidget):  # type: ignore[misc]
    """Counts image layers, and puts masks, labels and count maps beside them.

    Args:
        napari_viewer: The viewer whose layers are counted.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)  # without napari's proxy around each layer
        self.counted: list[CountedLayer] = []
        self.earlier: tuple[Path, Earlier] | None = None
        self._rows: list[tuple[Row, CountedLayer | None, int]] = []
        self._worker: Any = None
        self._masks: dict[int, Any] = {}  # id of what was counted -> the layer of its mask
        self._build()
        self.viewer.layers.selection.events.active.connect(self._layer_chosen)
        self._layer_chosen()

    # What it looks like.

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        self.model = QComboBox()
        self.model.addItems([*shipped(), OTHER])
        self.model.activated.connect(self._model_chosen)
        self.axes = QLineEdit()
        self.axes.setToolTip("What the layer's axes are, one letter each: T, Z, C, then Y and X")
        self.view = {name: QComboBox() for name in CHOICES}
        for name, box in self.view.items():
            box.addItems(CHOICES[name])
            box.setEditable(True)
            box.lineEdit().setPlaceholderText("as the model has it")
        self.quick = QCheckBox("look once: faster, and unlike images are not told")
        form = QFormLayout()
        form.addRow("model", self.model)
        form.addRow("axes", self.axes)
        layout.addLayout(form)
        how = QGroupBox("View: which planes, and how they are shown to the network")
        fields = QFormLayout(how)
        for name, box in self.view.items():
            fields.addRow(name, box)
        fields.addRow("quick", self.quick)
        layout.addWidget(how)
        self.progress = QProgressBar()
        self.progress.setVisible(False)
        self.cancel = _button("Cancel", self.stop)
        self.cancel.setEnabled(False)
        layout.addLayout(
            _beside(
                _button("Count layer", self.count_selected), _button("Count all images", self.count_all), self.cancel
            )
        )
        layout.addWidget(self.progress)
        self.told = QLabel()
        self.told.setWordWrap(True)
        layout.addWidget(self.told)
        self.table = QTableWidget(0, len(DOCK_COLUMNS) + 1)
        self.table.setHorizontalHeaderLabels([*DOCK_COLUMNS, BY_HAND])
        self.table.setSelectionBehavior(QAbstractItemView.SelectRows)
        self.table.cellDoubleClicked.connect(lambda number, _: self.show_row(number))
        layout.addWidget(self.table, stretch=1)
        layout.addLayout(
            _beside(
                _button("Count in shapes", self.count_in_shapes),
                _button("Add to data set ...", lambda: self._with_folder(self.add_to_data_set)),
            )
        )
        layout.addLayout(
            _beside(
                _button("Save table ...", self._save),
                _button("Open an earlier count ...", lambda: self._with_folder(self.open_earlier)),
            )
        )

    def _layer_chosen(self, event: Any = None) -> None:
        layer = self.viewer.layers.selection.active
        if _is_image(layer):
            self.axes.setText(guess_axes(layer) if layer.ndim in range(2, 6) else "")

    def _model_chosen(self, number: int) -> None:
        if self.model.itemText(number) != OTHER:
            return
        chosen = QFileDialog.getExistingDirectory(self, "Folder of a model")
        if chosen:
            self.model.insertItem(0, chosen)
        self.model.setCurrentIndex(0)

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except ElmganError as error:
            self.tell(str(error))

    def tell(self, text: str) -> None:
        """Say something below the buttons."""
        self.told.setText(one_line(text))

    # Counting.

    def count_selected(self) -> None:
        """Count the layer that is selected."""
        with self._errors_told():
            layer = self.viewer.layers.selection.active
            if not _is_image(layer):
                raise UsageError("select an image layer first")
            self._start([(layer, self.axes.text().strip().upper())])

    def count_all(self) -> None:
        """Count every image layer, each with the axes that it seems to have."""
        with self._errors_told():
            layers = [layer for layer in self.viewer.layers if _is_image(layer) and not _is_ours(layer)]
            if not layers:
                raise UsageError("there is no image layer")
            self._start([(layer, guess_axes(layer)) for layer in layers])

    def stop(self) -> None:
        """Stop counting after the plane that is being counted; what is done is kept."""
        if self._worker is not None:
            self._worker.quit()

    def _start(self, layers: list[tuple[Any, str]]) -> None:
        if self._worker is not None:
            raise UsageError("a count is running: wait for it, or cancel it")
        self._forget()
        texts = {name: box.currentText() for name, box in self.view.items()}
        model, quick = self.model.currentText(), self.quick.isChecked()
        self._worker = create_worker(_told_of(count_layers), layers, model, texts, quick=quick)
        self._worker.yielded.connect(self._step)
        self._worker.finished.connect(self._done)
        self.tell("counting ...")
        self.progress.setVisible(True)
        self.progress.setRange(0, 0)
        self.cancel.setEnabled(True)
        self._worker.start()

    def _step(self, outcome: "tuple[int, CountedPlane | None] | ElmganError") -> None:
        if isinstance(outcome, ElmganError):
            self.tell(str(outcome))
            return
        total, step = outcome
        self.progress.setRange(0, total)
        if step is None:
            return
        counted, row, result = step
        if not self.counted or self.counted[-1] is not counted:
            self.counted.append(counted)
        counted.add(row, result)
        self._add_row(row, counted, len(counted.rows) - 1)
        self.progress.setValue(len(self._rows))
        self.tell(f"{len(self._rows)} of {total} planes counted")

    def _done(self) -> None:
        self._worker = None
        self.progress.setVisible(False)
        self.cancel.setEnabled(False)
        self.table.resizeColumnsToContents()
        for counted in self.counted:
            self._show(counted)

    def _show(self, counted: CountedLayer) -> None:
        name = counted.layer.name
        if counted.count_map is not None:
            self._put(
                "image",
                counted.count_map,
                f"count map of {name}",
                counted.placing(4),
                colormap="inferno",
                blending="additive",
                visible=False,
            )
        if counted.labels is not None:
            self._put("labels", counted.labels, f"cells of {name}", counted.placing(), visible=False)
        if counted.mask is not None:
            colours = _mask_colours()
            self._masks[id(counted)] = self._put(
                "labels", counted.mask, f"mask of {name}", counted.placing(), opacity=0.5, **colours
            )

    def _put(self, kind: str, data: Any, name: str, placing: dict[str, Any], **look: Any) -> Any:
        if name in self.viewer.layers:
            self.viewer.layers.remove(name)
        return getattr(self.viewer, f"add_{kind}")(data, name=name, metadata={"elmgan": True}, **placing, **look)

    # The table.

    def _forget(self) -> None:
        self.counted, self._rows, self.earlier, self._masks = [], [], None, {}
        self.table.setRowCount(0)

    def _add_row(self, row: Row, counted: CountedLayer | None, number: int) -> None:
        self._rows.append((row, counted, number))
        place = self.table.rowCount()
        self.table.insertRow(place)
        texts = row.texts()
        for column, name in enumerate(DOCK_COLUMNS):
            item = QTableWidgetItem(texts[name])
            item.setFlags(item.flags() & ~Qt.ItemIsEditable)
            if name == "flags":
                item.setToolTip("\n".join(f"{flag}: {ADVICE.get(flag, '')}" for flag in row.flags))
            self.table.setItem(place, column, item)
        self.table.setItem(place, len(DOCK_COLUMNS), QTableWidgetItem(""))
        self.table.scrollToBottom()

    def _chosen(self) -> int:
        """Give the number of the table's row that is meant: the selected one, else that of the plane that is shown."""
        selected = self.table.selectionModel().selectedRows()
        if selected:
            return int(selected[0].row())
        for place, (_, counted, number) in enumerate(self._rows):
            if counted is not None:
                step = self.viewer.dims.current_step[-counted.layer.ndim :]
                if counted.number_at(step) == number:
                    return place
        raise UsageError("select a row of the table first")

    def by_hand(self, place: int) -> float | None:
        """Give what was typed into a row's last column.

        Raises:
            UsageError: It is no number of cells.
        """
        text = self.table.item(place, len(DOCK_COLUMNS)).text().strip().replace(",", ".")
        if not text:
            return None
        try:
            number = float(text)
        except ValueError:
            number = -1
        if not 0 <= number < np.inf:
            raise UsageError(f"{text} is no number of cells: correct the column '{BY_HAND}'")
        return number

    def show_row(self, place: int) -> None:
        """Bring the plane of a row into view; of an earlier count, its image and mask become layers."""
        row, counted, number = self._rows[place]
        with self._errors_told():
            if counted is not None:
                plane = counted.planes[number]
                index = {"T": plane.t - 1, "Z": plane.z - 1 if isinstance(plane.z, int) else None}
                for axis, letter in enumerate(counted.axes):
                    if index.get(letter) is not None:
                        self.viewer.dims.set_current_step(
                            self.viewer.dims.ndim - counted.layer.ndim + axis, index[letter]
                        )
            elif self.earlier is not None:
                pixels, mask = counted_before(*self.earlier, row)
                self._put("image", pixels, row.image, {}, rgb=pixels.ndim == 3)
                if mask is not None:
                    layer = self._put(
                        "labels", mask.astype(np.uint8), f"mask of {row.image}", {}, opacity=0.5, **_mask_colours()
                    )
                    self._masks[place] = layer

    # What is done with the counts.

    def count_in_shapes(self) -> None:
        """Say how many cells of the plane that is shown, or of the selected row, are inside each drawn shape."""
        with self._errors_told():
            shapes = [layer for layer in self.viewer.layers if isinstance(layer, Shapes)]
            if not shapes:
                raise UsageError("draw a shape first: a polygon, rectangle or ellipse in a shapes layer")
            active = self.viewer.layers.selection.active
            chosen = active if active in shapes else shapes[-1]
            row, counted, number = self._rows[self._chosen()]
            if counted is None or counted.count_map is None:
                raise UsageError("count the layer first, with a model that has a count map")
            regions = regions_of(chosen, counted.layer)
            if not regions:
                raise UsageError(f"{chosen.name} has no polygon, rectangle or ellipse")
            count_map = counted.count_map[counted.place(number)]
            cells = [cells_in(count_map, (row.height, row.width), region) for region in regions]
            chosen.features = {"cells": self._for_all(chosen, cells)}
            chosen.text = {"string": "{cells:.1f}", "color": "yellow", "anchor": "center"}
            self.tell(f"{chosen.name}: {', '.join(f'{number:.1f}' for number in cells)} cells")

    @staticmethod
    def _for_all(shapes: Any, cells: list[float]) -> list[float]:
        """Give a number per shape, NaN for those that have no inside."""
        found = iter(cells)
        return [next(found) if kind in WITH_INSIDE else np.nan for kind in shapes.shape_type]

    def add_to_data_set(self, folder: Path) -> None:
        """Add the plane of the selected row, its mask as it is painted, and its count to a data set folder."""
        with self._errors_told():
            place = self._chosen()
            row, counted, number = self._rows[place]
            count = self.by_hand(place)
            if count is None:
                count = row.count
            if counted is not None:
                pixels = counted.planes[number].read()
                painted = self._masks.get(id(counted))
                mask = None if painted is None else np.asarray(painted.data)[counted.place(number)] > 0
            elif self.earlier is not None:
                pixels, mask = counted_before(*self.earlier, row)
                if place in self._masks:
                    mask = np.asarray(self._masks[place].data) > 0
            several = sum(each.image == row.image for each, _, _ in self._rows) > 1
            name = f"{row.image} t{row.t} z{row.z}" if several else row.image
            written = append_example(folder, name, pixels, mask=mask, count=count)
            self.tell(
                f"added {written} with its mask and {count:g} cells to {folder}"
                if count is not None
                else f"added {written} with its mask to {folder}"
            )

    def save_table(self, path: Path) -> None:
        """Write the rows as a count's table, and what was counted by hand as its last column."""
        with self._errors_told():
            rows = []
            for place, (row, _, _) in enumerate(self._rows):
                number = self.by_hand(place)
                rows.append(row.texts() | {BY_HAND: "" if number is None else f"{number:g}"})
            write_table(path, [*COLUMNS, BY_HAND], rows)
            self.tell(f"wrote {path}")

    def open_earlier(self, folder: Path) -> None:
        """Show the table of a count that the command line made; a double click on a row opens its image and mask."""
        with self._errors_told():
            earlier = read_earlier(folder)
            if not earlier.rows:
                raise UsageError(f"{folder} holds no count: choose the folder that was given to -o")
            self._forget()
            self.earlier = folder, earlier
            for rows in earlier.rows.values():
                for number, row in enumerate(rows):
                    self._add_row(row, None, number)
            self.table.resizeColumnsToContents()
            self.tell(f"{len(self._rows)} planes; a double click on a row opens its image and mask")

    def _save(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(self, "Table of counts", "counts.csv", "CSV (*.csv)")
        if chosen:
            self.save_table(Path(chosen))

    def _with_folder(self, then: Callable[[Path], None]) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder")
        if chosen:
            then(Path(chosen))


def _told_of(count: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Give the generator that hands on what a user can mend, where napari would show a traceback."""

    def counting(*arguments: Any, **options: Any) -> Iterator[Any]:
        try:
            yield from count(*arguments, **options)
        except ElmganError as error:
            yield error

    return counting


def _is_image(layer: Any) -> bool:
    return isinstance(layer, Image)


def _is_ours(layer: Any) -> bool:
    return bool(layer.metadata.get("elmgan"))


def _mask_colours() -> dict[str, Any]:
    return {"colormap": DirectLabelColormap(color_dict=MASK_COLOURS)}


def _button(text: str, pressed: Callable[[], None]) -> Any:
    button = QPushButton(text)
    button.clicked.connect(lambda: pressed())
    return button


def _beside(*widgets: Any) -> Any:
    layout = QHBoxLayout()
    for widget in widgets:
        layout.addWidget(widget)
    return layout
