"""What counting should reach on two cores with AMX, held against what was measured."""

from typing import NamedTuple

from elmgan.benchmark.networks import U_NET, ModelMeasured
from elmgan.benchmark.texts import multiple, three_digits
from elmgan.benchmark.throughput import (
    BARE,
    COMPILED,
    EARLIER,
    NOW,
    NOW_QUICK,
    PAPER,
    PRODUCT,
    SEPARATED,
    UNSEPARATED,
    ThroughputMeasured,
    ThroughputRow,
)

AMX = "amx_bf16"
TILES = {"nuclei-small": 600, "nuclei": 350, PAPER: 130}
"""Network -> tiles of 256 x 256 pixels a second."""

OF_PRODUCT = 0.5
FIRST_RESULT = 2
"""Seconds of a fresh process to its first result."""

FOLDER = {UNSEPARATED: 0.8, SEPARATED: 0.6}
"""What is done -> of the images a second that the network alone would do."""

FOLDER_MEMORY, LARGE_MEMORY = 1e9, 1.5e9
LARGE_TIME = 1.5
U_NET_IN_TORCH, U_NET_ALIKE, CELLPOSE_IN_TORCH = {"fp32": 200, "bf16": 150}, 15, 60
EIGHT_BITS = {("onnxruntime", "fp32"): 2.4, ("openvino", "bf16"): 1.5, ("openvino", "fp32"): 3}
"""Engine and its other precision -> how many times as fast `nuclei` should be in eight bits."""

THAN_EARLIER = {
    ("openvino", NOW): 1.3,
    ("onnxruntime", NOW): 2,
    ("openvino", NOW_QUICK): 1,
    ("onnxruntime", NOW_QUICK): 1,
}
"""Engine and way of counting -> the images/s of the earlier version, which looks once, that it should have."""

OURS, CELLPOSE = "nuclei", "Cellpose 3"

REACHED, MISSED = "reached", "missed"


class Target(NamedTuple):
    """What was wanted, and what came out."""

    wanted: str
    measured: str
    verdict: str


def targets(result: ThroughputMeasured) -> list[Target]:
    """Hold the fastest engine of each network against what is wanted of it; what was not measured is left out."""
    parts = (_of_tiles, _of_eight_bits, _of_peers, _of_start, _of_folder, _of_versions, _of_large)
    return [target for part in parts for target in part(result)]


def of_cellpose(result: ModelMeasured) -> list[Target]:
    """Hold `nuclei` against Cellpose 3's network in PyTorch, each on its fastest engine, if both were measured."""
    ours, theirs = ([row for row in result.rows if row.network == name] for name in (OURS, CELLPOSE))
    if not ours or not theirs:
        return []
    one, other = (min(rows, key=lambda row: row.times.spread.median) for rows in (ours, theirs))
    ratio = other.times.over(one.times).median
    wanted = f"{OURS}: {CELLPOSE_IN_TORCH}× Cellpose 3's network in torch"
    return [Target(wanted, f"{multiple(ratio)} ({one.engine}, {other.engine})", _judged(ratio >= CELLPOSE_IN_TORCH))]


def fastest(result: ThroughputMeasured, name: str, beside: str | None = None) -> ThroughputRow | None:
    """Give a network's row on the fastest engine; None if it was not measured.

    Args:
        result: Of the benchmark.
        name: Of the network.
        beside: Another one: only the engines on which that was measured too are looked at. ``None`` for all.
    """
    rows = [row for row in result.found("tile", name) if beside is None or result.found("tile", beside, row.engine)]
    return min(rows, key=lambda row: row.times.spread.median) if rows else None


def of_product(result: ThroughputMeasured, row: ThroughputRow) -> float | None:
    """Give the part of the same engine's rate of multiply-adds in a matrix product that a network reaches."""
    products = result.found("tile", PRODUCT, row.engine)
    if not products or not row.multiply_adds or not products[0].multiply_adds:
        return None
    return row.multiply_adds / products[0].multiply_adds / row.times.over(products[0].times).median


def _of_tiles(result: ThroughputMeasured) -> list[Target]:
    found = []
    here = "" if AMX in result.conditions.instructions else "; this processor has no AMX"
    for name, wanted in TILES.items():
        row = fastest(result, name)
        if row and result.side == 256:
            verdict = REACHED if row.per_second >= wanted else f"{MISSED}{here}"
            found.append(Target(f"{name}: {wanted} tiles/s", f"{three_digits(row.per_second)} ({row.engine})", verdict))
    for name in TILES:
        row = fastest(result, name, beside=PRODUCT)
        share = of_product(result, row) if row else None
        if row and share is not None:
            wanted_share = f"{name}: {OF_PRODUCT:.0%} of the rate of a matrix product"
            found.append(Target(wanted_share, f"{share:.0%} ({row.engine})", _judged(share >= OF_PRODUCT)))
    return found


