"""The notebook of examples runs as it is, and shows what it speaks of."""

import base64
import os
import sys
from pathlib import Path

import cv2
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "examples" / "cells.ipynb"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the kernel's libraries
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not kept: clear them"
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    results = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert len(results) == 2
    assert "interval" not in results[0] or "90 % interval" in results[0]
    assert "90 % interval" in results[1]
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    plots = [cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_COLOR) for picture in pictures]
    assert len(plots) == 2
    assert all(plot is not None and np.ptp(plot) > 200 for plot in plots)
    (told,) = [output.text for output in outputs if "permutation test" in output.get("text", "")]
    assert float(told.rpartition("=")[2]) < 0.05
    assert (tmp_path / "my-run" / "model" / "model.json").exists()
