"""The table of counts: one row per plane; to counts.csv, to JSON, and back."""

import csv
import io
from collections.abc import Collection, Iterable
from pathlib import Path
from sys import intern
from traceback import format_exception
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationInfo, field_validator

from elmgan.counting.result import Result
from elmgan.counting.streaming import Streamed
from elmgan.errors import ElmganError, one_line
from elmgan.files import text_of
from elmgan.images import Plane
from elmgan.trust import OF_COUNT

DECIMALS = {"estimate": 2, "low": 2, "high": 2, "foreground": 4, "seconds": 3}
"""Column -> decimals that are shown, and kept."""

FRACTIONS = (*DECIMALS, "scale")
"""Columns of numbers that may have decimals."""


Place = tuple[int, int, int | Literal["max", "mean"]]
"""Scene, t and z of a plane, as its row has them."""


class Row(BaseModel):
    """One plane in the table. The descriptions of the fields are what people read about the columns.

    A row is rebuilt from its texts by ``Row.model_validate``; ``model_dump(mode="json")`` gives it as JSON.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(description="path of the image, relative to the folder that was given")
    scene: int = Field(description="scene of the file, from 1; 1 where there is one")
    t: int = Field(description="time point, from 1; 1 where there is one")
    z: int | Literal["max", "mean"] = Field(
        description="focal plane, from 1; max or mean where the planes of a stack were counted as one"
    )
    channel: str = Field(description="name or number of the channel, or what colour is seen as; empty for grey")
    count: int | None = Field(
        description="number of cells: the estimate, rounded half up; empty when the model learned no counts"
    )
    estimate: float | None = Field(
        description="number of cells as the model estimates it; empty when the model learned no counts"
    )
    low: float | None = Field(description="lower end of the count's 90 % interval; empty when the model has none")
    high: float | None = Field(description="upper end of the count's 90 % interval; empty when the model has none")
    objects: int | None = Field(
        description="cells that could be separated in the mask; empty when the model learned no masks"
    )
    foreground: float | None = Field(
        description="fraction of the image that is cell, 0 to 1; empty when the model learned no masks"
    )
    flags: tuple[str, ...] = Field(description="why not to trust the count; empty when the image looks fine")
    unlike: str = Field("", description="what sets the image apart from those that the model knows, in words")
    scale: float = Field(description="factor by which the network saw the image resized")
    height: int = Field(description="rows of the image, in pixels")
    width: int = Field(description="columns of the image, in pixels")
    seconds: float = Field(description="from reading the plane to its separated cells; several are worked on at once")
    model: str = Field(description="name of the model, and the beginning of the SHA-256 of all that decides a count")

    @field_validator("count", "estimate", "low", "high", "objects", "foreground", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("z", mode="before")
    @classmethod
    def _z_of_text(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @field_validator("flags", mode="before")
    @classmethod
    def _flags_of_text(cls, value: Any) -> Any:
        return tuple(filter(None, value.split(";"))) if isinstance(value, str) else value

    @field_validator(*DECIMALS)
    @classmethod
    def _as_shown(cls, value: float | None, field: ValidationInfo) -> float | None:
        return None if value is None else round(value, DECIMALS[str(field.field_name)])

    @classmethod
    def of(cls, result: Result | Streamed, plane: Plane, *, image: str, seconds: float, model: str) -> Self:
        """Return the row of a counted plane of the image of this name."""
        low, high = result.interval or (None, None)
        height, width = plane.shape
        return cls(
            image=image,
            scene=plane.scene,
            t=plane.t,
            z=plane.z,
            channel=result.seen_as or plane.channel,
            count=result.count,
            estimate=result.estimate,
            low=low,
            high=high,
            objects=result.objects,
            foreground=result.foreground,
            flags=result.flags,
            unlike=result.unlike,
            scale=round(result.scale, 4),
            height=height,
            width=width,
            seconds=seconds,
            model=model,
        )

    def small(self) -> "Row":
        """Give an equal row that takes less than half the memory, 0.8 kB, for tables of many.

        What all rows share is there once: which fields are set, and texts that are the same in most of them.
        """
        values = dict(self)
        values |= {name: intern(values[name]) for name in ("channel", "unlike", "model")}
        return Row.model_construct(_ALL_SET, **values)

    @property
    def place(self) -> Place:
        """Which plane of its image it is of."""
        return self.scene, self.t, self.z

    @property
    def doubts(self) -> tuple[str, ...]:
        """The flags of the image itself: without those that all images of a count have, by how they were counted."""
        return tuple(flag for flag in self.flags if flag not in OF_COUNT)

    def texts(self) -> dict[str, str]:
        """Column -> its text in counts.csv."""
        return {column: _text(getattr(self, column), DECIMALS.get(column)) for column in COLUMNS}


COLUMNS = tuple(Row.model_fields)

_ALL_SET = set(COLUMNS)  # one for all small rows, which are frozen


def read_table(path: Path) -> list[Row]:
    """Read the rows of a counts.csv.

    Raises:
        OSError: There is none.
        ValueError: It is not the table of a count.
    """
    excel, rows = _rows_of(path)
    return [Row.model_validate(_texts_of(cells, FRACTIONS if excel else ())) for cells in rows]


def read_failures(path: Path) -> "list[Failure]":
    """Read the rows of a failed.csv; none if there is none.

    Raises:
        OSError: It cannot be read.
        ValueError: It is another table.
    """
    return [Failure.model_validate(_texts_of(cells, ())) for cells in _rows_of(path)[1]] if path.exists() else []


def _rows_of(path: Path) -> tuple[bool, Iterable[dict[Any, Any]]]:
    """Say whether a table is for a spreadsheet, see :func:`~elmgan.files.write_table`, and give its cells by column."""
    text = path.read_text(encoding="utf-8")
    excel = text.startswith("\ufeff")
    return excel, csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=";" if excel else ",")


def _texts_of(cells: dict[Any, Any], commas: Collection[str]) -> dict[Any, Any]:
    """Take a row's cells for texts; what does not fit the columns is left for the check to find."""
    return {
        column: text_of(cell.replace(",", ".") if column in commas else cell) if isinstance(cell, str) else cell
        for column, cell in cells.items()
    }


def _text(value: Any, decimals: int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ";".join(value)
    if isinstance(value, float) and decimals is None:
        return f"{value:g}"
    return str(value) if decimals is None else f"{value:.{decimals}f}"


class Failure(BaseModel):
    """An image that could not be counted or scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(description="path of the image, relative to the folder that was given")
    error: str = Field(description="what was found, where, and what to do")
    _trace: str = PrivateAttr("")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failure) and (self.image, self.error) == (other.image, other.error)

    def __hash__(self) -> int:
        return hash((self.image, self.error))

    def at(self, place: str) -> Self:
        """Return the failure with words in front that say which part of the image it is of."""
        told = self.model_copy(update={"error": place + self.error.removeprefix(place)})
        told._trace = self._trace
        return told

    @property
    def trace(self) -> str:
        """Where in the program the exception arose, for who mends the program."""
        return self._trace

    @classmethod
    def of(cls, image: str, error: Exception, source: Path) -> Self:
        """Return the row of an image that met an exception: why, in one line, without its path ``source``."""
        text = one_line(error)
        known = isinstance(error, ElmganError)
        told = text.removeprefix(f"{one_line(source)}: ") if known else f"unexpected {type(error).__name__}: {text}"
        failure = cls(image=image, error=told)
        failure._trace = "".join(format_exception(error))
        return failure
