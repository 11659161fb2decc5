"""The table of coverage, drawn from an evaluation's table."""

from pathlib import Path

from numpy.random import default_rng

import intervals
from elmgan.files import write_table


def test_each_kind_is_checked_alone_and_with_all(tmp_path: Path) -> None:
    rng = default_rng(0)
    rows = []
    for k in range(130):
        kind, off = ("sharp", 1.0) if k < 80 else ("blurred", 6.0) if k < 120 else ("rare", 1.0)
        true = int(rng.integers(0, 100))
        estimate = max(0.0, true + off * rng.normal() * (true + 1) ** 0.5)
        rows.append({"kind": kind, "group": f"{k}", "true": f"{true}", "estimate": f"{estimate:.6g}"})
    write_table(tmp_path / "images.csv", ("kind", "group", "true", "estimate"), [*rows, rows[0] | {"true": ""}])
    lines = intervals.draw(tmp_path / "images.csv").splitlines()
    table = {cells[1]: cells for cells in ([cell.strip() for cell in line.split("|")] for line in lines[2:])}
    assert table.keys() == {"all", "blurred", "rare", "sharp"}
    assert [table[kind][2:4] for kind in table] == [["130", "130"], ["40", "40"], ["10", "10"], ["80", "80"]]
    assert all(0.88 < float(table[kind][7]) < 0.92 for kind in ("all", "blurred", "sharp"))
    assert table["rare"][5:8] == ["–", "–", "–"]
    assert float(table["blurred"][8]) < 0.85 < 0.95 < float(table["sharp"][8])
