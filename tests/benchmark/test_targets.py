"""What was measured is held against what was wanted."""

import pytest

from elmgan.benchmark.networks import U_NET, ModelMeasured, NetworkRow
from elmgan.benchmark.tables import sheets
from elmgan.benchmark.targets import AMX, of_cellpose, targets
from elmgan.benchmark.throughput import (
    BARE,
    CACHED,
    COMPILED,
    EARLIER,
    NOW,
    NOW_QUICK,
    PRODUCT,
    SEPARATED,
    UNSEPARATED,
    ThroughputMeasured,
    ThroughputRow,
)
from elmgan.benchmark.timing import Conditions, Times

FAST, SLOW = "openvino bf16", "onnxruntime fp32"


def row(part: str, name: str, engine: str, seconds: float, **others: object) -> ThroughputRow:
    amount = {"amount": 1} | others
    return ThroughputRow.model_validate(
        {"part": part, "name": name, "engine": engine, "times": Times(calls=1, seconds=(seconds, 2 * seconds))} | amount
    )


def measured(*rows: ThroughputRow, amx: bool = True) -> ThroughputMeasured:
    conditions = Conditions.now(threads=1, rounds=2, block=0).model_copy(update={"instructions": (AMX,) if amx else ()})
    return ThroughputMeasured(conditions=conditions, model="nuclei", side=256, images=10, rows=rows)


def verdicts(*rows: ThroughputRow, amx: bool = True) -> dict[str, tuple[str, str]]:
    return {target.wanted: (target.measured, target.verdict) for target in targets(measured(*rows, amx=amx))}


@pytest.mark.parametrize(("seconds", "verdict"), [(0.001, "reached"), (0.01, "missed")])
def test_the_fastest_engine_counts(seconds: float, verdict: str) -> None:
    found = verdicts(row("tile", "nuclei", SLOW, 1), row("tile", "nuclei", FAST, seconds))
    ((rate, judged),) = found.values()
    assert rate == f"{1 / (1.5 * seconds):.3g} ({FAST})"
    assert judged == verdict


def test_a_processor_without_amx_is_said_to_be_one() -> None:
    found = verdicts(row("tile", "nuclei", FAST, 0.01), amx=False)
    assert found["nuclei: 350 tiles/s"][1] == "missed; this processor has no AMX"


def test_ratios_are_those_of_the_same_engine() -> None:
    found = verdicts(
        row("tile", "nuclei", FAST, 0.001, multiply_adds=400),
        row("tile", PRODUCT, FAST, 0.001, multiply_adds=1000),
        row("tile", PRODUCT, SLOW, 0.001, multiply_adds=1),
        row("tile", U_NET, FAST, 0.02),
        row("tile", U_NET, "torch fp32", 0.2),
        row("tile", U_NET, "torch fp32 channels-last", 0.1),
    )
    assert found["nuclei: 50% of the rate of a matrix product"] == (f"40% ({FAST})", "missed")
    assert found["nuclei: 15× U-Net in the same engine"] == (f"20.0× ({FAST})", "reached")
    assert found["nuclei: 200× U-Net in torch, fp32"] == (f"100.0× ({FAST}, torch fp32 channels-last)", "missed")


def test_eight_bits_are_held_against_the_same_engine_and_alike_with_alike() -> None:
    found = verdicts(
        row("tile", "nuclei", "openvino int8", 0.001, multiply_adds=400),
        row("tile", "nuclei", FAST, 0.002, multiply_adds=400),
        row("tile", "nuclei", "onnxruntime int8", 0.005),
        row("tile", "nuclei", SLOW, 0.01),
        row("tile", PRODUCT, FAST, 0.002, multiply_adds=1000),
        row("tile", U_NET, FAST, 0.02),
    )
    assert found["nuclei in openvino int8: 1.5× openvino bf16"] == ("2.0×", "reached")
    assert found["nuclei in onnxruntime int8: 2.4× onnxruntime fp32"] == ("2.0×", "missed")
    assert found["nuclei: 50% of the rate of a matrix product"] == (f"40% ({FAST})", "missed")
    assert found["nuclei: 15× U-Net in the same engine"] == (f"10.0× ({FAST})", "missed")


def test_two_versions_are_compared_engine_by_engine() -> None:
    result = measured(
        row("folder", EARLIER, "openvino", 2, amount=10),
        row("folder", NOW, "openvino", 1, amount=10),
        row("folder", EARLIER, "onnxruntime", 3, amount=10),
        row("folder", NOW_QUICK, "onnxruntime", 4, amount=10),
    )
    told = {target.wanted: (target.measured, target.verdict) for target in targets(result)}
    assert told == {
        f"{NOW}, openvino: 1.3× the images/s of {EARLIER}": ("2.0×", "reached"),
        f"{NOW_QUICK}, onnxruntime: 1× the images/s of {EARLIER}": ("0.75×", "missed"),
    }
    (_, table) = sheets(result)
    assert [line[:3] for line in table.rows if line[0] == "onnxruntime"] == [
        ["onnxruntime", EARLIER, "2.22"],
        ["onnxruntime", NOW_QUICK, "1.67"],
    ]


def test_cellpose_is_compared_where_both_were_measured() -> None:
    def network(name: str, engine: str, seconds: float) -> NetworkRow:
        times = Times(calls=1, seconds=(seconds, 2 * seconds))
        return NetworkRow(
            network=name, engine=engine, batch=1, parameters=None, multiply_adds=None, memory=None, times=times
        )

    ours, theirs = network("nuclei", FAST, 0.01), network("Cellpose 3", "torch fp32", 0.7)
    rows = (ours, network("nuclei", SLOW, 0.1), theirs, network("Cellpose 3", "torch fp32 channels-last", 0.8))
    conditions = Conditions.now(threads=1, rounds=2, block=0)
    (target,) = of_cellpose(ModelMeasured(conditions=conditions, side=256, rows=rows))
    assert (target.measured, target.verdict) == (f"70.0× ({FAST}, torch fp32)", "reached")
    assert of_cellpose(ModelMeasured(conditions=conditions, side=256, rows=(ours,))) == []


@pytest.mark.parametrize(("seconds", "told"), [(1, ("1.5 s", "reached")), (2, ("3 s", "missed"))])
def test_a_fresh_process_has_no_help_of_the_cache(seconds: float, told: tuple[str, str]) -> None:
    found = verdicts(row("start", COMPILED, FAST, seconds), row("start", CACHED, FAST, seconds / 10))
    assert found == {f"first result of a fresh process, {COMPILED}: under 2 s": (f"{told[0]} ({FAST})", told[1])}


def test_the_folder_and_the_large_image() -> None:
    found = verdicts(
        row("folder", BARE, FAST, 0.75, amount=10),
        row("folder", UNSEPARATED, FAST, 0.78, amount=10),
        row("folder", SEPARATED, FAST, 1.5, amount=10, memory=int(4e8)),
        row("large image", "10 × 10", FAST, 1, amount=100, memory=int(1e9)),
        row("large image", "20 × 20", FAST, 8, amount=400, memory=int(2e9)),
    )
    assert found == {
        f"{UNSEPARATED}: 80% of the network's images/s": ("96%", "reached"),
        f"{SEPARATED}: 60% of the network's images/s": ("50%", "missed"),
        f"{SEPARATED}: under 1 GB": ("0.40 GB", "reached"),
        "20 × 20: at most 1.5× the time per pixel of 10 × 10": ("2.00×", "missed"),
        "20 × 20: under 1.5 GB": ("2.00 GB", "missed"),
    }
