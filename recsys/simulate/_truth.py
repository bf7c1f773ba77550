"""What listeners would really like, and playlists measured against it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import columns as c
from recsys.errors import ArtefactError
from recsys.simulate._catalogue import Floats, Ints, make_catalogue
from recsys.simulate._listeners import (
    TASTES,
    Bools,
    Kind,
    affinity,
    chance_of_liking,
    make_listeners,
)
from recsys.simulate._world import World

_WORLD: Final = "world.json"
_HEARD: Final = "heard.parquet"
_LISTENERS: Final = "listeners.parquet"
_CATALOGUE: Final = "catalogue.parquet"
_BLOCK: Final = 512


@dataclass(frozen=True, kw_only=True)
class PlaylistScore:
    """Mean chance, 0 to 1, that a listener really likes a track of a list as long as theirs."""

    #: Listeners scored; machines like nothing and are left out.
    listeners: int
    tracks: int
    #: Of the playlists.
    affinity: float
    #: Of the best songs that were out, available and not heard: no recommender can do better.
    best: float
    #: Of the most popular ones.
    popular: float
    #: Of all of them, which is what picking at random would give.
    random: float

    @property
    def attained(self) -> float:
        """How far from random (0) to the best possible (1)."""
        return (self.affinity - self.random) / max(self.best - self.random, 1e-12)

    def __str__(self) -> str:
        return (
            f"affinity {self.affinity:.3f} over {self.listeners} listeners "
            f"(best possible {self.best:.3f}, popular {self.popular:.3f}, "
            f"random {self.random:.3f}: {self.attained:.0%} of the way)"
        )


class Truth:
    """What each listener of a world would really like, on any day of it.

    Tastes and songs are drawn again from the world's settings; what was heard is kept.
    """

    def __init__(self, world: World, heard: pa.Table) -> None:
        self.world = world
        self._catalogue = make_catalogue(world)
        self._listeners = make_listeners(world, self._catalogue)
        self._track_ids = self._catalogue.table[c.TRACK_ID].combine_chunks()
        self._heard = heard

    @classmethod
    def open(cls, folder: Path) -> Truth:
        """Open the ``truth`` folder that :meth:`Simulation.write` made.

        Raises:
            ArtefactError: the folder holds no truth, or another version's.
        """
        try:
            settings = json.loads((folder / _WORLD).read_text(encoding="utf-8"))
            heard, listeners, catalogue = (
                pq.read_table(folder / name) for name in (_HEARD, _LISTENERS, _CATALOGUE)
            )
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"{folder} holds no truth of a simulation ({error}): expected {_WORLD} and "
                f"{_HEARD}, as `python -m recsys.simulate OUT` writes into OUT/truth."
            ) from error
        truth = cls(World.from_settings(settings), heard)
        if truth.listeners != listeners or truth._catalogue.table != catalogue:
            raise ArtefactError(
                f"{folder} was written by another version of the simulator or of NumPy, which "
                "drew other listeners and tracks: write the simulation anew."
            )
        return truth

    def save(self, folder: Path) -> None:
        """Write what :meth:`open` reads: the settings, what was heard, the listeners and tracks."""
        settings = json.dumps(self.world.settings(), indent=1)
        (folder / _WORLD).write_text(settings + "\n", encoding="utf-8")
        pq.write_table(self._heard, folder / _HEARD, compression="zstd")
        pq.write_table(self._listeners.table(self.world), folder / _LISTENERS)
        pq.write_table(self._catalogue.table, folder / _CATALOGUE)

    @property
    def listeners(self) -> pa.Table:
        """One row per listener: ``user_id``, ``kind``, ``joined_on``, ``left_on``, habits."""
        return self._listeners.table(self.world)

    def affinity(self, user_id: str, track_ids: Sequence[str], on: date) -> Floats:
        """The chance that a listener would really like each track on a day.

        Args:
            user_id: the listener; a machine likes nothing.
            track_ids: tracks of the catalogue.
            on: the day; tastes drift.

        Returns:
            float64 [tracks] in 0 to 1.

        Raises:
            ArtefactError: the world has no such listener or track.
        """
        tracks = _rows(pa.array(track_ids, pa.string()), self._track_ids, "track", self.world)
        user = _rows(pa.array([user_id]), self._listeners.ids, "listener", self.world)
        return self._pairs(np.repeat(user, len(tracks)), tracks, on)

    def score(self, playlists: pa.Table) -> PlaylistScore:
        """Measure playlists, each on the first day that it is valid.

        Args:
            playlists: of schema ``recsys.schemas.PLAYLISTS``, all of one edition.

        Raises:
            ArtefactError: a listener or track is not of this world, or there is no playlist of a
                person, or there are several editions.
        """
        days = pc.unique(playlists[c.VALID_FROM]).to_pylist()
        if len(days) > 1:
            raise ArtefactError(f"Playlists of {len(days)} editions were given: score one at once.")
        users = _rows(playlists[c.USER_ID], self._listeners.ids, "listener", self.world)
        lists = playlists[c.TRACKS].combine_chunks()
        lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
        tracks = _rows(lists.flatten().field(c.TRACK_ID), self._track_ids, "track", self.world)
        people = self._listeners.kind[users] != Kind.ROBOT
        scored = people & (lengths > 0)
        if not scored.any():
            raise ArtefactError("There is no playlist of a person to score.")
        of_people = np.repeat(scored, lengths)
        pairs = self._pairs(np.repeat(users, lengths)[of_people], tracks[of_people], days[0])
        best, popular, random = self._bounds(users[scored], days[0], int(lengths.max()))
        return PlaylistScore(
            listeners=int(np.count_nonzero(scored)),
            tracks=len(pairs),
            affinity=round(float(pairs.mean()), 6),
            best=round(best, 6),
            popular=round(popular, 6),
            random=round(random, 6),
        )

    def _pairs(self, users: Ints, tracks: Ints, on: date) -> Floats:
        tastes = self._listeners.tastes_on(self.world.day(on))
        songs = self._catalogue.song[tracks]
        liking = affinity(self._catalogue, tastes, users, songs)
        liking[self._listeners.kind[users] == Kind.ROBOT] = 0.0
        return liking

    def _bounds(self, users: Ints, on: date, length: int) -> tuple[float, float, float]:
        """Mean affinity of the best, the most popular, and all songs that could be offered."""
        day = self.world.day(on)
        tastes = self._listeners.tastes_on(day)
        songs = self._offered(day)
        length = min(length, len(songs))
        vectors = self._catalogue.song_vectors[songs].T
        sums = np.zeros(3)
        for at in range(0, len(users), _BLOCK):
            block = users[at : at + _BLOCK]
            cosine = tastes[block, 0] @ vectors
            for taste in range(1, TASTES):
                np.maximum(cosine, tastes[block, taste] @ vectors, out=cosine)
            new = ~self._heard_by(block, day)[:, songs]
            liking = chance_of_liking(cosine + self._catalogue.song_appeal[songs]) * new
            top = -np.partition(-liking, length - 1, axis=1)[:, :length]
            charts = new & (np.cumsum(new, axis=1) <= length)
            many = np.maximum(np.count_nonzero(new, axis=1), 1)
            sums[0] += top.mean(axis=1).sum()
            sums[1] += ((liking * charts).sum(axis=1) / np.minimum(many, length)).sum()
            sums[2] += (liking.sum(axis=1) / many).sum()
        best, popular, random = (sums / len(users)).tolist()
        return best, popular, random

    def _offered(self, day: int) -> Ints:
        """The songs that are out and available, most popular first."""
        catalogue = self._catalogue
        available = catalogue.table[c.AVAILABLE].to_numpy()
        count = len(catalogue.song_released)
        there = np.bincount(catalogue.song, available, count) > 0
        popularity = np.bincount(catalogue.song, catalogue.popularity, count)
        songs = np.flatnonzero(there & (catalogue.song_released <= day))
        return songs[np.argsort(-popularity[songs], kind="stable")]

    def _heard_by(self, users: Ints, day: int) -> Bools:
        """Whether each of ``users`` had heard each song before a day; bool [users, songs]."""
        heard_user = self._heard["listener"].to_numpy()  # ascending
        first, last = np.searchsorted(heard_user, [users, users + 1])
        counts = last - first
        rows = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        before = self._heard["first_day"].to_numpy()[rows] < day
        heard = np.zeros((len(users), len(self._catalogue.song_released)), np.bool_)
        song = self._heard["song"].to_numpy()[rows]
        heard[np.repeat(np.arange(len(users)), counts)[before], song[before]] = True
        return heard


def _rows(ids: Any, known: pa.Array, what: str, world: World) -> Ints:
    found = pc.index_in(ids, known)
    if found.null_count:
        strange = pc.filter(ids, pc.is_null(found))[0]
        shown = f" {strange}" if what == "track" else ""
        raise ArtefactError(
            f"{found.null_count} ids name no {what} of this world{shown} "
            f"(seed {world.seed}): the playlists were made from another log."
        )
    rows: Ints = found.to_numpy(zero_copy_only=False).astype(np.int64)
    return rows
