"""The elmgan command: each subcommand parses its options, calls one function of the library and prints the result."""

import io
import signal
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from elmgan import __version__, load
from elmgan.apps import view as options
from elmgan.apps.benchmark import benchmarks
from elmgan.apps.data_set import print_survey
from elmgan.apps.images import folder_json, image_json, print_folder, print_image
from elmgan.apps.models import print_card, print_models, tell_shortcoming
from elmgan.apps.results import print_calibrated, print_counted, print_evaluated
from elmgan.apps.serve import serve
from elmgan.apps.terminal import (
    SOME_FAILED,
    AsJson,
    Debug,
    Quiet,
    command_line,
    console,
    errors_told,
    many,
    notes_told,
    print_json,
    progress,
    tell,
    torch_needed,
)
from elmgan.counting import Failure, Row
from elmgan.data import is_data_set, layout_of, read_data_set, survey
from elmgan.data.synthetic import write_data_set
from elmgan.engines import open_engine
from elmgan.errors import UsageError
from elmgan.files import whole_file
from elmgan.images import View, open_image, readers
from elmgan.launch import launch
from elmgan.models import find_bundle, read_bundle, shipped
from elmgan.report import write_contact_sheet
from elmgan.scores import Score
from elmgan.work import calibrate_model, count_images, evaluate_model

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
    str, typer.Option(help="int8, bf16 or fp32; auto is the fastest that counts the same on this machine.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
OF_MODEL = "Name of a shipped model, which always means that one, or path of a model (./NAME)."
ModelOption = Annotated[str, typer.Option(help=OF_MODEL)]


def main() -> None:
    """Run the command line. Being terminated, as by a cluster, saves what is done as Ctrl-C does."""
    for ending in (signal.SIGTERM, signal.SIGINT):  # the latter is ignored where a script starts it with &
        signal.signal(ending, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what an old terminal cannot show is replaced, and ends nothing
            stream.reconfigure(errors="replace")
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


app.add_typer(benchmarks, name="benchmark")
app.command()(serve)


@app.command()
def count(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Images, and folders that hold images.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the table, the masks and the report.")],
    model: ModelOption = "nuclei",
    match: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="In folders, take the names that fit: '*_w1*'.")
    ] = None,
    axes: options.AxesOption = None,
    scene: options.SceneOption = None,
    t: options.TimeOption = None,
    z: options.DepthOption = None,
    channel: options.ChannelOption = None,
    scale: options.ScaleOption = None,
    cells: options.CellsOption = None,
    diameter: Annotated[
        float | None,
        typer.Option(
            min=0.1, metavar="PIXELS", help="In place of --scale: of a typical cell.", rich_help_panel=options.PANEL
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at each image once: faster, and unlike images are not told.")
    ] = False,
    labels: Annotated[bool, typer.Option("--labels", help="Write the separated cells as label images.")] = False,
    overlays: Annotated[bool, typer.Option("--overlays", help="Draw the separated cells over the images.")] = False,
    measure: Annotated[bool, typer.Option("--measure", help="Measure the separated cells, in cells.csv.")] = False,
    export: Annotated[
        list[str] | None,
        typer.Option(
            metavar="qupath|imagej|zarr",
            help="Write the separated cells for this program, or as OME-Zarr, too; may be repeated.",
        ),
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Count in regions too: GeoJSON, ROIs, a label image, or a folder with one per image."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what an interrupted count has done.")] = False,
    table: Annotated[
        str,
        typer.Option(
            metavar="csv|excel",
            help="excel: semicolons and decimal commas, as spreadsheets of many countries want them.",
        ),
    ] = "csv",
    max_pixels: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Planes of more pixels are refused.")
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(metavar="local|ADDRESS", help="Count on Dask workers: on this machine, or at tcp://HOST:8786."),
    ] = None,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Count the cells of images into a table, with masks and a report."""
    if_stopped = "; what is done is kept, and the same command with --resume goes on from there"
    with errors_told(debug, if_stopped), progress("counting", quiet, as_json) as (terminal, advance):

        def watch(total: int, outcome: Row | Failure) -> None:
            advance(total)
            if isinstance(outcome, Failure):
                tell(f"{outcome.image}: {outcome.error}", debug, terminal, outcome.trace)
            if as_json:
                print_json(outcome.model_dump(mode="json"), terminal)

        if table not in ("csv", "excel"):
            raise UsageError(f"--table is {table}; expected csv or excel")
        if diameter is not None and scale is not None:
            raise UsageError("--scale and --diameter both say how large cells are: leave one out")
        counter = load(model, engine=engine, precision=precision, device=device, parallel=True)
        counted = count_images(
            paths,
            out,
            counter,
            view=counter.view.changed(
                scene=scene,
                t=t,
                z=z,
                channel=channel,
                scale=scale if diameter is None else counter.scale_of(diameter),
                cells=cells,
            ),
            axes=axes,
            match=match,
            most_pixels=max_pixels,
            quick=quick,
            excel=table == "excel",
            labels=labels,
            overlays=overlays,
            measure=measure,
            exports=export or [],
            regions=regions,
            resume=resume,
            command=command_line(),
            dask=dask,
            part=advance.part,
            watch=watch,
        )
    tell_shortcoming(counter, quiet)
    if not quiet:
        for note in counted.notes:
            tell(note, debug=False)
    if not quiet and not as_json:
        print_counted(counted)
    if counted.failures:
        raise typer.Exit(SOME_FAILED)


@app.command()
def info(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL|DATA|IMAGE",
            help="Name of a shipped model, or path of a model, a data set, an image or a folder.",
        ),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw images of the data set with their masks on one picture.")
    ] = None,
    axes: options.AxesOption = None,
    scene: options.SceneOption = None,
    t: options.TimeOption = None,
    z: options.DepthOption = None,
    channel: options.ChannelOption = None,
    scale: options.ScaleOption = None,
    cells: options.CellsOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the shipped models, or tell what is known of one model, or what a data set, an image or a folder holds."""
    with errors_told(debug):
        view = View().changed(scene=scene, t=t, z=z, channel=channel, scale=scale, cells=cells)
        path = Path(what) if what and what not in shipped() else None
        if path is not None and path.is_dir() and not any(path.glob("model.*")) and is_data_set(path):
            _info_data_set(path, view, axes, sheet, quiet, as_json)
            return
        if sheet:
            raise UsageError("--sheet draws images of a data set; name its folder")
        if path is not None and not path.exists():
            names = ", ".join(shipped())
            raise UsageError(f"{path} does not exist: give a file, a folder, or a shipped model ({names})")
        if path is not None and not _is_model(path):
            _info_images(path, view, axes, quiet, as_json)
            return
        bundles = [read_bundle(find_bundle(name)) for name in ([what] if what else shipped())]
        if as_json:
            for bundle in bundles:
                engine = asdict(open_engine(bundle).runtime)
                print_json({"version": bundle.version, "engine": engine} | bundle.card.model_dump(mode="json"))
        elif not quiet and what:
            print_card(bundles[0])
        elif not quiet:
            print_models(bundles)


