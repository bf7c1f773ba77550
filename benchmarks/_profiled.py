"""Luigi as it always is, that tells what each stage took: the child of ``benchmarks.profile``.

    python -m benchmarks._profiled LUIGI-ARGUMENTS

Prints JSON: ``stages``, by stage the processor seconds of this process and its children, and the
most memory it held meanwhile (Linux; 0 elsewhere). A stage of many days is added up.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Final

import luigi
from luigi.cmdline import luigi_run

_STATUS: Final = Path("/proc/self/status")
_PEAK: Final = re.compile(r"VmHWM:\s+(\d+) kB")

stages: dict[str, dict[str, float]] = {}
_began: list[float] = []


def _cpu() -> float:
    return sum(os.times()[:4])


def _forget_peak() -> None:
    if _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak begins anew


def _peak_mb() -> float:
    found = _PEAK.search(_STATUS.read_text()) if _STATUS.exists() else None
    return int(found[1]) / 1024 if found else 0.0


@luigi.Task.event_handler(luigi.Event.START)
def _start(_: luigi.Task) -> None:
    _forget_peak()
    _began[:] = [_cpu()]


@luigi.Task.event_handler(luigi.Event.SUCCESS)
def _success(task: luigi.Task) -> None:
    if not _began:  # a task that only requires others
        return
    stage = stages.setdefault(task.task_family, {"cpu_seconds": 0.0, "peak_mb": 0.0})
    stage["cpu_seconds"] += _cpu() - _began.pop()
    stage["peak_mb"] = max(stage["peak_mb"], _peak_mb())


if __name__ == "__main__":
    try:
        luigi_run(sys.argv[1:])
    finally:
        print(json.dumps({"stages": stages}))
