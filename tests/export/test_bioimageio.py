"""The package for bioimage.io, held against elmgan, and opened by bioimageio.core where that is installed."""

import io
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml
from numpy.typing import NDArray

from bundles import known, passing_on, squares, tiny_bundle
from elmgan.counting import Model
from elmgan.data.synthetic import draw, sample_scene
from elmgan.errors import UsageError
from elmgan.export.bioimageio import RDF, scaled_range, write_package
from elmgan.export.standalone import normalised_part, with_network
from elmgan.images import View, read_image
from elmgan.light import Normalisation, to_grey
from elmgan.models import Bundle, Learned, find_bundle, read_bundle
from elmgan.models.bundle import sha256

ROOT = Path(__file__).parents[2]
MOST_OTHER_PIXELS = 0.002
SMALL = read_bundle(find_bundle("nuclei-small"))


def packaged(folder: Path, bundle: Bundle) -> Path:
    path = folder / f"{bundle.card.name}.zip"
    write_package(path, bundle, licence="CC0-1.0", authors=["A. Tester"])
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the small shipped model."""
    return packaged(tmp_path_factory.mktemp("package"), SMALL)


def described(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return yaml.safe_load(archive.read(RDF))


def cells(shape: tuple[int, int], seed: int = 7) -> NDArray:
    rng = np.random.default_rng(seed)
    return draw(sample_scene(shape, rng=rng), rng=rng).image


def run(path: Path, scaled: NDArray[np.float32]) -> dict[str, NDArray]:
    """What the graph of a package gives, by name, for an image that the description's preprocessing has scaled."""
    with zipfile.ZipFile(path) as archive:
        session = onnxruntime.InferenceSession(archive.read("model.onnx"), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": scaled[np.newaxis, np.newaxis]}), strict=True))


def test_all_that_is_described_is_there(small: Path) -> None:
    content = described(small)
    assert (content["type"], content["license"], content["authors"]) == ("model", "CC0-1.0", [{"name": "A. Tester"}])
    assert content["config"]["elmgan"]["version"] == SMALL.version
    assert [source["name"] for source in content["config"]["elmgan"]["training_data"]] == [
        source.name for source in SMALL.card.data
    ]
    files = [content["inputs"][0]["test_tensor"], content["weights"]["onnx"]]
    files += [output["test_tensor"] for output in content["outputs"]]
    files += [tensor["sample_tensor"] for tensor in (*content["inputs"], *content["outputs"])]
    with zipfile.ZipFile(small) as archive:
        assert all(sha256(archive.read(file["source"])) == file["sha256"] for file in files)
        assert "# Validation" in archive.read(content["documentation"]).decode()
        assert archive.read(content["covers"][0]).startswith(b"\x89PNG")
        assert set(archive.namelist()) == {
            *(file["source"] for file in files),
            *("rdf.yaml", content["documentation"], content["covers"][0]),
        }


@pytest.mark.parametrize("shape", [(512, 512), (203, 330)])
def test_the_graph_finds_what_elmgan_finds(small: Path, shape: tuple[int, int]) -> None:
    image = cells(shape)
    given = run(small, scaled_range(image, SMALL.card.normalisation))
    result = Model(SMALL, "onnxruntime", precision="fp32").count(image, scale=1)
    np.testing.assert_allclose(given["probability"][0, 0], known(result.probability), atol=0.02)
    assert float(given["count"][0]) == pytest.approx(known(result.estimate), rel=0.005)


def test_an_image_of_one_value_is_background(small: Path) -> None:
    given = run(small, scaled_range(np.full((384, 384), 7, np.uint16), SMALL.card.normalisation))
    assert given["probability"].max() < 0.5
    assert given["count"][0] == pytest.approx(0, abs=0.5)


def test_a_part_that_is_all_cell_is_cell() -> None:
    """Its background is not where its own grey values lie closest."""
    image = np.random.default_rng(0).normal(100, 2, (400, 800)).astype(np.float32)
    image[:, 350:] += 300
    image[:, 398:402] = 100
    normalisation = Normalisation()
    scaled = scaled_range(image, normalisation)[:, 340:]
    graph = with_network(passing_on(normalisation), lambda part: normalised_part(part, normalisation))
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (seen,) = session.run(["probability"], {"image": scaled[np.newaxis, np.newaxis]})
    assert np.median(seen[0, 0, :, 80:]) > 0.9


@pytest.mark.parametrize(
    ("learned", "tensors"),
    [(("mask",), ["probability"]), (("count",), ["count_map"]), (("mask", "count"), ["probability", "count_map"])],
)
def test_it_describes_what_the_model_learned(tmp_path: Path, learned: Learned, tensors: list[str]) -> None:
    content = described(packaged(tmp_path, tiny_bundle(learned=learned)))
    assert [output["id"] for output in content["outputs"]] == tensors


def test_dark_cells_are_turned_round(tmp_path: Path) -> None:
    bundle = tiny_bundle()
    dark = replace(bundle, card=bundle.card.model_copy(update={"view": View(cells="dark")}))
    path = packaged(tmp_path, dark)
    steps = [step["id"] for step in described(path)["inputs"][0]["preprocessing"]]
    assert steps == ["ensure_dtype", "scale_linear", "scale_range"]
    image = (4000 - squares(9)).astype(np.float32)
    given = run(path, scaled_range(image, bundle.card.normalisation, dark=True))
    assert float(given["count"][0]) == pytest.approx(known(Model(dark).count(image).estimate), abs=0.1)


def test_networks_that_take_no_tiles_are_refused(tmp_path: Path) -> None:
    bundle = tiny_bundle()
    architecture = bundle.card.architecture.model_copy(update={"norm": "instance"})
    whole = replace(bundle, card=bundle.card.model_copy(update={"architecture": architecture}))
    with pytest.raises(UsageError, match=r"cannot read images in tiles.*use --format onnx"):
        packaged(tmp_path, whole)
    assert not list(tmp_path.iterdir())


OPENED = """
import sys
from pathlib import Path

import numpy as np
import xarray
from bioimageio.core import predict, test_description

package, *images = sys.argv[1:]
for path in map(Path, images):  # in tiles of the smallest size but one
    given = xarray.DataArray(np.load(path)[np.newaxis, np.newaxis], dims=("batch", "channel", "y", "x"))
    found = predict(model=package, inputs={"image": given}, blocksize_parameter=1)
    np.save(path.with_suffix(".found.npy"), np.asarray(found.members["probability"].data)[0, 0])
summary = test_description(package)
print(summary.format())
sys.exit(summary.status != "passed")
"""


@pytest.fixture(scope="module")
def older_pydantic() -> Path:
    """A folder with the last pydantic that bioimageio.spec 0.5.12 runs with, which bioimageio.core 0.11 insists on."""
    if find_spec("bioimageio") is None:
        pytest.skip("needs bioimageio.core (pip install bioimageio.core)")
    folder, fresh = ROOT / ".venv-bioimageio", ROOT / f".venv-bioimageio-{os.getpid()}"
    if folder.is_dir():
        return folder
    install = ["install", "--quiet", "--retries", "0", "--target", str(fresh), "pydantic<2.14"]
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    done = subprocess.run(
        [sys.executable, "-m", "pip", *install], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        shutil.rmtree(fresh, ignore_errors=True)
        pytest.skip(f"pydantic cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    try:
        fresh.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(fresh)
    return folder


def test_bioimageio_accepts_it_and_finds_elmgans_mask(small: Path, older_pydantic: Path, tmp_path: Path) -> None:
    """In a process of its own: it leaves files open, and its libraries warn."""
    images = [cells((700, 900))]
    if "ELMGAN_SHARED_DATA" in os.environ or (ROOT.parent / "shared" / "data").is_dir():
        folder = Path(os.environ.get("ELMGAN_SHARED_DATA", ROOT.parent / "shared" / "data")) / "bbbc039" / "images"
        images += [to_grey(read_image(path)) for path in sorted(folder.glob("*.tif"))[:3]]
    files = [tmp_path / f"{number}.npy" for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        np.save(file, image.astype(np.float32))
    command = [sys.executable, "-c", OPENED, str(small), *map(str, files)]
    environment = os.environ | {"PYTHONPATH": str(older_pydantic)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    model = Model(SMALL, "onnxruntime", precision="fp32")
    for file, image in zip(files, images, strict=True):
        mask = known(model.count(image, scale=1).mask)
        found = np.load(file.with_suffix(".found.npy")) >= SMALL.card.threshold
        assert found.shape == mask.shape
        assert 0.02 < mask.mean() < 0.9
        assert (found != mask).mean() <= MOST_OTHER_PIXELS


def test_test_tensors_are_arrays_of_the_described_axes(small: Path) -> None:
    content = described(small)
    with zipfile.ZipFile(small) as archive:
        for tensor in (*content["inputs"], *content["outputs"]):
            array = np.load(io.BytesIO(archive.read(tensor["test_tensor"]["source"])))
            assert (array.ndim, array.dtype) == (len(tensor["axes"]), np.float32)
            side = 512 // round(tensor["axes"][-1]["scale"])
            assert array.shape == (1, 1, side, side)
