"""The API: uploads are counted, rows and pictures are given. The page of the server uses it and nothing else."""

import asyncio
import base64
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from elmgan import __version__
from elmgan.apps.web import pictures
from elmgan.apps.web.archive import zipped
from elmgan.apps.web.downloads import Tickets, data_set_of, results_of
from elmgan.apps.web.guard import Guard
from elmgan.apps.web.job import NEW, REGIONS, Job, plainly
from elmgan.apps.web.jobs import Jobs
from elmgan.apps.web.records import (
    MOST_CENTRES,
    AboutServer,
    Calibrating,
    Centre,
    Centres,
    Column,
    Corrected,
    CountedRow,
    DrawnRegion,
    Flag,
    ImageFacts,
    JobList,
    JobStatus,
    Link,
    ModelChoice,
    NamedModel,
    OwnCounts,
    Recount,
    RegionCount,
    RegionsTaken,
    SceneFacts,
    Sentence,
    Wanted,
)
from elmgan.apps.web.refusal import RefusedError
from elmgan.apps.web.upload import Upload, receive
from elmgan.counting import Result, Row
from elmgan.counting.region import pixels_of
from elmgan.counting.streaming import STREAMED
from elmgan.errors import ElmganError, OutputError, one_line
from elmgan.images import COLOUR_SAMPLES, Scene, Tile, View, endings, open_image
from elmgan.models import write_bundle
from elmgan.trust import FEWEST, MEANING, REMEDY
from elmgan.work.plan import LABELS, MASKS

STATIC = Path(__file__).parent / "static"
FILES = {path.name: path for path in STATIC.iterdir() if path.suffix in (".html", ".css", ".js", ".svg")}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

SESSION = re.compile(r"[A-Za-z0-9_-]{20,100}")

LARGEST_SIDE = 4096
"""Pixels of the longer side of a picture."""

VIEW_FIELDS = tuple(View.model_fields)

FORM = {
    "type": "object",
    "required": ["images"],
    "properties": {
        "images": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "one file or more; a file's name may have folders",
        },
        "model": {"type": "string", "description": "name of a model that is listed; nuclei by default"},
        **{name: {"type": "string", "description": field.description} for name, field in View.model_fields.items()},
        "diameter": {"type": "string", "description": "of a typical cell in pixels, in place of scale"},
        "labels": {"type": "boolean", "description": "write label images too"},
        "overlays": {"type": "boolean", "description": "draw the separated cells over the images too"},
        "wait": {"type": "boolean", "description": "answer when all is counted, and keep nothing"},
        "masks": {"type": "boolean", "description": "with wait: each row has its mask"},
    },
}
"""What :func:`count` takes, for the description of the API."""

REGIONS_FORM = {
    "type": "object",
    "required": ["regions"],
    "properties": {
        "regions": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "GeoJSON, ROIs of ImageJ (.roi, .zip), or label images",
        },
    },
}
"""What takes regions, for the description of the API."""

MOST_REGION_BYTES = 256 << 20
"""Bytes of the regions of a job."""

MOST_DOTS = 1_000_000
"""Corrected cells of a job."""

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Sentence, "description": description}
    for status, description in {
        400: "what is asked for does not fit",
        401: "a token is needed",
        403: "the request comes from a page of another site",
        404: "there is no such thing, or it is of another session",
        409: "the job is not done",
        413: "too much was sent",
        415: "no multipart/form-data",
        421: "the server has another name",
        422: "a value is not of its kind",
        429: "too many jobs wait",
        507: "the disk is full",
    }.items()
}


@dataclass(frozen=True)
class Site:
    """What a server has: its jobs, the address it listens on, and the token that it asks for, if any."""

    jobs: Jobs
    host: str = "127.0.0.1"
    token: str | None = None


def session_of(x_elmgan_session: Annotated[str | None, Header()] = None) -> str:
    """Name the session that a request belongs to; without one, jobs are known by their own names alone."""
    if x_elmgan_session is None:
        return ""
    if not SESSION.fullmatch(x_elmgan_session):
        raise RefusedError(400, "X-Elmgan-Session has 20 to 100 letters and digits that nobody can guess")
    return x_elmgan_session