def _is_model(path: Path) -> bool:
    return any(path.glob("model.*")) if path.is_dir() else path.suffix.lower() == ".zip"


def _info_images(path: Path, view: View, axes: str | None, quiet: bool, as_json: bool) -> None:
    """Tell what was found in an image, or in a folder that is no image itself."""
    if path.is_dir() and not any(reader.recognises(path, b"") for reader in readers()):
        if as_json:
            print_json(folder_json(path))
        elif not quiet:
            print_folder(path)
        return
    with open_image(path, axes=axes) as source:
        if as_json:
            print_json(image_json(source))
        elif not quiet:
            print_image(source, view)


def _info_data_set(folder: Path, view: View, axes: str | None, sheet: Path | None, quiet: bool, as_json: bool) -> None:
    """Tell what a data set holds, and draw it where a contact sheet is asked for."""
    terminal = Console(stderr=True, quiet=quiet or not console(stderr=True).is_terminal)
    told: list[str] = []

    def listen(line: str) -> None:
        told.append(line)
        notes_told(quiet)(line)

    records = read_data_set(folder, view=view, axes=axes, tell=listen)
    found = survey(records, watch=partial(track, description="looking at images", console=terminal, transient=True))
    if sheet:
        write_contact_sheet(sheet, records)
    layout = layout_of(folder).name
    if as_json:
        print_json({"folder": str(folder), "layout": layout} | asdict(found) | {"notes": told})
    elif not quiet:
        print_survey(console(), f"{folder}, a data set in the layout of {layout}", found)
        if sheet:
            console().out(f"wrote {sheet}")


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
    with errors_told(debug):
        write_data_set(out, images, seed=seed)
    if as_json:
        print_json({"folder": str(out), "images": images, "seed": seed})
    elif not quiet:
        console().out(f"wrote {many(images, 'image')} with masks, labels and counts.csv to {out}")


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
    axes: options.AxesOption = None,
    scene: options.SceneOption = None,
    t: options.TimeOption = None,
    z: options.DepthOption = None,
    channel: options.ChannelOption = None,
    scale: options.ScaleOption = None,
    cells: options.CellsOption = None,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train a model on images with masks and totals. Ctrl-C ends early and keeps the best model so far."""
    terminal = Console(stderr=True, quiet=quiet, highlight=False)

    def watch(row: dict[str, float]) -> None:
        if as_json:
            print_json(row, terminal)

    with errors_told(debug):
        with torch_needed("training"):
            from elmgan import training
        if resume and (config or start or not all(setting.startswith("machine.") for setting in settings or [])):
            raise UsageError(
                "--resume goes on with the run's own configuration: leave --config, --from, and --set of all but "
                "machine.KEY out"
            )
        if device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"--device is {device}; expected auto, cpu or cuda")
        if not launch().first:
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
        given = {"scene": scene, "t": t, "z": z, "channel": channel, "scale": scale, "cells": cells}
        if resume and any(value is not None for value in (axes, *given.values())):
            raise UsageError("--resume goes on with the run's own view; leave its options out")
        chosen = chosen.model_copy(update={"view": chosen.view.changed(**given), "axes": axes or chosen.axes})
        if not resume and "name" not in chosen.model_fields_set:
            chosen = chosen.model_copy(update={"name": training.name_of(out)})
        model = training.train(
            data, out, chosen, start=bundle, resume=resume, device=device, console=terminal, on_epoch=watch
        )
        if as_json:
            print_json({"model": str(model)})
        elif not quiet:
            print_card(read_bundle(model))
            console().out(f"wrote {model}; count with it: elmgan count IMAGES -o OUT --model {model}")


@app.command()
def evaluate(
    data: Annotated[Path, typer.Argument(help="Data set folder: images/ with masks/, labels/ or counts.csv.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the scores, the table and the report.")],
    model: ModelOption = "nuclei",
    only: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Images to take, one per line, or a run's split.csv."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same intervals.")] = 0,
    axes: options.AxesOption = None,
    scene: options.SceneOption = None,
    t: options.TimeOption = None,
    z: options.DepthOption = None,
    channel: options.ChannelOption = None,
    scale: options.ScaleOption = None,
    cells: options.CellsOption = None,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Score a model on images whose masks, labels or counts are known, beside Otsu's threshold and a watershed."""
    with errors_told(debug), progress("evaluating", quiet, as_json) as (terminal, advance):

        def watch(total: int, outcome: Score | Failure) -> None:
            advance(total)
            if isinstance(outcome, Failure):
                tell(f"{outcome.image}: {outcome.error}", debug, terminal, outcome.trace)

        scored = load(model, engine=engine, precision=precision, device=device)
        view = scored.view.changed(scene=scene, t=t, z=z, channel=channel, scale=scale, cells=cells)
        evaluated = evaluate_model(
            data,
            out,
            scored,
            seed=seed,
            only=only,
            view=view,
            axes=axes,
            command=command_line(),
            watch=watch,
            tell=notes_told(quiet, terminal),
        )
    tell_shortcoming(scored, quiet)
    if as_json:
        for kind, summary in evaluated.metrics.kinds.items():
            print_json({"kind": kind} | summary.model_dump(mode="json"))
    elif not quiet:
        print_evaluated(evaluated)
    if evaluated.metrics.failed:
        raise typer.Exit(SOME_FAILED)


