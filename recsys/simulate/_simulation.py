"""A world, played through day by day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import artefact
from recsys.errors import ResourceError, SettingsError
from recsys.progress import progress
from recsys.simulate._catalogue import Catalogue, Ints, make_catalogue
from recsys.simulate._delivery import Delivery
from recsys.simulate._listeners import make_listeners
from recsys.simulate._listening import PLAY, Events, Listening
from recsys.simulate._log import LogFormat, LogWriter
from recsys.simulate._truth import Truth
from recsys.simulate._world import Stream, World

STAGE: Final = "simulation"
_VERSION: Final = 1


class Simulation:
    """One world's catalogue, log and truth. Nothing is kept of a day once it is handed out."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._catalogue = make_catalogue(world)
        self._listeners = make_listeners(world, self._catalogue)
        self._writer = LogWriter(self._catalogue, self._listeners)

    @property
    def catalogue(self) -> pa.Table:
        """One row per track: ``recsys.schemas.CATALOGUE`` without the song key, and ``song_id``
        (the true song that the track is a version of) and ``released_on``.
        """
        return self._catalogue.table

    def days(self) -> Iterator[tuple[date, pa.Table]]:
        """The arrival days in order, each with its sound rows in the canonical Listen columns.

        Late events and duplicates are among them; damaged rows are only in what :meth:`write`
        writes. Memory is bounded by the busiest day.
        """
        for day, events in self._arrivals():
            yield self._date(day), self._writer.table(events)

    @cached_property
    def truth(self) -> Truth:
        """What the listeners would really like; plays the world through for what they heard."""
        heard = _Heard(self._catalogue)
        for _ in self._arrivals(heard):
            pass
        return Truth(self.world, heard.table())

    def write(self, path: Path, log_format: LogFormat = "jsonl") -> artefact.Artefact:
        """Write the log, with damaged rows, and the truth; all of it or nothing.

        ``path/log/date=YYYY-MM-DD/`` holds the log, ``path/truth/`` what :meth:`Truth.open` reads
        and ``days.parquet``: per arrival day how many rows there are, and how many of them are
        late, duplicate (and not private), private, a machine's or damaged. An older simulation
        there is replaced.

        Args:
            path: the folder to write.
            log_format: ``"jsonl"`` (gzip; every kind of damage) or ``"parquet"`` (zstd; only the
                damage that typed columns can hold).

        Raises:
            ResourceError: the disk is full, or ``path`` holds something else.
            SettingsError: there is no such format.
        """
        if log_format not in ("jsonl", "parquet"):
            raise SettingsError(f"The log format {log_format!r} is none of jsonl, parquet.")
        written(path)
        heard = _Heard(self._catalogue)
        counts: list[dict[str, object]] = []
        with artefact.write(path, stage=STAGE, version=_VERSION, seed=self.world.seed) as draft:
            arrivals = progress(self._arrivals(heard), "simulated days", self.world.days)
            for day, events in arrivals:
                random = self.world.random(Stream.DAMAGE, day)
                damaged = int(random.poisson(self.world.broken * len(events)))
                folder = draft.path / "log" / f"date={self._date(day).isoformat()}"
                folder.mkdir(parents=True)
                self._writer.write(folder, events, damaged, random, log_format)
                counts.append({"date": self._date(day), **_count(events, damaged)})
            truth = draft.path / "truth"
            truth.mkdir()
            Truth(self.world, heard.table()).save(truth)
            days = pa.Table.from_pylist(counts)
            pq.write_table(days, truth / "days.parquet")
            draft.rows = {name: sum(days[name].to_pylist()) for name in days.column_names[1:]}
            draft.facts = {"world": self.world.settings(), "log_format": log_format}
        return artefact.Artefact.open(path)

    def _arrivals(self, heard: _Heard | None = None) -> Iterator[tuple[int, Events]]:
        listening = Listening(self.world, self._catalogue, self._listeners)
        delivery = Delivery(self.world)
        for day in range(self.world.days):
            events = listening.day(day)
            if heard is not None:
                heard.add(events)
            yield day, delivery.day(day, events)

    def _date(self, day: int) -> date:
        return self.world.first_day + timedelta(days=day)


def written(path: Path) -> artefact.Artefact | None:
    """The simulation in ``path``, or None where there is nothing.

    Raises:
        ResourceError: ``path`` is or holds something else.
    """
    if artefact.exists(path):
        found = artefact.Artefact.open(path)
        if found.manifest["stage"] == STAGE:
            return found
    elif not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    raise ResourceError(f"{path} holds something that is not a simulation: name another folder.")


def simulate(world: World) -> Simulation:
    """Set up a world; its days are played when they are asked for.

    >>> simulation = simulate(World(listeners=20, artists=5, tracks=40, days=3))
    >>> [str(day) for day, listens in simulation.days()]
    ['2026-11-12', '2026-11-13', '2026-11-14']
    """
    return Simulation(world)


class _Heard:
    """The day on which each listener first heard each song; 8 bytes per listener, song and day."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._song = catalogue.song
        self._songs = len(catalogue.song_released)
        self._pairs: list[Ints] = []

    def add(self, events: Events) -> None:
        """Take in the next day; private sessions are nobody's business."""
        plays = events[(events["event"] == PLAY) & ~events["private"]]
        pairs = plays["user"].astype(np.int64) * self._songs + self._song[plays["track"]]
        self._pairs.append(np.unique(pairs))

    def table(self) -> pa.Table:
        """Rows of listeners and songs and the first day, sorted by listener and song."""
        day = np.repeat(np.arange(len(self._pairs)), [len(pairs) for pairs in self._pairs])
        pairs, first = np.unique(np.concatenate(self._pairs), return_index=True)
        columns = {
            "listener": pairs // self._songs,
            "song": pairs % self._songs,
            "first_day": day[first],
        }
        return pa.table({name: column.astype(np.int32) for name, column in columns.items()})


def _count(events: Events, damaged: int) -> dict[str, int]:
    private = events["private"]
    return {
        "rows": len(events) + damaged,
        "late": int(np.count_nonzero(events["late"])),
        "duplicate": int(np.count_nonzero(events["duplicate"] & ~private)),
        "private": int(np.count_nonzero(private)),
        "robot": int(np.count_nonzero(events["robot"])),
        "broken": damaged,
    }