Session = Annotated[str, Depends(session_of)]


def job_of(job: str, session: Session, request: Request) -> Job:
    """Give the job that a path names."""
    jobs: Jobs = request.app.state.jobs
    return jobs.get(job, session)


KnownJob = Annotated[Job, Depends(job_of)]


@dataclass(frozen=True)
class At:
    """Which plane is meant: numbers from 1, or max and mean along z."""

    scene: Annotated[int, Query(ge=1, le=1 << 31)] = 1
    t: Annotated[int, Query(ge=1, le=1 << 31)] = 1
    z: Annotated[str, Query(pattern=r"^(max|mean|\d{1,9})$")] = "1"

    @property
    def parts(self) -> tuple[int, int, int | str]:
        """As a row has them."""
        return self.scene, self.t, max(1, int(self.z)) if self.z.isdecimal() else self.z


AtPlace = Annotated[At, Depends()]


def create_app(site: Site) -> FastAPI:
    """Make the application of a server; what it does is in the description that it gives of itself."""
    jobs, tickets = site.jobs, Tickets()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        Thread(target=jobs.sweep_until_closed, daemon=True).start()
        yield

    app = FastAPI(
        title="elmgan",
        version=__version__,
        summary="Count the cells in microscope images",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses=REFUSALS,
    )
    app.state.jobs = jobs
    app.add_middleware(Guard, host=site.host, token=site.token)
    _tell_errors(app)
    _serve_files(app)

    @app.get("/api/about")
    def about(session: Session) -> AboutServer:
        """Say what counts here, within which bounds, and what flags and columns mean."""
        limits = jobs.limits
        return AboutServer(
            version=__version__,
            local=site.token is None,
            files=limits.files,
            file_bytes=limits.file_bytes,
            upload_bytes=limits.upload_bytes,
            minutes=limits.idle / 60,
            fewest=FEWEST,
            endings=sorted(endings()),
            models=jobs.models.choices(session),
            flags=[Flag(flag=flag, meaning=meaning, advice=plainly(REMEDY[flag])) for flag, meaning in MEANING.items()],
            columns=[
                Column(column=name, description=str(field.description)) for name, field in Row.model_fields.items()
            ],
        )

    @app.get("/api/models")
    def models(session: Session) -> list[ModelChoice]:
        """List the models that count here."""
        return jobs.models.choices(session)

    @app.post(
        "/api/count",
        openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}},
    )
    async def count(request: Request, session: Session) -> JobStatus:
        """Count images: one file or many, as multipart/form-data.

        The answer comes when they are uploaded; ask for the job until it is done. With ``wait`` it comes when all is
        counted, and nothing is kept.
        """
        length = request.headers.get("content-length", "0")
        with jobs.receiving(session, int(length) if length.isdecimal() else 0) as folder:
            upload = await receive(request, folder / "uploads", jobs.limits)
            if not upload.names:
                raise RefusedError(400, "the upload has no image: send one or more as files")
            how = _how(upload)
            wait, labels, overlays, masks = (_yes(upload, name) for name in ("wait", "labels", "overlays", "masks"))
            job = await run_in_threadpool(
                jobs.begin, session, folder, upload, how=how, labels=labels, overlays=overlays
            )
        if not wait:
            return jobs.status(job)
        try:
            while job.unfinished:
                if await request.is_disconnected():
                    jobs.cancel(job)
                    break
                if job.future is not None:
                    await asyncio.wait([asyncio.wrap_future(job.future)], timeout=0.5)
            status = jobs.status(job)
            return await run_in_threadpool(_with_masks, job, status) if masks else status
        finally:
            await run_in_threadpool(jobs.forget, job)

    @app.get("/api/jobs")
    def list_jobs(session: Session) -> JobList:
        """List the jobs of a session; without one there are none to see."""
        return JobList(jobs=[jobs.status(job) for job in jobs.of_session(session)] if session else [])

    @app.get("/api/jobs/{job}")
    def job_status(
        known: KnownJob,
        after: Annotated[int | None, Query(ge=0, description="only what came after so much news")] = None,
        masks: Annotated[bool, Query(description="each row has its mask")] = False,
    ) -> JobStatus:
        """Say how far a job is, and what was counted."""
        status = jobs.status(known, after)
        return _with_masks(known, status) if masks else status

    @app.post("/api/jobs/{job}/cancel")
    def cancel(known: KnownJob) -> JobStatus:
        """Stop what is being done for a job; what was counted stays."""
        jobs.cancel(known)
        return jobs.status(known)

    @app.delete("/api/jobs/{job}", status_code=204)
    def remove(known: KnownJob) -> None:
        """Remove a job, its images and its results."""
        jobs.forget(known)

    @app.post("/api/jobs/{job}/recount")
    def recount(known: KnownJob, how: Recount) -> JobStatus:
        """Count a job's images again, or one of them, by another model or under another view."""
        jobs.recount(known, how)
        return jobs.status(known)

    @app.put("/api/jobs/{job}/counts")
    def own_counts(known: KnownJob, own: OwnCounts) -> JobStatus:
        """Note counts by eye."""
        with known.lock:
            for text, value in own.counts.items():
                number = int(text)
                if number >= len(known.items):
                    raise RefusedError(404, f"the job has {len(known.items)} images, numbered from 0")
                if value is None:
                    known.own.pop(number, None)
                else:
                    known.own[number] = value
            known.calibrated = None  # it was by other counts
            if known.calibration is not None:
                known.calibration.ready = False
            return jobs.status(known, after=len(known.log))

    @app.post("/api/jobs/{job}/calibrate")
    def calibrate(known: KnownJob, how: Calibrating) -> JobStatus:
        """Fit the job's model to the counts by eye; the job says how good it is before and after."""
        jobs.calibrate(known, believe=how.believe)
        return jobs.status(known, after=len(known.log))

    @app.post("/api/jobs/{job}/model")
    def save_model(known: KnownJob, named: NamedModel) -> list[ModelChoice]:
        """Save the calibrated model under a name, and list the models."""
        with known.lock:
            if not known.session:
                raise RefusedError(400, "a model is kept for a session: send X-Elmgan-Session with each request")
            if known.calibrated is None or known.calibration is None:
                raise RefusedError(409, "nothing is calibrated: calibrate first")
            jobs.models.save(named.name, known.calibrated, known.session)
            known.calibration.saved = named.name
        return jobs.models.choices(known.session)

    @app.get("/api/jobs/{job}/images/{number}")
    def image_facts(known: KnownJob, number: int) -> ImageFacts:
        """Say what a file holds."""
        with open_image(_source(known, number), most_pixels=jobs.limits.pixels) as source:
            return ImageFacts(
                kind=source.kind, scenes=[_facts(scene) for scene in source.scenes], notes=list(source.notes)
            )

    @app.get("/api/jobs/{job}/images/{number}/picture", response_class=Response)
    def picture(
        known: KnownJob,
        number: int,
        place: AtPlace,
        layer: pictures.Layer = "image",
        channel: Annotated[str | None, Query(max_length=200)] = None,
        top: Annotated[int, Query(ge=0, le=1 << 31)] = 0,
        left: Annotated[int, Query(ge=0, le=1 << 31)] = 0,
        height: Annotated[int | None, Query(ge=1, le=1 << 31)] = None,
        width: Annotated[int | None, Query(ge=1, le=1 << 31)] = None,
        side: Annotated[int, Query(ge=1, le=LARGEST_SIDE, description="longer side of the picture, at most")] = 1600,
    ) -> Response:
        """Show a plane, or a part of it: JPEG of the image, PNG of the layers that lie over it."""
        if layer == "count-map":
            return Response(pictures.map_layer(_count_map(known, number, place), side), media_type="image/png")
        asked = top, left, height, width
        if _is_larger(known, number, pictures.SHOWN_WHOLE):
            drawn = _large_picture(jobs, known, number, place, layer, asked, side, channel)
            return Response(drawn, media_type="image/png" if layer in ("outlines", "mask") else "image/jpeg")
        if layer in ("outlines", "mask"):
            cells = _cells(jobs, known, number, place, LABELS if layer == "outlines" else MASKS)
            region = pictures.region_within(cells.shape, *asked)
            drawn = pictures.drawn_layer(cells, region, side, filled=layer == "mask")
            return Response(drawn, media_type="image/png")
        view = known.view_of(number).changed(channel=channel)
        key = (known.identity, number, "image", place.parts, view.channel)
        path = _source(known, number)
        shown = jobs.shelf.get(key, lambda: pictures.displayed(path, view, place.parts, jobs.limits.pixels))
        if layer == "thumbnail":
            try:
                outlined: NDArray | None = _cells(jobs, known, number, place, LABELS)
            except RefusedError:  # the model learned no masks, or it is not counted
                outlined = None
            return Response(pictures.thumbnail_picture(shown, outlined), media_type="image/jpeg")
        region = pictures.region_within(shown.shape, *asked)
        return Response(pictures.picture(shown, region, side), media_type="image/jpeg")

    @app.get("/api/jobs/{job}/images/{number}/cells")
    def cells(known: KnownJob, number: int, place: AtPlace) -> Centres:
        """Say where the cells are: the separated ones, or what somebody made of them."""
        _row(known, number, place)
        with known.lock:
            dots = known.dots.get((number, place.parts))
        if dots is not None:
            return Centres(cells=dots, corrected=True)
        centres = pictures.centres_of(_cells(jobs, known, number, place, LABELS, needed=True))
        if len(centres) > MOST_CENTRES:
            raise RefusedError(413, f"the plane has {len(centres)} cells, and {MOST_CENTRES} are told one by one")
        return Centres(cells=[Centre(row=round(row, 1), column=round(column, 1)) for row, column in centres.tolist()])

    @app.put("/api/jobs/{job}/images/{number}/cells")
    def correct_cells(known: KnownJob, number: int, place: AtPlace, corrected: Corrected) -> Centres:
        """Note the cells of a plane as somebody corrected them, or with null forget the correction."""
        _row(known, number, place)
        with known.lock:
            if corrected.cells is None:
                known.dots.pop((number, place.parts), None)
            elif sum(map(len, known.dots.values())) + len(corrected.cells) > MOST_DOTS:
                raise RefusedError(413, f"the job has {MOST_DOTS} corrected cells already: drop fewer images at a time")
            else:
                known.dots[number, place.parts] = corrected.cells
        return cells(known, number, place)

    @app.post("/api/jobs/{job}/images/{number}/region")
    def region_count(known: KnownJob, number: int, place: AtPlace, drawn: DrawnRegion) -> RegionCount:
        """Count the cells in a part of a plane."""
        row = _row(known, number, place)
        if _is_larger(known, number, STREAMED):
            raise RefusedError(413, f"regions are counted of planes of up to {STREAMED} pixels")
        shape = row.height, row.width
        inside = pixels_of(drawn.vertices, shape)
        try:
            count_map = _count_map(known, number, place)
            in_map = Result(shape, row.estimate, None, None, count_map, ()).count_in(inside)
        except RefusedError:
            in_map = None
        try:
            centres = pictures.centres_of(_cells(jobs, known, number, place, LABELS, needed=True)).astype(np.intp)
            objects: int | None = int(inside[centres[:, 0], centres[:, 1]].sum())
        except RefusedError:
            objects = None
        return RegionCount(
            count=None if in_map is None else round(in_map, 2), objects=objects, pixels=int(inside.sum())
        )

    @app.post(
        "/api/jobs/{job}/regions",
        openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": REGIONS_FORM}}}},
    )
    async def take_regions(known: KnownJob, request: Request) -> RegionsTaken:
        """Take files of regions, in place of earlier ones: the results have the cells in each, in regions.csv.

        One file, named like no image, is for all images; else each file is for the image of its name.
        """
        folder = known.folder / f"{NEW}{secrets.token_hex(8)}"
        try:
            limits = replace(jobs.limits, file_bytes=MOST_REGION_BYTES, upload_bytes=MOST_REGION_BYTES)
            upload = await receive(request, folder / REGIONS, limits)
            return await run_in_threadpool(jobs.take_regions, known, folder / REGIONS, upload)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @app.post("/api/jobs/{job}/download")
    def download(known: KnownJob, wanted: Wanted) -> Link:
        """Give a link to a download: the results, the images with counts by eye as a data set, or a saved model."""
        if wanted.part == "data-set" and not known.own:
            raise RefusedError(400, "no image has a count by eye: type some first")
        if wanted.part == "model":
            jobs.models.bundle(wanted.model or "", known.session)
        elif (wanted.measure or wanted.exports) and not jobs.models.bundle(known.model, known.session).card.segments:
            raise RefusedError(400, f"{known.model} learned counts alone: there are no cells to measure or export")
        return Link(href=f"/api/downloads/{tickets.issue(known, wanted)}")

    @app.get("/api/downloads/{ticket}", response_class=StreamingResponse)
    def fetch(ticket: str) -> Response:
        """Send a download; a link is good once."""
        job, wanted = tickets.take(ticket)
        if wanted.part == "model":
            path = job.folder / "tables" / f"{secrets.token_hex(8)}.zip"
            write_bundle(path, jobs.models.bundle(wanted.model or "", job.session))
            return FileResponse(path, media_type="application/zip", filename=f"{wanted.model}.zip")
        results = wanted.part == "results"
        files = results_of(job, wanted, jobs.limits.pixels) if results else data_set_of(job)
        name = "counts" if results else "data-set"
        headers = {"content-disposition": f'attachment; filename="{name}.zip"'}
        return StreamingResponse(zipped(files), media_type="application/zip", headers=headers)

    return app


