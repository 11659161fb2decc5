"""The walls of the house: imports between folders point one way, the runtime needs no torch, the public names stay."""

import ast
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

import elmgan

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "elmgan"

# What stands directly under src/elmgan; each imports only from lines above its own. __init__ is the public package.
ORDER = (
    {"errors"},
    {"strict", "files", "launch"},
    {"holding"},
    {"images"},
    {"light"},
    {"trust"},
    {"models"},
    {"engines"},
    {"counting"},
    {"__init__"},
    {"scores"},
    {"data"},
    {"report"},
    {"export"},
    {"work"},
    {"nn"},
    {"training"},
    {"benchmark"},
    {"apps"},
    {"__main__"},
)
RANK = {folder: rank for rank, folders in enumerate(ORDER) for folder in folders}
TORCH_FOLDERS = {"nn", "training", "benchmark"}
# What the runtime is not installed with: packages for training, and those that only tests and extras have.
EXTRA_PACKAGES = {
    *("torch", "onnx", "onnxscript", "tensorboard", "jaxtyping"),
    *("scipy", "skimage", "openvino", "zarr"),
    *("fastapi", "starlette", "uvicorn", "python_multipart"),
    *("napari", "qtpy", "npe2"),
}
# Modules of other folders that need some of them all the same, and are imported on demand.
ON_DEMAND = {
    "elmgan.apps.napari.widget": {"napari", "qtpy"},
    "elmgan.export.bioimageio": {"onnx"},
    "elmgan.export.counter": {"onnx"},
    "elmgan.export.standalone": {"onnx"},
    "elmgan.images.omezarr": {"zarr"},
    "elmgan.images.zarr_labels": {"zarr"},
    **{
        f"elmgan.apps.web.{name}": {"fastapi", "starlette", "uvicorn", "python_multipart"}
        for name in ("service", "server", "guard", "upload", "jobs")
    },
}


# Names that two folders may have: the same idea in both.
SAME_IDEA = {
    *("calibrate", "train"),  # commands, which call the function of their name
    *("R", "T"),  # variables of types
}


def modules() -> Iterator[tuple[str, str, Path]]:
    """Every module: the folder it belongs to, its dotted name and its file."""
    for file in sorted(SOURCE.rglob("*.py")):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        yield parts[0], ".".join(("elmgan", *parts)).removesuffix(".__init__"), file


def imports(source: str) -> Iterator[str]:
    """The dotted names imported anywhere in the source, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def faults(folder: str, source: str, module: str = "") -> Iterator[str]:
    """What is wrong with the imports in the source of a module of the folder."""
    if folder not in RANK:
        yield f"{folder} has no place in ORDER"
        return
    for name in imports(source):
        package, *rest = name.split(".")
        if package in EXTRA_PACKAGES - ON_DEMAND.get(module, set()) and folder not in TORCH_FOLDERS:
            yield f"{folder} may not import {name}"
        if package == "elmgan":
            other = rest[0] if rest and rest[0] in RANK else "__init__"
            if other != folder and RANK[other] >= RANK[folder]:
                yield f"{folder} may not import {name}"


def test_imports_point_one_way() -> None:
    found = {name: list(faults(folder, file.read_text(encoding="utf-8"), name)) for folder, name, file in modules()}
    assert len(found) > 10
    assert not {name: problems for name, problems in found.items() if problems}


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("images", "from elmgan.models import Bundle"),
        ("images", "from elmgan import models"),
        ("images", "import elmgan.work.count"),
        ("images", "from elmgan import load"),
        ("export", "from elmgan.work import pipeline"),
        ("work", "def later():\n    from elmgan.training import train"),
        ("errors", "import elmgan"),
        ("__init__", "from elmgan.work import count"),
        ("engines", "import torch"),
        ("engines", "def later():\n    from elmgan.nn import TorchEngine"),
        ("apps", "def later():\n    from torch.nn import Module"),
        ("images", "import openvino"),
        ("export", "import onnx"),
        ("cellar", ""),
    ],
)
def test_a_wrong_import_is_found(folder: str, source: str) -> None:
    assert len(list(faults(folder, source))) == 1


def test_a_right_import_is_let_through() -> None:
    assert not list(faults("training", "import torch\nfrom elmgan import Result, nn, training"))
    assert not list(faults("apps", "from elmgan import load\nfrom elmgan.training import train"))


def public_names(source: str) -> Iterator[str]:
    """The names that a module's top level defines for others."""
    for node in ast.parse(source).body:
        defined: list[str] = []
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        yield from (name for name in defined if not name.startswith("_"))


def shared_names(sources: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Names that several folders define, with these folders; of folders and sources of their modules."""
    folders: dict[str, set[str]] = defaultdict(set)
    for folder, source in sources:
        for name in public_names(source):
            folders[name].add(folder)
    return {name: found for name, found in folders.items() if len(found) > 1}


def test_every_public_name_has_one_meaning() -> None:
    shared = shared_names((folder, file.read_text(encoding="utf-8")) for folder, _, file in modules())
    assert not {name: folders for name, folders in shared.items() if name not in SAME_IDEA}
    assert shared.keys() >= SAME_IDEA, f"no longer shared: {SAME_IDEA - shared.keys()}"


def test_a_name_of_two_folders_is_found() -> None:
    sources = {
        "images": "SIDE, MOST = 1, 2\ndef split(): ...\n_ours = 1\nfrom a import known",
        "report": "def split(): ...\n_ours = 2\ndef known(): ...\nMOST: int = 3",
    }
    assert shared_names(sources.items()) == {"MOST": {"images", "report"}, "split": {"images", "report"}}


WITHOUT_EXTRA_PACKAGES = f"""
import importlib, runpy, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRA_PACKAGES}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
for name in sys.argv[1:]:
    importlib.import_module(name)
sys.argv = ["elmgan", "--help"]
runpy.run_module("elmgan", run_name="__main__")
"""


def help_without_extra_packages(*names: str) -> subprocess.CompletedProcess[str]:
    """Import the modules, then ask for the command's help, as if torch and its company were not installed."""
    command = [sys.executable, "-c", WITHOUT_EXTRA_PACKAGES, *names]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_runtime_needs_no_torch() -> None:
    done = help_without_extra_packages(
        *(name for folder, name, _ in modules() if folder not in TORCH_FOLDERS | {"__main__"} and name not in ON_DEMAND)
    )
    assert done.returncode == 0, done.stderr
    assert "count" in done.stdout


def test_a_need_of_torch_is_found() -> None:
    done = help_without_extra_packages("elmgan.nn")
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


def test_the_version_is_the_one_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert elmgan.__version__ == metadata.version("elmgan") == project["version"]


def test_the_public_names_stay() -> None:
    assert sorted(elmgan.__all__) == ["Model", "Result", "View", "__version__", "errors", "load", "open_image"]
    assert all(hasattr(elmgan, name) for name in elmgan.__all__)
