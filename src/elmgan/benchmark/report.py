"""docs/results.md: the verdicts, and the tables and plots behind them, drawn from results alone."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from elmgan.benchmark.accuracy import AccuracyMeasured
from elmgan.benchmark.accuracy_page import draw_accuracy, sections
from elmgan.benchmark.networks import ModelMeasured
from elmgan.benchmark.tables import sheets
from elmgan.benchmark.texts import Sheet
from elmgan.benchmark.throughput import PRODUCT, ThroughputMeasured
from elmgan.benchmark.timing import Conditions, Measured, Spread
from elmgan.benchmark.upsampling import UpsamplingMeasured
from elmgan.benchmark.verdicts import Verdict, against_ours, ratios_shown, slower_than_others, verdicts
from elmgan.errors import DataError, one_line
from elmgan.files import write_text
from elmgan.report import Dots, dot_plot

AnyMeasured = UpsamplingMeasured | ModelMeasured | ThroughputMeasured | AccuracyMeasured

ANY_MEASURED: TypeAdapter[AnyMeasured] = TypeAdapter(Annotated[AnyMeasured, Field(discriminator="benchmark")])

INTRODUCTION = """\
# Results: speed, size and accuracy

The paper's claims, each beside what was measured. `elmgan benchmark report` draws this page from
{files}; nothing of it is written by hand.
`elmgan benchmark upsampling`, `model`, `throughput` and `accuracy`, each with `-o OUT`, measure another machine.

Candidates are warmed up and take turns, forwards in one round and backwards in the next; a block of calls gives one
time. Times are medians over the rounds, with quartiles; a ratio is formed within each round before its median is taken.
Weights are random where nothing else is said, which changes neither time nor size. Multiply-adds are those of
convolutions and matrix products. In OpenVINO an upsampling that stands alone also brings its input and output into
another order of memory, which it need not within a network.

## Verdicts

