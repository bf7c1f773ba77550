"""The table of docs/rules.md can be made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.settings import ListensSettings
from recsys.simulate import Truth, World, simulate

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_the_table_of_a_small_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import held_out  # type: ignore[import-not-found]
    import rules  # type: ignore[import-not-found]

    simulate(World(listeners=60, artists=60, tracks=400, days=21)).write(tmp_path / "world")
    case = held_out.from_log(
        "small",
        ListensSettings(source=str(tmp_path / "world" / "log"), format="jsonl"),
        tmp_path / "days",
        Truth.open(tmp_path / "world" / "truth"),
    )
    heading, _, *rows = rules.table(rules.Ready.of(case)).splitlines()
    assert len(rows) == 1 + len(rules.VARIANTS)
    columns = [cell.strip() for cell in heading.split("|")]
    for row in rows:
        cells = [cell.strip() for cell in row.split("|")]
        assert len(cells) == len(columns)
        assert 0 < float(cells[columns.index("liked")]) < 1
