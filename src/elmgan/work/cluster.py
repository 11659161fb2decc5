"""Counting on the workers of a Dask cluster, on this machine or on others; see docs/scaling.md."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future as LocalFuture
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from elmgan import __version__
from elmgan.counting import Band, Failure, Model, OnDisk, Place, is_streamed
from elmgan.errors import ElmganError, ImageError, UsageError, one_line
from elmgan.images import View, open_image
from elmgan.light import Surveyed
from elmgan.work.pipeline import cores
from elmgan.work.plan import Task, readable_planes
from elmgan.work.planes import Outcome, count_plane
from elmgan.work.sinks import Sinks, is_disk_full

if TYPE_CHECKING:
    from distributed import Client, Future

LOCAL = "local"
"""In place of a scheduler's address: workers on this machine, one for each core."""

PLANES_AT_ONCE, PIXELS_AT_ONCE = 16, 1 << 25
"""Planes of a file that a worker counts in one go, at most, and their pixels."""

ERRANDS_AHEAD = 4
"""Errands that are under way for each worker's thread."""

LOST = "the workers that counted it were lost"

ONE_CORE = {"OMP_NUM_THREADS": "1"}
"""What a worker's environment says, so that it takes one core."""

PROFILES = "distributed.worker.profile.enabled"
"""Dask's setting of whether workers look a hundred times a second where they are."""

AT_SPAWN = "distributed.nanny.pre-spawn-environ"
"""Dask's setting of what it says before a worker begins. As it is by default, a worker gives freed memory back at once
and takes it anew for each array, which costs a quarter of its time."""

CONNECTED = 20
"""Seconds after which a scheduler that does not answer is given up."""


@dataclass(frozen=True)
class Errand:
    """Planes of one file, to be counted by a worker, which opens the file itself.

    Attributes:
        tasks: Without their planes.
        places: Of the planes.
        view: Under which they are planes.
        axes: See :func:`~elmgan.images.open_image`.
        most_pixels: The same.
    """

    tasks: tuple[Task, ...]
    places: tuple[Place, ...]
    view: View
    axes: str | None
    most_pixels: int | None

    def run(self, model: Model, sinks: Sinks, *, quick: bool) -> list[Outcome | Failure]:
        """Count the planes; what is wrong with one does not keep the others from it."""
        item = self.tasks[0].item
        found: list[Outcome | Failure] = []
        try:
            with open_image(item.source, axes=self.axes, most_pixels=self.most_pixels) as source:
                planes = {plane.place: plane for plane in readable_planes(source, self.view)[0]}
                for task, place in zip(self.tasks, self.places, strict=True):
                    try:
                        if place not in planes:
                            raise ImageError("changed while it was counted: count it again with --resume")
                        found.append(count_plane(replace(task, plane=planes[place]), model, sinks, quick=quick))
                    except Exception as error:
                        found.append(Failure.of(item.image, error, item.source))
        except Exception as error:
            found += [Failure.of(item.image, error, item.source)] * (len(self.tasks) - len(found))
        return found

    def band(self, model: Model, surveyed: Surveyed, level: int, top: int, scale: float) -> Band:
        """Run the network on a band of the only plane, which is too large for memory, or of a smaller copy of it."""
        with open_image(self.tasks[0].item.source, axes=self.axes, most_pixels=self.most_pixels) as source:
            planes = {plane.place: plane for plane in readable_planes(source, self.view)[0]}
            plane = planes.get(self.places[0])
            copies = [] if plane is None else plane.levels
            if level >= len(copies) or copies[level].shape != surveyed.shape:
                raise ImageError("changed while it was counted: count it again with --resume")
            return model.band(copies[level], surveyed, top, scale)


def run_errand(errand: Errand, model: Model, sinks: Sinks, quick: bool) -> list[Outcome | Failure]:
    """Do an errand, on a worker."""
    return errand.run(model, sinks, quick=quick)


def run_band(errand: Errand, model: Model, surveyed: Surveyed, level: int, top: int, scale: float) -> Band:
    """Do a part of an errand, on a worker."""
    return errand.band(model, surveyed, level, top, scale)


@contextmanager
def cluster(address: str) -> Iterator["Client"]:
    """Connect to a scheduler, or start workers on this machine.

    Args:
        address: Such as ``tcp://host:8786``, or ``local``.

    Raises:
        UsageError: Dask is not installed, the scheduler does not answer or has no workers, or those have another
            version of elmgan or none.
    """
    try:
        from dask import config
        from distributed import Client, LocalCluster
    except ImportError:
        raise UsageError("--dask needs Dask: pip install distributed") from None
    with ExitStack() as stack:
        try:
            if address == LOCAL:
                stack.enter_context(config.set({AT_SPAWN: ONE_CORE, PROFILES: False}))
                where: Any = stack.enter_context(
                    LocalCluster(
                        n_workers=cores(),
                        threads_per_worker=1,
                        dashboard_address="127.0.0.1:0",
                        host="127.0.0.1",
                        env=ONE_CORE,
                        silence_logs=50,
                    )
                )
            else:
                where = address
            client = stack.enter_context(Client(where, timeout=CONNECTED, set_as_default=False))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"the scheduler at {address} does not answer ({one_line(error)}): check --dask and that it runs"
            ) from error
        _check_workers(client, address)
        yield client


