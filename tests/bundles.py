"""A small real model for tests: its network is made by hand, so that its answers can be computed without it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import onnx
import tifffile
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.ndimage import uniform_filter

from elmgan.counting import Model
from elmgan.images import Plane, View, open_image
from elmgan.light import Normalisation
from elmgan.models import FORMAT, Architecture, Bundle, Learned, ModelCard, TrainingData, write_bundle
from elmgan.trust import Calibration, KnownImages

AREA = 100
"""Pixels of one cell, to this model."""
LEVEL = 0.5
"""Normalised grey value from which a pixel is cell."""
STEEPNESS = 40.0
BOX = 3

T = TypeVar("T")


def known(value: T | None) -> T:
    """A part of a result that the model learned."""
    assert value is not None
    return value


def expected_probability(normalised: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network says of a normalised image: a box filter and a soft threshold."""
    smooth = uniform_filter(normalised, BOX, mode="constant")
    return np.asarray(1 / (1 + np.exp(-STEEPNESS * (smooth - LEVEL))), dtype=np.float32)


def tiny_onnx() -> bytes:
    """The network: probability as above; the count map is the probability summed over 4 x 4 pixels, by AREA."""
    weights = {
        "box": np.full((1, 1, BOX, BOX), STEEPNESS / BOX**2, dtype=np.float32),
        "bias": np.array([-STEEPNESS * LEVEL], dtype=np.float32),
        "per_cell": np.array(16 / AREA, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "box", "bias"], ["logits"], pads=[BOX // 2] * 4),
        helper.make_node("Sigmoid", ["logits"], ["probability"]),
        helper.make_node("AveragePool", ["probability"], ["share"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Mul", ["share", "per_cell"], ["count_map"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, "row", "column"])],
        [
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", 1, "row", "column"]),
            helper.make_tensor_value_info("count_map", TensorProto.FLOAT, ["n", 1, "map_row", "map_column"]),
        ],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def tiny_bundle(name: str = "tiny", learned: Learned = ("mask", "count")) -> Bundle:
    """The network with its card, which may say that it learned only one of the two."""
    card = ModelCard(
        format=FORMAT,
        name=name,
        description="bright squares of 10 x 10 pixels",
        created="2024-01-01T00:00:00+00:00",
        elmgan="0.1.0",
        architecture=Architecture(depth=3),
        learned=learned,
        normalisation=Normalisation(),
        data=[TrainingData(name="made by hand", licence="CC0-1.0", images=1)],
        seed=0,
        scores={"all": {"mae": 0.5, "dice": 0.9}, "squares": {"mae": 0.5}},
        hashes={},
    )
    return Bundle(card, tiny_onnx(), "# tiny\n")


def passing_on(normalisation: Normalisation) -> Bundle:
    """A model whose probability is what its network sees."""
    nodes = [
        helper.make_node("Identity", ["image"], ["probability"]),
        helper.make_node("AveragePool", ["image"], ["count_map"], kernel_shape=[4, 4], strides=[4, 4]),
    ]
    image, probability, count_map = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, f"{name}_row", f"{name}_column"])
        for name in ("image", "probability", "count_map")
    )
    graph = helper.make_graph(nodes, "passing on", [image], [probability, count_map])
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    bundle = tiny_bundle()
    card = bundle.card.model_copy(update={"normalisation": normalisation})
    return replace(bundle, card=card, onnx=bytes(network.SerializeToString()))


def write_tiny(folder: Path, learned: Learned = ("mask", "count")) -> Path:
    """The network as a model folder below ``folder``."""
    path = folder / "tiny-model"
    write_bundle(path, tiny_bundle(learned=learned))
    return path


def zoomed(image: NDArray, factor: float) -> NDArray:
    """An image at another size."""
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=method))


@contextmanager
def planes(folder: Path, images: list[NDArray], view: View) -> Iterator[list[Plane]]:
    """Images as files, opened."""
    folder.mkdir()
    with ExitStack() as opened:
        for k, image in enumerate(images):
            tifffile.imwrite(folder / f"{k}.tif", image)
        sources = [opened.enter_context(open_image(folder / f"{k}.tif")) for k in range(len(images))]
        yield [source.planes(view)[0] for source in sources]


def knowing_bundle(folder: Path, pixel_size: float | None = None) -> Bundle:
    """The model, which knows images of 3 to 30 squares, somewhat larger and smaller, and is calibrated."""
    bundle = tiny_bundle()
    images = [zoomed(squares(number), size) for number in range(3, 31, 2) for size in (0.8, 0.9, 1, 1.1, 1.25)]
    with planes(folder, images, View(scale=1)) as sample:
        model = Model(bundle, "onnxruntime", precision="fp32")
        places = [model.place(plane) for plane in sample]
    calibration = Calibration(gain=1, quantile=0.5, images=30, groups=30, data="squares")
    card = bundle.card.model_copy(update={"calibration": calibration, "training": {"diameter": (8, 13)}})
    return replace(bundle, card=card, known=KnownImages.of(places, pixel_size=pixel_size))


def write_sized(path: Path, image: NDArray, size: float) -> None:
    """An image as a TIFF file whose pixels are so many micrometres across."""
    tifffile.imwrite(path, image, resolution=(1e4 / size, 1e4 / size), resolutionunit="CENTIMETER")


def glued(number: int) -> NDArray[np.uint16]:
    """An image of 12 squares, of which so many lie side by side."""
    image = squares(12 - number, (120, 120))
    image[100:110, 6 : 6 + 10 * number] = 3000
    return image


def squares(number: int, shape: tuple[int, int] = (96, 120)) -> NDArray[np.uint16]:
    """A noisy image with bright squares of AREA pixels, far enough apart to be separate."""
    image = np.random.default_rng(0).normal(200, 10, shape).astype(np.uint16)
    side = round(AREA**0.5)
    places = [(top, left) for top in range(6, shape[0] - side, 18) for left in range(6, shape[1] - side, 18)]
    for top, left in places[:number]:
        image[top : top + side, left : left + side] = 3000
    return image
