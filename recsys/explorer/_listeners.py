"""One listener: what they listen to, what they got, and why."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import artefact
from recsys.artefact import MANIFEST, Artefact
from recsys.columns import PART_PLAYS, PLAYS
from recsys.errors import ArtefactError, NoSuchUserError
from recsys.explain import Listed, Listener, MadeEdition, open_edition
from recsys.explorer._editions import Known
from recsys.home import Home
from recsys.store import Playlist, Store

#: Tracks of a listener's taste, and listeners that begin alike, that a page shows.
_TRACKS: Final = 30
_LISTENERS: Final = 20
#: Editions kept in memory for their explanations; each is a matrix and a model.
_KEPT: Final = 2


@dataclass(frozen=True)
class Taste:
    """What a listener had listened to when an edition closed its books.

    Attributes:
        tracks: the most played: ``names``, ``plays``, decayed, and ``last_heard``.
        of: how many tracks they have heard in all.
    """

    tracks: list[dict[str, Any]]
    of: int


@dataclass
class Explanations:
    """Editions read back for their explanations, the last few of them kept."""

    home: Home
    _editions: dict[tuple[Path, int], MadeEdition] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def playlist(self, edition: Known, shown: Playlist, store: Store) -> tuple[Listed, ...]:
        """A playlist, each track with what adds up to its score.

        Raises:
            ArtefactError: what the edition was made from is gone.
            NoSuchUserError: likewise, of this listener.
        """
        with self._lock:
            made = self._open(edition.folder)
            listener = Listener(made, shown.user_id, shown=shown.tracks, blocked=store.blocks())
            return listener.playlist()

    def _open(self, folder: Path) -> MadeEdition:
        manifest = folder / "playlists" / MANIFEST
        if not manifest.exists():
            raise ArtefactError(f"{folder} has no playlists.")
        key = (folder, manifest.stat().st_mtime_ns)
        if key not in self._editions:
            while len(self._editions) >= _KEPT:
                del self._editions[next(iter(self._editions))]
            self._editions[key] = open_edition(self.home, folder)
        return self._editions[key]


def taste_of(home: Home, edition: Known, user_id: str) -> Taste | None:
    """What a listener had listened to, or None where the taste state is gone."""
    state = home.taste(edition.week)
    if not artefact.exists(state):
        return None
    rows = pq.read_table(
        Artefact.open(state).file("taste.parquet"),
        columns=["track_id", "heard", PLAYS, PART_PLAYS, "last_heard"],
        filters=[("user_id", "=", user_id), ("heard", "=", True)],
    )
    plays = pc.add(rows[PLAYS], rows[PART_PLAYS])
    rows = rows.append_column("total", plays).sort_by(
        [("total", "descending"), ("last_heard", "descending"), ("track_id", "ascending")]
    )
    top = rows.slice(0, _TRACKS).to_pylist()
    names = track_names(edition, {row["track_id"] for row in top})
    return Taste(
        [
            {
                "names": names.get(row["track_id"], (row["track_id"],)),
                "plays": row["total"],
                "last_heard": row["last_heard"],
            }
            for row in top
        ],
        len(rows),
    )


def track_names(edition: Known, track_ids: Collection[str | None]) -> dict[str, tuple[str, ...]]:
    """Title and artist by track, of those that the edition's catalogue can name."""
    wanted = sorted({one for one in track_ids if one is not None})
    made = edition.folder / "catalogue"
    if not wanted or not artefact.exists(made):
        return {}
    rows = pq.read_table(
        Artefact.open(made).file("catalogue.parquet"),
        columns=["track_id", "track_name", "artist_name"],
        filters=[("track_id", "in", wanted)],
    ).to_pylist()
    return {
        row["track_id"]: tuple(filter(None, (row["track_name"], row["artist_name"])))
        for row in rows
        if row["track_name"]
    }


def listeners_like(edition: Known, begin: str, hidden: Collection[str]) -> list[str]:
    """The first few listeners whose ids begin with some text.

    Args:
        edition: whose listeners.
        begin: as the ids begin.
        hidden: the forgotten.
    """
    made = edition.folder / "playlists"
    if not artefact.exists(made):
        return []
    ids = pq.read_table(Artefact.open(made).file("playlists.parquet"), columns=["user_id"])
    begun = ids.filter(pc.starts_with(ids["user_id"], begin))["user_id"]
    shown = begun.filter(pc.invert(pc.is_in(begun, pa.array(sorted(hidden), pa.string()))))
    found: list[str] = shown.slice(0, _LISTENERS).to_pylist()
    return found


def playlist_or_none(store: Store, user_id: str, edition: Known) -> Playlist | None:
    """A listener's playlist in an edition that readers may see, if they have one."""
    try:
        return store.playlist(user_id, edition=str(edition.week))
    except NoSuchUserError:
        return None
