"""A small world with everything in it that keeps a song off a playlist."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from recsys import schemas
from recsys.candidates import find_candidates
from recsys.eligibility import barred_songs, cooling_songs, eligible_users
from recsys.explain import MadeEdition
from recsys.matrix import TasteMatrix
from recsys.models import train
from recsys.playlists.making import make_playlists
from recsys.settings import AlsSettings, PlaylistsSettings
from recsys.weeks import Week

WEEK = Week.parse("2026-W47")
EARLIER = ("2026-W45 r1", "2026-W46 r1")
#: Users who are something special; the others are ordinary.
AWAY, SATED, SKIPPER, SAVER, NEWCOMER = range(5)


@dataclass
class World:
    """Twelve listeners, forty songs, and some songs with a second track.

    Listener `AWAY` has not listened for long, `SATED` has heard everything, `SKIPPER` holds to
    nothing, `SAVER` saved two songs without playing them, `NEWCOMER` has played two songs.
    """

    seed: int
    rules: PlaylistsSettings
    count: int
    folder: Path
    artists_in_all: int = 9
    users: int = 12
    songs: int = 40

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        shape = (self.users, self.songs)
        self.strength = np.where(rng.random(shape) < 0.2, rng.gamma(2.0, 0.5, shape) + 0.1, 0.0)
        self.strength[:, -3:] = 0
        self.heard = (self.strength > 0) | (rng.random(shape) < 0.05)
        self.disliked = ~self.heard & (rng.random(shape) < 0.03)
        self.heard[SATED] = True
        self.strength[SKIPPER] = 0
        self.heard[SKIPPER, :6] = True
        self.strength[NEWCOMER, 2:-3] = 0
        self.strength[NEWCOMER, :2] = 1
        self.heard[NEWCOMER, :2] = True
        self.saved = np.zeros(shape, bool)
        self.saved[SAVER, rng.choice(self.songs - 3, 2, replace=False)] = True
        self.strength[self.saved] = 1.5
        self.heard[self.saved] = self.disliked[self.saved] = False
        self.artists = [
            frozenset(rng.integers(0, self.artists_in_all, rng.integers(0, 3)).tolist())
            for _ in range(self.songs)
        ]
        self.available = rng.random(self.songs) > 0.05
        self.second = np.flatnonzero(rng.random(self.songs) < 0.3)
        self.blocked = frozenset(f"track {song:02}" for song in rng.choice(self.songs, 2))
        self.last_heard = dt.date(2026, 11, 3)
        self.cooling = {
            name: [rng.choice(self.songs, 3, replace=False) for _ in range(self.users)]
            for name in EARLIER
        }

    @cached_property
    def track_ids(self) -> dict[str, int]:
        """Every track and its song, by id."""
        first = {f"track {song:02}": song for song in range(self.songs)}
        return dict(sorted((first | {f"track {song:02} b": song for song in self.second}).items()))

    @cached_property
    def matrix(self) -> TasteMatrix:
        strength = csr_matrix(self.strength.astype(np.float32))
        track = list(self.track_ids)
        row_of = {name: row for row, name in enumerate(track)}
        played = [row_of[f"track {song:02}"] for song in strength.indices]
        user = np.repeat(np.arange(self.users), np.diff(strength.indptr))
        saved = self.saved[user, strength.indices]
        names = range(self.songs)
        return TasteMatrix(
            users=pa.table(
                {
                    "user_id": [f"user {user:02}" for user in range(self.users)],
                    "last_heard": pa.array([self.last_heard] * self.users, pa.date32()),
                    "eligible": [user != AWAY for user in range(self.users)],
                }
            ),
            songs=pa.table(
                {
                    "song_key": [f"key {song:02}" for song in names],
                    "track_id": [f"track {song:02}" for song in names],
                    "track_name": pa.array([f"Song {song}" for song in names], pa.string()),
                    "artist_ids": [[f"a{one}" for one in sorted(self.artists[s])] for s in names],
                    "artist_names": [[f"A{one}" for one in sorted(self.artists[s])] for s in names],
                    "available": self.available,
                    "listeners": (self.strength > 0).sum(axis=0),
                    "popularity": self.strength.sum(axis=0).round(6),
                }
            ),
            tracks=pa.table(
                {"track_id": track, "song": pa.array(self.track_ids.values(), pa.int32())}
            ),
            strength=strength,
            played_track=np.where(saved, -1, played).astype(np.int32),
            excluded=csr_matrix(self.heard | self.disliked),
        )

    def make(self) -> MadeEdition:
        """Make the edition, as the stages do."""
        matrix = self.matrix
        model = train(matrix, AlsSettings(factors=6, iterations=6), seed=self.seed)
        self.folder.mkdir(parents=True, exist_ok=True)
        cooling = {name: self._write_earlier(name) for name in EARLIER}
        users = eligible_users(matrix)
        candidates = find_candidates(
            model, matrix, users, count=self.count,
            barred=barred_songs(matrix, self.blocked),
            cooling=cooling_songs(matrix, users, list(cooling.values())),
        )  # fmt: skip
        make_playlists(
            matrix, model, candidates, cooling=list(cooling.values()), blocked=self.blocked,
            week=WEEK, settings=self.rules, out=self.folder,
        )  # fmt: skip
        return MadeEdition(
            week=WEEK,
            revision=1,
            matrix=matrix,
            model=model,
            candidates=candidates,
            playlists=self.folder / "playlists.parquet",
            cooling=cooling,
            taste=self._write_taste(),
            blocked=self.blocked,
            rules=self.rules,
            new=None,
        )

    def _write_earlier(self, name: str) -> Path:
        week = Week.parse(name.split()[0])
        rows = [
            {
                "edition": str(week),
                "user_id": f"user {user:02}",
                "kind": "personal",
                "tracks": [_track(place, f"track {song:02}") for place, song in enumerate(songs)],
                "relaxed": [],
                "valid_from": week.monday,
                "valid_until": week.sunday,
            }
            for user, songs in enumerate(self.cooling[name])
        ]
        path = self.folder / f"{week}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schemas.PLAYLISTS), path)
        return path

    def _write_taste(self) -> Path:
        rows = [
            {
                "user_id": f"user {user:02}",
                "track_id": f"track {song:02}",
                **dict.fromkeys(
                    ("plays", "part_plays", "skips", "saves", "likes", "dislikes"), 0.0
                ),
                "heard": bool(self.heard[user, song]),
                "disliked": bool(self.disliked[user, song]),
                "last_heard": self.last_heard if self.heard[user, song] else None,
            }
            for user, song in zip(*np.nonzero(self.heard | self.disliked | self.saved), strict=True)
        ]
        path = self.folder / "taste.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schemas.TASTE), path)
        return path

    def rows(self) -> dict[int, dict[str, Any]]:
        """The playlists that were made, by user."""
        table = pq.read_table(self.folder / "playlists.parquet").to_pylist()
        return {int(row["user_id"].split()[1]): row for row in table}

    def scores(self, edition: MadeEdition) -> npt.NDArray[np.float64]:
        """Every score, dense."""
        return edition.model.user_factors @ edition.model.item_factors.astype(np.float64).T


def _track(place: int, track_id: str) -> dict[str, Any]:
    return {
        "position": place + 1,
        "track_id": track_id,
        "track_name": None,
        "artist_names": [],
        "score": 1.0,
        "source": "als",
        "because_track_id": None,
    }
