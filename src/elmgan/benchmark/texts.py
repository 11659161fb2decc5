"""Numbers as they are written in tables."""

from typing import NamedTuple

from elmgan.benchmark.timing import Spread


class Sheet(NamedTuple):
    """A table of texts; all columns but the first are numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def number(value: float) -> str:
    """Write a number with three digits, or all of those before the point.

    >>> number(0.01234), number(12.34), number(1234.5)
    ('0.0123', '12.3', '1234')
    """
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def multiple(ratio: float) -> str:
    """Write how many times something is another.

    >>> multiple(12.34), multiple(0.0432)
    ('12.3×', '0.04×')
    """
    return f"{ratio:.1f}×" if ratio >= 0.95 else f"{ratio:.2f}×"


def milliseconds(spread: Spread) -> str:
    """Write seconds as milliseconds, with their quartiles.

    >>> milliseconds(Spread(median=0.0671, low=0.067, high=0.07))
    '67.1 (67 to 70)'
    """
    median, low, high = (number(1e3 * value) for value in (spread.median, spread.low, spread.high))
    return f"{median} ({low} to {high})"
