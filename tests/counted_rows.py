"""Rows of the table of counts, for tests of what is made of them."""

from typing import Any

from elmgan.counting import Row


def counted_row(image: str, **fields: Any) -> Row:
    """A row of an image with three cells, without an interval, flagged ``empty``, but for the fields given."""
    row = Row(
        image=image,
        scene=1,
        t=1,
        z=1,
        channel="",
        count=3,
        estimate=3.2,
        low=None,
        high=None,
        objects=3,
        foreground=0.1,
        flags=("empty",),
        unlike="",
        scale=1,
        height=8,
        width=9,
        seconds=1,
        model="tiny@01234567",
    )
    return row.model_copy(update=fields)