def _serve_files(app: FastAPI) -> None:
    """Serve the page, its files and the page on the API, and nothing else that lies on the disk."""

    def file(name: str) -> Response:
        path = FILES.get(name)
        if path is None:
            raise RefusedError(404, "there is no such page")
        return FileResponse(path, media_type=TYPES[path.suffix], headers={"cache-control": "no-cache"})

    app.add_api_route("/", lambda: file("index.html"), include_in_schema=False)
    app.add_api_route("/docs", lambda: file("docs.html"), include_in_schema=False)
    app.add_api_route("/static/{name}", file, include_in_schema=False)


def _tell_errors(app: FastAPI) -> None:
    """Answer each error with one sentence."""

    def told(status: int, sentence: str) -> JSONResponse:
        return JSONResponse(Sentence(error=sentence).model_dump(), status)

    @app.exception_handler(RefusedError)
    def refused(request: Request, error: RefusedError) -> JSONResponse:
        return told(error.status, error.sentence)

    @app.exception_handler(ElmganError)
    def failed(request: Request, error: ElmganError) -> JSONResponse:
        job = request.path_params.get("job", "")
        sentence = re.sub(rf"\S*{re.escape(job)}\S*/", "", one_line(error)) if job else one_line(error)
        return told(507 if isinstance(error, OutputError) else 400, plainly(sentence))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return told(422, f"{where[:100]}: {one_line(first['msg'])}")

    @app.exception_handler(HTTPException)
    def unknown(request: Request, error: HTTPException) -> JSONResponse:
        response = told(error.status_code, str(error.detail))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        return told(500, f"unexpected {type(error).__name__}: {one_line(error)}")