@app.command()
def calibrate(
    model: Annotated[str, typer.Argument(help=OF_MODEL)],
    data: Annotated[Path, typer.Argument(help="Data set folder: images/ and counts.csv, of 20 images or more.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="MODEL2", help="New folder or zip for the model.")],
    only: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Images to take, one per line, or a run's split.csv."),
    ] = None,
    axes: options.AxesOption = None,
    scene: options.SceneOption = None,
    t: options.TimeOption = None,
    z: options.DepthOption = None,
    channel: options.ChannelOption = None,
    scale: options.ScaleOption = None,
    cells: options.CellsOption = None,
    believe: Annotated[
        bool, typer.Option("--believe", help="Calibrate even if some counts contradict the others.")
    ] = False,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Fit a model's counts to images that you have counted, and learn how sure they are: a 90 % interval."""
    with errors_told(debug), progress("calibrating", quiet, as_json) as (terminal, advance):

        def watch(total: int, outcome: Score | Failure) -> None:
            advance(total)
            if isinstance(outcome, Failure):
                tell(f"{outcome.image}: {outcome.error}", debug, terminal, outcome.trace)

        bundle = read_bundle(find_bundle(model))
        runs = open_engine(bundle, engine, precision=precision, device=device)
        kept = bundle.card.view or View()
        view = kept.changed(scene=scene, t=t, z=z, channel=channel, scale=scale, cells=cells)
        done = calibrate_model(
            bundle,
            data,
            out,
            only=only,
            view=view,
            axes=axes,
            believe=believe,
            engine=runs,
            watch=watch,
            tell=notes_told(quiet, terminal),
        )
        version = read_bundle(out).version
    if as_json:
        checks = {"before": asdict(done.before), "after": asdict(done.after)}
        print_json(
            {"model": version, "scales": done.scales, "calibration": done.calibration.model_dump(mode="json")} | checks
        )
    elif not quiet:
        print_calibrated(bundle.version, version, done)
        console().out(f"wrote {out}; count with it: elmgan count IMAGES -o OUT --model {out}")
    if done.failures:
        raise typer.Exit(SOME_FAILED)


@app.command("export")
def export_model(
    model: Annotated[str, typer.Argument(help=OF_MODEL)],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write.")],
    file_format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="bioimageio|onnx|html",
            help="bioimageio: a zip for bioimage.io's programs; onnx: one file from grey values to the count; "
            "html: one page that counts in a browser, offline.",
        ),
    ],
    runtime: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Unpacked onnxruntime-web of npm; for html, which it becomes a part of."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(metavar="SPDX", help="Of a model of your own, as CC-BY-4.0; for bioimageio.")
    ] = None,
    author: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Of a model of your own; for bioimageio. May be repeated.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a model in the format of other programs."""
    with errors_told(debug), torch_needed("exporting"):
        if file_format not in ("bioimageio", "onnx", "html"):
            raise UsageError(f"--format is {file_format}; expected bioimageio, onnx or html")
        bundle = read_bundle(find_bundle(model))
        if file_format == "onnx":
            from elmgan.export.standalone import standalone

            with whole_file(out, lasting=True) as temporary:
                temporary.write_bytes(standalone(bundle))
        elif file_format == "html":
            from elmgan.export.counter import write_counter

            if runtime is None:
                raise UsageError("html takes the runtime too: npm pack onnxruntime-web, unpack it, --runtime package")
            write_counter(out, bundle, runtime)
        else:
            from elmgan.export.bioimageio import AUTHORS, LICENCE, write_package

            if model not in shipped() and not (licence and author):
                raise UsageError("say who made the model, and how it may be used: --author NAME --licence CC-BY-4.0")
            write_package(out, bundle, licence=licence or LICENCE, authors=author or AUTHORS)
    if as_json:
        print_json({"model": bundle.version, "format": file_format, "file": str(out)})
    elif not quiet:
        console().out(f"wrote {bundle.version} to {out}")
