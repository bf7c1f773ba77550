"""What an edition did for one listener, taken apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Set
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from recsys.candidates import Candidates, rank_unheard
from recsys.errors import NoSuchUserError
from recsys.explain._answers import Answer, Listed, Part, Reason, Standing, Track
from recsys.explain._edition import MadeEdition
from recsys.models import contributions
from recsys.rerank import rerank
from recsys.store import PlaylistTrack


class Listener:
    """One listener of an edition.

    Args:
        edition: as it was made.
        user_id: the listener.
        shown: the tracks that the store shows this listener, none for no playlist; by default all
            that were made.
        blocked: the tracks that the store blocks now, beside those of the edition's plan.

    Raises:
        NoSuchUserError: the log knew no such listener before the edition's cutoff.
    """

    def __init__(
        self,
        edition: MadeEdition,
        user_id: str,
        *,
        shown: Sequence[PlaylistTrack] | None = None,
        blocked: Set[str] = frozenset(),
    ) -> None:
        row = pc.index(edition.matrix.users["user_id"], pa.scalar(user_id, pa.string())).as_py()
        if row < 0:
            raise NoSuchUserError(
                f"Edition {edition.week} has no playlist for this listener. The log knows no such "
                "listener before the edition's cutoff: check the id's spelling."
            )
        self._edition = edition
        self._row = int(row)
        self.user_id = user_id
        self._blocked = edition.blocked | blocked
        self._made_row = self._own(edition.playlists)
        #: The row of ``playlists.parquet`` with the tracks shown; None for a listener without.
        self.row: dict[str, Any] | None = self._made_row
        if self.row is not None and shown is not None:
            tracks = [dataclasses.asdict(track) for track in shown]
            self.row = self.row | {"tracks": tracks} if tracks else None

    def playlist(self) -> tuple[Listed, ...]:
        """Each track of the playlist, with what adds up to its score."""
        tracks = self.row["tracks"] if self.row else []
        songs = self._listed
        made = {track["track_id"] for track in self._made_row["tracks"]} if self._made_row else ()
        held = self._edition.model.confidences(self._edition.matrix.strength[self._row])
        parts = contributions(self._edition.rotated, held, songs)
        return tuple(
            Listed(
                position=track["position"],
                track=self._song(song, track["track_id"]),
                score=track["score"],
                source=track["source"],
                parts=self._parts(parts[:, k]) if track["source"] == "als" else (),
                rank=self._rank_of(song) if track["source"] == "als" else None,
                entered=track["track_id"] not in made,
            )
            for k, (track, song) in enumerate(zip(tracks, songs.tolist(), strict=True))
        )

    def why(self, track_id: str) -> Answer:
        """Why a track is, or is not, on the playlist."""
        edition, matrix = self._edition, self._edition.matrix
        place = pc.index(matrix.tracks["track_id"], pa.scalar(track_id, pa.string())).as_py()
        if place < 0:
            return Answer(track=Track(track_id, None, ()), reason=Reason.UNKNOWN_TRACK)
        song = matrix.tracks["song"][place].as_py()
        asked = self._song(song, track_id)
        if self.row is None:
            if matrix.users["eligible"][self._row].as_py():
                return Answer(track=asked, reason=Reason.NOTHING_LEFT)
            last = matrix.users["last_heard"][self._row].as_py()
            return Answer(track=asked, reason=Reason.NOT_ELIGIBLE, last_heard=last)
        blocked = [one for one in self._ids_of(song) if one in self._blocked]
        if track_id in blocked or (blocked and song not in self._listed):
            return Answer(track=asked, reason=Reason.BLOCKED, tracks=self._named(song, blocked))
        if song in self._listed:
            listed = self.row["tracks"][self._listed.tolist().index(song)]
            same = listed["track_id"] == track_id
            return Answer(
                track=asked,
                reason=Reason.LISTED if same else Reason.SAME_SONG,
                position=listed["position"],
                tracks=() if same else (self._song(song, listed["track_id"]),),
                standing=self._standing(song),
            )
        if edition.barred[song]:
            return Answer(track=asked, reason=Reason.UNAVAILABLE)
        if matrix.excluded[self._row, song]:
            return self._known(asked, song)
        resting = [name for name, songs in self._cooling.items() if song in songs]
        if resting:
            return Answer(track=asked, reason=Reason.COOLDOWN, editions=tuple(resting))
        return self._not_chosen(asked, song)

    def _known(self, asked: Track, song: int) -> Answer:
        """Heard or disliked, by which tracks of the song, and when."""
        if self._edition.taste is None:
            return Answer(track=asked, reason=Reason.HEARD)
        names = ["track_id", "heard", "disliked", "last_heard"]
        mine = [("user_id", "=", self.user_id), ("track_id", "in", self._ids_of(song))]
        rows = pq.read_table(self._edition.taste, columns=names, filters=mine).to_pylist()
        disliked = [row["track_id"] for row in rows if row["disliked"]]
        if disliked:
            return Answer(track=asked, reason=Reason.DISLIKED, tracks=self._named(song, disliked))
        days: list[date] = [row["last_heard"] for row in rows if row["last_heard"]]
        return Answer(
            track=asked,
            reason=Reason.HEARD,
            tracks=self._named(song, [row["track_id"] for row in rows if row["heard"]]),
            last_heard=max(days, default=None),
        )

    def _not_chosen(self, asked: Track, song: int) -> Answer:
        """It could have been listed: what came before it, or stood in its way."""
        standing = self._standing(song)
        if self._turn(song) <= self._last_turn:
            alike = [other for other in self._made.tolist() if self._shared(song, other)]
            full = [
                [other for other in alike if artist in self._artists_of(other)]
                for artist in self._artists_of(song)
            ]
            full = [others for others in full if len(others) >= self._edition.rules.per_artist]
            return Answer(
                track=asked,
                reason=Reason.ARTIST_CAP if full else Reason.NEIGHBOURS,
                tracks=tuple(self._song(other) for other in (full[0] if full else alike)),
                standing=standing,
            )
        if standing.turn is not None:
            reason = Reason.FULL
        elif not self._held_to:
            reason = Reason.NOTHING_TO_GO_BY
        elif not self._edition.model.learnt[song]:
            reason = Reason.NOT_LEARNT
        else:
            reason = Reason.SAVED if standing.rank is None else Reason.BELOW_CUT
        return Answer(track=asked, reason=reason, standing=standing)

    def _standing(self, song: int) -> Standing:
        model, candidate = self._edition.model, np.flatnonzero(self._order == song)
        popular = np.flatnonzero(self._edition.popular == song)
        scored = self._held_to and model.learnt[song]
        score = model.user_factors[self._row] @ model.item_factors[song].astype(np.float64)
        return Standing(
            score=round(float(score), 6) if scored else None,
            rank=self._rank_of(song),
            of=len(self._ranked),
            candidates=len(self._order),
            turn=int(candidate[0]) + 1 if len(candidate) else None,
            popularity_rank=int(popular[0]) + 1 if len(popular) else None,
        )

    def _rank_of(self, song: int) -> int | None:
        found = np.flatnonzero(self._ranked == song)
        return int(found[0]) + 1 if len(found) else None

    def _turn(self, song: int) -> int:
        """When the rules met a song: after the candidates come the popular songs."""
        for at, songs in ((0, self._order), (len(self._order), self._edition.popular)):
            found = np.flatnonzero(songs == song)
            if len(found):
                return at + int(found[0])
        raise AssertionError("a song that is available is popular, if little")

    @cached_property
    def _last_turn(self) -> int:
        """The turn after which nothing got in; where a rule gave way, all had their turn."""
        if self._made_row is None or self._made_row["relaxed"]:
            return len(self._order) + len(self._edition.popular)
        return max(self._turn(song) for song in self._made.tolist())

    @cached_property
    def _held_to(self) -> bool:
        starts = self._edition.matrix.strength.indptr
        return bool(starts[self._row] < starts[self._row + 1])

    @cached_property
    def _listed(self) -> npt.NDArray[np.int32]:
        return self._songs_in(self.row)

    @cached_property
    def _made(self) -> npt.NDArray[np.int32]:
        """The songs of the list as the rules left it, before any was blocked."""
        return self._songs_in(self._made_row)

    @cached_property
    def _cooling(self) -> dict[str, frozenset[int]]:
        """The songs of the listener's last editions, newest edition first."""
        earlier = sorted(self._edition.cooling.items(), reverse=True)
        return {name: frozenset(self._songs_in(self._own(path)).tolist()) for name, path in earlier}

    @cached_property
    def _ranked(self) -> npt.NDArray[np.int32]:
        """All songs that the listener could get and the model knows, best first."""
        edition = self._edition
        if not self._held_to:
            return np.empty(0, np.int32)
        cooling = np.zeros((1, len(edition.barred)), bool)
        cooling[0, [song for songs in self._cooling.values() for song in songs]] = True
        return rank_unheard(
            edition.model,
            edition.matrix,
            np.array([self._row], np.int32),
            np.array([len(edition.barred)]),
            barred=edition.barred,
            cooling=csr_matrix(cooling),
        ).songs

    @cached_property
    def _order(self) -> npt.NDArray[np.int32]:
        """The candidates, as the rules met them."""
        edition = self._edition
        at = int(np.searchsorted(edition.candidates.users, self._row))
        if at == len(edition.candidates.users) or edition.candidates.users[at] != self._row:
            return np.empty(0, np.int32)
        mine = slice(edition.candidates.offsets[at], edition.candidates.offsets[at + 1])
        alone = Candidates(
            users=np.array([self._row], np.int32),
            offsets=np.array([0, mine.stop - mine.start], np.int64),
            songs=edition.candidates.songs[mine],
            scores=edition.candidates.scores[mine],
        )
        return rerank(
            alone,
            edition.matrix,
            edition.model.item_factors,
            artists=edition.artists,
            new=edition.new,
            settings=edition.rules,
        ).songs

    def _parts(self, weights: npt.NDArray[np.float64]) -> tuple[Part, ...]:
        matrix = self._edition.matrix
        start = matrix.strength.indptr[self._row]
        parts = []
        for k in np.argsort(-weights, kind="stable"):
            song, played = matrix.strength.indices[start + k], matrix.played_track[start + k]
            track_id = matrix.tracks["track_id"][played].as_py() if played >= 0 else None
            parts.append(Part(self._song(song, track_id), float(weights[k]), bool(played >= 0)))
        return tuple(parts)

    def _song(self, song: int, track_id: str | None = None) -> Track:
        """A song under one of its tracks, by default the one that it is shown as."""
        songs = self._edition.matrix.songs
        return Track(
            track_id or songs["track_id"][song].as_py(),
            songs["track_name"][song].as_py(),
            tuple(songs["artist_names"][song].as_py()),
        )

    def _named(self, song: int, track_ids: Sequence[str]) -> tuple[Track, ...]:
        return tuple(self._song(song, one) for one in sorted(track_ids))

    def _ids_of(self, song: int) -> list[str]:
        tracks = self._edition.matrix.tracks
        ids: list[str] = tracks["track_id"].filter(pc.equal(tracks["song"], song)).to_pylist()
        return ids

    def _artists_of(self, song: int) -> list[int]:
        starts, codes = self._edition.artists
        artists: list[int] = codes[starts[song] : starts[song + 1]].tolist()
        return artists

    def _shared(self, one: int, other: int) -> bool:
        return not set(self._artists_of(one)).isdisjoint(self._artists_of(other))

    def _own(self, playlists: Any) -> dict[str, Any] | None:
        columns = ["user_id", "kind", "tracks", "relaxed"]
        mine = [("user_id", "=", self.user_id)]
        rows: list[dict[str, Any]] = pq.read_table(
            playlists, columns=columns, filters=mine
        ).to_pylist()
        return rows[0] if rows else None

    def _songs_in(self, row: dict[str, Any] | None) -> npt.NDArray[np.int32]:
        """The songs of a playlist, in its order; tracks that are no longer known are left out."""
        tracks = self._edition.matrix.tracks
        ids = pa.array([track["track_id"] for track in row["tracks"]] if row else [], pa.string())
        at = pc.index_in(ids, value_set=tracks["track_id"].combine_chunks()).drop_null()
        songs: npt.NDArray[np.int32] = tracks["song"].take(at).to_numpy()
        return songs
