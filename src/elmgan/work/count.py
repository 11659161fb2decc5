"""Count the cells of many images: a table, masks and a report in one folder."""

import json
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from elmgan.counting import Failure, Model, Place, Row, is_streamed
from elmgan.counting.row import COLUMNS, FRACTIONS, read_failures, read_table
from elmgan.errors import ImageError, OutputError, UsageError, one_line
from elmgan.files import remove_unfinished, whole_file, write_table, write_text
from elmgan.holding import held
from elmgan.images import Plane, View, check_zarr, open_image, read_every
from elmgan.light import plane_grey
from elmgan.models import shortcoming
from elmgan.report import run_record, thumbnail
from elmgan.report.counts import RowPictures, Thumbnails, counts_report, rows_to_picture
from elmgan.work.cells import CellsSink, Measurer, has_all_cells
from elmgan.work.cluster import cluster, count_on_cluster
from elmgan.work.earlier import (
    CELLS_TABLE,
    FAILED,
    REGIONS_TABLE,
    REPORT,
    TABLE,
    Earlier,
    clear,
    kept_rows,
    read_earlier,
    settings_of,
)
from elmgan.work.exports import Export
from elmgan.work.journal import JOURNAL, Journal
from elmgan.work.pipeline import cores, in_order, outcomes
from elmgan.work.plan import (
    EXPORTS,
    IMAGEJ,
    LABELS,
    MASKS,
    OVERLAYS,
    PICTURES,
    QUPATH,
    RECORD,
    ZARR,
    Item,
    Plan,
    Task,
    items_of,
    picture_files,
    readable_planes,
)
from elmgan.work.planes import MakeRoom, Outcome, count_plane
from elmgan.work.regions import RegionFiles, RegionsSink, has_all_regions
from elmgan.work.sinks import Sinks, is_disk_full, pictures
from elmgan.work.views import at_scales, scales_told, uncalibrated
from elmgan.work.zarr import ZarrSink

if TYPE_CHECKING:
    from distributed import Client

SHOWN = 2048
"""Rows and columns of a large plane that a thumbnail is made of, at most."""

PIXELS_AT_ONCE = 1 << 23
"""Pixels of the planes that are worked on at once: two of 2048 x 2048, which take less than 1 GB with all else."""

PIXELS_PER_CORE = 1 << 21
"""The same beside a graphics card, which planes that wait for a core leave idle: two cores for one of 2048 x 2048."""


@dataclass(frozen=True)
class Counted:
    """What a job did: rows and failures in the order of the planes, and the files and folders that now hold it all.

    ``notes`` say what the numbers do not: what was assumed of files, passed over, or has no interval and why.
    """

    rows: list[Row]
    failures: list[Failure]
    notes: list[str]
    written: list[Path]
    stopped: bool = False
    """Whether it was stopped before the last plane: ``--resume`` goes on from there."""


