"""Engines and precisions: which is taken, that all give the same, and what OpenVINO keeps."""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import openvino
import pytest
from numpy.typing import NDArray

import elmgan
from bundles import known, squares, tiny_bundle, tiny_onnx
from elmgan.counting import Model, Result
from elmgan.engines import Engine, OnnxEngine, OpenVinoEngine, libraries, open_engine, openvino_engine, registry
from elmgan.engines import engine as engine_module
from elmgan.engines.engine import threads
from elmgan.errors import ModelError, UsageError
from elmgan.images import read_image
from elmgan.models import Bundle, find_bundle, read_bundle, shipped

NUCLEI = read_bundle(find_bundle("nuclei"))
BUNDLE = tiny_bundle()
HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
OTHERS = [
    ("openvino", "fp32"),
    pytest.param("openvino", "bf16", marks=pytest.mark.skipif(not HAS_BF16, reason="a processor without bf16")),
    ("torch", "fp32"),
    ("torch", "bf16"),
]


@pytest.fixture(scope="module", params=shipped())
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return read_bundle(find_bundle(request.param))


@pytest.fixture(scope="module")
def counted(shared_data: Path, bundle: Bundle) -> list[tuple[NDArray, Result]]:
    """Real images, and what ONNX Runtime finds in them."""
    paths = [
        *sorted((shared_data / "bbbc039" / "images").iterdir())[::64],
        *sorted((shared_data / "dsb2018" / "images").iterdir())[::80],
    ]
    model = Model(bundle, "onnxruntime", precision="fp32")
    images = [read_image(path) for path in paths]
    return [(image, model.count(image)) for image in images]


@pytest.mark.parametrize(("engine", "precision"), OTHERS)
def test_engines_and_precisions_agree(
    counted: list[tuple[NDArray, Result]], bundle: Bundle, engine: str, precision: str
) -> None:
    """Within 0.5 % of the count or 0.1 cell, and 0.2 % of the mask's pixels."""
    model = Model(bundle, engine, precision=precision, device="cpu")
    assert (model.runtime.name, model.runtime.precision, model.runtime.device) == (engine, precision, "cpu")
    assert sum(known(expected.count) for _, expected in counted) > 100
    for image, expected in counted:
        found = model.count(image)
        assert found.estimate == pytest.approx(expected.estimate, rel=0.005, abs=0.1)
        assert np.mean(known(found.mask) != known(expected.mask)) < 0.002


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_side_by_side_each_image_gives_what_it_gives_alone(
    counted: list[tuple[NDArray, Result]], bundle: Bundle, engine: str
) -> None:
    model = Model(bundle, engine, precision="fp32", parallel=True)
    with ThreadPoolExecutor(3) as pool:
        found = pool.map(model.count, [image for image, _ in counted])
        for result, (_, expected) in zip(found, counted, strict=True):
            assert result.estimate == pytest.approx(expected.estimate, abs=0.02)


