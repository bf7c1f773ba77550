"""The settings of a simulated world, and where its randomness comes from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import date, timedelta
from enum import IntEnum
from typing import Any

import numpy as np

from recsys.errors import SettingsError


class Stream(IntEnum):
    """Independent streams of random numbers, so that one part never shifts another."""

    CATALOGUE = 0
    NAMES = 1
    LISTENERS = 2
    LISTENING = 3
    DELIVERY = 4
    DAMAGE = 5


@dataclass(frozen=True, kw_only=True)
class World:
    """The settings of a simulated world; equal settings give equal bytes.

    Raises:
        SettingsError: names every setting that is out of range, and the range.

    >>> World(listeners=0)
    Traceback (most recent call last):
        ...
    recsys.errors.SettingsError: This world cannot be simulated:
      - listeners = 0: expected a number from 1 to 10000000
    """

    listeners: int = 1500
    artists: int = 600
    #: Track ids in all: every song once, and the other versions of some songs.
    tracks: int = 8000
    days: int = 56
    #: The last arrival day. The default is the last day that counts for edition 2026-W47.
    last_day: date = date(2026, 11, 14)
    #: Mean listens per listener and day.
    listens_per_day: float = 5.0
    seed: int = 7
    genres: int = 18
    #: Dimensions of the space that tracks and tastes live in.
    dimensions: int = 16
    #: Share of the tracks that are another version of a song: a remaster, a bonus track.
    versions: float = 0.06
    #: Share of the songs that credit two or three artists.
    collaborations: float = 0.10
    #: Share of the songs that come out while the log is being written.
    releases: float = 0.10
    #: Share of the listeners that join in the second half.
    newcomers: float = 0.12
    #: Share of the listeners that come once, in the last seven days, for 1 to 3 tracks;
    #: a third of them skip all they hear.
    visitors: float = 0.03
    #: Share of the listeners that stop listening at some time.
    lapsed: float = 0.05
    #: Share of the listeners that are machines: a few tracks, over and over, day and night.
    robots: float = 0.002
    #: Share of the listening sessions that are private.
    private: float = 0.03
    #: Share of the events that arrive 1 to 5 days late.
    late: float = 0.02
    #: Share of the events that arrive a second time, up to 7 days after the first.
    duplicates: float = 0.01
    #: Damaged rows, as a share of the sound ones.
    broken: float = 0.003

    def __post_init__(self) -> None:
        problems = [
            f"{name} = {getattr(self, name)!r}: expected a number from {low} to {high}"
            for name, (low, high) in _RANGES.items()
            if not low <= getattr(self, name) <= high
        ]
        if self.tracks < self.artists:
            problems.append(f"tracks = {self.tracks}: expected at least one for each artist")
        if self.newcomers + self.visitors + self.lapsed + self.robots > 1:
            problems.append("newcomers, visitors, lapsed and robots: expected a sum of at most 1")
        if problems:
            lines = "\n".join(f"  - {problem}" for problem in problems)
            raise SettingsError(f"This world cannot be simulated:\n{lines}")

    @property
    def first_day(self) -> date:
        """The first arrival day."""
        return self.last_day - timedelta(days=self.days - 1)

    def day(self, date_: date) -> int:
        """How many days ``date_`` is after the first one."""
        return (date_ - self.first_day).days

    def settings(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        return {**dataclasses.asdict(self), "last_day": self.last_day.isoformat()}

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> World:
        """The inverse of :meth:`settings`."""
        return cls(**{**settings, "last_day": date.fromisoformat(settings["last_day"])})

    def random(self, stream: Stream, *key: int) -> np.random.Generator:
        """The random numbers of one stream; days are keys, so each day has its own."""
        seeds = np.random.SeedSequence(self.seed, spawn_key=(stream, *key))
        return np.random.Generator(np.random.PCG64(seeds))


_SHARE = (0.0, 1.0)
_RANGES: dict[str, tuple[float, float]] = {
    "listeners": (1, 10_000_000),
    "artists": (1, 1_000_000),
    "tracks": (1, 10_000_000),
    "days": (1, 3660),
    "listens_per_day": (0.01, 100),
    "seed": (0, 2**31 - 1),
    "genres": (1, 1000),
    "dimensions": (2, 256),
    "versions": _SHARE,
    "collaborations": _SHARE,
    "releases": _SHARE,
    "newcomers": _SHARE,
    "visitors": _SHARE,
    "lapsed": _SHARE,
    "robots": _SHARE,
    "private": _SHARE,
    "late": _SHARE,
    "duplicates": _SHARE,
    "broken": _SHARE,
}
