"""The jobs of a server: they wait, are counted, counted again and calibrated, and are removed with all they left."""

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from elmgan.apps.web.extras import regions_of
from elmgan.apps.web.job import MAPS, REGIONS, UPLOADS, Job, OneCount
from elmgan.apps.web.models import Models
from elmgan.apps.web.pictures import RecentArrays
from elmgan.apps.web.records import (
    CalibrationState,
    CheckedCounts,
    CountedRow,
    FailedImage,
    ImageState,
    JobState,
    JobStatus,
    Recount,
    RegionsTaken,
)
from elmgan.apps.web.refusal import Limits, RefusedError, size_told
from elmgan.apps.web.upload import Upload
from elmgan.apps.web.watched import Room, WatchedModel
from elmgan.counting import Failure, Result, Row, Streamed
from elmgan.data import Record, group_alike
from elmgan.errors import ElmganError, one_line
from elmgan.images import Plane, View
from elmgan.trust import FEWEST
from elmgan.work import calibrate, count_images
from elmgan.work.calibrate import with_calibration
from elmgan.work.count import PIXELS_AT_ONCE
from elmgan.work.pipeline import cores
from elmgan.work.plan import items_of, readable_planes

JOBS_WAITING = 2
"""Jobs beside one for each core that are worked on at once, while others wait for the disk."""

LONGEST_WAIT = 10.0
"""Seconds that the server waits at its end for planes that are being counted."""


