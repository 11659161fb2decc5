"""Count and segment the cells in microscope images.

>>> import elmgan
>>> model = elmgan.load("nuclei")  # doctest: +SKIP
>>> model.count(image).count  # doctest: +SKIP
112
>>> with elmgan.open_image("stack.nd2") as source:  # doctest: +SKIP
...     counts = [model.count(plane).count for plane in source.planes(elmgan.View(channel="DAPI", z="each"))]
"""

__version__ = "0.1.0"  # above the imports: parts of the package read it

from pathlib import Path

from elmgan import errors
from elmgan.counting import Model, Result
from elmgan.images import View, open_image
from elmgan.models import find_bundle, read_bundle

__all__ = ["Model", "Result", "View", "__version__", "errors", "load", "open_image"]


def load(
    name_or_path: str | Path = "nuclei",
    *,
    engine: str = "auto",
    precision: str = "auto",
    device: str = "auto",
    parallel: bool = False,
) -> Model:
    """Load a model: a shipped one by its name, or the folder or zip of any other.

    Args:
        name_or_path: Name or path.
        engine: What runs its network: onnxruntime, openvino or torch; auto is the fastest that is installed.
        precision: What its layers compute in: fp32, bf16 or int8; auto is the fastest that model and machine have.
        device: cpu or cuda; auto is cuda where there are PyTorch and an NVIDIA graphics card.
        parallel: Whether several threads count with it at once. Each image then takes longer, all together less.

    Raises:
        ModelError: There is no such model, or it cannot be read.
        UsageError: There is no such engine, precision or device, or not on this machine.
    """
    bundle = read_bundle(find_bundle(name_or_path))
    return Model(bundle, engine, precision=precision, device=device, parallel=parallel)