def _of_eight_bits(result: ThroughputMeasured) -> list[Target]:
    found = []
    for (library, precision), wanted in EIGHT_BITS.items():
        for eight in result.found("tile", OURS, f"{library} int8"):
            for other in result.found("tile", OURS, f"{library} {precision}"):
                ratio = other.times.over(eight.times).median
                text = f"{OURS} in {eight.engine}: {wanted:g}× {other.engine}"
                found.append(Target(text, multiple(ratio), _judged(ratio >= wanted)))
    return found


def _of_versions(result: ThroughputMeasured) -> list[Target]:
    found = []
    for (library, name), wanted in THAN_EARLIER.items():
        now = [row for row in result.found("folder", name) if row.engine.startswith(library)]
        before = [row for row in result.found("folder", EARLIER) if row.engine.startswith(library)]
        if now and before:
            ratio = before[0].times.over(now[0].times).median
            text = f"{name}, {library}: {wanted:g}× the images/s of {EARLIER}"
            found.append(Target(text, multiple(ratio), _judged(ratio >= wanted)))
    return found


def _of_peers(result: ThroughputMeasured) -> list[Target]:
    ours = fastest(result, OURS)
    if ours is None:
        return []
    found = []
    for precision, wanted_ratio in U_NET_IN_TORCH.items():
        in_torch = [row for row in result.found("tile", U_NET) if row.engine.startswith(f"torch {precision}")]
        if in_torch:
            theirs = min(in_torch, key=lambda row: row.times.spread.median)
            ratio = theirs.times.over(ours.times).median
            wanted = f"{OURS}: {wanted_ratio}× U-Net in torch, {precision}"
            measured = f"{multiple(ratio)} ({ours.engine}, {theirs.engine})"
            found.append(Target(wanted, measured, _judged(ratio >= wanted_ratio)))
    alike = fastest(result, OURS, beside=U_NET)
    for theirs in result.found("tile", U_NET, alike.engine) if alike is not None else ():
        assert alike is not None
        ratio = theirs.times.over(alike.times).median
        wanted = f"{OURS}: {U_NET_ALIKE}× U-Net in the same engine"
        found.append(Target(wanted, f"{multiple(ratio)} ({theirs.engine})", _judged(ratio >= U_NET_ALIKE)))
    return found


def _of_start(result: ThroughputMeasured) -> list[Target]:
    found = []
    for row in result.found("start", COMPILED):
        seconds = row.times.spread.median
        wanted = f"first result of a fresh process, {COMPILED}: under {FIRST_RESULT} s"
        found.append(Target(wanted, f"{three_digits(seconds)} s ({row.engine})", _judged(seconds < FIRST_RESULT)))
    return found


def _of_folder(result: ThroughputMeasured) -> list[Target]:
    found = []
    for bare in result.found("folder", BARE):
        for name, wanted in FOLDER.items():
            for row in result.found("folder", name):
                share = bare.times.over(row.times).median
                text = f"{name}: {wanted:.0%} of the network's images/s"
                found.append(Target(text, f"{share:.0%}", _judged(share >= wanted)))
                if row.memory is not None:
                    text = f"{name}: under {FOLDER_MEMORY / 1e9:g} GB"
                    found.append(Target(text, f"{row.memory / 1e9:.2f} GB", _judged(row.memory < FOLDER_MEMORY)))
    return found


def _of_large(result: ThroughputMeasured) -> list[Target]:
    rows = sorted(result.found("large image"), key=lambda row: row.amount)
    if len(rows) < 2:
        return []
    small, large = rows
    ratio = large.times.over(small.times).median * small.amount / large.amount
    found = [
        Target(
            f"{large.name}: at most {LARGE_TIME:g}× the time per pixel of {small.name}",
            f"{ratio:.2f}×",
            _judged(ratio <= LARGE_TIME),
        )
    ]
    if large.memory is not None:
        text = f"{large.name}: under {LARGE_MEMORY / 1e9:g} GB"
        found.append(Target(text, f"{large.memory / 1e9:.2f} GB", _judged(large.memory < LARGE_MEMORY)))
    return found


def _judged(reached: bool) -> str:
    return REACHED if reached else MISSED
