"""How soon a model that goes on from last week's is as good as one trained from nothing.

    python -m benchmarks.warm [--size smoke|S|M]

The listeners' tastes drift in the simulated log, and both ways see the same week. The table goes
into ``docs/benchmarks.md``; that of ``--size smoke`` is printed only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from benchmarks import _page
from benchmarks._logs import CUTOFF, SIZES, open_log
from benchmarks.ours import read
from recsys.models import train
from recsys.settings import AlsSettings

CACHE: Final = Path("data/bench")


def losses(size: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The loss after each iteration on the following week: cold, and going on from the week before.

    Args:
        size: of the log.
    """
    log, settings = open_log(size, CACHE), AlsSettings()
    parent = train(read(log.source, str(CUTOFF)), settings, seed=1)
    following = read(log.source, str(CUTOFF + timedelta(days=7)))
    cold = train(following, settings, seed=1)
    warm = train(following, settings, seed=1, parent=parent)
    return cold.loss, warm.loss


def table(cold: Sequence[float], warm: Sequence[float]) -> str:
    """Markdown: a row an iteration."""
    lines = ["| iteration | loss, cold | loss, going on |", "|---|---|---|"]
    for number, loss in enumerate(cold):
        beside = f"{warm[number]:.6f}" if number < len(warm) else ""
        lines.append(f"| {number + 1} | {loss:.6f} | {beside} |")
    return "\n".join(lines)


def needed(cold: Sequence[float], warm: Sequence[float]) -> str:
    """In words: after how many iterations going on is where cold ends."""
    reached = [number for number, loss in enumerate(warm, 1) if loss <= cold[-1]]
    if not reached:
        return f"Going on has not reached the loss of {len(cold)} from nothing after {len(warm)}."
    return f"Going on reaches the loss of {len(cold)} from nothing after {reached[0]}."


def main(arguments: list[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=[name for name in SIZES if name != "tiny"], default="S")
    given = parser.parse_args(arguments)
    found = losses(given.size)
    text = f"Log {given.size}. {needed(*found)}\n\n{table(*found)}"
    print(text)
    if given.size != "smoke":
        _page.put("warm", text)


if __name__ == "__main__":
    main()
