"""What the benchmarks of growth and of stages put on the page, from runs that are made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import growth, profile
from benchmarks._measure import Run


def test_growth_is_fitted_and_what_is_small_has_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten listeners a second in the matrix."""
    made: list[growth.Point] = []

    def measured(point: growth.Point, _: Path) -> dict[str, Run]:
        made.append(point)
        seconds = point.listeners / 10
        steps = {"matrix": seconds, "plan": 0.001}
        return {"first run": Run(seconds, 2 * seconds, 100.0, {"steps": steps}, 3 * seconds)}

    monkeypatch.setattr(growth, "measured", measured)
    base = growth.Point(listeners=10)
    points = [(n, replace(base, listeners=10 * n)) for n in (1, 2, 4)]
    monkeypatch.setattr(growth, "GROWTHS", {"listeners": points})
    found = growth.grow("listeners", tmp_path)
    assert made == [point for _, point in points]
    edition = found["editions"]["first run"]
    assert edition["cpu_seconds"]["exponent"] == edition["stages"]["matrix"]["exponent"] == 1
    assert edition["peak_mb"]["exponent"] == 0
    assert edition["read_mb"]["exponent"] == 1
    assert growth.table([found]).splitlines()[2:] == [
        "| listeners | first run | processor s | 2 | 4 | 8 |  | 1.00 | 1.00 |",
        "| listeners | first run | peak MB | 100 | 100 | 100 |  | 0.00 | 0.00 |",
        "| listeners | first run | MB read | 3 | 6 | 12 |  | 1.00 | 1.00 |",
        "| listeners | first run | matrix | 1 | 2 | 4 |  | 1.00 | 1.00 |",
    ]


def test_a_profile_names_the_share_of_each_stage() -> None:
    first = {
        "Clean": {"cpu_seconds": 6.0, "peak_mb": 10.0},
        "Taste": {"cpu_seconds": 2.0, "peak_mb": 9.0},
    }
    following = {"Taste": {"cpu_seconds": 1.0, "peak_mb": 8.4}}
    runs = {
        "first run": Run(5.0, 10.0, 12.0, {"stages": first}),
        "following week": Run(1.0, 2.0, 11.0, {"stages": following}),
    }
    assert profile.table(runs).splitlines()[2:] == [
        "| Clean | 6.00 | 60% | 10 |  |  |  |",
        "| Taste | 2.00 | 20% | 9 | 1.00 | 50% | 8 |",
        "| everything else | 2.00 | 20% |  | 1.00 | 50% |  |",
        "| **all** | 10.0 |  | 12 | 2.0 |  | 11 |",
    ]
