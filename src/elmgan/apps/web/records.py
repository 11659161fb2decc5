"""What the API takes and gives, typed; counts have the names that they have in counts.csv."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from elmgan.counting import Failure, Row
from elmgan.images import View
from elmgan.strict import Strict

MOST_CENTRES = 50_000
"""Cells of a plane that are told one by one."""

JobState = Literal["waiting", "counting", "calibrating", "done", "cancelled", "failed"]


class Sentence(BaseModel):
    """Why a request was not carried out, and what to do."""

    error: str = Field(description="one sentence")


class CountedRow(Row):
    """One plane that was counted."""

    number: int = Field(description="number of its image in the job, from 0")
    mask: str | None = Field(None, description="PNG of the mask, 0 and 255, in base64; on request")


class FailedImage(Failure):
    """An image, or a plane of it, that could not be counted."""

    number: int = Field(description="number of its image in the job, from 0")


class ImageState(BaseModel):
    """One image of a job."""

    number: int
    image: str = Field(description="its name in the table")
    view: View = Field(description="under which it is or was counted last")
    own_count: float | None = Field(None, description="cells that somebody counted by eye")


class CheckedCounts(BaseModel):
    """How far counts are from those by eye."""

    mae: float = Field(description="mean absolute error, in cells")
    bias: float = Field(description="mean error, in cells: above 0 where the model counts too many")
    coverage: float | None = Field(description="share of the counts by eye that lie in the interval, 0 to 1")
    width: float | None = Field(description="mean width of the intervals, in cells")


class CalibrationState(BaseModel):
    """A calibration by counts by eye: how far it is, or what it changes."""

    done: int = Field(description="images that were counted for it")
    total: int = Field(description="images with a count by eye")
    before: CheckedCounts | None = None
    after: CheckedCounts | None = Field(None, description="each image calibrated by the others")
    correction: str = ""
    promise: str = ""
    doubts: list[str] = Field([], description="counts that contradict the others")
    flagged: str = ""
    error: str = ""
    ready: bool = Field(False, description="whether the calibrated model can be saved")
    saved: str = Field("", description="name under which the calibrated model was saved")


class JobStatus(BaseModel):
    """A job: how far it is, and what was counted."""

    job: str
    state: JobState
    ahead: int = Field(description="jobs that are counted before it")
    done: int = Field(description="planes that are counted or failed")
    part: float = Field(description="share that is done of a plane that is too large for memory")
    total: int = Field(description="planes, as far as they are known")
    seconds_left: float | None = Field(description="by the speed so far")
    model: str = Field(description="name of the model that counts")
    view: View
    images: list[ImageState] = Field(description="empty where only news was asked for")
    rows: list[CountedRow]
    failures: list[FailedImage]
    notes: list[str] = Field(description="what the numbers do not say")
    error: str = Field("", description="why nothing was counted")
    calibration: CalibrationState | None = None
    regions: list[str] = Field(description="files of regions whose cells are counted in the results")
    revision: int = Field(description="how often the job was counted again")
    news: int = Field(description="give it as `after`, and the next answer has what came since")


class JobList(BaseModel):
    """The jobs of a session, the latest last."""

    jobs: list[JobStatus]


class ModelChoice(BaseModel):
    """A model that counts here."""

    name: str
    version: str
    description: str
    counts: bool
    masks: bool
    diameter: float | None = Field(description="of the cells that it knows, in pixels")
    calibrated: bool
    view: View = Field(description="as it sees images by default")
    own: bool = Field(description="whether it was calibrated in this session, and can be downloaded")


class Flag(BaseModel):
    """What a flag means."""

    flag: str
    meaning: str
    advice: str


class Column(BaseModel):
    """What a column of the table holds."""

    column: str
    description: str


class AboutServer(BaseModel):
    """What counts here, and within which bounds."""

    version: str
    local: bool = Field(description="whether the server is on the machine of the browser")
    files: int = Field(description="most files of one upload")
    file_bytes: int
    upload_bytes: int
    minutes: float = Field(description="after which a job that nobody asks for is removed")
    fewest: int = Field(description="counts by eye that a calibration takes")
    endings: list[str] = Field(description="how names of images end")
    models: list[ModelChoice]
    flags: list[Flag]
    columns: list[Column]


Diameter = Annotated[float, Field(gt=0, le=100_000)]


class Recount(Strict):
    """How to count again; what is left out stays as it was."""

    model: str | None = Field(None, max_length=200)
    view: View | None = None
    diameter: Diameter | None = Field(None, description="of a typical cell in pixels, in place of the view's scale")
    image: int | None = Field(None, ge=0, le=1 << 31, description="number of one image; without it all are counted")


class OwnCounts(Strict):
    """Counts by eye."""

    counts: dict[Annotated[str, Field(pattern=r"^\d{1,9}$")], Annotated[float, Field(ge=0, le=1e9)] | None] = Field(
        description="number of an image -> its cells; null takes a count back", max_length=100_000
    )


class Calibrating(Strict):
    """How to calibrate."""

    believe: bool = Field(False, description="go on even where counts contradict each other")


class NamedModel(Strict):
    """The name of a new model."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)


Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]


class DrawnRegion(Strict):
    """A polygon on a plane."""

    vertices: list[tuple[Coordinate, Coordinate]] = Field(
        min_length=3, max_length=10_000, description="(row, column) of each vertex, in pixels"
    )


class RegionCount(BaseModel):
    """What is in a region."""

    count: float | None = Field(description="cells by the count map; null where the model has none")
    objects: int | None = Field(description="separated cells whose centre is inside; null where there is no mask")
    pixels: int = Field(description="pixels whose centre is inside")


class RegionsTaken(BaseModel):
    """Regions that were taken."""

    files: list[str]
    notes: list[str] = Field(description="what is to be told of them, such as images without regions")


class Centre(BaseModel):
    """Where a separated cell is."""

    model_config = ConfigDict(frozen=True)

    row: float = Field(ge=-1e6, le=1e6)
    column: float = Field(ge=-1e6, le=1e6)
    added: bool = Field(False, description="whether somebody added it")


class Centres(BaseModel):
    """The cells of a plane: those that were separated, or those that somebody left of them and added."""

    cells: list[Centre] = Field(max_length=MOST_CENTRES)
    corrected: bool = Field(False, description="whether somebody corrected them")


class Corrected(Strict):
    """The cells of a plane as somebody corrected them."""

    cells: list[Centre] | None = Field(max_length=MOST_CENTRES, description="null takes the correction back")


class SceneFacts(BaseModel):
    """What a scene of a file holds."""

    name: str
    times: int
    depths: int
    channels: list[str]
    height: int
    width: int
    colour: bool
    pixel_size: dict[str, float] = Field(description="x, y and z, as far as they are known -> micrometres")
    fault: str


class ImageFacts(BaseModel):
    """What a file holds."""

    kind: str
    scenes: list[SceneFacts]
    notes: list[str]


Wish = Literal["results", "data-set", "model"]


class Wanted(Strict):
    """What to download; where the job has regions, the results have regions.csv."""

    part: Wish
    model: str | None = Field(None, max_length=200, description="of a model, its name")
    measure: bool = Field(False, description="with the results: each separated cell measured, in cells.csv")
    exports: list[Literal["qupath", "imagej"]] = Field(
        [], max_length=2, description="with the results: programs that the separated cells are written for too"
    )


class Link(BaseModel):
    """Where a download is, once, for some minutes."""

    href: str
