"""What the sinks of tables with some rows of each plane share: rows are kept at once, and put in order at the end."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from elmgan.counting import Result, Streamed
from elmgan.images import Plane
from elmgan.work.plan import Task
from elmgan.work.plane_table import PlaneRows, PlaneTable
from elmgan.work.sinks import Packed


class TableSink(ABC):
    """The sink of a table of :class:`~elmgan.work.plane_table.PlaneTable`; see :class:`~elmgan.work.sinks.Sink`.

    Args:
        out: Folder to write to.
        name: Of the table.
        columns: That it always has.
        images: Names of the images, in the order of the table.
        kept: Those whose rows of an earlier count stay.
        excel: Whether the table is for a spreadsheet whose decimal sign is a comma.
    """

    streams = True

    def __init__(
        self,
        out: Path,
        name: str,
        columns: Sequence[str],
        *,
        images: Sequence[str],
        kept: Collection[str],
        excel: bool,
    ) -> None:
        self.name, self._excel = name, excel
        self._table: PlaneTable | None = PlaneTable(out / name, columns, images=images, kept=kept, excel=excel)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_table": None}  # files stay where they are open

    @abstractmethod
    def _rows(self, task: Task, plane: Plane, result: Result | Streamed, pixels: NDArray) -> PlaneRows:
        """Give the rows of a plane."""

    def draw(self, task: Task, result: Result | Streamed, pixels: NDArray, scratch: Path) -> Packed:
        """Give the rows of a plane, packed."""
        assert task.plane is not None
        rows = self._rows(task, task.plane, result, pixels)
        return rows.packed((task.item.image, task.plane.place), excel=self._excel)

    def keep(self, task: Task, drawn: Packed) -> None:
        """Add them to the table."""
        assert self._table is not None
        assert isinstance(drawn, bytes)
        self._table.add(drawn)

    def end_scene(self, task: Task) -> None:  # noqa: B027  # as every sink has it
        """Do nothing: rows are kept at once."""

    def drop(self, task: Task) -> None:
        """Forget the rows of a plane that failed."""
        if task.plane is not None and self._table is not None:
            self._table.drop((task.item.image, task.plane.place))

    def close(self, *, whole: bool) -> None:
        """Write the table, of an interrupted count too."""
        if self._table is not None:
            self._table.close(whole=whole)