def _how(upload: Upload) -> Recount:
    """Read from the fields of an upload how its images are to be counted.

    Raises:
        UsageError: A field of the view is not one.
        RefusedError: The diameter is no number.
    """
    fields = {name: value for name, value in upload.fields.items() if value}
    known = {*VIEW_FIELDS, "model", "diameter", "labels", "overlays", "wait", "masks"}
    if others := sorted(fields.keys() - known):
        raise RefusedError(400, f"there is no field {others[0]!r:.60}; expected {', '.join(sorted(known))}")
    given = {name: fields[name] for name in VIEW_FIELDS if name in fields}
    diameter = fields.get("diameter")
    try:
        return Recount(
            model=fields.get("model"),
            view=View().changed(**given) if given else None,
            diameter=None if diameter is None else float(diameter),
        )
    except ValueError:
        raise RefusedError(400, f"diameter is {diameter!r:.60}; expected pixels, above 0") from None


def _yes(upload: Upload, name: str) -> bool:
    value = upload.fields.get(name, "").lower()
    if value not in ("", "true", "false", "1", "0", "on"):
        raise RefusedError(400, f"{name} is {value!r:.60}; expected true or false")
    return value in ("true", "1", "on")


def _source(job: Job, number: int) -> Path:
    """The file of an image.

    Raises:
        RefusedError: There is no such image.
    """
    if not 0 <= number < len(job.items):
        raise RefusedError(404, f"the job has {len(job.items)} images, numbered from 0")
    return job.items[number].source