class Jobs:
    """The jobs of a server.

    Args:
        folder: Private folder for what clients send, removed by who made it.
        models: What counts.
        limits: Bounds.
    """

    def __init__(self, folder: Path, models: Models, limits: Limits) -> None:
        self.models, self.limits = models, limits
        self.shelf = RecentArrays()
        self._folder = folder
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._sessions: dict[str, float] = {}
        self._receiving = 0
        self._reserved = 0
        self._number = 0
        self._room = Room(PIXELS_AT_ONCE)
        self._pool = ThreadPoolExecutor(cores() + JOBS_WAITING, thread_name_prefix="job")
        self._closed = threading.Event()

    @contextmanager
    def receiving(self, session: str, length: int) -> Iterator[Path]:
        """Give a new folder for an upload of so many bytes; it is removed if the block raises.

        Raises:
            RefusedError: There is no room for it.
        """
        limits = self.limits
        with self._lock:
            unfinished = [job for job in self._jobs.values() if job.unfinished]
            if len(unfinished) + self._receiving >= limits.unfinished:
                raise RefusedError(429, f"{len(unfinished)} jobs wait already: try again when some are done")
            if session and sum(job.session == session for job in unfinished) >= limits.of_session:
                raise RefusedError(429, f"{limits.of_session} of your jobs wait already: cancel some, or wait for them")
            if length > limits.upload_bytes:
                raise RefusedError(413, f"an upload may have {size_told(limits.upload_bytes)}: send fewer images")
            stored = sum(job.size for job in self._jobs.values()) + self._reserved
            free = shutil.disk_usage(self._folder).free - self._reserved - limits.free_bytes
            if length > min(limits.stored_bytes - stored, free):
                raise RefusedError(
                    413, f"there is no room for {size_told(length)} more: close other pages of this server, or wait"
                )
            self._receiving += 1
            self._reserved += length
        folder = self._folder / secrets.token_hex(16)
        try:
            (folder / UPLOADS).mkdir(parents=True)
            (folder / MAPS).mkdir()
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            with self._lock:
                self._receiving -= 1
                self._reserved -= length

    def begin(self, session: str, folder: Path, upload: Upload, *, how: Recount, labels: bool, overlays: bool) -> Job:
        """Make a job of an upload, and queue it.

        Raises:
            RefusedError: It has no image, or there is no such model or scale.
        """
        name = how.model or self.models.first
        bundle = self.models.bundle(name, session)
        job = Job(folder.name, session, folder, labels, overlays, name, size=upload.size)
        try:
            job.items = items_of([folder / UPLOADS], None)[0]
        except ElmganError as error:
            raise RefusedError(400, job.told(str(error))) from None
        job.view = how.view or (bundle.card.view or View()).model_copy(update={"scene": "each", "t": "each"})
        with self._lock:
            self._jobs[job.identity] = job
            self._sessions[session] = time.monotonic()
        self._queue(job, "counting", lambda: self._count(job, how.diameter, None))
        return job

    def get(self, identity: str, session: str) -> Job:
        """Give a job of a session, which it keeps from being removed for a while.

        Raises:
            RefusedError: The session has none of that name.
        """
        with self._lock:
            self._sessions[session] = time.monotonic()
            job = self._jobs.get(identity)
            if job is None or job.gone or not secrets.compare_digest(job.session.encode(), session.encode()):
                raise RefusedError(
                    404, "there is no such job: it was removed, or is of another session; drop the images again"
                )
            job.touched = time.monotonic()
            return job

    def of_session(self, session: str) -> list[Job]:
        """Give the jobs of a session, in the order in which they came."""
        with self._lock:
            self._sessions[session] = time.monotonic()
            found = [job for job in self._jobs.values() if job.session == session and not job.gone]
            for job in found:
                job.touched = time.monotonic()
            return found

    def status(self, job: Job, after: int | None = None) -> JobStatus:
        """Tell how far a job is and what was counted of it; with ``after`` what came after so many outcomes alone."""
        with self._lock:
            ahead = sum(other.state == "waiting" and other.order < job.order for other in self._jobs.values())
        with job.lock:
            if after is None:
                numbers = range(len(job.items))
                rows = [row for number in numbers for row in job.rows.get(number, [])]
                failures = [failure for number in numbers for failure in job.failures.get(number, [])]
            else:
                rows = [entry for entry in job.log[after:] if isinstance(entry, CountedRow)]
                failures = [entry for entry in job.log[after:] if isinstance(entry, FailedImage)]
            passed = time.monotonic() - job.begun
            done = job.done + job.part
            left = passed / done * (job.total - done) if job.state == "counting" and done > 0 else None
            return JobStatus(
                job=job.identity,
                state=job.state,
                ahead=ahead if job.state == "waiting" else 0,
                done=job.done,
                part=job.part,
                total=job.total,
                seconds_left=None if left is None else round(left, 1),
                model=job.model,
                view=job.view,
                images=[] if after is not None else self._images(job),
                rows=rows,
                failures=failures,
                notes=job.notes,
                error=job.error,
                calibration=None if job.calibration is None else job.calibration.model_copy(),
                regions=job.regions,
                revision=job.revision,
                news=len(job.log),
            )

    def cancel(self, job: Job) -> None:
        """Stop what is being done for a job; what was counted stays."""
        with job.lock:
            job.stop.set()
            if job.state == "waiting":
                job.state = "cancelled"

    def recount(self, job: Job, how: Recount) -> None:
        """Count a job's images again, or one of them.

        Raises:
            RefusedError: The job is not done, or has no such image, or there is no such model.
        """
        with job.lock:
            self._check_free(job)
            if how.image is not None and how.image >= len(job.items):
                raise RefusedError(404, f"the job has {len(job.items)} images, numbered from 0")
            name = how.model or job.model
            self.models.bundle(name, job.session)
            if how.image is not None and name != job.model:
                raise RefusedError(400, "one image cannot have a model of its own: count all of them again")
            job.model = name
            before = job.view if how.image is None else job.view_of(how.image)
            view = how.view or before
            if how.image is None:
                job.view, job.main, job.single = view, None, {}
                job.rows, job.failures, job.places, job.log, job.notes = {}, {}, {}, [], []
                job.revision += 1
                self._remove_counts(job)
            else:
                job.rows.pop(how.image, None)
                job.failures.pop(how.image, None)
                job.places.pop(how.image, None)
                if (earlier := job.single.get(how.image)) is not None:
                    shutil.rmtree(earlier.out, ignore_errors=True)
                self.shelf.forget(lambda key: key[:2] == (job.identity, how.image))
                job.single[how.image] = OneCount(job.folder / f"{how.image}-{secrets.token_hex(4)}", view, {})
        self._queue(job, "counting", lambda: self._count(job, how.diameter, how.image))

    def take_regions(self, job: Job, folder: Path, upload: Upload) -> RegionsTaken:
        """Take a folder of regions that were uploaded, in place of earlier ones.

        Raises:
            RefusedError: There is none.
            UsageError: They cannot be read, or are of no image; then the earlier ones stay.
        """
        if not upload.names:
            raise RefusedError(400, "the upload has no regions: send GeoJSON, ROIs or a label image as a file")
        with job.lock:
            files = regions_of(job, folder, upload.names)
            shutil.rmtree(job.folder / REGIONS, ignore_errors=True)
            folder.replace(job.folder / REGIONS)
            job.regions = upload.names
        return RegionsTaken(files=upload.names, notes=[job.told(note) for note in files.notes])

    def calibrate(self, job: Job, *, believe: bool) -> None:
        """Fit a job's model to the counts by eye.

        Raises:
            RefusedError: The job is not done, too few images have a count, or the model has none.
        """
        with job.lock:
            self._check_free(job)
            missing = FEWEST - len(job.own)
            if missing > 0:
                raise RefusedError(400, f"{missing} counts by eye are missing: a calibration takes {FEWEST}")
            if not self.models.bundle(job.model, job.session).card.counts:
                raise RefusedError(400, f"{job.model} learned masks alone, and has no counts to calibrate")
            job.calibration = CalibrationState(done=0, total=len(job.own))
            job.calibrated = None
        self._queue(job, "calibrating", lambda: self._calibrate(job, believe=believe))

    def forget(self, job: Job) -> None:
        """Remove a job and its files; what is being done is stopped first."""
        with job.lock:
            job.gone = True
            job.stop.set()
            running = job.state in ("counting", "calibrating")
            if job.state == "waiting":
                job.state = "cancelled"
        if not running:
            self._remove(job)

    def sweep(self) -> None:
        """Remove the jobs, and the models of sessions, that nobody asked for in a long time."""
        long_ago = time.monotonic() - self.limits.idle
        with self._lock:
            old = [job for job in self._jobs.values() if job.touched < long_ago and not job.unfinished]
            ended = [session for session, asked in self._sessions.items() if asked < long_ago]
            for session in ended:
                del self._sessions[session]
        for job in old:
            self.forget(job)
        for session in ended:
            self.models.forget(session)

    def sweep_until_closed(self, every: float = 30.0) -> None:
        """Sweep again and again."""
        while not self._closed.wait(every):
            self.sweep()

    def close(self) -> bool:
        """Stop all work; say whether nothing is being done any more."""
        self._closed.set()
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + LONGEST_WAIT
        while busy := any(job.state in ("counting", "calibrating") for job in jobs):
            if time.monotonic() > until:
                break
            time.sleep(0.02)
        return not busy

    def _check_free(self, job: Job) -> None:
        if job.unfinished:
            raise RefusedError(409, "the job is not done: wait for it, or cancel it")

    def _images(self, job: Job) -> list[ImageState]:
        return [
            ImageState(number=number, image=item.image, view=job.view_of(number), own_count=job.own.get(number))
            for number, item in enumerate(job.items)
        ]

    def _queue(self, job: Job, state: JobState, work: Callable[[], None]) -> None:
        with self._lock, job.lock:
            self._number += 1
            job.order, job.state, job.stop = self._number, "waiting", threading.Event()
            job.done, job.part, job.total, job.error = 0, 0.0, 0, ""

        def carry_out() -> None:
            with job.lock:
                if job.stop.is_set() or job.gone:
                    return
                job.state, job.begun = state, time.monotonic()
            try:
                work()
            except Exception as error:
                sentence = job.told(one_line(error))
                known = isinstance(error, ElmganError | RefusedError)
                with job.lock:
                    job.error = sentence if known else f"unexpected {type(error).__name__}: {sentence}"
                    job.state = "cancelled" if job.stop.is_set() else "failed"
            if job.gone:
                self._remove(job)

        job.future = self._pool.submit(carry_out)

    def _count(self, job: Job, diameter: float | None, image: int | None) -> None:
        """Count all images of a job, or one."""
        stop = job.stop
        with job.lock:
            job.total = len(job.items) if image is None else 1
        model = self.models.get(job.model, job.session)
        view = job.view if image is None else job.single[image].view
        if diameter is not None:
            view = view.changed(scale=model.scale_of(diameter))
        items = job.items if image is None else [job.items[image]]
        out = job.folder / f"all-{job.revision}" if image is None else job.single[image].out
        numbers = {item.source: number for number, item in enumerate(job.items)}
        by_name = {item.image: number for number, item in enumerate(job.items)}
        single = [job.folder / UPLOADS] if image is None else [item.source for item in items]
        stems = {numbers[item.source]: item.stem for item in (items if image is None else items_of(single, None)[0])}
        run = OneCount(out, view, stems)
        with job.lock:
            if image is None:
                job.main, job.view = run, view
            else:
                job.single[image] = run

        def keep(plane: Plane, result: Result | Streamed) -> None:
            number = numbers[plane.source.path]
            with job.lock:
                if number not in job.places:
                    job.places[number] = [each.place for each in readable_planes(plane.source, view)[0]]
                if isinstance(result, Result):
                    job.judged[number, plane.place] = result.calibration, result.doubt
            if isinstance(result, Result) and result.count_map is not None and result.count_map.size > 1:
                np.save(job.map_of(number, plane.place), result.count_map)

        def watch(total: int, outcome: Row | Failure) -> None:
            if stop.is_set():
                return
            number = by_name[outcome.image] if image is None else image
            named = {"image": job.items[number].image, "number": number}
            with job.lock:
                job.total, job.done, job.part = total, job.done + 1, 0.0
                if isinstance(outcome, Row):
                    row = CountedRow.model_validate(outcome.model_dump() | named)
                    job.rows.setdefault(number, []).append(row)
                    job.log.append(row)
                else:
                    failed = FailedImage(**named, error=job.told(outcome.error))
                    job.failures.setdefault(number, []).append(failed)
                    job.log.append(failed)
                if total > self.limits.planes:
                    job.error = f"the images have more than {self.limits.planes} planes: send fewer, or choose one"
                    stop.set()

        def part(share: float) -> None:
            with job.lock:
                job.part = share

        try:
            counted = count_images(
                single,
                out,
                WatchedModel.of(model, keep=keep, stop=stop, room=self._room),
                view=view,
                most_pixels=self.limits.pixels,
                labels=job.labels and model.card.segments,
                overlays=job.overlays and model.card.segments,
                report=False,
                watch=watch,
                stop=stop,
                room=self._room.taken,
                part=part,
            )
        except ElmganError as error:
            if image is None:
                raise
            watch(1, Failure(image=job.items[image].image, error=one_line(error)))
        with job.lock:
            if image is None:
                job.notes = [job.told(note) for note in counted.notes]
            job.state = "failed" if job.error else "cancelled" if stop.is_set() else "done"

    def _calibrate(self, job: Job, *, believe: bool) -> None:
        stop, state = job.stop, job.calibration
        assert state is not None
        with job.lock:
            bundle = self.models.bundle(job.model, job.session)
            view = job.view
            records = [
                Record(
                    name=item.stem,
                    image=item.source,
                    mask=None,
                    labels=None,
                    count=job.own[number],
                    group=item.stem,
                    kind="",
                    view=view,
                )
                for number, item in enumerate(job.items)
                if number in job.own
            ]

        def watch(total: int, outcome: object) -> None:
            if stop.is_set():
                raise RefusedError(409, "the calibration was stopped")
            with job.lock:
                state.done, state.total = state.done + 1, total
                job.done, job.total = state.done, total

        error = ""
        try:
            source = f"{len(records)} images counted by eye"
            done = calibrate(
                bundle, group_alike(records), source=source, engine=self.models.engine(bundle), watch=watch
            )
        except (ElmganError, RefusedError) as raised:
            error = job.told(one_line(raised))
        with job.lock:
            job.state = "cancelled" if stop.is_set() else "done"
            if error:
                state.error = error
                return
            state.before, state.after = (CheckedCounts(**asdict(each)) for each in (done.before, done.after))
            state.correction, state.promise = done.calibration.correction, done.calibration.promise
            state.doubts, state.flagged = done.doubts, done.flagged
            if not done.doubts or believe:
                job.calibrated = with_calibration(bundle, done, view)
                state.ready = True

    def _remove_counts(self, job: Job) -> None:
        """Remove what was counted of a job, but not its images."""
        self.shelf.forget(lambda key: key[0] == job.identity)
        for path in job.folder.iterdir():
            if path.name not in (UPLOADS, MAPS, REGIONS):
                shutil.rmtree(path, ignore_errors=True)
        for path in (job.folder / MAPS).iterdir():
            path.unlink()

    def _remove(self, job: Job) -> None:
        self.shelf.forget(lambda key: key[0] == job.identity)
        with self._lock:
            self._jobs.pop(job.identity, None)
        shutil.rmtree(job.folder, ignore_errors=True)
