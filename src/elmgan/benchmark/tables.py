"""The numbers of a benchmark as tables, for the terminal and for the page."""

from typing import NamedTuple

from elmgan.benchmark.networks import ModelMeasured
from elmgan.benchmark.timing import Measured, Spread, Times
from elmgan.benchmark.upsampling import OURS, Shape, UpsamplingMeasured


class Sheet(NamedTuple):
    """A table of texts; all columns but the first are numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def sheets(result: Measured) -> list[Sheet]:
    """Make the tables of a result."""
    if isinstance(result, UpsamplingMeasured):
        return [_upsampled(result, engine, work) for engine, work in result.parts]
    return _networks(result) if isinstance(result, ModelMeasured) else []


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


def _upsampled(result: UpsamplingMeasured, engine: str, work: str) -> Sheet:
    rows = [row for row in result.rows if (row.engine, row.work) == (engine, work)]
    shapes = list(dict.fromkeys(row.shape for row in rows))
    times = {(row.upsampling, row.shape): row.times for row in rows}
    ways = list(dict.fromkeys(row.upsampling for row in rows))
    everything = {way: Times.together([times[way, shape] for shape in shapes]) for way in ways}

    def compared(ours: Times, its: Times) -> str:
        text = number(1e3 * its.spread.median)
        return text if ours is its else f"{text} ({multiple(its.over(ours).median)})"

    return Sheet(
        f"{engine}, {work}: milliseconds, and how many times FBU's",
        ["upsampling", "M parameters", "M multiply-adds", *(heading(shape) for shape in shapes), "all"],
        [
            [
                way,
                number(sum(row.parameters for row in rows if row.upsampling == way) / 1e6),
                number(sum(row.multiply_adds for row in rows if row.upsampling == way) / 1e6),
                *(compared(times[OURS, shape], times[way, shape]) for shape in shapes),
                compared(everything[OURS], everything[way]),
            ]
            for way in ways
        ],
    )


def heading(shape: Shape) -> str:
    """Write a shape.

    >>> heading(Shape(512, 256, 16))
    '512→256 at 16×16'
    """
    return f"{shape.in_channels}→{shape.out_channels} at {shape.side}×{shape.side}"


def _networks(result: ModelMeasured) -> list[Sheet]:
    sizes = {row.network: (row.parameters, row.multiply_adds) for row in result.rows}
    made = [
        Sheet(
            "Size, with multiply-adds of an image",
            ["network", "M parameters", "G multiply-adds"],
            [
                [
                    name,
                    *("" if size is None else number(size / unit) for size, unit in zip(both, (1e6, 1e9), strict=True)),
                ]
                for name, both in sizes.items()
            ],
        )
    ]
    for batch in result.batches:
        latency, rate, memory = [], [], []
        for name in result.names:
            found = [result.row(name, engine, batch) for engine in result.engines]
            latency.append([name, *("" if row is None else milliseconds(row.times.spread) for row in found)])
            rate.append([name, *("" if row is None else number(row.images_per_second) for row in found)])
            known = ("" if row is None or row.memory is None else number(row.memory / 1e6) for row in found)
            memory.append([name, *known])
        of = "One image" if batch == 1 else f"Batches of {batch}"
        columns = ["network", *result.engines]
        made += [
            Sheet(f"{of}: milliseconds, with quartiles", columns, latency),
            Sheet(f"{of}: images/s", columns, rate),
            Sheet(f"{of}: peak memory of the whole process, MB", columns, memory),
        ]
    return made
