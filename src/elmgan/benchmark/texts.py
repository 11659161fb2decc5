"""Numbers as they are written in tables."""

from typing import NamedTuple

from elmgan.benchmark.timing import Spread


class Sheet(NamedTuple):
    """A table of texts; all columns but the first are numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def three_digits(value: float) -> str:
    """Write a number with three digits, or all of those before the point.

    >>> three_digits(0.01234), three_digits(12.34), three_digits(1234.5)
    ('0.0123', '12.3', '1234')
    """
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def multiple(ratio: float) -> str:
    """Write how many times something is another.

    >>> multiple(12.34), multiple(0.0432)
    ('12.3×', '0.04×')
    """
    return f"{ratio:.1f}×" if ratio >= 0.95 else f"{ratio:.2f}×"


def milliseconds(times: Spread) -> str:
    """Write seconds as milliseconds, with their quartiles.

    >>> milliseconds(Spread(median=0.0671, low=0.067, high=0.07))
    '67.1 (67 to 70)'
    """
    return with_quartiles(times, 1e3)


def with_quartiles(values: Spread, unit: float = 1) -> str:
    """Write a number with its quartiles, times a unit.

    >>> with_quartiles(Spread(median=20.04, low=19, high=22))
    '20 (19 to 22)'
    """
    median, low, high = (three_digits(unit * value) for value in (values.median, values.low, values.high))
    return f"{median} ({low} to {high})"


def percent(share: Spread) -> str:
    """Write a share with its quartiles.

    >>> percent(Spread(median=0.784, low=0.76, high=0.8))
    '78% (76 to 80)'
    """
    return f"{share.median:.0%} ({100 * share.low:.0f} to {100 * share.high:.0f})"
