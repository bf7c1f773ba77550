"""The logs that everything is measured on: simulated, seeded, made once and kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import duckdb

from recsys.simulate import World, simulate
from recsys.simulate._simulation import written

#: The edition that is made, and the one of the week after.
WEEK, FOLLOWING = "2026-W47", "2026-W48"
CUTOFF: Final = date(2026, 11, 15)
#: 56 days before the cutoff, and the seven that are held out and then make the following week.
_DAYS: Final = 63
_LISTENS_PER_DAY: Final = 4.1

#: Listeners, tracks, artists.
SIZES: Final = {
    "tiny": (100, 300, 60),
    "smoke": (300, 600, 120),
    "S": (20_000, 20_000, 2_000),
    "M": (200_000, 100_000, 10_000),
}


@dataclass(frozen=True)
class Log:
    """A log on disk.

    Attributes:
        name: its size.
        folder: where it was written.
        rows: listens before the cutoff, damaged ones included.
    """

    name: str
    folder: Path
    rows: int

    @property
    def source(self) -> Path:
        """``date=…/listens.parquet``."""
        return self.folder / "log"

    @property
    def new_songs(self) -> Path:
        """``user_id`` and ``song_id`` of what was heard for the first time in the week after."""
        return self.folder.with_name(f"{self.folder.name}-new-songs.parquet")

    @property
    def songs(self) -> Path:
        """``track_id`` and the true ``song_id`` of every track."""
        return self.folder / "truth" / "catalogue.parquet"


def open_log(size: str, cache: Path) -> Log:
    """A log of :data:`SIZES`; made where it is not there yet."""
    listeners, tracks, artists = SIZES[size]
    return world_log(
        size,
        World(
            listeners=listeners,
            tracks=tracks,
            artists=artists,
            listens_per_day=_LISTENS_PER_DAY,
            days=_DAYS,
            last_day=CUTOFF + timedelta(days=6),
        ),
        cache,
    )


def world_log(name: str, world: World, cache: Path) -> Log:
    """The log of a world; made where it is not there yet, or is another world's."""
    folder = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    found = written(folder)
    if found is None or found.facts["world"] != world.settings():
        print(f"Simulating {name}: {world.listeners:,} listeners, {world.tracks:,} tracks")
        simulate(world).write(folder, "parquet")
    rows = duckdb.sql(
        f"SELECT sum(rows)::BIGINT FROM '{folder}/truth/days.parquet' WHERE date < '{CUTOFF}'"
    ).fetchall()
    log = Log(name, folder, rows[0][0])
    if not log.new_songs.exists() or found is None:
        _write_new_songs(log)
    return log


def _write_new_songs(log: Log) -> None:
    duckdb.sql(
        f"""
        COPY (
            SELECT user_id, song_id
            FROM '{log.source}/*/listens.parquet' JOIN '{log.songs}' USING (track_id)
            WHERE event = 'play' AND NOT coalesce(private, false) AND listened_at IS NOT NULL
                AND user_id IS NOT NULL
            GROUP BY ALL
            HAVING min(listened_at) >= TIMESTAMPTZ '{CUTOFF} 00:00:00+00'
            ORDER BY ALL
        ) TO '{log.new_songs}'
        """
    )
