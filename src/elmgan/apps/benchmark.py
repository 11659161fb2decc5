"""elmgan benchmark: its commands, and what they print."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from elmgan.apps.terminal import (
    SOME_FAILED,
    AsJson,
    Debug,
    Quiet,
    command_line,
    console,
    errors_told,
    notes_told,
    print_json,
    progress,
    tell,
    torch_needed,
)
from elmgan.errors import UsageError

if TYPE_CHECKING:
    from elmgan.benchmark.texts import Sheet
    from elmgan.benchmark.timing import Conditions, Measured

benchmarks = typer.Typer(
    help="Measure speeds, sizes and accuracy, and hold the paper's claims against them.", no_args_is_help=True
)

Engines = Annotated[
    list[str] | None, typer.Option("--engine", help="Such as 'openvino bf16'; all that are here by default.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Of every candidate; as many as PyTorch takes by default.")]
Block = Annotated[float, typer.Option(min=0, help="Seconds of a turn, at least.")]


@benchmarks.command("upsampling")
def benchmark_upsampling(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for upsampling.json.")],
    width: Annotated[int, typer.Option(min=1, help="Width of the generator whose decoder is taken.")] = 64,
    side: Annotated[int, typer.Option(min=1, help="Rows and columns of the image.")] = 256,
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 1,
    engine: Engines = None,
    threads: Threads = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which each has its turn.")] = 21,
    block: Block = 0.05,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Time FBU against other ways to double an image, at every size of the decoder."""

    def measure(begin: "Callable[[], Conditions]", watch: Callable[[int], None]) -> "Measured":
        from elmgan.benchmark import engines, upsampling

        shapes = upsampling.decoder_shapes(width, side)
        chosen = engines.chosen_engines(engine, upsampling.DEFAULT_ENGINES)
        return upsampling.measure_upsampling(shapes, chosen, begin(), width=width, side=side, batch=batch, watch=watch)

    _measure(measure, out / "upsampling.json", threads, rounds, block, quiet, as_json, debug)