def _row(job: Job, number: int, place: At) -> Row:
    """The row of a plane.

    Raises:
        RefusedError: It is not counted.
    """
    _source(job, number)
    with job.lock:
        for row in job.rows.get(number, []):
            if row.place == place.parts:
                return row
    raise RefusedError(404, "this plane is not counted")


def _count_map(job: Job, number: int, place: At) -> NDArray[np.float32]:
    _row(job, number, place)
    try:
        return np.asarray(np.load(job.map_of(number, place.parts)), np.float32)
    except FileNotFoundError:
        raise RefusedError(404, "there is no count map: the model gives none, or the plane is too large") from None


def _cells(jobs: Jobs, job: Job, number: int, place: At, kind: str, *, needed: bool = False) -> NDArray:
    """The labels or the mask of a plane; the mask where there are no labels, unless these are needed.

    Raises:
        RefusedError: There is none, or it is not written yet.
    """
    _row(job, number, place)
    if _is_larger(job, number, STREAMED):
        raise RefusedError(413, f"cells are told one by one of planes of up to {STREAMED} pixels")
    for each in (kind,) if needed or kind == MASKS else (kind, MASKS):
        written = job.written(number, place.parts, each)
        if written is not None and written[0].exists():
            path, page = written
            key = (job.identity, number, path, page, path.stat().st_mtime_ns)
            return jobs.shelf.get(key, partial(pictures.page_of, path, page))
    raise RefusedError(404, "the cells of this plane are not told apart, or are not written yet")


