"""A home with one past edition and the listening since, for tests of hindsight."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys import artefact, schemas
from recsys.artefact import Artefact
from recsys.hindsight import look_back
from recsys.home import Home
from recsys.plan import Plan, days_digest
from recsys.plays import DAILY_PLAYS
from recsys.weeks import Week

PAST = Week.parse("2026-W46")
MONDAY = PAST.monday
COUNTS = ("plays", "part_plays", "skips", "saves", "likes", "dislikes")


@dataclass
class World:
    """A home with one past edition, and the listening since; what is left out is empty."""

    folder: Path
    playlists: dict[str, list[str]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    sources: dict[tuple[str, str], str] = field(default_factory=dict)
    #: arrival day -> (user, track, listening day, what)
    log: dict[date, list[tuple[str, str, date, str]]] = field(default_factory=dict)
    heard_before: Sequence[tuple[str, str]] = ()
    remasters: dict[str, str] = field(default_factory=dict)
    forgotten: Sequence[str] = ()
    in_time: bool = True
    weeks_later: int = 1
    #: Rows for a file, or files.
    exposures: Sequence[dict[str, Any]] | Sequence[Path] = ()
    has_taste: bool = True

    @property
    def home(self) -> Home:
        return Home(self.folder / "home", "days", "states")

    def heard(
        self, user: str, track: str, what: str = "plays", day: int = 0, late: int = 0
    ) -> None:
        """An event on a day of the edition's week (0 is its Monday), arriving so much later."""
        on = MONDAY + timedelta(days=day)
        self.log.setdefault(on + timedelta(days=late), []).append((user, track, on, what))

    def look(self, **replaced: Any) -> dict[str, Any]:
        folder = self.home.edition(PAST, 1) / "playlists"
        digest = _write(folder, "playlists.parquet", self._playlists())
        week = PAST + self.weeks_later
        cutoff = week.cutoff(24).date()
        first = MONDAY - timedelta(days=3)
        days = self._days([first + timedelta(days=n) for n in range((cutoff - first).days)])
        if self.has_taste:
            made_from = days_digest(days, PAST.cutoff(24).date())
            _write(self.home.taste(PAST), "taste.parquet", self._taste(), days=made_from)
        catalogue = self.folder / "catalogue.parquet"
        pq.write_table(self._catalogue(), catalogue)
        past = {"edition": str(PAST), "revision": 1, "digest": digest, "in_time": self.in_time}
        past["hindsight"] = None
        plan = {
            "edition": str(week),
            "cutoff": str(cutoff),
            "days": {str(day): digest for day, digest in days.items()},
            "forgotten": list(self.forgotten),
            "past": [past],
        }
        return look_back(
            Plan(plan | replaced),
            self.home,
            catalogue=catalogue,
            exposures=self._exposure_files(),
            spill=self.folder / "spill",
        )

    def edition(self) -> dict[str, Any]:
        found = self.look()
        assert found["left_out"] == []
        (one,) = found["editions"]
        return one

    def _playlists(self) -> pa.Table:
        return pa.Table.from_pylist(
            [
                {
                    "edition": str(PAST),
                    "user_id": user,
                    "kind": self.kinds.get(user, "personal"),
                    "tracks": [
                        {
                            "position": place,
                            "track_id": track,
                            "artist_names": [],
                            "score": 1.0,
                            "source": self.sources.get((user, track), "als"),
                        }
                        for place, track in enumerate(tracks, start=1)
                    ],
                    "relaxed": [],
                    "valid_from": MONDAY,
                    "valid_until": PAST.sunday,
                }
                for user, tracks in sorted(self.playlists.items())
            ],
            schemas.PLAYLISTS,
        )

    def _exposure_files(self) -> list[Path]:
        rows = [row for row in self.exposures if isinstance(row, dict)]
        if not rows:
            return [file for file in self.exposures if isinstance(file, Path)]
        path = self.folder / "exposures.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return [path]

    def _days(self, days: Sequence[date]) -> dict[date, str]:
        """The plays of each day; those without any share a folder."""
        nothing = self.home.plays(date.min)
        empty = _write(nothing, "plays.parquet", self._day(date.min))
        digests = {}
        for day in days:
            folder = self.home.plays(day)
            if day in self.log:
                digests[day] = _write(folder, "plays.parquet", self._day(day))
            else:
                digests[day] = empty
                folder.symlink_to(nothing)
        return digests

    def _taste(self) -> pa.Table:
        row = {"heard": True, "disliked": False} | dict.fromkeys(COUNTS, 1.0)
        rows = [{"user_id": u, "track_id": t} | row for u, t in sorted(self.heard_before)]
        return pa.Table.from_pylist(rows, schemas.TASTE)

    def _day(self, day: date) -> pa.Table:
        counts: dict[tuple[str, str, date], dict[str, int]] = {}
        for user, track, on, what in self.log.get(day, []):
            row = counts.setdefault((user, track, on), dict.fromkeys(COUNTS, 0))
            row[what] += 1
        rows = [
            {"user_id": user, "track_id": track, "listened_on": on, "ms_played": 1, **row}
            for (user, track, on), row in sorted(counts.items())
        ]
        return pa.Table.from_pylist(rows, DAILY_PLAYS)

    def _catalogue(self) -> pa.Table:
        tracks = {track for tracks in self.playlists.values() for track in tracks}
        tracks |= {track for rows in self.log.values() for _, track, _, _ in rows}
        tracks |= {track for _, track in self.heard_before}
        return pa.Table.from_pylist(
            [
                {
                    "track_id": track,
                    "artist_ids": [],
                    "artist_names": [],
                    "available": True,
                    "song_key": self.remasters.get(track, track),
                }
                for track in sorted(tracks)
            ],
            schemas.CATALOGUE,
        )


def _write(folder: Path, name: str, table: pa.Table, **inputs: str) -> str:
    with artefact.write(folder, stage=folder.name, version=1) as draft:
        pq.write_table(table, draft.path / name, row_group_size=2)
        draft.inputs.update(inputs)
    return Artefact.open(folder).digest