@benchmarks.command("model")
def benchmark_model(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for model.json.")],
    side: Annotated[int, typer.Option(min=1, help="Rows and columns of an image.")] = 256,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Images at once; 1 and 8 by default.")] = None,
    network: Annotated[list[str] | None, typer.Option(help="One of those compared; all by default.")] = None,
    engine: Engines = None,
    threads: Threads = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which each has its turn.")] = 11,
    block: Block = 0.05,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure size, speed and memory of the generator, of U-Net and of other GANs' generators, on every engine."""

    def measure(begin: "Callable[[], Conditions]", watch: Callable[[int], None]) -> "Measured":
        from elmgan.benchmark import engines, networks

        builds = networks.networks(side, network)
        chosen = engines.chosen_engines(engine)
        return networks.measure_networks(builds, chosen, begin(), side=side, batches=batch or (1, 8), watch=watch)

    _measure(measure, out / "model.json", threads, rounds, block, quiet, as_json, debug)


@benchmarks.command("throughput")
def benchmark_throughput(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for throughput.json.")],
    model: Annotated[str, typer.Option(help="Bundled model that counts all but the tiles.")] = "nuclei",
    side: Annotated[int, typer.Option(min=1, help="Rows and columns of a tile.")] = 256,
    images: Annotated[int, typer.Option(min=1, help="Images in the folder.")] = 200,
    large: Annotated[int, typer.Option(min=64, help="Rows and columns of the large image.")] = 8192,
    engine: Engines = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the tiles; of the rest five at most.")] = 11,
    block: Block = 0.1,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure the counter: tiles, a first image, a folder from disk to counts and masks, and a large image."""

    def measure(begin: "Callable[[], Conditions]", watch: Callable[[int], None]) -> "Measured":
        from elmgan.benchmark import engines, throughput

        every = tuple(engines.ENGINES)
        chosen = engines.chosen_engines(engine, every, allowed=every)
        return throughput.measure_throughput(
            chosen, begin(), model=model, side=side, images=images, large=large, watch=watch
        )

    _measure(measure, out / "throughput.json", None, rounds, block, quiet, as_json, debug)


@benchmarks.command("accuracy")
def benchmark_accuracy(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Data set with a mask and a count of each image.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for a JSON file of each run.")],
    full: Annotated[bool, typer.Option("--full", help="Full size and width, all folds: for a graphics card.")] = False,
    arms: Annotated[str | None, typer.Option(help="Such as full,unet or grid; all but the grid's by default.")] = None,
    folds: Annotated[str | None, typer.Option(help="Such as 1,2; the first by default, with --full all.")] = None,
    seeds: Annotated[str, typer.Option(help="Such as 1,2,3.")] = "1,2,3",
    budget: Annotated[
        float | None, typer.Option(min=0, help="Minutes, after which the command stops; the same one goes on.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps of a run, if not the setting's.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Width of the networks, if not the setting's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train the method, and each of its parts off or replaced, on folds of a data set; score what was held out.

    Runs that are there already are left as they are, so that the command can be stopped and given again.
    """
    stopped = "; what is done is kept, and the same command goes on"
    with errors_told(debug, stopped), torch_needed("a benchmark of accuracy"):
        from elmgan.benchmark import accuracy, accuracy_tables
        from elmgan.benchmark.arms import chosen_arms

        setting = accuracy.setting_of(full, steps=steps, width=width)
        chosen = chosen_arms(None if arms is None else [name.strip() for name in arms.split(",")])
        wanted = _numbers(folds, "--folds") if folds else list(range(1, setting.folds + 1)) if full else [1]
        runs = accuracy.runs_of(chosen, wanted, _numbers(seeds, "--seeds"))
        notes = notes_told(quiet)
        benchmark = accuracy.Accuracy(data, out, setting, runs, device=device, command=command_line(), tell=notes)
        if benchmark.missing and not quiet:
            rate = benchmark.rate()
            print_sheets(console(stderr=True), [accuracy_tables.plan(benchmark, rate)])
            for line in accuracy_tables.costs(benchmark, rate):
                notes(line)
        failed = accuracy.measure_missing(
            benchmark, budget=budget, watch=lambda run: notes(f"{run.name}, {len(benchmark.missing)} to go")
        )
        for line in failed:
            tell(f"error: {line}", debug=False)
    if as_json:
        for run in runs:
            print_json(accuracy_tables.run_told(benchmark, run))
    elif not quiet:
        print_sheets(console(), accuracy_tables.sheets_of(list(benchmark.there.values())))
        if benchmark.missing:
            console().out(f"missing: {', '.join(run.name for run in benchmark.missing)}; the same command goes on")
        console().out(f"draw the page: elmgan benchmark report {out}/*.json -o results.md")
    if failed:
        raise typer.Exit(SOME_FAILED)


def _numbers(text: str, option: str) -> list[int]:
    """Read numbers from 1, parted by commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"{option} is {text}; expected numbers from 1, such as 1,2,3")
    return list(dict.fromkeys(int(part) for part in parts))


@benchmarks.command("report")
def benchmark_report(
    results: Annotated[list[Path], typer.Argument(metavar="JSON", help="Files that the other benchmarks wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PAGE", help="The page, Markdown; plots go beside it.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Draw a page from results: verdicts on the paper's claims, tables and plots."""
    with errors_told(debug), torch_needed("a report of benchmarks"):
        from elmgan.benchmark.report import write_report

        page, *plots = write_report(results, out)
    if as_json:
        print_json({"page": str(page), "plots": [str(plot) for plot in plots]})
    elif not quiet:
        for path in (page, *plots):
            console().out(f"wrote {path}")


def _measure(
    measure: "Callable[[Callable[[], Conditions], Callable[[int], None]], Measured]",
    path: Path,
    threads: int | None,
    rounds: int,
    block: float,
    quiet: bool,
    as_json: bool,
    debug: bool,
) -> None:
    """Run a benchmark, keep all its numbers in a file and print them.

    ``measure`` is given what looks at the machine, to be called once nothing is wrong with what is asked for.
    """
    with errors_told(debug), torch_needed("a benchmark"), progress("measuring", quiet) as (terminal, advance):
        from elmgan.benchmark import engines, tables, timing

        def begin() -> timing.Conditions:
            cores = threads or engines.usual_threads()
            conditions = timing.Conditions.now(threads=cores, rounds=rounds, block=block, command=command_line())
            if conditions.warning and not quiet:
                tell(conditions.warning, debug=False, terminal=terminal)
            return conditions

        measured = measure(begin, advance)
        measured.write(path)
    if as_json:
        for row in measured.rows:
            print_json(row.model_dump(mode="json"))
    elif not quiet:
        print_sheets(console(), tables.sheets(measured))
        console().out(f"wrote {path}; draw the page: elmgan benchmark report {path} -o results.md")


def print_sheets(terminal: Console, sheets: "Sequence[Sheet]") -> None:
    """Print the tables of a benchmark."""
    for sheet in sheets:
        table = Table(box=SIMPLE_HEAD, title=sheet.title, title_justify="left")
        for k, column in enumerate(sheet.columns):
            table.add_column(column, justify="right" if k else "left", overflow="fold")
        for row in sheet.rows:
            table.add_row(*row)
        terminal.print(table)
