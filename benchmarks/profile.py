"""Where the time of an edition goes: processor seconds and peak memory of each stage.

    python -m benchmarks.profile [--size smoke|S|M]

A first run from an empty home, and the week after it. The table goes into ``docs/benchmarks.md``;
that of ``--size smoke`` is printed only.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks import _page
from benchmarks._editions import make_edition
from benchmarks._logs import FOLLOWING, SIZES, WEEK, open_log
from benchmarks._measure import Run

CACHE: Final = Path("data/bench")
_OTHER: Final = "everything else"


def table(runs: Mapping[str, Run]) -> str:
    """Markdown: a row for each stage, the costliest of the first edition first.

    Args:
        runs: by the name of an edition.
    """
    shown = [_rows(run) for run in runs.values()]
    titles = " | ".join(f"{name}: processor s | share | peak MB" for name in runs)
    lines = [f"| stage | {titles} |", "|---|" + "---|---|---|" * len(runs)]
    for stage in dict.fromkeys(name for rows in shown for name in rows):
        cells = " | ".join(rows.get(stage, " |  | ") for rows in shown)
        lines.append(f"| {stage} | {cells} |")
    totals = " | ".join(f"{run.cpu_seconds:.1f} |  | {run.peak_mb:.0f}" for run in runs.values())
    return "\n".join([*lines, f"| **all** | {totals} |"])


def _rows(run: Run) -> dict[str, str]:
    stages = sorted(run.said["stages"].items(), key=lambda one: -one[1]["cpu_seconds"])
    rest = run.cpu_seconds - sum(of["cpu_seconds"] for _, of in stages)
    rows = {name: (of["cpu_seconds"], f"{of['peak_mb']:.0f}") for name, of in stages}
    return {
        name: f"{cpu:.2f} | {cpu / run.cpu_seconds:.0%} | {peak}"
        for name, (cpu, peak) in {**rows, _OTHER: (rest, "")}.items()
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=[name for name in SIZES if name != "tiny"], default="M")
    given = parser.parse_args(arguments)
    log, home = open_log(given.size, CACHE.absolute()), (CACHE / "profile" / "home").absolute()
    home.parent.mkdir(parents=True, exist_ok=True)
    compiled = home.with_name("compiled")
    make_edition(open_log("tiny", CACHE.absolute()), compiled, WEEK)  # whose seconds count nowhere
    runs = {
        edition: make_edition(log, home, week, luigi="benchmarks._profiled")
        for edition, week in (("first run", WEEK), ("following week", FOLLOWING))
    }
    shutil.rmtree(home.parent)
    found = f"`python -m benchmarks.profile --size {given.size}` on {_page.machine()}.\n\n"
    print(table(runs))
    if given.size != "smoke":
        _page.put("profile", found + table(runs))


if __name__ == "__main__":
    main()
