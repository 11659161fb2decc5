"""FBU against other ways to double an image: `elmgan benchmark upsampling`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import nn

from elmgan.benchmark.engines import EngineSetting, Run, run_onnx, run_torch
from elmgan.benchmark.sizes import size_of
from elmgan.benchmark.timing import Conditions, Measured, Times, take_turns
from elmgan.errors import UsageError
from elmgan.nn.fbu import FBU
from elmgan.nn.generator import PRESETS, Generator, upsample
from elmgan.strict import Strict
from elmgan.training.export import export

FOLDED = "FBU"
DEFAULT_ENGINES = ("torch fp32", "torch fp32 channels-last", "openvino fp32")
FORWARD, BACKWARD = "forward", "forward + backward"


class Shape(NamedTuple):
    """An upsampling of the decoder: its channels, and the rows and columns of its input."""

    in_channels: int
    out_channels: int
    side: int


class Upsampled(Strict):
    """A way to upsample, at one shape, on one engine."""

    upsampling: str
    engine: str
    work: Literal["forward", "forward + backward"]
    in_channels: int
    out_channels: int
    side: int = Field(description="rows and columns of the input; the output has twice as many")
    parameters: int
    multiply_adds: int = Field(description="forward, of the batch")
    times: Times

    @property
    def shape(self) -> Shape:
        """Where in the decoder it is."""
        return Shape(self.in_channels, self.out_channels, self.side)


class UpsamplingMeasured(Measured):
    """The result of the benchmark."""

    benchmark: Literal["upsampling"] = "upsampling"
    width: int = Field(description="of the generator whose decoder has these shapes")
    side: int = Field(description="rows and columns of its image")
    batch: int
    rows: tuple[Upsampled, ...]

    @property
    def parts(self) -> list[tuple[str, str]]:
        """What was timed against each other: engines with their work."""
        return list(dict.fromkeys((row.engine, row.work) for row in self.rows))


def ways(in_channels: int, out_channels: int) -> dict[str, Callable[[], nn.Module]]:
    """Give the ways to upsample from some channels to others, by name.

    A 1x1 convolution and an interpolation are the same function in either order; FBU can do more than both.
    """

    def convolution() -> nn.Module:
        return nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def interpolation(mode: str) -> nn.Module:
        return nn.Upsample(scale_factor=2, mode=mode)

    return {
        FOLDED: partial(FBU, in_channels, out_channels),
        "nearest, then 1×1": lambda: nn.Sequential(interpolation("nearest"), convolution()),
        "bilinear, then 1×1": lambda: nn.Sequential(interpolation("bilinear"), convolution()),
        "1×1, then nearest": lambda: nn.Sequential(convolution(), interpolation("nearest")),
        "1×1, then bilinear": lambda: nn.Sequential(convolution(), interpolation("bilinear")),
        "nearest, then 3×3": partial(upsample, "nearest", in_channels, out_channels),
        "transposed 4×4": partial(upsample, "transposed", in_channels, out_channels),
    }


def decoder_shapes(width: int, side: int) -> list[Shape]:
    """Give the shapes that are upsampled in LFMMG of a width, deepest first, for square images of a side.

    Raises:
        UsageError: The network does not take images of this side.

    >>> decoder_shapes(64, 256)[0], decoder_shapes(64, 256)[-1]
    (Shape(in_channels=512, out_channels=512, side=4), Shape(in_channels=128, out_channels=64, side=128))
    """
    if side % PRESETS["paper"].multiple:
        raise UsageError(f"--side is {side}; expected a multiple of {PRESETS['paper'].multiple}")
    architecture = PRESETS["paper"].model_copy(update={"width": width, "size": (side, side)})
    with torch.device("meta"):
        projections = [layer.project for layer in Generator(architecture).modules() if isinstance(layer, FBU)]
    first = side // architecture.multiple
    return [Shape(layer.in_channels, layer.out_channels // 4, first << k) for k, layer in enumerate(projections)]


def measure_upsampling(
    shapes: Sequence[Shape],
    engines: Mapping[str, EngineSetting],
    conditions: Conditions,
    *,
    width: int,
    side: int,
    batch: int = 1,
    watch: Callable[[int], None] = lambda total: None,
) -> UpsamplingMeasured:
    """Time all ways at each shape on each engine: forward, and on PyTorch with the gradients, too.

    Args:
        shapes: Of the decoder.
        engines: To run them.
        conditions: How they are run.
        width: Of the generator that the shapes are of.
        side: Of its image.
        batch: Images at once.
        watch: Called with the number of rounds in all whenever one is done.
    """
    torch.set_num_threads(conditions.threads)
    of_torch = [name for name, engine in engines.items() if engine.library == "torch"]
    work = [(name, FORWARD) for name in engines] + [(name, BACKWARD) for name in of_torch]
    total = len(shapes) * len(work) * conditions.rounds
    rows = []
    for shape in shapes:
        builds = ways(shape.in_channels, shape.out_channels)
        images = np.random.default_rng(0).standard_normal(
            (batch, shape.in_channels, shape.side, shape.side), dtype=np.float32
        )
        sizes = {way: size_of(build, images.shape) for way, build in builds.items()}
        with TemporaryDirectory() as folder:
            graphs = {}
            if len(of_torch) < len(engines):
                for k, (way, build) in enumerate(builds.items()):
                    graphs[way] = Path(folder) / f"{k}.onnx"
                    graphs[way].write_bytes(export(build(), torch.from_numpy(images)))
            for name, what in work:
                engine = engines[name]
                runs: dict[str, Run] = {
                    way: run_torch(engine, build(), images, backward=what == BACKWARD)
                    if engine.library == "torch"
                    else run_onnx(engine, graphs[way], images, threads=conditions.threads)
                    for way, build in builds.items()
                }
                for way, times in take_turns(runs, conditions, watch=lambda: watch(total)).items():
                    parameters, multiply_adds = sizes[way]
                    rows.append(
                        Upsampled(
                            upsampling=way,
                            engine=name,
                            work=what,
                            **shape._asdict(),
                            parameters=parameters,
                            multiply_adds=multiply_adds,
                            times=times,
                        )
                    )
    return UpsamplingMeasured(conditions=conditions, width=width, side=side, batch=batch, rows=tuple(rows))
