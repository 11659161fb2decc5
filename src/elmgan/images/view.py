"""The view: which planes of a file are counted, and how they are shown to the network."""

import math
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from elmgan.errors import UsageError
from elmgan.strict import Strict

Number = Annotated[int, Field(ge=1, le=1 << 31)]
"""Counted from 1, as people do."""

COLOURS = ("luminance", "red", "haematoxylin")
"""What colour can be seen as, beside its channels by number."""


EXPECTED = {
    "scene": "each, or a number from 1",
    "t": "each, or a number from 1",
    "z": "max, mean, each, or a number from 1",
    "channel": "a number from 1, or a name",
    "scale": "auto, or 0.1 to 10: 0.5 halves the image's sides",
    "cells": "auto, bright or dark",
}
"""Field -> what it takes, for people."""


class View(Strict):
    """Which pixels are counted and how they are shown to the network: one value for every command and for Python.

    A field at its default decides nothing that a file leaves open: several channels without one that is named are
    refused.

    >>> View(channel="DAPI", z="mean").told
    'z mean, channel DAPI'
    >>> View(channel="2") == View(channel=2)
    True
    """

    scene: Literal["each"] | Number = Field("each", description="each scene of a file, or one by its number")
    t: Literal["each"] | Number = Field("each", description="each time point, or one by its number")
    z: Literal["max", "mean", "each"] | Number = Field(
        "max", description="the maximum or the mean over z, each plane, or one by its number"
    )
    channel: Number | Annotated[str, Field(max_length=200)] | None = Field(
        None,
        description="number or name of a channel; of colour also luminance, red or haematoxylin; "
        "none where there is one answer",
    )
    scale: Literal["auto"] | Annotated[float, Field(ge=0.1, le=10)] = Field(
        "auto", description="factor by which the network sees the images resized; auto finds out"
    )
    cells: Literal["auto", "bright", "dark"] = Field(
        "auto", description="whether cells are brighter or darker than the background; auto finds out"
    )

    @field_validator("channel", mode="before")
    @classmethod
    def _digits_are_a_number(cls, channel: object) -> object:
        if isinstance(channel, str):
            channel = channel.strip()
            if channel.isdecimal():
                return int(channel)  # 0 is refused as a number
            return None if channel in ("", "auto") else channel
        return channel

    @property
    def factor(self) -> float:
        """The scale as a number: 1 where it is to be found out."""
        return 1.0 if self.scale == "auto" else self.scale

    def shows_alike(self, other: "View", scale: float | None = None) -> bool:
        """Say whether another view shows planes as this one does, so that counts under both can be compared.

        Which scenes and times are meant makes no difference, nor which channel where this view names none; whether
        a stack is projected does, and how. A scale that is open is 1, unless it is given.

        Args:
            other: The other view.
            scale: At which it shows a plane.

        >>> View().shows_alike(View(channel=2)), View().shows_alike(View(scale=0.5)), View(z=1).shows_alike(View(z=2))
        (True, False, True)
        """
        ours, theirs = (view.z if view.z in ("max", "mean") else "plane" for view in (self, other))
        channels = self.channel == other.channel or (self.channel is None and other.channel not in COLOURS[1:])
        sized = math.isclose(self.factor, other.factor if scale is None else scale, rel_tol=0.01)
        return (ours, self.cells) == (theirs, other.cells) and channels and sized

    def changed(self, **given: object) -> "View":
        """Return the view with other values in some fields; ``None`` and the word auto leave a channel open.

        >>> View(scale=0.5).changed(channel="DAPI", t=None).told
        'channel DAPI, scale 0.5'

        Raises:
            UsageError: A value is none that its field takes.
        """
        wanted = {name: value for name, value in given.items() if value is not None}
        try:
            return View.model_validate(self.model_dump() | wanted)
        except ValidationError as error:
            fields = dict.fromkeys(str(fault["loc"][0]) for fault in error.errors())
            told = "; ".join(f"--{name} is {wanted.get(name)}; expected {EXPECTED[name]}" for name in fields)
            raise UsageError(told) from None

    @property
    def told(self) -> str:
        """Say what differs from the default, in words for people; nothing where nothing does."""
        default = View()
        changed = {name: value for name, value in self if value != getattr(default, name)}
        return ", ".join(
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in changed.items()
        )
