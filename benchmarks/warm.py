"""How soon a model that goes on from last week's is as good as one trained from nothing.

    python -m benchmarks.warm [--size smoke|S|M]

The listeners' tastes drift in the simulated log, and all see the same week. Beside both ways there
is alternating as everybody does it, without momentum. The table goes into ``docs/benchmarks.md``;
that of ``--size smoke`` is printed only.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks import _page
from benchmarks._logs import CUTOFF, SIZES, open_log
from benchmarks.ours import read
from recsys.matrix import TasteMatrix
from recsys.models import train
from recsys.models._loss import loss
from recsys.models._objective import Objective, confidences
from recsys.models._sweep import sweep
from recsys.settings import AlsSettings

CACHE: Final = Path("data/bench")
PLAIN, COLD, WARM = "from nothing, without momentum", "from nothing", "going on"


def plain(matrix: TasteMatrix, settings: AlsSettings) -> list[float]:
    """The loss after each iteration of alternating and nothing else."""
    observed, objective = confidences(matrix.strength, settings.alpha), Objective.of(settings)
    by_song = observed.T.tocsr()
    random = np.random.default_rng(1)
    users = np.zeros((observed.shape[0], settings.factors), np.float32)
    songs = random.random((observed.shape[1], settings.factors), np.float32) * np.float32(0.01)
    losses = []
    for _ in range(settings.iterations):
        sweep(observed, users, songs, objective, steps=2)
        sweep(by_song, songs, users, objective, steps=2)
        losses.append(loss(observed, users, songs, objective))
    return losses


def losses(size: str) -> dict[str, Sequence[float]]:
    """The loss after each iteration on the following week, by the way it is trained.

    Args:
        size: of the log.
    """
    log, settings = open_log(size, CACHE), AlsSettings()
    parent = train(read(log.source, str(CUTOFF)), settings, seed=1)
    following = read(log.source, str(CUTOFF + timedelta(days=7)))
    return {
        PLAIN: plain(following, settings),
        COLD: train(following, settings, seed=1).loss,
        WARM: train(following, settings, seed=1, parent=parent).loss,
    }


def table(found: Mapping[str, Sequence[float]]) -> str:
    """Markdown: a row an iteration."""
    lines = [f"| iteration | {' | '.join(found)} |", "|---|" + "---|" * len(found)]
    for number in range(max(map(len, found.values()))):
        cells = (f"{each[number]:.6f}" if number < len(each) else "" for each in found.values())
        lines.append(f"| {number + 1} | {' | '.join(cells)} |")
    return "\n".join(lines)


def needed(found: Mapping[str, Sequence[float]]) -> str:
    """In words: after how many iterations each is where alternating ends."""
    count, target = len(found[PLAIN]), found[PLAIN][-1]
    said = []
    for name in (COLD, WARM):
        reached = [number for number, one in enumerate(found[name], 1) if one <= target]
        said.append(f"{name} after {reached[0]}" if reached else f"{name} not at all")
    return f"The loss of {count} iterations without momentum is reached {', '.join(said)}."


def main(arguments: list[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=[name for name in SIZES if name != "tiny"], default="S")
    given = parser.parse_args(arguments)
    found = losses(given.size)
    text = f"Log {given.size}. {needed(found)}\n\n{table(found)}"
    print(text)
    if given.size != "smoke":
        _page.put("warm", text)


if __name__ == "__main__":
    main()
