"""The numbers of a benchmark as tables, for the terminal and for the page."""

from collections.abc import Sequence

from elmgan.benchmark.networks import ModelMeasured
from elmgan.benchmark.targets import Target, of_cellpose, of_product, targets
from elmgan.benchmark.texts import Sheet, milliseconds, multiple, percent, three_digits, with_quartiles
from elmgan.benchmark.throughput import BARE, EARLIER, PRODUCT, ThroughputMeasured, ThroughputRow
from elmgan.benchmark.timing import Measured, Times
from elmgan.benchmark.upsampling import FOLDED, Shape, UpsamplingMeasured


def sheets(result: Measured) -> list[Sheet]:
    """Make the tables of a result."""
    if isinstance(result, UpsamplingMeasured):
        return [_upsampled(result, engine, work) for engine, work in result.parts]
    if isinstance(result, ThroughputMeasured):
        return _throughput(result)
    if isinstance(result, ModelMeasured):
        against = of_cellpose(result)
        return [*([_wanted(against)] if against else []), *_networks(result)]
    return []


def _upsampled(result: UpsamplingMeasured, engine: str, work: str) -> Sheet:
    rows = [row for row in result.rows if (row.engine, row.work) == (engine, work)]
    shapes = list(dict.fromkeys(row.shape for row in rows))
    times = {(row.upsampling, row.shape): row.times for row in rows}
    ways = list(dict.fromkeys(row.upsampling for row in rows))
    everything = {way: Times.together([times[way, shape] for shape in shapes]) for way in ways}

    def compared(ours: Times, its: Times) -> str:
        text = three_digits(1e3 * its.spread.median)
        return text if ours is its else f"{text} ({multiple(its.over(ours).median)})"

    return Sheet(
        f"{engine}, {work}: milliseconds, and how many times FBU's",
        ["upsampling", "M parameters", "M multiply-adds", *(heading(shape) for shape in shapes), "all"],
        [
            [
                way,
                three_digits(sum(row.parameters for row in rows if row.upsampling == way) / 1e6),
                three_digits(sum(row.multiply_adds for row in rows if row.upsampling == way) / 1e6),
                *(compared(times[FOLDED, shape], times[way, shape]) for shape in shapes),
                compared(everything[FOLDED], everything[way]),
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
                    *(
                        "" if size is None else three_digits(size / unit)
                        for size, unit in zip(both, (1e6, 1e9), strict=True)
                    ),
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
            rate.append([name, *("" if row is None else three_digits(row.images_per_second) for row in found)])
            known = ("" if row is None or row.memory is None else three_digits(row.memory / 1e6) for row in found)
            memory.append([name, *known])
        of = "One image" if batch == 1 else f"Batches of {batch}"
        columns = ["network", *result.engines]
        made += [
            Sheet(f"{of}: milliseconds, with quartiles", columns, latency),
            Sheet(f"{of}: images/s", columns, rate),
            Sheet(f"{of}: peak memory of the whole process, MB", columns, memory),
        ]
    return made


def _wanted(found: Sequence[Target]) -> Sheet:
    return Sheet("Targets", ["wanted", "measured", "verdict"], [list(target) for target in found])


def _throughput(result: ThroughputMeasured) -> list[Sheet]:
    of_tiles = []
    for row in result.rows:
        if row.part == "tile":
            rate = "" if row.multiply_adds is None else three_digits(row.multiply_adds * row.per_second / 1e9)
            share = None if row.name == PRODUCT else of_product(result, row)
            share_text = "" if share is None else f"{share:.0%}"
            speed = "" if row.name == PRODUCT else three_digits(row.per_second)
            of_tiles.append([row.name, row.engine, speed, milliseconds(row.times.spread), rate, share_text])
    of_folder = [
        [
            row.name,
            three_digits(row.per_second),
            percent(bare.times.over(row.times)),
            "" if row.memory is None else three_digits(row.memory / 1e6),
        ]
        for bare in result.found("folder", BARE)
        for row in result.found("folder")
    ]
    of_versions = [
        [row.engine, row.name, three_digits(row.per_second), _over(before, row)]
        for before in result.found("folder", EARLIER)
        for row in result.found("folder")
        if row.engine.split()[0] == before.engine.split()[0]
    ]
    of_start = [[row.name, with_quartiles(row.times.spread)] for row in result.found("start")]
    of_large = [
        [
            row.name,
            with_quartiles(row.times.spread),
            with_quartiles(row.times.spread, 1e9 / row.amount),
            "" if row.memory is None else three_digits(row.memory / 1e6),
        ]
        for row in result.found("large image")
    ]
    of_layers = _layers(result)
    columns = ["network", "engine", "tiles/s", "milliseconds, with quartiles", "G multiply-adds/s", "of the product's"]
    engine = next((row.engine for row in result.found("folder")), "")
    images = f"{result.images} images of 520 × 696 from the disk, {result.model}"
    made = [
        _wanted(targets(result)),
        Sheet(f"A tile of {result.side} × {result.side}", columns, of_tiles),
        of_layers,
        Sheet(
            f"A first image of 520 × 696, from the start of the command to its end, {result.model}, {engine}",
            ["the process finds", "seconds, with quartiles"],
            of_start,
        ),
        Sheet(
            f"{images}, {engine}",
            ["each image", "images/s", "of the network's, with quartiles", "peak memory, MB"],
            of_folder,
        ),
        Sheet(
            f"{images}: counts, masks and separated cells by the command, from its start to its end",
            ["engine", "version", "images/s", "as many times the earlier one's, with quartiles"],
            of_versions,
        ),
        Sheet(
            f"One large image with its cells separated, {result.model}, {engine}",
            ["pixels", "seconds, with quartiles", "nanoseconds per pixel", "peak memory, MB"],
            of_large,
        ),
    ]
    return [sheet for sheet in made if sheet.rows]


def _over(before: ThroughputRow, now: ThroughputRow) -> str:
    return with_quartiles(before.times.over(now.times))


def _layers(result: ThroughputMeasured) -> Sheet:
    rows = result.found("layer")
    networks = list(dict.fromkeys(row.name for row in rows))
    whole = {name: sum(row.times.spread.median for row in rows if row.name == name) for name in networks}
    found = {(row.name, row.layer): row for row in rows}
    columns = (column for name in networks for column in (f"{name}: ms", "of its time", "of the product's rate"))
    lines = []
    for layer in dict.fromkeys(row.layer for row in rows):
        line = [layer]
        for name in networks:
            row = found.get((name, layer))
            share = None if row is None else of_product(result, row)
            seconds = 0 if row is None else row.times.spread.median
            line += [
                three_digits(1e3 * seconds),
                f"{seconds / whole[name]:.0%}",
                "" if share is None else f"{share:.0%}",
            ]
        lines.append(line)
    engine = rows[0].engine if rows else ""
    return Sheet(f"Where the time of a tile goes, {engine}, as it tells itself", ["layer", *columns], lines)
