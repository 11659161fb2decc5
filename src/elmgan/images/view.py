"""The view: which planes of a file are counted, and how they are shown to the network."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from elmgan.strict import Strict

Number = Annotated[int, Field(ge=1)]
"""Counted from 1, as people do."""

COLOURS = ("luminance", "red", "haematoxylin")
"""What colour can be seen as, beside its channels by number."""


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
    channel: Number | str | None = Field(
        None,
        description="number or name of a channel; of colour also luminance, red or haematoxylin; "
        "none where there is one answer",
    )
    scale: float = Field(1, ge=0.1, le=10, description="factor by which the network sees the images resized")
    cells: Literal["auto", "bright", "dark"] = Field(
        "auto", description="whether cells are brighter or darker than the background; auto finds out"
    )

    @field_validator("channel", mode="before")
    @classmethod
    def _digits_are_a_number(cls, channel: object) -> object:
        if isinstance(channel, str):
            channel = channel.strip()
            return int(channel) if channel.isdecimal() and int(channel) > 0 else channel or None
        return channel

    @property
    def told(self) -> str:
        """Say what differs from the default, in words for people; nothing where nothing does."""
        default = View()
        changed = {name: value for name, value in self if value != getattr(default, name)}
        return ", ".join(
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in changed.items()
        )
