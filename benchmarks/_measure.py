"""A command as a process of its own: seconds, seconds of processor, peak memory, and what it says.

Contenders are measured in turn, round by round, and what counts is the ratio within a round: the
machine is the same for both, whatever else it does that day.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

_LOOK_EVERY: Final = 0.05
_COUNTS_READ: Final = psutil.LINUX
_ROOT: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Run:
    """One run of one contender.

    Attributes:
        seconds: from start to end; or what it timed itself, without its preparations.
        cpu_seconds: of the processor, all its processes together.
        peak_mb: most resident memory of all its processes together; pages that two of them share
            count twice.
        said: the JSON of its last line.
        read_mb: what all its processes together asked files for, the cached included (Linux; 0
            elsewhere). Of the last twentieth of a second there is none.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    said: dict[str, Any]
    read_mb: float = 0.0


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> Run:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; with the end of what it wrote.
    """
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        child = psutil.Popen(
            list(command),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=_ROOT,
            # Modules are compiled once and kept, as they are where the product is installed.
            env={
                **os.environ,
                "PYTHONPATH": str(_ROOT),
                "PYTHONDONTWRITEBYTECODE": "",
                **(env or {}),
            },
        )
        peak, cpu, read = 0.0, {}, {}
        while child.poll() is None:
            memory = 0
            for process in _tree(child):
                try:
                    memory += process.memory_info().rss
                    times = process.cpu_times()
                    if _COUNTS_READ:
                        read[process.pid] = process.io_counters().read_chars
                except psutil.Error:
                    continue
                cpu[process.pid] = times.user + times.system
            peak = max(peak, memory)
            time.sleep(_LOOK_EVERY)
        seconds = time.perf_counter() - began
        output.seek(0)
        text = output.read().decode(errors="replace")
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{text[-4000:]}")
    lines = [line for line in text.splitlines() if line.startswith("{")]
    said = json.loads(lines[-1]) if lines else {}
    cpu_seconds = said.get("cpu", sum(cpu.values()))
    read_mb = sum(read.values()) / 2**20
    return Run(said.get("seconds", seconds), cpu_seconds, peak / 2**20, said, read_mb)


def _tree(child: psutil.Process) -> list[psutil.Process]:
    try:
        return [child, *child.children(recursive=True)]
    except psutil.Error:
        return []


def processor_seconds() -> float:
    """Seconds of the processor that this process and those below it have used, ended ones, too."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(sum((one.user, one.system, one.children_user, one.children_system)) for one in times)


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module of the benchmarks."""
    return [sys.executable, "-m", module, *map(str, arguments)]


@dataclass(frozen=True)
class Ratio:
    """How many times a peer's figure ours is exceeded by, round by round."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
        """Of paired rounds."""
        pairs = [one / max(other, 1e-9) for one, other in zip(theirs, ours, strict=True)]
        rounded = (round(value, 3) for value in (statistics.median(pairs), min(pairs), max(pairs)))
        return cls(*rounded)

    def __str__(self) -> str:
        return f"{self.median:.2f}x ({self.lowest:.2f} to {self.highest:.2f})"


def median_of(runs: Sequence[Run]) -> dict[str, Any]:
    """The medians of a contender's figures, and of the seconds of its steps."""
    steps = [one.said.get("steps", {}) for one in runs]
    return {
        "seconds": round(statistics.median(one.seconds for one in runs), 3),
        "cpu_seconds": round(statistics.median(one.cpu_seconds for one in runs), 3),
        "peak_mb": round(statistics.median(one.peak_mb for one in runs)),
        "steps": {
            name: round(statistics.median(one[name] for one in steps), 3) for name in steps[0]
        },
    }