def count_images(
    paths: Sequence[Path],
    out: Path,
    model: Model,
    *,
    view: View | None = None,
    axes: str | None = None,
    match: str | None = None,
    most_pixels: int | None = None,
    labels: bool = False,
    overlays: bool = False,
    measure: bool = False,
    exports: Sequence[str] = (),
    regions: Path | None = None,
    excel: bool = False,
    quick: bool = False,
    resume: bool = False,
    command: str | None = None,
    dask: str | None = None,
    report: bool = True,
    stop: Event | None = None,
    room: MakeRoom = lambda pixels: nullcontext(),
    part: Callable[[float], None] = lambda share: None,
    watch: Callable[[int, Row | Failure], None] = lambda total, outcome: None,
) -> Counted:
    """Count images and write counts.csv, masks, run.json, report.html, and failed.csv if any failed, to a folder.

    What cannot be counted does not keep the others from it. Every file appears whole. Rows go to a journal as they are
    made, and to counts.csv at the end and at every stop, so that nothing that was told of is lost. What the model did
    not learn is left out: a model of counts alone writes no masks, and in the table of one of masks alone the counts
    are empty.

    Each plane of the view has a row. Masks and labels of a scene's planes share a file, a hyperstack in which a plane
    that failed is empty.

    What an earlier count left in ``out`` is removed, the pictures of the images in its table too; other files stay.
    With ``resume`` the earlier rows of a file are kept, with its pictures, if they are all there and the file has the
    size and the time that it had. Images are known by their names, so that they may have moved together.

    Args:
        paths: Images, and folders that are searched for images. What a count wrote in them is passed over.
        out: Folder to write to; made if it is missing.
        model: What counts.
        view: Which planes are counted and how they are shown; by default the model's own view.
        axes: What the axes of files mean that do not say so; see :func:`~elmgan.images.open_image`.
        match: Pattern of the names that are taken in folders; see :func:`~elmgan.images.find_images`.
        most_pixels: Larger planes are refused; by default see :func:`~elmgan.images.open_image`.
        labels: Whether to write the separated cells as label images too.
        overlays: Whether to draw the separated cells over the images too.
        measure: Whether to measure the separated cells, in cells.csv.
        exports: Programs that the separated cells are written for too: qupath, imagej; zarr for OME-Zarr.
        regions: File of regions whose cells are counted, in regions.csv, or folder with one for each image; see
            :class:`~elmgan.work.regions.RegionFiles`.
        excel: Whether the tables are for a spreadsheet whose decimal sign is a comma; see
            :func:`~elmgan.files.write_table`.
        quick: Look at each image once; see :meth:`elmgan.Model.count`.
        resume: Keep what an earlier count of these images, with the same program, model, engine and view, wrote to
            ``out``.
        command: The command line, if there is one, for the record and the report.
        dask: Address of a Dask scheduler whose workers count, or ``local`` for workers on this machine; by default
            threads of this process do.
        report: Whether to write report.html; :func:`write_counts_report` can do it later.
        stop: Once another thread sets it, no further plane is kept: what is counted is in the table, as after an
            interruption, and the report is of that.
        room: What a thread of this process enters with the pixels of a plane, to hold it in memory.
        part: Told the share of a plane that is done, now and then, of one that is too large for memory; from another
            thread.
        watch: Called with the number of planes, as far as it is known, and each plane's outcome, in order.

    Raises:
        UsageError: The cluster cannot be used, another run writes to ``out``, there is no image, labels and the like
            are asked of a model that gives no masks, there is no such program to export to, the regions cannot be read,
            ``out`` cannot be written to or holds something else than a count, or with ``resume`` a count that cannot be
            resumed; nothing was counted or removed.
        OutputError: The disk is full, or the table cannot be written; what was counted before is kept.
    """
    begun = time.monotonic()
    with ExitStack() as opened:
        taken_over = opened.enter_context(held(out))
        client = None if dask is None else opened.enter_context(cluster(dask))
        view = view or model.view
        given = {"--labels": labels, "--overlays": overlays, "--measure": measure, "--export": bool(exports)}
        _check(model, [option for option, want in given.items() if want], exports, regions)
        items, passed_over = items_of(paths, match)
        images = [item.image for item in items]
        region_files = None if regions is None else RegionFiles(regions, {item.image: item.source for item in items})
        wanted = {MASKS: model.card.segments, LABELS: labels, OVERLAYS: overlays}
        wanted |= {name: name in exports for name in EXPORTS}
        tables = [name for name, want in ((CELLS_TABLE, measure), (REGIONS_TABLE, regions)) if want]
        folders = [name for name in PICTURES if wanted[name]]
        options = {
            "paths": [str(path.resolve()) for path in paths],
            "match": match,
            "axes": axes,
            "most_pixels": most_pixels,
            "labels": labels,
            "overlays": overlays,
            "measure": measure,
            "exports": list(exports),
            "regions": None if regions is None else str(regions.resolve()),
            "quick": quick,
            "dask": dask,
            "table": "excel" if excel else "csv",
        }
        earlier = read_earlier(out)
        record = run_record(model, options, command) | {
            "view": view.model_dump(mode="json"),
            "folders": sorted({str(item.folder) for item in items}),
            "files": {item.image: item.stamp for item in items},
            "regions": "" if region_files is None else region_files.stamp,
        }
        kept = kept_rows(items, out, earlier, settings_of(record), folders) if resume else {}
        if kept and measure:
            whole = has_all_cells(out, kept, excel=excel)
            kept = {image: of for image, of in kept.items() if image in whole}
        if kept and region_files is not None:
            same = record["regions"] == earlier.regions
            whole = has_all_regions(out, region_files, kept, excel=excel) if same else set()
            kept = {image: of for image, of in kept.items() if image in whole}
        if view.scale == "auto" and not quick:
            sources = [item.source for item in items]
            if kept:  # what is counted now must stand beside their rows
                model = model.at(earlier.scales)
            else:
                model = at_scales(model, sources, view, axes=axes, most_pixels=most_pixels)
        record |= {"scales": model.usual}

        def save(rows: Mapping[str, Sequence[Row]]) -> None:
            """Write the table of what is counted, in the order of the images."""
            texts = (row.texts() for item in items for row in rows.get(item.image, []))
            write_table(out / TABLE, COLUMNS, texts, excel=excel, decimals=FRACTIONS)

        remove_unfinished(out)
        _begin(out, earlier, kept, tables, record, save)
        rows: dict[str, list[Row]] = {image: list(of) for image, of in kept.items()}
        failures: list[Failure] = []
        opening: dict[str, Any] = {"view": view, "axes": axes, "most_pixels": most_pixels}
        plan = Plan(items, kept, out, folders, **opening)
        with ExitStack() as stack:  # what is entered first is left last
            stack.callback(plan.close)
            journal = stack.enter_context(Journal(out / JOURNAL))

            def close_books() -> None:
                if not journal.is_gone:  # else a table without its pictures would stand where the folder was
                    save(rows)
                    journal.remove()

            stack.callback(close_books)
            measured = Measurer()
            kinds = pictures(masks=model.card.segments, labels=labels, overlays=overlays)
            kinds += [Export(name, measured) for name in (QUPATH, IMAGEJ) if name in exports]
            kinds += [ZarrSink()] if ZARR in exports else []
            of_regions = None
            if measure:
                kinds.append(CellsSink(out, measured, images=images, kept=list(kept), excel=excel))
            if region_files is not None:
                of_regions = RegionsSink(out, region_files, measured, images=images, kept=list(kept), excel=excel)
                kinds.append(of_regions)
            sinks = stack.enter_context(Sinks(kinds, out))
            done = _outcomes(plan, model, sinks, quick=quick, part=part, room=room, client=client, **opening)
            for task, outcome in stack.enter_context(closing(done)):
                result = sinks.keep(task, outcome)
                plan.finish(task)
                if task.first and not task.kept:
                    rows[task.item.image] = []
                if isinstance(result, Failure):
                    failures.append(result)
                    watch(plan.total, result)
                    continue
                if not task.kept:
                    rows[task.item.image] += [row.small() for row in result]
                    journal.add(result)
                for row in result:
                    watch(plan.total, row)
                if stop is not None and stop.is_set():
                    break
        counted = [row for item in items for row in rows.get(item.image, [])]
        stopped = stop is not None and stop.is_set() and len(counted) + len(failures) < plan.total
        if failures:
            write_table(
                out / FAILED, list(Failure.model_fields), [failure.model_dump() for failure in failures], excel=excel
            )
        notes = [*([taken_over] if taken_over else []), *_notes(plan, passed_over, model, view)]
        if earlier.rows and not resume:
            before = f"{len(earlier.rows)} image{'s' * (len(earlier.rows) > 1)}"
            notes.append(f"{out} held a count of {before}, which this one replaces")
        notes += of_regions.notes if of_regions else []
        record |= {"images": len(items), "planes": len(counted), "failed": len(failures), "notes": notes}
        record |= {"stopped": stopped}
        record |= {"seconds": round(time.monotonic() - begun, 3)}
        if report:
            shown = _thumbnails(items, rows_to_picture(counted), out, view, axes, most_pixels)
            write_text(out / REPORT, counts_report(counted, failures, shown, record))
        write_text(out / RECORD, json.dumps(record, indent=2))
        paths_written = [out / name for name in (TABLE, *tables, *PICTURES, FAILED, REPORT, RECORD)]
        return Counted(counted, failures, notes, [path for path in paths_written if path.exists()], stopped)


