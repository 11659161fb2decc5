"""All engines run the same network, as large as it is."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from elmgan.benchmark.engines import ENGINES, chosen_engines, engines_here, run_onnx, run_torch
from elmgan.benchmark.memory import peak_memory
from elmgan.benchmark.networks import NOISE, networks
from elmgan.benchmark.sizes import size_of
from elmgan.errors import UsageError
from elmgan.nn.baselines import FullyConnected
from elmgan.nn.generator import PRESETS, Generator
from elmgan.training.export import export


def paper() -> nn.Module:
    """The paper's network, with few channels."""
    return Generator(PRESETS["paper"].model_copy(update={"width": 2, "size": (64, 64)}))


def test_every_engine_computes_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = paper().eval()
    images = np.random.default_rng(0).standard_normal((1, 1, 64, 64), dtype=np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).mask_logits.numpy()
    graph = tmp_path / "network.onnx"
    graph.write_bytes(export(network, torch.from_numpy(images)))
    here = {name: engine for name, engine in engines_here().items() if engine.precision != "int8"}
    assert {"torch fp32", "onnxruntime fp32"} <= set(here)
    for name, engine in here.items():
        if engine.library == "torch":
            mask = run_torch(engine, network, images)()[0].numpy()  # type: ignore[index]
        else:
            outputs = run_onnx(engine, graph, images, threads=1)()
            mask = outputs[0]  # type: ignore[index]
        off = np.abs(mask - expected).max() / np.abs(expected).max()
        assert off < (1e-4 if engine.precision == "fp32" else 0.2), name
        assert (off > 1e-4) == (engine.precision == "bf16"), name


def test_the_gradients_reach_the_input_and_all_parameters() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ConvTranspose2d(3, 2, 2, 2))
    images = np.ones((1, 2, 4, 4), dtype=np.float32)
    gradients = run_torch(ENGINES["torch fp32"], network, images, backward=True)()
    shapes = [(1, 2, 4, 4), *(tuple(parameter.shape) for parameter in network.parameters())]
    assert [tuple(gradient.shape) for gradient in gradients] == shapes  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["torch fp8", "openvino fp32"])
def test_an_engine_that_is_not_here_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elmgan.benchmark.engines.find_spec", lambda library: library == "torch" or None)
    with pytest.raises(UsageError, match=f"engine '{name}' is not .*; there are torch fp32, "):
        chosen_engines([name])
    assert set(chosen_engines(None)) == {name for name in engines_here() if name.startswith("torch")}


def test_memory_is_that_of_the_network_in_its_own_process() -> None:
    shape = (1, 1, 128, 128)
    small, large = (
        peak_memory(ENGINES["torch fp32"], build, shape, threads=1)
        for build in (partial(nn.Conv2d, 1, 1, 3), partial(FullyConnected, (128, 128)))
    )
    if small is None or large is None:
        pytest.skip("this system does not tell the peak memory of a process")
    weights = 4 * size_of(partial(FullyConnected, (128, 128)), shape)[0]
    assert 0.8 * weights < large - small < 2 * weights


def test_what_runs_a_graph_loads_no_torch() -> None:
    program = "import sys, elmgan.benchmark.memory; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_all_networks_take_the_image_and_have_the_size_that_is_known_of_them() -> None:
    sizes = {name: size_of(build, (1, 1, 256, 256)) for name, build in networks(256).items()}
    millions = {name: round(parameters / 1e6, 1) for name, (parameters, _) in sizes.items()}
    assert (millions["LFMMG paper"], millions["U-Net"], millions["pix2pix"]) == (15.7, 34.5, 54.4)
    linear = (256 * 256 + NOISE) * 128 + 128 * 256 + 256 * 512 + 512 * 1024 + 1024 * 256 * 256
    assert sizes["conditional GAN"][1] == linear
    first = 4 * 4 * 128 * 128 * 64  # 4x4 convolution of stride 2 to 64 channels
    assert sizes["LFMMG paper"][1] > first
    assert sizes["LFMMG paper, transposed"][1] > sizes["LFMMG paper"][1]


@pytest.mark.parametrize(
    ("side", "names", "told"),
    [
        (100, None, "--side is 100; expected a multiple of 64"),
        (320, None, "pix2pix takes multiples of 256"),
        (256, ["V-Net"], "network 'V-Net' is not known; there are: LFMMG paper;"),
    ],
)
def test_what_cannot_be_compared_is_refused(side: int, names: list[str] | None, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        networks(side, names)
    assert list(networks(320, ["U-Net"])) == ["U-Net"]