The rules are fixed: *twice* is a ratio of 2, *nearly ten times* one of 9, *nearly 50 %* is 45 %, all by the median. A
claim holds when all that it compares with is as much slower, interpolation before and after a convolution alike; does
not hold when nothing is; and otherwise holds when compared with what is named. Targets are set by us: [why some are
missed](benchmarks.md#why-targets-are-missed).

A claim of accuracy holds where the whole method is better than the arm that lacks what is claimed: by the 95 % interval
over images, and with each of at least three seeds. It does not hold where the method is worse in the same way. Else it
cannot be told. *Excellent* is our rule: an R² and a Dice of 0.95 or more, and MAE and Dice better than those of Otsu +
watershed. The reduced setting tells of short training on small images alone: [what it leaves
out](benchmarks.md#accuracy), and what the arms are.

"""


def read_result(path: Path) -> AnyMeasured:
    """Read what a benchmark wrote.

    Raises:
        DataError: It cannot be read, or is something else.
    """
    try:
        return ANY_MEASURED.validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); name a file of elmgan benchmark"
        ) from error
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "the file"
        raise DataError(
            f"{path} is no result of elmgan benchmark ({place}: {one_line(fault['msg'])}); measure again"
        ) from error


def write_report(paths: Sequence[Path], out: Path) -> list[Path]:
    """Draw the page, and a plot for each result beside it.

    Args:
        paths: Files that benchmarks wrote; those of the same name, from several folders, are not told apart.
        out: The page, Markdown. Plots are called after it and after the results.

    Returns:
        What was written, the page first.

    Raises:
        DataError: A file cannot be read, or is something else, or two have one name.
        OutputError: The page or a plot cannot be written.
    """
    results = {path.stem: read_result(path) for path in paths}
    if len(results) < len(paths):
        raise DataError("two results have the same file name; rename one after its machine")
    plots = {
        name: out.with_name(f"{out.stem}-{name}.svg")
        for name, result in results.items()
        if not isinstance(result, AccuracyMeasured)
    }
    for name, path in plots.items():
        write_text(path, plot(results[name]))
    pictures = draw_accuracy(list(results.values()), out)
    named = {name: path.name for name, path in plots.items()}
    write_text(out, results_page(results, named, [path.name for path in pictures]))
    return [out, *plots.values(), *pictures]


def results_page(results: Mapping[str, AnyMeasured], plots: Mapping[str, str], pictures: Sequence[str] = ()) -> str:
    """Write the page.

    Args:
        results: Name -> result.
        plots: Name -> file of its plot, beside the page.
        pictures: Files of what :func:`~elmgan.benchmark.accuracy_page.draw_accuracy` drew, beside the page.
    """
    timed = {name: result for name, result in results.items() if not isinstance(result, AccuracyMeasured)}
    files = [f"`{name}.json`" for name in timed]
    files += [f"{_many(len(results) - len(timed), 'run')} of `accuracy`"] if len(timed) < len(results) else []
    parts = [INTRODUCTION.format(files=", ".join(files))]
    parts.append(table(["claim", "measured", "on", "verdict"], _each_claim_once(verdicts(results))))
    for title, text, tables in sections(list(results.values()), pictures):
        parts.append(f"\n## {title}\n\n{text}\n")
        parts += [f"\n### {sheet.title}\n\n{markdown(sheet)}" for sheet in tables]
    for name, result in timed.items():
        parts.append(f"\n## {name}\n\n{conditions_told(result.conditions)}\n")
        parts.append(f"\n{settings(result)}\n\n![{name}, as in the tables below]({plots[name]})\n")
        if isinstance(result, UpsamplingMeasured):
            parts.append(f"\n{losses(result)}\n")
        for sheet in sheets(result):
            parts.append(f"\n### {sheet.title}\n\n{markdown(sheet)}")
        parts += [f"\n- {note}\n" for note in notes_on(result)]
    return "".join(parts)


def _each_claim_once(judged: Sequence[Verdict]) -> list[Verdict]:
    claims = ["", *(verdict.claim for verdict in judged)]
    return [
        verdict._replace(claim="" if verdict.claim == before else verdict.claim)
        for before, verdict in zip(claims, judged, strict=False)
    ]


def conditions_told(conditions: Conditions) -> str:
    """Say on what and with what a benchmark was run."""
    machine = conditions.machine
    facts = [str(machine["processor"]), f"{machine['cores']} cores"]
    facts += [" ".join(conditions.instructions)] if conditions.instructions else []
    facts += [f"{int(machine['memory']) / 1e9:.0f} GB"] if machine["memory"] else []
    facts += [str(machine["platform"]), _many(conditions.threads, "thread")]
    facts += [] if conditions.load is None else [f"busy for {conditions.load:.0%} of the time before the start"]
    versions = ", ".join(f"{name} {version}" for name, version in conditions.versions.items())
    lines = [
        f"{', '.join(facts)}.",
        f"{versions}. {conditions.started}: `{conditions.command}`, {_many(conditions.rounds, 'round')}.",
    ]
    warning = conditions.warning
    return "\n".join(lines) + (f"\n\n**{warning[0].upper()}{warning[1:]}.**" if warning else "")


def _many(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def settings(result: Measured) -> str:
    """Say what was run."""
    if isinstance(result, UpsamplingMeasured):
        image = f"{result.side}×{result.side}"
        return f"The upsamplings of LFMMG's decoder of width {result.width}, images of {image}, batch {result.batch}."
    if isinstance(result, ModelMeasured):
        return f"Networks on images of {result.side}×{result.side} with one channel."
    if isinstance(result, ThroughputMeasured) and not result.found("tile"):
        return "An earlier elmgan and this one count one folder of synthetic images, by whole commands in turns."
    if isinstance(result, ThroughputMeasured):
        side = 8 * result.side
        return (
            f"The counter: networks on tiles, beside a product of matrices of {side}×{side} in the same engine; "
            "a first image, a folder and large images of synthetic cells, with what `--engine auto` takes. "
            "The bundled networks have the weights that they learned. Layers are timed after the tiles; a norm or an "
            "activation that OpenVINO computes together with a convolution is in its layer."
        )
    return ""


def losses(result: UpsamplingMeasured) -> str:
    """Say where FBU is slower than another way, as far as it is."""
    lost = slower_than_others(result)
    if not lost:
        return "Over all shapes together FBU is slower than none."
    lines = (f"- {engine}, {work}: {ratios_shown(faster)}" for engine, work, faster in lost)
    return "Over all shapes together FBU is slower than (their time as a multiple of FBU's):\n\n" + "\n".join(lines)


def plot(result: Measured) -> str:
    """Draw a result: the ways to upsample against FBU, or the time of an image by network and engine."""
    if isinstance(result, UpsamplingMeasured):
        compared = [(f"{engine}, {work}", against_ours(result, engine, work)) for engine, work in result.parts]
        return dot_plot(
            [Dots(name, {way: ends(ratio) for way, ratio in ratios.items()}) for name, ratios in compared],
            title="Time of upsamplings over the time of FBU",
            x_label="time over the whole decoder, as a multiple of FBU's",
            marked=(1, 2),
        )
    if isinstance(result, ThroughputMeasured):
        tiles = [row for row in result.found("tile") if row.name != PRODUCT]
        if not tiles:
            folder = result.found("folder")
            return dot_plot(
                [
                    Dots(name, {row.name: ends(row.times.spread) for row in folder if row.engine == name})
                    for name in dict.fromkeys(row.engine for row in folder)
                ],
                title=f"Time of {result.images} images by version and engine",
                x_label="seconds",
            )
        engines = dict.fromkeys(row.engine for row in tiles)
        return dot_plot(
            [
                Dots(name, {row.name: ends(row.times.spread, 1e3) for row in tiles if row.engine == name})
                for name in engines
            ],
            title="Time of one tile by network and engine",
            x_label="milliseconds per tile",
        )
    assert isinstance(result, ModelMeasured)
    batch = result.batches[0]
    series = []
    for engine in result.engines:
        found = {name: row.times.spread for name in result.names if (row := result.row(name, engine, batch))}
        series.append(Dots(engine, {name: ends(spread, 1e3) for name, spread in found.items()}))
    label = "image" if batch == 1 else f"batch of {batch}"
    return dot_plot(series, title=f"Time of one {label} by network and engine", x_label=f"milliseconds per {label}")


def ends(spread: Spread, unit: float = 1) -> tuple[float, float, float]:
    """Give low end, middle and high end, times a unit."""
    return unit * spread.low, unit * spread.median, unit * spread.high


def notes_on(result: Measured) -> list[str]:
    """Give what a reader of single rows has to know."""
    if not isinstance(result, ModelMeasured):
        return []
    return list(dict.fromkeys(f"{row.network}, {row.engine}: {row.note}" for row in result.rows if row.note))


def markdown(sheet: Sheet) -> str:
    """Write a table of numbers."""
    return table(sheet.columns, sheet.rows, numbers=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str] | Verdict], *, numbers: bool = False) -> str:
    """Write a table; with ``numbers`` all columns but the first are aligned to the right.

    >>> print(table(["a", "b"], [["c", "1"]], numbers=True), end="")
    | a | b |
    | --- | ---: |
    | c | 1 |
    """
    rule = ["---", *["---:" if numbers else "---"] * (len(columns) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (columns, rule, *rows))