def _check_workers(client: "Client", address: str) -> None:
    try:
        versions = client.run(version_here)
    except Exception as error:
        raise UsageError(
            f"a worker of {address} cannot run elmgan ({one_line(error)}): install it there, too"
        ) from error
    if not versions:
        raise UsageError(f"the scheduler at {address} has no workers: start some with dask worker {address}")
    for worker, version in versions.items():
        if version != __version__:
            raise UsageError(f"the worker {worker} has elmgan {version}, here it is {__version__}: install the same")


def version_here() -> str:
    """Give the version of elmgan, on a worker."""
    return __version__


def count_on_cluster(
    client: "Client",
    tasks: Iterable[Task],
    model: Model,
    sinks: Sinks,
    *,
    quick: bool,
    part: Callable[[float], None],
    view: View,
    axes: str | None,
    most_pixels: int | None,
) -> Generator[tuple[Task, Outcome | Failure], None, None]:
    """Count tasks on workers, and give each with what came of it, in order.

    A worker that is lost costs time alone: another one does its errands. Of a plane that is too large for memory each
    worker runs the network on some rows at a time; what these make together is found and drawn here.

    Args:
        client: Of the cluster.
        tasks: Taken some at a time.
        model: Sent to each worker once.
        sinks: Draw on the workers.
        quick: See :meth:`~elmgan.Model.count`.
        part: Told the share that is done of a plane that is too large for memory.
        view: The tasks' own.
        axes: See :func:`~elmgan.images.open_image`.
        most_pixels: The same.
    """
    [sent] = client.scatter([model], broadcast=True)
    threads = sum(client.nthreads().values()) or 1
    under_way: deque[tuple[list[Task], Future | LocalFuture | None]] = deque()
    here = ThreadPoolExecutor(1)  # such planes are put together one by one

    def first() -> Iterator[tuple[Task, Outcome | Failure]]:
        group, future = under_way.popleft()
        yield from zip(group, _came_of(group, future), strict=True)

    def bands_of(errand: Errand, on_disk: OnDisk, scale: float) -> Generator[Band, None, None]:
        [surveyed] = client.scatter([on_disk.surveyed], broadcast=True)
        level = on_disk.plane.level
        found: deque[Future] = deque()
        try:
            for top in model.tops_of_bands(on_disk.shape, scale):
                found.append(client.submit(run_band, errand, sent, surveyed, level, top, scale, pure=False))
                if len(found) > threads:  # one more than are worked on, since each waits in a worker's memory
                    yield _made(found.popleft())
            while found:
                yield _made(found.popleft())
        finally:
            client.cancel(list(found))

    try:
        for group in _grouped(tasks):
            if group[0].kept or group[0].plane is None:
                under_way.append((group, None))
            else:
                errand = Errand(
                    tuple(replace(task, plane=None) for task in group),
                    tuple(task.plane.place for task in group if task.plane is not None),
                    view,
                    axes,
                    most_pixels,
                )
                if is_streamed(group[0].plane):
                    bands = partial(bands_of, errand)
                    made = here.submit(count_plane, group[0], model, sinks, quick=quick, part=part, bands=bands)
                    under_way.append((group, made))
                else:
                    under_way.append((group, client.submit(run_errand, errand, sent, sinks, quick, pure=False)))
            while len(under_way) > ERRANDS_AHEAD * threads:
                yield from first()
        while under_way:
            yield from first()
    finally:
        for _, future in under_way:
            if future is not None:
                future.cancel()
        here.shutdown(cancel_futures=True)


def _made(future: "Future") -> Band:
    try:
        band: Band = future.result()
        return band
    except ElmganError:
        raise
    except Exception as error:
        raise ImageError(f"{LOST} ({one_line(error)}); see their logs") from error


def _came_of(group: Sequence[Task], future: "Future | LocalFuture | None") -> list[Outcome | Failure]:
    if future is None:  # nothing to count
        task = group[0]
        error = task.error or ImageError("has no planes")
        return [(list(task.kept), {}) if task.kept else Failure.of(task.item.image, error, task.item.source)]
    item = group[0].item
    if isinstance(future, LocalFuture):
        try:
            return [future.result()]
        except Exception as error:
            if is_disk_full(error):
                raise
            return [Failure.of(item.image, error, item.source)]
    try:
        found: list[Outcome | Failure] = future.result()
        return found
    except Exception as error:
        lost = ImageError(f"{LOST} ({one_line(error)}); see their logs")
        return [Failure.of(item.image, lost, item.source) for _ in group]


def _grouped(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """Put planes of one scene together, as many as a worker counts in one go; the rest are alone."""
    for _, scene in groupby(tasks, lambda task: (task.item.image, task.plane.scene if task.plane else None)):
        group: list[Task] = []
        for task in scene:
            alone = bool(task.kept) or task.plane is None
            full = len(group) >= PLANES_AT_ONCE or sum(each.pixels for each in group) + task.pixels > PIXELS_AT_ONCE
            if group and (alone or full):
                yield group
                group = []
            group.append(task)
            if alone:
                yield group
                group = []
        if group:
            yield group