def write_counts_report(
    paths: Sequence[Path],
    out: Path,
    *,
    view: View,
    axes: str | None = None,
    match: str | None = None,
    most_pixels: int | None = None,
) -> None:
    """Write the report.html of a count that was done without, from its tables and the images.

    Args:
        paths: As of the count; so are the others.
        out: Its folder.
        view: Under which it counted.
        axes: See :func:`count_images`.
        match: The same.
        most_pixels: The same.

    Raises:
        OutputError: It cannot be written.
        UsageError: There is no count, or an image is missing.
    """
    items, _ = items_of(paths, match)
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        rows = read_table(out / TABLE)
        failures = read_failures(out / FAILED)
    except (OSError, ValueError) as error:
        raise UsageError(f"{out} holds no count that is done ({one_line(error)}): count the images again") from error
    shown = _thumbnails(items, rows_to_picture(rows), out, view, axes, most_pixels)
    write_text(out / REPORT, counts_report(rows, failures, shown, record))


def _outcomes(
    plan: Plan,
    model: Model,
    sinks: Sinks,
    *,
    quick: bool,
    part: Callable[[float], None],
    room: MakeRoom,
    client: "Client | None",
    **opening: Any,
) -> Generator[tuple[Task, Outcome | Failure], None, None]:
    """Count the planes of a plan in threads, or on the workers of a cluster; in order."""
    if client is not None:
        return count_on_cluster(client, plan, model, sinks, quick=quick, part=part, **opening)
    return outcomes(
        partial(count_plane, model=model, sinks=sinks, quick=quick, part=part, room=room),
        plan,
        named=lambda task: task.named,
        workers=cores() + 1,
        size=lambda task: task.pixels,
        most=pixels_at_once(model.runtime.device),
        fatal=is_disk_full,
    )