def _is_larger(job: Job, number: int, most: int) -> bool:
    """Whether a plane of an image has more pixels than these."""
    with job.lock:
        return any(row.height * row.width > most for row in job.rows.get(number, []))


def _large_picture(
    jobs: Jobs,
    job: Job,
    number: int,
    place: At,
    layer: pictures.Layer,
    asked: pictures.Asked,
    side: int,
    channel: str | None,
) -> bytes:
    """Show a part of a plane that is not read whole to be shown."""
    if layer in ("outlines", "mask"):
        _row(job, number, place)
        for kind in (LABELS, MASKS) if layer == "outlines" else (MASKS,):
            written = job.written(number, place.parts, kind)
            if written is not None and written[0].exists():
                cells = pictures.cells_part(*written, asked, side)
                whole = Tile(0, 0, *cells.shape)
                return pictures.drawn_layer(cells, whole, side, filled=layer == "mask")
        raise RefusedError(404, "the cells of this plane are not told apart, or are not written yet")
    view, path = job.view_of(number).changed(channel=channel), _source(job, number)
    if layer == "thumbnail":
        side = pictures.THUMBNAIL
    shown = pictures.displayed_part(path, view, place.parts, asked, side, jobs.limits.pixels)
    return pictures.picture(shown, Tile(0, 0, *shown.shape[:2]), side)


def _with_masks(job: Job, status: JobStatus) -> JobStatus:
    """Give each row its mask."""

    def mask_of(row: CountedRow) -> str | None:
        written = job.written(row.number, row.place, MASKS)
        if written is None or not written[0].exists():
            return None
        return base64.b64encode(pictures.mask_png(pictures.page_of(*written))).decode()

    return status.model_copy(update={"rows": [row.model_copy(update={"mask": mask_of(row)}) for row in status.rows]})


def _facts(scene: Scene) -> SceneFacts:
    rows, columns = scene.sides
    colour = "S" in scene.axes and "C" not in scene.axes
    number = scene.length("C")
    names = list(COLOUR_SAMPLES) if colour else list(scene.channels) if len(scene.channels) == number else []
    return SceneFacts(
        name=scene.name,
        times=scene.length("T"),
        depths=scene.length("Z"),
        channels=names or [str(k) for k in range(1, number + 1)] if number > 1 or colour else [],
        height=rows,
        width=columns,
        colour=colour,
        pixel_size=dict(scene.pixel_size),
        fault=scene.fault,
    )
