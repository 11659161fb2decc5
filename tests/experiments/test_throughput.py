"""The script is run in small, as its users run it."""

import importlib.util
import json
from pathlib import Path

import pytest

from elmgan.data.synthetic import write_data_set

SCRIPT = Path(__file__).parents[2] / "experiments" / "throughput.py"


def test_the_loop_is_timed_beside_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_data_set(tmp_path / "data", 3, seed=1, size=(64, 80))
    spec = importlib.util.spec_from_file_location("throughput", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "STEPS", 2)
    monkeypatch.setattr(script, "ROUNDS", 2)
    out = tmp_path / "throughput.json"
    script.main(tmp_path / "data", "base", out, ["architecture.width=4", "discriminator.width=4"])
    results = json.loads(out.read_text(encoding="utf-8"))["images_per_second"]
    assert results.keys() == {"generator", "adversarial"}
    for row in results.values():
        assert all(value["low"] <= value["median"] <= value["high"] for value in row.values())
        step, loop, ratio = (row[name] for name in ("step", "loop", "ratio"))
        assert loop["low"] / step["high"] <= ratio["low"] * 1.01  # of one round, and rounded
        assert ratio["high"] <= loop["high"] / step["low"] * 1.01
