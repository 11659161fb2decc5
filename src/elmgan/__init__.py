"""Count and segment the cells in microscope images.

>>> import elmgan
>>> model = elmgan.load("nuclei")  # doctest: +SKIP
>>> model.count(image).count  # doctest: +SKIP
112
"""

__version__ = "0.1.0"  # above the imports: parts of the package read it

from pathlib import Path

from elmgan.inference import Model, Result
from elmgan.models import find_bundle, read_bundle

__all__ = ["Model", "Result", "__version__", "load"]


def load(name_or_path: str | Path = "nuclei") -> Model:
    """Load a model: a shipped one by its name, or the folder or zip of any other.

    Raises:
        ModelError: There is no such model, or it cannot be read.
    """
    return Model(read_bundle(find_bundle(name_or_path)))
