"""Reading playlists from PostgreSQL: one statement a playlist. Needs no NumPy and no Arrow.

The statement guesses which tables the edition asked for is in, as the last reader found it, and
brings the answer along: pointer, tombstone and playlist are seen at one instant, and a wrong guess
shows. Names of tracks, and blocked tracks, are kept from one read to the next.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Set
from dataclasses import replace
from datetime import date
from typing import Any, Final, NamedTuple

from recsys.errors import StoreError
from recsys.store._asking import Which, lost
from recsys.store._edition import TRACK
from recsys.store._playlist import Playlist, PlaylistTrack, Spare
from recsys.store._postgres_ledger import check_format
from recsys.store._postgres_server import MissingTableError, Server

_READABLE: Final = "e.state IN ('activated', 'superseded') AND NOT e.pruned"
_SERVED: Final = "e.digest = s.served"
_NAMED: Final = f"e.edition = %(edition)s AND {_READABLE} ORDER BY e.revision DESC LIMIT 1"
_BEGUN: Final = (
    f"e.valid_from <= %(on)s AND {_READABLE} "
    'ORDER BY e.edition COLLATE "C" DESC, e.revision DESC LIMIT 1'
)
_QUERY: Final = """
SELECT s.format, s.blocks, f.edition, f.tables, f.valid_from, f.valid_until, f.sources,
    EXISTS (SELECT FROM {schema}.tombstone WHERE user_id = %(user)s), {whole}, {columns}
FROM {schema}.store s
JOIN LATERAL (SELECT * FROM {schema}.edition e WHERE {which}) f ON true {join}
"""
_COLUMNS: Final = ("kind", "relaxed", "tracks", "spares", "not_at")
_MOST_GUESSES: Final = 50
_MOST_EDITIONS: Final = 4

Tracks = dict[int, tuple[str | None, str | None, tuple[str, ...]]]


class Found(NamedTuple):
    """What a reader asked for: an edition, and a user's packed playlist in it if there is one."""

    format: int
    blocks: Any
    edition: str
    tables: str | None
    valid_from: date
    valid_until: date
    sources: list[str]
    forgotten: bool
    whole: bool
    kind: str | None
    relaxed: list[str]
    tracks: bytes
    spares: bytes
    not_at: list[list[int]]


class Reader:
    """Reads the playlists of one store; safe for threads and after a fork."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._guesses: dict[Which, str] = {}
        self._names: dict[str, Tracks] = {}
        self._blocked: tuple[Any, frozenset[str]] = (None, frozenset())

    def find(self, asked: Which, user_id: str) -> Found | None:
        """The edition asked for with the user's playlist; None where there is no such edition.

        Raises:
            StoreError: the rows of the edition are lost.
        """
        user = user_id.encode()
        guess = self._guesses.get(asked)
        gone: set[str] = set()
        while True:
            found = self._look(asked, user, guess, gone)
            if found is None:
                if guess is None:
                    return None
            elif found.tables is None or found.tables in gone:
                raise lost(found.edition)
            elif found.tables == guess:
                if not found.whole:
                    raise lost(found.edition)
                return found
            else:
                if len(self._guesses) >= _MOST_GUESSES:
                    self._guesses.clear()
                self._guesses[asked] = found.tables
            guess = None if found is None else found.tables

    def playlist(self, found: Found, user_id: str) -> Playlist:
        """The playlist that was found, as it was made."""
        return Playlist(
            edition=found.edition,
            user_id=user_id,
            kind=str(found.kind),
            tracks=self._unpack(found, found.tracks),
            relaxed=tuple(found.relaxed),
            valid_from=found.valid_from,
            valid_until=found.valid_until,
        )

    def spares(self, found: Found) -> tuple[Spare, ...]:
        """The spares beside the playlist that was found."""
        tracks = self._unpack(found, found.spares)
        not_at = found.not_at or [[]] * len(tracks)
        return tuple(
            Spare(replace(track, position=0), tuple(positions))
            for track, positions in zip(tracks, not_at, strict=True)
        )

    def blocked(self, found: Found) -> Set[str]:
        """The blocked tracks, as of ``found`` or later."""
        known, tracks = self._blocked
        if known != found.blocks:
            rows = self._fetch(
                "SELECT s.blocks, b.track_id "
                "FROM {schema}.store s LEFT JOIN {schema}.block b ON true"
            )
            tracks = frozenset(json.loads(text) for _, text in rows if text is not None)
            self._blocked = (rows[0][0] if rows else None, tracks)
        return tracks

    def _look(self, asked: Which, user: bytes, guess: str | None, gone: set[str]) -> Found | None:
        """Ask the server once."""
        try:
            rows = self._fetch(_query(asked, guess), user=user, edition=asked.edition, on=asked.on)
        except MissingTableError:
            if guess is not None:
                gone.add(guess)
            return None
        if not rows:
            return None
        check_format(rows[0][0])
        return Found(*rows[0])

    def _fetch(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return self._server.fetch(query.replace("{schema}", self._server.schema), parameters)

    def _unpack(self, found: Found, packed: bytes) -> tuple[PlaylistTrack, ...]:
        tables = str(found.tables)
        names = self._names.get(tables)
        if names is None:
            names = {0: (None, None, ())}  # because of no track
            while len(self._names) >= _MOST_EDITIONS:
                self._names.pop(next(iter(self._names)), None)
            self._names[tables] = names
        try:
            entries = list(TRACK.iter_unpack(packed))
            try:
                return _named(entries, names, found.sources)
            except KeyError:
                codes = {code for entry in entries for code in entry[:2]}
                self._learn(tables, names, codes.difference(names))
                return _named(entries, names, found.sources)
        except (struct.error, LookupError) as error:
            raise StoreError(
                f"The playlists of {found.edition} are damaged: one in {tables} cannot be read "
                f"({error!r}). Drop that table and run the week again."
            ) from error

    def _learn(self, tables: str, names: Tracks, codes: Set[int]) -> None:
        query = (
            "SELECT code, track_id, track_name, artist_names "
            f"FROM {{schema}}.track_{tables} WHERE code = ANY(%(codes)s)"
        )
        for code, track_id, track_name, artist_names in self._fetch(query, codes=sorted(codes)):
            names[code] = (track_id, track_name, tuple(artist_names))


def _named(entries: list[Any], names: Tracks, sources: list[str]) -> tuple[PlaylistTrack, ...]:
    return tuple(
        [
            PlaylistTrack(position, *names[track], score, sources[source], names[because][0])  # type: ignore[arg-type]
            for position, (track, because, score, source) in enumerate(entries, start=1)
        ]
    )


def _query(asked: Which, guess: str | None) -> str:
    which = _SERVED if asked.edition is None and asked.on is None else _NAMED
    which = _BEGUN if asked.on is not None else which
    if guess is None:
        whole, columns, join = "NULL", ", ".join(["NULL"] * len(_COLUMNS)), ""
    else:
        whole = f"EXISTS (SELECT FROM {{schema}}.playlist_{guess} WHERE user_id = '')"
        columns = ", ".join(f"p.{name}" for name in _COLUMNS)
        join = f"LEFT JOIN {{schema}}.playlist_{guess} p ON p.user_id = %(user)s"
    parts = {"columns": columns, "which": which, "join": join, "whole": whole}
    query = _QUERY
    for name, part in parts.items():
        query = query.replace(f"{{{name}}}", part)
    return query
