"""elmgan export: models for other programs."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

from bundles import write_tiny
from elmgan.apps.cli import app
from elmgan.data.synthetic import draw, sample_scene
from elmgan.images import write_image
from elmgan.models import find_bundle, read_bundle

PAGE = (Path(__file__).parents[2] / "docs" / "bioimageio.md").read_text(encoding="utf-8")


def test_onnx_is_written(tmp_path: Path) -> None:
    file = tmp_path / "tiny.onnx"
    done = CliRunner().invoke(app, ["export", str(write_tiny(tmp_path)), "-o", str(file), "--format", "onnx"])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("wrote tiny@")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["probability", "count_map", "count"]


def test_a_package_is_written(tmp_path: Path) -> None:
    model, file = str(write_tiny(tmp_path)), tmp_path / "tiny.zip"
    command = ["export", model, "-o", str(file), "--format", "bioimageio", "--json"]
    refused = CliRunner().invoke(app, [*command, "--licence", "CC0-1.0"])
    assert refused.exit_code == 2
    assert "say who made the model, and how it may be used: --author NAME --licence" in refused.stderr
    done = CliRunner().invoke(app, [*command, "--licence", "CC0-1.0", "--author", "A. Tester", "--author", "B. Tester"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["file"] == str(file)
    with zipfile.ZipFile(file) as archive:
        assert "- name: B. Tester" in archive.read("rdf.yaml").decode()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nuclei", "--format", "pickle"], "--format is pickle; expected bioimageio, onnx or html"),
        (["nuclei", "--format", "html"], "html takes the runtime too: npm pack onnxruntime-web"),
        (["no-model", "--format", "onnx"], "there is no model 'no-model'"),
    ],
)
def test_what_cannot_be_exported_is_told(tmp_path: Path, arguments: list[str], told: str) -> None:
    done = CliRunner().invoke(app, ["export", *arguments, "-o", str(tmp_path / "x")])
    assert done.exit_code == 2
    assert told in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_pages_example_counts_without_elmgan(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    assert len(block.splitlines()) <= 15
    assert "elmgan" not in block
    rng = np.random.default_rng(1)
    drawn = draw(sample_scene((300, 400), rng=rng), rng=rng)
    write_image(tmp_path / "image.tif", drawn.image)
    done = CliRunner().invoke(app, ["export", "nuclei-small", "-o", str(tmp_path / "nuclei.onnx"), "--format", "onnx"])
    assert done.exit_code == 0, done.stderr
    sealed = "import sys\nsys.modules['elmgan'] = None\n"
    ran = subprocess.run(
        [sys.executable, "-c", sealed + block], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert float(re.findall(r"[\d.]+", ran.stdout)[0]) == pytest.approx(drawn.count, rel=0.1)
    assert (tmp_path / "mask.tif").exists()


def test_the_pages_threshold_is_the_models() -> None:
    assert {read_bundle(find_bundle(name)).card.threshold for name in ("nuclei", "nuclei-small")} == {0.5}
    assert ">= 0.5" in PAGE
