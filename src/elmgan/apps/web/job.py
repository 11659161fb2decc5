"""One upload and what was counted of it."""

import re
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from elmgan.apps.web.records import CalibrationState, Centre, CountedRow, FailedImage, JobState
from elmgan.counting import Place
from elmgan.images import View
from elmgan.models import Bundle
from elmgan.trust import Calibration
from elmgan.work.plan import Item, picture_files

UPLOADS, MAPS, REGIONS = "uploads", "maps", "regions"
"""Folders of a job: what came, the count maps, and the regions that came; each count has one more."""

NEW = "new-"
"""How the name of a folder begins whose content is not taken yet."""

UNFINISHED: tuple[JobState, ...] = ("waiting", "counting", "calibrating")

OPTION = re.compile(r" ?\((?:elmgan count )?--[\w-]+(?: [A-Z]+)?\)|--(?=[a-z])")
"""Options of the command line in a sentence: those in brackets, and the dashes of others."""

AnyPlace = tuple[int, int, int | str]
"""Scene, t and z of a plane."""


def plainly(sentence: str) -> str:
    """Take the command line's way of naming options out of a sentence.

    >>> plainly("name one with --channel"), plainly("several stains: name one with channel=N (--channel N)")
    ('name one with channel', 'several stains: name one with channel=N')
    """
    return OPTION.sub("", sentence)


@dataclass(frozen=True)
class OneCount:
    """One count of a job's images, or of one of them: where it wrote, and by what names."""

    out: Path
    view: View
    stems: dict[int, str]
    """Number of an image -> how the names of its pictures begin."""


@dataclass
class Job:
    """An upload and what was counted of it. Its lock is held while it is changed or read."""

    identity: str
    session: str
    folder: Path
    labels: bool
    overlays: bool
    model: str
    view: View = field(default_factory=View)
    size: int = 0
    items: list[Item] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    state: JobState = "waiting"
    order: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    future: Future[None] | None = None
    begun: float = 0.0
    done: int = 0
    part: float = 0.0
    """Share that is done of a plane that is too large for memory."""
    total: int = 0
    revision: int = 0
    log: list[CountedRow | FailedImage] = field(default_factory=list)
    rows: dict[int, list[CountedRow]] = field(default_factory=dict)
    failures: dict[int, list[FailedImage]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str = ""
    places: dict[int, list[Place]] = field(default_factory=dict)
    main: OneCount | None = None
    single: dict[int, OneCount] = field(default_factory=dict)
    judged: dict[tuple[int, AnyPlace], tuple[Calibration | None, float]] = field(default_factory=dict)
    """Number and place of a plane -> what gives its interval, and how far it is from known images."""
    regions: list[str] = field(default_factory=list)
    """Names of the files of regions."""
    own: dict[int, float] = field(default_factory=dict)
    dots: dict[tuple[int, AnyPlace], list[Centre]] = field(default_factory=dict)
    """Number and place of a plane -> its cells as somebody corrected them."""
    calibration: CalibrationState | None = None
    calibrated: Bundle | None = None
    touched: float = field(default_factory=time.monotonic)
    gone: bool = False

    @property
    def unfinished(self) -> bool:
        """Whether it waits or something is being done."""
        return self.state in UNFINISHED

    def run_of(self, number: int) -> OneCount | None:
        """The count that an image's results are of."""
        return self.single.get(number, self.main)

    def view_of(self, number: int) -> View:
        """The view under which an image was counted last."""
        return self.single[number].view if number in self.single else self.view

    def written(self, number: int, place: AnyPlace, kind: str) -> tuple[Path, int] | None:
        """File and page of a plane's mask or labels, as a count writes them; None where it is not counted."""
        with self.lock:
            run, places = self.run_of(number), self.places.get(number, [])
        if run is None or number not in run.stems or place not in places:
            return None
        paths = picture_files(run.out, run.stems[number], places)[kind]
        index = places.index(place)
        pages = [k for k, path in enumerate(paths) if path == paths[index]]
        return paths[index], pages.index(index)

    def map_of(self, number: int, place: AnyPlace) -> Path:
        """File of the count map of a plane."""
        return self.folder / MAPS / f"{number}-{'-'.join(str(part) for part in place)}.npy"

    def told(self, sentence: str) -> str:
        """Write a sentence for the page: without this machine's paths and the command line's options."""
        for folder in dict.fromkeys((self.folder.resolve(), self.folder)):
            uploads = str(folder / UPLOADS)
            sentence = sentence.replace(f"{uploads}/", "").replace(uploads, "the upload")
            sentence = re.sub(rf"{re.escape(str(folder))}/({NEW}\w+/)?", "", sentence)
        return plainly(sentence)