def test_the_first_call_of_openvino_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once, in a process that has called it never before, wait for each other for ever."""
    monkeypatch.setattr(OpenVinoEngine, "_begun", False)
    engine, images = OpenVinoEngine(BUNDLE.onnx, parallel=True), np.zeros((1, 1, 8, 8), np.float32)
    spans, infer = [], engine._infer

    def timed(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        began = time.monotonic()
        time.sleep(0.05)
        result = infer(images)
        spans.append((began, time.monotonic()))
        return result

    monkeypatch.setattr(engine, "_infer", timed)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(engine.predict, [images] * 3))
    first, *others = sorted(spans)
    assert all(began >= first[1] for began, _ in others)


ENGINES: list[Callable[[], Engine]] = [
    lambda: OnnxEngine(NUCLEI.onnx),
    lambda: OpenVinoEngine(NUCLEI.onnx, precision="fp32"),
    lambda: open_engine(NUCLEI, "torch", precision="fp32", device="cpu"),
]


@pytest.mark.parametrize("engine", ENGINES)
def test_images_in_one_batch_are_as_one_by_one(engine: Callable[[], Engine]) -> None:
    images = np.random.default_rng(1).random((3, 1, 64, 128), np.float32)
    predict = engine().predict
    together = predict(images)
    assert [part.shape for part in together] == [(3, 1, 64, 128), (3, 1, 16, 32)]
    for k in range(3):
        for one, all_of_them in zip(predict(images[k : k + 1]), together, strict=True):
            np.testing.assert_allclose(one[0], all_of_them[k], atol=1e-5)


def test_large_images_are_as_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(2).random((1, 1, 128, 192), np.float32)
    fitted = OpenVinoEngine(NUCLEI.onnx, precision="fp32").predict(images)
    monkeypatch.setattr(openvino_engine, "FITTED", 0)
    for one, other in zip(OpenVinoEngine(NUCLEI.onnx, precision="fp32").predict(images), fitted, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_compiled_networks_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(openvino_engine, "FITTED", 100)
    monkeypatch.setattr(openvino_engine, "MOST_CACHED", 3)
    engine = OpenVinoEngine(tiny_onnx())
    for side in (4, 8, 4, 12, 8, 4, 12):
        engine.predict(np.zeros((1, 1, 4, side), np.float32))
        assert sum(key[3] for key in engine._compiled if key) * 4 <= 100
    assert list(engine._compiled) == [(1, 1, 4, 8), (1, 1, 4, 4), (1, 1, 4, 12)]
    first = engine._compiled[1, 1, 4, 12]
    engine.predict(np.zeros((1, 1, 4, 12), np.float32))
    assert engine._compiled[1, 1, 4, 12] is first
    engine.predict(np.zeros((1, 1, 8, 16), np.float32))
    assert None in engine._compiled
    assert 1 <= len(list((tmp_path / "elmgan").glob("*.blob"))) <= 3


@pytest.mark.parametrize("there", ["nothing", "damage", "a file"])
def test_the_cache_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if there == "a file":
        (tmp_path / "elmgan").write_text("no folder")
    image = squares(3)
    expected = Model(BUNDLE).count(image).estimate
    cached = list(tmp_path.glob("elmgan/*.blob"))
    assert bool(cached) is (there != "a file")
    if there == "damage":
        cached[0].chmod(0o600)
        cached[0].write_bytes(cached[0].read_bytes()[:-100])
    assert Model(BUNDLE).count(image).estimate == expected


def test_a_cache_that_fails_midway_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "cache_folder", lambda: Path(os.devnull) / "no folder")
    assert Model(BUNDLE).count(squares(3)).count == 3


def test_there_may_be_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    assert openvino_engine.cache_folder() is None


def test_openvino_is_taken_where_it_is_installed() -> None:
    assert elmgan.load().runtime.name == "openvino"
    expected = "int8" if libraries.has_int8() else "bf16" if HAS_BF16 else "fp32"
    assert elmgan.load().runtime.precision == expected


@pytest.mark.parametrize("installed", [None, ModuleType("openvino")])
def test_without_openvino_there_is_onnxruntime(monkeypatch: pytest.MonkeyPatch, installed: ModuleType | None) -> None:
    monkeypatch.setitem(sys.modules, "openvino", installed)
    runtime = Model(BUNDLE).runtime
    assert (runtime.name, runtime.precision, runtime.device) == ("onnxruntime", "fp32", "cpu")
    with pytest.raises(UsageError, match=r"OpenVINO (is not installed|fails: .+); pip install openvino, or"):
        Model(BUNDLE, "openvino")
    with pytest.raises(UsageError, match=r"onnxruntime computes in int8 or fp32: .*pip install openvino"):
        Model(BUNDLE, precision="bf16")


def test_a_processor_without_bf16_computes_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino.Core, "get_property", lambda core, *names: ["FP32", "INT8"])
    assert str(Model(BUNDLE).runtime) == "openvino in fp32 on cpu"
    with pytest.raises(UsageError, match="this processor does not compute in bf16: take precision fp32 or auto"):
        Model(BUNDLE, "openvino", precision="bf16")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_eight_bits_are_taken_where_model_and_processor_have_them(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    eight = replace(BUNDLE, int8=tiny_onnx())
    monkeypatch.setattr(engine_module, "has_int8", lambda: True)
    assert Model(eight, engine).runtime.precision == "int8"
    assert Model(eight, engine, precision="fp32").runtime.precision == "fp32"
    assert Model(BUNDLE, engine).runtime.precision != "int8"
    with pytest.raises(UsageError, match="has no network in eight bits: take precision auto, fp32 or bf16"):
        Model(BUNDLE, engine, precision="int8")
    with pytest.raises(UsageError, match="engine torch computes in fp32 or bf16"):
        Model(eight, "torch", precision="int8")
    monkeypatch.setattr(engine_module, "has_int8", lambda: False)
    assert Model(eight, engine).runtime.precision != "int8"
    with pytest.raises(UsageError, match="with overflow: take precision auto or fp32"):
        Model(eight, engine, precision="int8")


@pytest.mark.parametrize(
    ("line", "can"),
    [
        ("flags : fpu avx2 avx512f avx512_vnni", True),
        ("Features : fp asimd asimddp", True),
        ("flags : fpu avx2 avx512f", False),
    ],
)
def test_what_a_processor_computes_in_is_read_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, can: bool
) -> None:
    monkeypatch.setattr(libraries, "CPU_INFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(line)
    assert libraries.has_int8.__wrapped__() is can


def test_a_graphics_card_is_taken_only_where_pytorch_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_may_have_cuda", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert Model(NUCLEI).runtime.device == "cpu"
    with pytest.raises(UsageError, match="PyTorch finds no CUDA device: take device cpu or auto"):
        Model(NUCLEI, device="cuda")
    with pytest.raises(UsageError, match="engine openvino runs on the processor: take engine torch for device cuda"):
        Model(NUCLEI, "openvino", device="cuda")


def test_the_torch_engine_needs_torch_and_the_networks_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx has no encoder"):
        Model(BUNDLE, "torch", device="cpu")
    for name in [name for name in sys.modules if name.startswith("elmgan.nn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match=r"engine torch needs torch: pip install torch"):
        Model(NUCLEI, "torch")


@pytest.mark.parametrize("what", ["engine", "precision", "device"])
def test_what_there_is_not_is_refused(what: str) -> None:
    with pytest.raises(UsageError, match=f"{what} is tensor; expected auto, .* or "):
        Model(BUNDLE, **{what: "tensor"})  # type: ignore[arg-type]


def test_networks_take_as_many_threads_as_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = set(range(os.cpu_count() or 1))
    for asked, allowed, expected in [
        ("3", everything, 3),
        ("2,1", everything, 2),
        ("", everything, 0),
        ("many", everything, 0),
        ("5", {0}, 5),
    ]:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        monkeypatch.setattr(os, "sched_getaffinity", lambda process, allowed=allowed: allowed, raising=False)
        assert threads() == expected
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 5, 6}, raising=False)
    assert threads() == 3
