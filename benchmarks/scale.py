"""What a week of a very large service comes to, by the measured cost of a row: docs/scale.md.

    python -m benchmarks.scale

Puts the table into the page. Every figure of it is a product of two others: a cost in `COSTS`,
which says where it was measured, and a number of rows in `WORLD`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import _page

PAGE: Final = Path("docs/scale.md")


@dataclass(frozen=True)
class World:
    """The service that is asked for.

    Attributes:
        listeners: who ever came.
        eligible: of them, in the last 28 days.
        tracks: of the catalogue.
        log_bytes: of a day.
        row_bytes: of a listen in the log.
        plays: distinct listener, track and day, of the day's listens.
        pairs: tracks that a listener has heard, ever.
        factors: of the model.
        iterations: of the training.
        cores: of the cluster.
    """

    listeners: float = 75e6
    eligible: float = 0.6
    tracks: float = 30e6
    log_bytes: float = 1e12
    row_bytes: float = 450
    plays: float = 0.87
    pairs: float = 500
    factors: int = 64
    iterations: int = 15
    cores: int = 800


WORLD: Final = World()
#: Of the cores' time: the rest is waiting, for stragglers and for the next job.
BUSY: Final = 0.7


@dataclass(frozen=True)
class Cost:
    """What a row costs.

    Attributes:
        stage: it is of.
        unit: what a row is.
        microseconds: of a core, a row.
        shuffled: bytes a row.
        stored: bytes a row, in the artefact.
        source: where it was measured.
    """

    stage: str
    unit: str
    microseconds: float
    shuffled: float
    stored: float
    source: str


_ROWS: Final = "`benchmarks.spark_rows`, even log"
_WIDE: Final = "`--only candidates`, 1,000,000 tracks"
_M: Final = "size M, two executors of 1 GiB"
COSTS: Final = {
    "clean": Cost("CleanListens", "listen of the week", 17, 57, 25, _ROWS),
    "plays": Cost("DailyPlays", "listen of the week", 8.4, 64, 8, _ROWS),
    "taste": Cost("TasteState", "pair of before, and play of the week", 4.6, 16, 7, _M),
    "catalogue": Cost("TrackCatalogue", "track told by a day", 22, 13, 27, _M),
    "matrix": Cost("UserTrackMatrix", "pair", 9.5, 49, 8.6, _M),
    "training": Cost("AlsModel: entries", "pair and iteration", 3.4, 0, 0, _ROWS),
    "solving": Cost("AlsModel: rows", "listener or track, and iteration", 45, 0, 0, _ROWS),
    "folding": Cost("Candidates: folding in", "eligible listener", 230, 0, 1600, _ROWS),
    "scoring": Cost("Candidates: scoring", "eligible listener and track", 0.00069, 0, 0, _WIDE),
    "playlists": Cost("Playlists", "eligible listener", 281, 0, 407, _M),
    "gate": Cost("PlaylistGate", "eligible listener", 617, 0, 0, _M),
}


def rows(world: World) -> dict[str, float]:
    """How many rows each stage of a week has.

    >>> f"{rows(WORLD)['clean']:.2e}"
    '1.56e+10'
    """
    listens = 7 * world.log_bytes / world.row_bytes
    pairs = world.listeners * world.pairs
    eligible = world.listeners * world.eligible
    return {
        "clean": listens,
        "plays": listens,
        "taste": pairs + listens * world.plays,
        "catalogue": 8 * world.tracks,  # a week of days, and the catalogue of before
        "matrix": 2 * pairs,  # this week's, and the one a week back
        "training": 2 * pairs * world.iterations,  # and its challenger
        "solving": 2 * (world.listeners + world.tracks) * world.iterations,
        "folding": eligible,
        "scoring": eligible * world.tracks,
        "playlists": eligible,
        "gate": eligible,
    }


def table(world: World) -> str:
    """Markdown: a row for each stage."""
    lines = [
        "| stage | a row is a | rows | µs each | core-hours | hours | shuffled | kept | source |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    total = 0.0
    for name, count in rows(world).items():
        cost = COSTS[name]
        core_hours = count * cost.microseconds / 3.6e9
        total += core_hours
        cells = [
            cost.stage, cost.unit, _short(count), f"{cost.microseconds:g}", f"{core_hours:,.0f}",
            f"{core_hours / world.cores / BUSY:.1f}", _bytes(count * cost.shuffled),
            _bytes(count * cost.stored), cost.source,
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    hours = total / world.cores / BUSY
    lines.append(f"| a week | | | | {total:,.0f} | {hours:.1f} | | | |")
    return "\n".join(lines)


def _short(count: float) -> str:
    """
    >>> _short(1.56e10)
    '15.6 G'
    """
    for unit, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:g}"


def _bytes(count: float) -> str:
    return f"{_short(count)}B" if count else ""


if __name__ == "__main__":
    _page.put("scale", table(WORLD), PAGE)
