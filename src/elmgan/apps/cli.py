"""The elmgan command: each subcommand parses its options, calls one function of the library and prints the result."""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track
from rich.table import Table

from elmgan import __version__, load
from elmgan.apps.benchmark import print_sheets
from elmgan.apps.data_set import print_survey
from elmgan.data import layout_of, read_data_set, survey
from elmgan.data.synthetic import write_data_set
from elmgan.errors import ElmganError, OutputError, TrainingError, UsageError, one_line
from elmgan.evaluation import (
    BASELINE,
    METRICS,
    SCORES,
    Calibrated,
    Evaluated,
    Score,
    calibrate_model,
    evaluate_model,
    interval_shown,
    shown,
)
from elmgan.inference import Model, open_engine
from elmgan.jobs import Counted, Failure, Row, count_images, write_contact_sheet
from elmgan.models import Bundle, find_bundle, read_bundle, shipped, shortcoming

if TYPE_CHECKING:
    from elmgan.benchmark.texts import Sheet

MOST_ROWS = 30
"""Rows of the table on the terminal; counts.csv has all."""

IN_SHORT = ("mae", "dice", "ap50")
"""Scores that the terminal shows of each kind of images; the report has all."""

SOME_FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    help="Count and segment the cells in microscope images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

EngineName = Annotated[
    str, typer.Option("--engine", help="auto, the fastest that is installed; onnxruntime, openvino or torch.")
]
Precision = Annotated[
    str, typer.Option(help="auto; fp32; or bf16, which is faster where the machine has it: auto takes it there.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Engines = Annotated[
    list[str] | None, typer.Option("--engine", help="Such as 'openvino bf16'; all that are here by default.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Of every candidate; as many as PyTorch takes by default.")]
Block = Annotated[float, typer.Option(min=0, help="Seconds of a turn, at least.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per result line.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where in the program an error arose.")]


def main() -> None:
    """Run the command line. Being terminated, as by a cluster, saves what is done as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"elmgan {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


benchmarks = typer.Typer(
    help="Measure speeds and sizes, and hold the paper's claims against them.", no_args_is_help=True
)
app.add_typer(benchmarks, name="benchmark")


@app.command()
def count(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Images, and folders that hold images.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the table, the masks and the report.")],
    model: Annotated[str, typer.Option(help="Name of a shipped model, or path of a model.")] = "nuclei",
    channel: Annotated[int | None, typer.Option(min=1, help="Channel to count in; the first is 1.")] = None,
    scale: Annotated[
        float,
        typer.Option(metavar="FACTOR", help="Resize the images for the network; results keep their size."),
    ] = 1,
    labels: Annotated[bool, typer.Option("--labels", help="Write the separated cells as label images.")] = False,
    overlays: Annotated[bool, typer.Option("--overlays", help="Draw the separated cells over the images.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what an interrupted count has done.")] = False,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Count the cells of images into a table, with masks and a report."""
    if_stopped = "; what is done is kept, and the same command with --resume goes on from there"
    with _errors_told(debug, if_stopped), _progress("counting", quiet) as (terminal, advance):

        def watch(total: int, outcome: Row | Failure) -> None:
            advance(total)
            if isinstance(outcome, Failure):
                _tell(f"{outcome.image}: {outcome.error}", debug, terminal)
            if as_json:
                _print_json(outcome.model_dump(mode="json"), terminal)

        counter = load(model, engine=engine, precision=precision, device=device, parallel=True)
        counted = count_images(
            paths,
            out,
            counter,
            channel=channel,
            scale=scale,
            labels=labels,
            overlays=overlays,
            resume=resume,
            watch=watch,
        )
    _tell_shortcoming(counter, quiet)
    if not quiet and not as_json:
        _print_counted(counted)
    if counted.failures:
        raise typer.Exit(SOME_FAILED)


@app.command()
def info(
    what: Annotated[
        str | None,
        typer.Argument(metavar="MODEL|DATA", help="Name of a shipped model, or path of a model or a data set."),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw images of the data set with their masks on one picture.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the shipped models, or tell what is known of one model, or what a data set holds."""
    with _errors_told(debug):
        if what and what not in shipped() and Path(what).is_dir() and not any(Path(what).glob("model.*")):
            _info_data_set(Path(what), sheet, quiet, as_json)
            return
        if sheet:
            raise UsageError("--sheet draws images of a data set; name its folder")
        bundles = [read_bundle(find_bundle(name)) for name in ([what] if what else shipped())]
    if as_json:
        for bundle in bundles:
            engine = asdict(open_engine(bundle).runtime)
            _print_json({"version": bundle.version, "engine": engine} | bundle.card.model_dump(mode="json"))
    elif not quiet and what:
        _print_card(bundles[0])
    elif not quiet:
        _print_models(bundles)


def _info_data_set(folder: Path, sheet: Path | None, quiet: bool, as_json: bool) -> None:
    """Tell what a data set holds, and draw it where a contact sheet is asked for."""
    terminal = Console(stderr=True, quiet=quiet or not _console(stderr=True).is_terminal)
    records = read_data_set(folder)
    found = survey(records, watch=partial(track, description="looking at images", console=terminal, transient=True))
    if sheet:
        write_contact_sheet(sheet, records)
    layout = layout_of(folder).name
    if as_json:
        _print_json({"folder": str(folder), "layout": layout} | asdict(found))
    elif not quiet:
        print_survey(_console(), f"{folder}, a data set in the layout of {layout}", found)
        if sheet:
            _console().out(f"wrote {sheet}")


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="New folder for the images and what is true of them.")],
    images: Annotated[int, typer.Option(min=1, help="Number of images.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same images.")] = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write synthetic images of cells, with their masks, labels and counts, as a data set folder."""
    with _errors_told(debug):
        write_data_set(out, images, seed=seed)
    if as_json:
        _print_json({"folder": str(out), "images": images, "seed": seed})
    elif not quiet:
        _console().out(f"wrote {_many(images, 'image')} with masks, labels and counts.csv to {out}")


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Data set folder; elmgan info DATA shows what is in it.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="Folder for the run; it ends with a model.")],
    config: Annotated[
        str | None, typer.Option(help="YAML file, or name of a shipped configuration; base by default.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the configuration.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help="Start from this model's weights: fine-tuning.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN after its last epoch.")] = False,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train a model on images with masks and totals. Ctrl-C ends early and keeps the best model so far."""
    terminal = Console(stderr=True, quiet=quiet, highlight=False)

    def watch(row: dict[str, float]) -> None:
        if as_json:
            _print_json(row, terminal)

    with _errors_told(debug):
        with _torch_needed("training"):
            from elmgan import training
        if resume and (config or settings or start):
            raise UsageError("--resume goes on with the run's own configuration; leave --config, --set and --from out")
        if device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"--device is {device}; expected auto, cpu or cuda")
        if not training.first_process():
            quiet, as_json = True, False
        if resume and not (out / training.CONFIG).exists():
            raise UsageError(f"{out} holds no run to resume; leave --resume out to begin one")
        chosen = training.read_config(out / training.CONFIG if resume else config, settings)
        bundle = read_bundle(find_bundle(start)) if start else None
        if bundle is not None:
            fixed = [setting for setting in settings or [] if setting.startswith(("architecture", "normalisation"))]
            if fixed:
                raise UsageError(f"--from takes the model's own network and normalisation; leave --set {fixed[0]} out")
            chosen = training.starting_from(bundle, chosen)
        model = training.train(
            data, out, chosen, start=bundle, resume=resume, device=device, console=terminal, on_epoch=watch
        )
        if as_json:
            _print_json({"model": str(model)})
        elif not quiet:
            _print_card(read_bundle(model))
            _console().out(f"wrote {model}; count with it: elmgan count IMAGES -o OUT --model {model}")


@app.command()
def evaluate(
    data: Annotated[Path, typer.Argument(help="Data set folder: images/ with masks/, labels/ or counts.csv.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the scores, the table and the report.")],
    model: Annotated[str, typer.Option(help="Name of a shipped model, or path of a model.")] = "nuclei",
    only: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Images to take, one per line, or a run's split.csv."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same intervals.")] = 0,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Score a model on images whose masks, labels or counts are known, beside Otsu's threshold and a watershed."""
    with _errors_told(debug), _progress("evaluating", quiet) as (terminal, advance):

        def watch(total: int, outcome: Score | Failure) -> None:
            advance(total)
            if isinstance(outcome, Failure):
                _tell(f"{outcome.image}: {outcome.error}", debug, terminal)

        scored = load(model, engine=engine, precision=precision, device=device)
        evaluated = evaluate_model(data, out, scored, seed=seed, only=only, watch=watch)
    _tell_shortcoming(scored, quiet)
    if as_json:
        for kind, summary in evaluated.metrics.kinds.items():
            _print_json({"kind": kind} | summary.model_dump(mode="json"))
    elif not quiet:
        _print_evaluated(evaluated)
    if evaluated.metrics.failed:
        raise typer.Exit(SOME_FAILED)


@app.command()
def calibrate(
    model: Annotated[str, typer.Argument(help="Name of a shipped model, or path of a model.")],
    data: Annotated[Path, typer.Argument(help="Data set folder: images/ and counts.csv, of 20 images or more.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="MODEL2", help="New folder or zip for the model.")],
    only: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Images to take, one per line, or a run's split.csv."),
    ] = None,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Fit a model's counts to images that you have counted, and learn how sure they are: a 90 % interval."""
    with _errors_told(debug), _progress("calibrating", quiet) as (terminal, advance):

        def watch(total: int, outcome: Score | Failure) -> None:
            advance(total)
            if isinstance(outcome, Failure):
                _tell(f"{outcome.image}: {outcome.error}", debug, terminal)

        bundle = read_bundle(find_bundle(model))
        runs = open_engine(bundle, engine, precision=precision, device=device)
        done = calibrate_model(bundle, data, out, only=only, engine=runs, watch=watch)
        version = read_bundle(out).version
    if as_json:
        checks = {"before": asdict(done.before), "after": asdict(done.after)}
        _print_json({"model": version, "calibration": done.calibration.model_dump(mode="json")} | checks)
    elif not quiet:
        _print_calibrated(bundle.version, version, done)
        _console().out(f"wrote {out}; count with it: elmgan count IMAGES -o OUT --model {out}")
    if done.failures:
        raise typer.Exit(SOME_FAILED)


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
    with _errors_told(debug), _torch_needed("a benchmark"), _progress("measuring", quiet) as (terminal, advance):
        from elmgan.benchmark import engines, tables, timing, upsampling

        shapes = upsampling.decoder_shapes(width, side)
        chosen = engines.chosen_engines(engine, upsampling.DEFAULT_ENGINES)
        conditions = timing.Conditions.now(threads=threads or engines.usual_threads(), rounds=rounds, block=block)
        _tell_busy(conditions.warning, quiet, terminal)
        measured = upsampling.measure_upsampling(
            shapes, chosen, conditions, width=width, side=side, batch=batch, watch=advance
        )
        measured.write(out / "upsampling.json")
    _print_measured(measured.rows, tables.sheets(measured), out / "upsampling.json", quiet, as_json)


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
    with _errors_told(debug), _torch_needed("a benchmark"), _progress("measuring", quiet) as (terminal, advance):
        from elmgan.benchmark import engines, networks, tables, timing

        builds = networks.networks(side, network)
        chosen = engines.chosen_engines(engine)
        conditions = timing.Conditions.now(threads=threads or engines.usual_threads(), rounds=rounds, block=block)
        _tell_busy(conditions.warning, quiet, terminal)
        measured = networks.measure_networks(
            builds, chosen, conditions, side=side, batches=batch or (1, 8), watch=advance
        )
        measured.write(out / "model.json")
    _print_measured(measured.rows, tables.sheets(measured), out / "model.json", quiet, as_json)


@benchmarks.command("throughput")
def benchmark_throughput(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for throughput.json.")],
    model: Annotated[str, typer.Option(help="Bundled model that counts the folder and the large images.")] = "nuclei",
    side: Annotated[int, typer.Option(min=1, help="Rows and columns of a tile.")] = 256,
    images: Annotated[int, typer.Option(min=1, help="Images in the folder.")] = 200,
    large: Annotated[int, typer.Option(min=64, help="Rows and columns of the large image.")] = 8192,
    engine: Engines = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the tiles; of the rest three at most.")] = 11,
    block: Block = 0.1,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure the counter: tiles, a folder from disk to counts and masks, and a large image."""
    with _errors_told(debug), _torch_needed("a benchmark"), _progress("measuring", quiet) as (terminal, advance):
        from elmgan.benchmark import engines, tables, throughput, timing

        chosen = engines.chosen_engines(engine)
        conditions = timing.Conditions.now(threads=engines.usual_threads(), rounds=rounds, block=block)
        _tell_busy(conditions.warning, quiet, terminal)
        measured = throughput.measure_throughput(
            chosen, conditions, model=model, side=side, images=images, large=large, watch=advance
        )
        measured.write(out / "throughput.json")
    _print_measured(measured.rows, tables.sheets(measured), out / "throughput.json", quiet, as_json)


@benchmarks.command("report")
def benchmark_report(
    results: Annotated[list[Path], typer.Argument(metavar="JSON", help="Files that the other benchmarks wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PAGE", help="The page, Markdown; plots go beside it.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Draw a page from results: verdicts on the paper's claims, tables and plots."""
    with _errors_told(debug), _torch_needed("a report of benchmarks"):
        from elmgan.benchmark.report import write_report

        page, *plots = write_report(results, out)
    if as_json:
        _print_json({"page": str(page), "plots": [str(plot) for plot in plots]})
    elif not quiet:
        for path in (page, *plots):
            _console().out(f"wrote {path}")


@contextmanager
def _torch_needed(doing: str) -> Iterator[None]:
    """Say how to install what only some commands need, if it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(f"{doing} needs {error.name}: pip install 'elmgan[train]'") from error


@contextmanager
def _progress(doing: str, quiet: bool) -> Iterator[tuple[Console, Callable[[int], None]]]:
    """Show a bar on a terminal.

    Gives the bar's console, and what to call with the number of images whenever one more of them is done.
    """
    terminal = _console(stderr=True)
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, transient=True, disable=quiet or not terminal.is_terminal) as progress:
        bar = progress.add_task(doing, total=None)
        yield terminal, lambda total: progress.update(bar, total=total, advance=1)


@contextmanager
def _errors_told(debug: bool, if_stopped: str = "") -> Iterator[None]:
    """End the command with one line and the right code if the block raises; ``if_stopped`` midway, that is added."""
    try:
        yield
    except KeyboardInterrupt:
        _tell(f"interrupted{if_stopped}", debug=False)
        raise typer.Exit(INTERRUPTED) from None
    except (OutputError, TrainingError) as error:
        _tell(f"error: {error}{if_stopped}", debug)
        raise typer.Exit(SOME_FAILED) from None
    except ElmganError as error:
        _tell(f"error: {error}", debug)
        raise typer.Exit(WRONG_USAGE) from None
    except Exception as error:
        _tell(f"error: unexpected {type(error).__name__}: {one_line(error)}; see --debug", debug)
        raise typer.Exit(SOME_FAILED) from None


def _tell(message: str, debug: bool, terminal: Console | None = None) -> None:
    """Print to standard error; with ``debug`` also where the exception that is being handled arose.

    Only the console of a progress bar can print above the bar: ``terminal``, while there is one. Of several processes
    that torchrun started, the first speaks for all.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    if debug:
        traceback.print_exc()
    (terminal or _console(stderr=True)).out(message)


def _tell_shortcoming(model: Model, quiet: bool) -> None:
    """Print what a model lacks that learned masks or counts alone; to standard error, beside lines of JSON."""
    lacks = shortcoming(model.card.learned)
    if lacks and not quiet:
        _tell(lacks, debug=False)


def _tell_busy(warning: str, quiet: bool, terminal: Console) -> None:
    if warning and not quiet:
        _tell(warning, debug=False, terminal=terminal)


def _print_json(content: dict[str, Any], terminal: Console | None = None) -> None:
    """Print a line to standard output; above the progress bar of ``terminal``, if that is the same screen."""
    if terminal is None or terminal.quiet or not (sys.stdout.isatty() and sys.stderr.isatty()):
        terminal = _console()
    terminal.out(json.dumps(content))


def _console(*, stderr: bool = False) -> Console:
    """Return the terminal; [bold] in a file's name means nothing to it."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def _print_counted(counted: Counted) -> None:
    """Print the table of counts and the names of what was written."""
    console = _console()
    rows = counted.rows
    if rows:
        table = Table(box=SIMPLE_HEAD, show_footer=True)
        more = len(rows) - MOST_ROWS
        table.add_column("image", _many(len(rows), "image"), overflow="fold")
        table.add_column("count", _sum(row.count for row in rows), justify="right")
        columns = ["image", "count"]
        if any(row.low is not None for row in rows):
            table.add_column("low", justify="right")
            table.add_column("high", justify="right")
            columns += ["low", "high"]
        table.add_column("objects", _sum(row.objects for row in rows), justify="right")
        table.add_column("foreground", justify="right")
        table.add_column("flags")
        for row in rows[:MOST_ROWS]:
            texts = row.texts()
            table.add_row(*(texts[column] for column in (*columns, "objects", "foreground", "flags")))
        if more > 0:
            table.add_row(f"... and {more} more in counts.csv")
        console.print(table)
    if counted.failures:
        console.out(f"{_many(len(counted.failures), 'image')} could not be counted; failed.csv says why")
    for path in counted.written:
        console.out(f"wrote {path}")


def _print_evaluated(evaluated: Evaluated) -> None:
    """Print the scores of all images, some of each kind, and the names of what was written."""
    metrics, console = evaluated.metrics, _console()
    if metrics.kinds:
        everything = metrics.kinds["all"]
        images = _many(everything.images, "image")
        console.out(f"model {metrics.run['model']['version']} on {images}, and the baseline {BASELINE}")
        table = Table("score", box=SIMPLE_HEAD)
        for heading in ("model", "95 % interval", "baseline", "95 % interval"):
            table.add_column(heading, justify="right")
        for name in everything.scored:
            pair = everything.model.get(name), everything.baseline.get(name)
            texts = (text(name, value) for value in pair for text in (shown, interval_shown))
            table.add_row(SCORES[name].heading, *texts)
        console.print(table)
    if len(metrics.kinds) > 1:
        names = [name for name in IN_SHORT if any(name in summary.scored for summary in metrics.kinds.values())]
        table = Table(box=SIMPLE_HEAD)
        table.add_column("kind", overflow="fold")
        for heading in ("images", *(f"{SCORES[name].heading} (baseline)" for name in names)):
            table.add_column(heading, justify="right")
        for kind, summary in metrics.kinds.items():
            pairs = ((shown(name, each.get(name)) for each in (summary.model, summary.baseline)) for name in names)
            table.add_row(kind, str(summary.images), *(f"{ours} ({theirs})" for ours, theirs in pairs))
        console.print(table)
    if metrics.failed:
        console.out(f"{_many(len(metrics.failed), 'image')} could not be scored; {METRICS} says why")
    for path in evaluated.written:
        console.out(f"wrote {path}")


def _print_calibrated(before: str, after: str, done: Calibrated) -> None:
    """Print what a calibration changed, and what the interval promises."""
    console, learned = _console(), done.calibration
    console.out(f"calibrated on {_many(learned.images, 'image')} in {_many(learned.groups, 'group')}, cross-validated")
    table = Table("score", box=SIMPLE_HEAD)
    for version in (before, after):
        table.add_column(version, justify="right")
    for row in done.rows():
        table.add_row(*row)
    console.print(table)
    for said in (learned.correction, learned.promise):
        console.out(said)


def _print_measured(
    rows: Sequence[BaseModel], sheets: "Sequence[Sheet]", path: Path, quiet: bool, as_json: bool
) -> None:
    """Print the numbers of a benchmark, and where all of them are."""
    if as_json:
        for row in rows:
            _print_json(row.model_dump(mode="json"))
    elif not quiet:
        print_sheets(_console(), sheets)
        _console().out(f"wrote {path}; draw the page: elmgan benchmark report {path} -o results.md")


def _print_models(bundles: Sequence[Bundle]) -> None:
    """Print the list of shipped models."""
    table = Table("model", "what it is for", "size", "made", box=SIMPLE_HEAD)
    for bundle in bundles:
        size = f"{len(bundle.onnx) / 1e6:.1f} MB"
        table.add_row(bundle.version, bundle.card.description, size, bundle.card.created[:10])
    console = _console()
    console.print(table if bundles else "no models are shipped with this installation")
    if bundles:
        console.out(f"they run on {open_engine(bundles[0]).runtime}; --engine and --precision choose otherwise")


def _print_card(bundle: Bundle) -> None:
    """Print what is known of one model."""
    card, console = bundle.card, _console()
    architecture, calibration = card.architecture, card.calibration
    facts = {
        "model": bundle.version,
        "for": card.description,
        "made": f"{card.created} with elmgan {card.elmgan}, seed {card.seed}",
        "learned": shortcoming(card.learned) or "masks and counts",
        "network": ", ".join(f"{name} {value}" for name, value in architecture if value is not None),
        "tiles": "yes, images of any size" if architecture.tiles else "no, the whole image at once",
        "normalisation": ", ".join(f"{name} {value:g}" for name, value in card.normalisation),
        "threshold": f"cell from a probability of {card.threshold:g}",
        "calibration": "none: counts have no interval" if calibration is None else calibration.correction,
        "size": f"{len(bundle.onnx) / 1e6:.1f} MB",
        "runs on": f"{open_engine(bundle).runtime}; --engine and --precision choose otherwise",
    }
    if calibration is not None:
        facts["interval"] = calibration.promise
    if diameters := card.training.get("diameter"):
        facts["cells"] = "{:.0f} to {:.0f} pixels across in the training images".format(*diameters)
    table = Table(box=None, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    for name, value in facts.items():
        table.add_row(name, value)
    console.print(table)

    data = Table("trained on", "licence", "images", box=SIMPLE_HEAD)
    for source in card.data:
        data.add_row(source.name, source.licence, str(source.images))
    names = list(dict.fromkeys(name for scores in card.scores.values() for name in scores))
    scores = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    scores.add_column("scored on", no_wrap=True)
    for name in names:
        scores.add_column(name.replace("_", " "), justify="right", min_width=5)
    for name, values in card.scores.items():
        scores.add_row(name, *(f"{values[score]:.3g}" if score in values else "" for score in names))
    for part in (data, scores):
        if part.row_count:
            console.print(part)


def _sum(numbers: Iterable[int | None]) -> str:
    """Write a sum; nothing where the numbers are not known.

    >>> _sum([1, 2]), _sum([None, None])
    ('3', '')
    """
    known = [number for number in numbers if number is not None]
    return str(sum(known)) if known else ""


def _many(number: int, thing: str) -> str:
    """Write a number of things.

    >>> _many(1, "image"), _many(2, "image")
    ('1 image', '2 images')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
