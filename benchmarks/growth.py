"""How the cost of an edition grows: one thing at a time, once, twice, four and eight times.

    python -m benchmarks.growth [--only NAME ...]

Each point is a whole edition from an empty home, and the one of the week after it, on a simulated
log. A time that grows as ``size ** e`` has the exponent ``e``: the slope of the logarithms, fitted
by least squares, and that of the last doubling alone, in which fixed costs weigh least. Results go
to ``benchmarks/growth.json`` and into ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from benchmarks import _page
from benchmarks._editions import make_edition
from benchmarks._logs import CUTOFF, FOLLOWING, WEEK, open_log, world_log
from benchmarks._measure import Run
from recsys.simulate import World

CACHE: Final = Path("data/bench")
RESULTS: Final = Path("benchmarks/growth.json")
_HELD_OUT: Final = timedelta(days=6)
#: Stages under this share of an edition's seconds at the largest point have no row of their own.
_LEAST_SHARE: Final = 0.03

Record = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """What one edition is made of."""

    listeners: int = 2_500
    tracks: int = 5_000
    listens_per_day: float = 4.0
    days: int = 56
    factors: int = 64
    threads: int = 0

    @property
    def world(self) -> World:
        """The simulated world, a week of it after the edition's cutoff."""
        return World(
            listeners=self.listeners,
            tracks=self.tracks,
            artists=self.tracks // 10,
            listens_per_day=self.listens_per_day,
            days=self.days + 7,
            last_day=CUTOFF + _HELD_OUT,
        )


BASE: Final = Point()
GROWTHS: Final[dict[str, list[tuple[float, Point]]]] = {
    "listeners": [(n, replace(BASE, listeners=2_500 * n)) for n in (1, 2, 4, 8)],
    "tracks": [(n, replace(BASE, tracks=5_000 * n)) for n in (1, 2, 4, 8)],
    "listens a day": [(n, replace(BASE, listens_per_day=4.0 * n)) for n in (1, 2, 4, 8)],
    "days of history": [(n / 28, replace(BASE, days=n)) for n in (28, 56, 112, 224)],
    "factors": [(n / 32, replace(BASE, factors=n)) for n in (32, 64, 128, 256)],
    "threads": [(n, replace(BASE, threads=n)) for n in (1, 2, 4, 8) if n <= (os.cpu_count() or 1)],
}


@cache
def measured(point: Point, work: Path) -> dict[str, Run]:
    """The edition of a point, and that of the week after it; once for all that grow from it."""
    name = "-".join(str(value) for value in (point.listeners, point.tracks, point.days))
    log = world_log(f"growth-{name}-{point.listens_per_day:g}", point.world, CACHE)
    home = work / "home"
    shutil.rmtree(home, ignore_errors=True)
    more = f"[als]\nfactors = {point.factors}\n"
    return {
        edition: make_edition(log, home, week, more, threads=point.threads)
        for edition, week in (("first run", WEEK), ("following week", FOLLOWING))
    }


def grow(name: str, work: Path) -> Record:
    """Measure one thing's growth."""
    runs: dict[str, list[Run]] = {}
    points = GROWTHS[name]
    for times, point in points:
        for edition, run in measured(point, work).items():
            runs.setdefault(edition, []).append(run)
            print(f"{name} x{times:g}, {edition}: {run.seconds:.1f} s, {run.peak_mb:.0f} MB")
    sizes = [times for times, _ in points]
    return {
        "grows": name,
        "times": sizes,
        "editions": {
            edition: {
                "seconds": [round(run.seconds, 2) for run in done],
                "cpu_seconds": _growth(sizes, [run.cpu_seconds for run in done]),
                "peak_mb": _growth(sizes, [run.peak_mb for run in done]),
                "read_mb": _growth(sizes, [run.read_mb for run in done]),
                "stages": {
                    stage: _growth(sizes, [run.said["steps"].get(stage, 0.0) for run in done])
                    for stage in done[-1].said["steps"]
                    if done[-1].said["steps"][stage] > _LEAST_SHARE * done[-1].seconds
                },
            }
            for edition, done in runs.items()
        },
    }


def _growth(sizes: Sequence[float], values: Sequence[float]) -> Record:
    x, y = ([math.log(max(one, 1e-3)) for one in series] for series in (sizes, values))
    slope = statistics.linear_regression(x, y).slope
    return {
        "values": [round(value, 2) for value in values],
        "exponent": round(slope, 2),
        "last_doubling": round((y[-1] - y[-2]) / (x[-1] - x[-2]), 2),
    }


def table(records: Sequence[Record]) -> str:
    """Markdown: a row for each figure of each growth."""
    lines = [
        "| grows | edition | figure | ×1 | ×2 | ×4 | ×8 | exponent | last doubling |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        for edition, found in record["editions"].items():
            figures = {
                "processor s": found["cpu_seconds"],
                "peak MB": found["peak_mb"],
                "MB read": found["read_mb"],
            }
            for figure, growth in {**figures, **found["stages"]}.items():
                values = [*(f"{value:g}" for value in growth["values"]), "", "", ""][:4]
                cells = [record["grows"], edition, figure, *values]
                cells += [f"{growth['exponent']:.2f}", f"{growth['last_doubling']:.2f}"]
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="*", choices=GROWTHS, help="of what can grow")
    given = parser.parse_args(arguments)
    work = (CACHE / "growth").absolute()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    work.mkdir(parents=True, exist_ok=True)
    make_edition(open_log("tiny", CACHE), work / "compiled", WEEK)  # whose seconds count for nobody
    for name in given.only or GROWTHS:
        kept = [record for record in found if record["grows"] != name]
        by_name = {record["grows"]: record for record in [*kept, grow(name, work)]}
        found = [by_name[one] for one in GROWTHS if one in by_name]
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        _page.put("growth", table(found))
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