def _check(model: Model, options: Sequence[str], exports: Sequence[str], regions: Path | None) -> None:
    """Refuse what a model cannot give, and programs that are not known.

    Args:
        model: The model.
        options: Those that were given of the options that take masks.
        exports: Programs.
        regions: Whether cells are counted in regions.
    """
    if options and not model.card.segments:
        raise UsageError(f"{shortcoming(model.card.learned)}; leave {' and '.join(options)} out")
    for name in exports:
        if name not in EXPORTS:
            raise UsageError(f"--export is {name}; expected {', '.join(EXPORTS[:-1])} or {EXPORTS[-1]}")
        if name == ZARR:
            check_zarr()
    if regions is not None and model.card.counts and not model.card.architecture.maps:
        raise UsageError(
            f"{model.version} gives one number for the whole image: use a model with a count map or leave --regions out"
        )


def pixels_at_once(device: str) -> int:
    """Pixels of the planes that are worked on at once, by where the network runs."""
    return PIXELS_AT_ONCE if device == "cpu" else max(PIXELS_AT_ONCE, cores() * PIXELS_PER_CORE)


def _begin(
    out: Path,
    earlier: Earlier,
    kept: Mapping[str, Sequence[Row]],
    tables: Sequence[str],
    record: Mapping[str, Any],
    save: Callable[[Mapping[str, Sequence[Row]]], None],
) -> None:
    """Make the folder, prove that it can be written to, and only then remove what is not kept of an earlier count."""
    try:
        with whole_file(out / RECORD, lasting=True) as temporary:
            temporary.write_text(json.dumps(record, indent=2))
            clear(out, earlier, kept, tables)
            if kept:  # before the record says of which files the rows are: they may have changed since
                save(kept)
                (out / JOURNAL).unlink(missing_ok=True)  # its rows are in the table, or are not kept
        if not kept:
            save(kept)
    except OutputError as error:
        raise UsageError(f"nothing was done: {error}") from error


def _notes(plan: Plan, passed_over: str, model: Model, view: View) -> list[str]:
    """Say what the numbers do not: what was assumed of files, what was passed over, and why there is no interval."""
    notes = [f"{number} image{'s' * (number > 1)}: {note[0].lower()}{note[1:]}" for note, number in plan.notes.items()]
    notes += [passed_over] if passed_over else []
    notes += [told] if (told := scales_told(model.usual, view, model.version, model.pixel_size)) else []
    notes += [told] if (told := uncalibrated(model, view)) else []
    return notes


def _for_thumbnail(plane: Plane) -> NDArray:
    """Read a plane; of one that is too large for memory every so many pixels."""
    return read_every(plane, math.ceil(max(plane.shape) / SHOWN) if is_streamed(plane) else 1)


def _thumbnails(
    items: Sequence[Item],
    rows: Mapping[str, Sequence[Row]],
    out: Path,
    view: View,
    axes: str | None,
    most_pixels: int | None,
) -> Thumbnails:
    """Small pictures of the planes of rows, from the files, since a resumed run has nothing else of them."""

    def draw(item: Item) -> Thumbnails:
        drawn, shown = {}, {row.place for row in rows[item.image]}
        with open_image(item.source, axes=axes, most_pixels=most_pixels) as source:
            planes = readable_planes(source, view)[0]
            first = {plane.scene: k for k, plane in reversed(list(enumerate(planes)))}
            written = picture_files(out, item.stem, [plane.place for plane in planes])
            files = written[MASKS]
            for k, plane in enumerate(planes):
                if plane.place not in shown:
                    continue
                grey, outlined = plane_grey(plane, _for_thumbnail(plane)), None
                if files[k].exists():
                    with open_image(files[k], most_pixels=most_pixels) as masks:
                        pages = masks.planes(View(z="each"))
                        mask = _for_thumbnail(pages[k - first[plane.scene]])
                    outlined = thumbnail(grey, mask)
                file = written[OVERLAYS][k].relative_to(out).as_posix() if written[OVERLAYS][k].exists() else ""
                drawn[item.image, plane.place] = RowPictures(thumbnail(grey), outlined, file)
        return drawn

    chosen = [item for item in items if item.image in rows]
    thumbnails: dict[tuple[str, Place], RowPictures] = {}
    for _, future in in_order(draw, chosen, workers=cores(), size=lambda item: 1, most=cores()):
        with suppress(ImageError):  # the image is no longer there: the report goes without its picture
            thumbnails |= future.result()
    return thumbnails
