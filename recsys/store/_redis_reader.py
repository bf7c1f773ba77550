"""The rows of one staging on Redis, as readers see them. Needs no NumPy and no Arrow.

====================  ======  ======================================================================
key                   type    holds
====================  ======  ======================================================================
PREFIX:0 … PREFIX:N   hash    by user: a playlist. The bucket is the CRC-32 (as in zlib) of the user
                              id's UTF-8 bytes, modulo the ``buckets``
PREFIX:default        string  the default playlist
PREFIX:tracks         hash    by code (in decimal): a JSON array of track id, name or null, and the
                              array of its artists' names
====================  ======  ======================================================================

A playlist is a heading of three uint16 (``form``, tracks, spares); then 17 bytes a track and a
spare, in order; then, only where a spare has such positions, a JSON array of the positions that
each spare may not take. All numbers are little-endian:

====  =======  ================================================================
byte  type     meaning
====  =======  ================================================================
0     uint32   code of the track
4     uint32   code of the track it is there because of; 0 for none
8     float64  score
16    uint8    the source, counted from 0 in the edition's ``sources``
====  =======  ================================================================

``form`` counts from 0 in the edition's ``forms``, each of them a kind and the rules that gave way.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from struct import Struct
from typing import Any, Final, Self

from recsys.store._edition import TRACK
from recsys.store._playlist import Playlist, PlaylistTrack, Spare
from recsys.weeks import Week

HEADING: Final = Struct("<HHH")

#: What a value that is not a playlist raises.
DAMAGED: Final = (struct.error, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Rows:
    """Where the rows of a staging are, and what the codes in them mean.

    Attributes:
        prefix: what their keys begin with.
        buckets: hashes that the playlists are spread over.
        tracks: entries in the table of tracks.
        forms: kinds of playlists, each with the rules that gave way.
        sources: where tracks come from.
    """

    prefix: str
    buckets: int
    tracks: int = 0
    forms: tuple[tuple[str, tuple[str, ...]], ...] = ()
    sources: tuple[str, ...] = ()

    @classmethod
    def parse(cls, plain: dict[str, Any]) -> Self:
        """From :meth:`plain`."""
        forms = tuple((kind, tuple(relaxed)) for kind, relaxed in plain["forms"])
        return cls(**{**plain, "forms": forms, "sources": tuple(plain["sources"])})

    def plain(self) -> dict[str, Any]:
        """As a JSON value."""
        return dict(self.__dict__)

    def bucket(self, user_id: bytes) -> str:
        """The key of the hash that holds a user's playlist."""
        return f"{self.prefix}:{zlib.crc32(user_id) % self.buckets}"

    @property
    def tracks_key(self) -> str:
        """The key of the table of tracks."""
        return f"{self.prefix}:tracks"

    @property
    def default_key(self) -> str:
        """The key of the default playlist."""
        return f"{self.prefix}:default"

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys: the buckets, the table of tracks, the default playlist."""
        buckets = (f"{self.prefix}:{n}" for n in range(self.buckets))
        return (*buckets, self.tracks_key, self.default_key)


class RowsReader:
    """Unpacks the playlists of one staging; keeps the names of tracks that it was told.

    Safe for threads: names are only ever added.
    """

    def __init__(self, edition: str, rows: Rows) -> None:
        week = Week.parse(edition)
        self.rows = rows
        self._edition = edition
        self._valid_from: date = week.monday
        self._valid_until: date = week.sunday
        self._tracks: dict[int, tuple[Any, Any, Any]] = {
            0: (None, None, ())  # because of no track
        }

    def unknown(self, value: bytes) -> list[int]:
        """Codes in a packed playlist whose tracks :meth:`learn` has not been told yet."""
        _, tracks, spares = HEADING.unpack_from(value)
        codes = {code for entry in _entries(value, 0, tracks + spares) for code in entry[:2]}
        return sorted(codes.difference(self._tracks))

    def learn(self, codes: Iterable[int], texts: Iterable[bytes]) -> None:
        """Take in the entries of the table of tracks for some codes."""
        for code, text in zip(codes, texts, strict=True):
            track_id, name, artists = json.loads(text)
            self._tracks[code] = (track_id, name, tuple(artists))

    def playlist(self, user_id: str, value: bytes) -> Playlist:
        """A packed playlist, as it was made.

        Raises:
            KeyError: a code is unknown.
        """
        form, tracks, _ = HEADING.unpack_from(value)
        kind, relaxed = self.rows.forms[form]
        return Playlist(
            edition=self._edition,
            user_id=user_id,
            kind=kind,
            tracks=self._named(value, 0, tracks),
            relaxed=relaxed,
            valid_from=self._valid_from,
            valid_until=self._valid_until,
        )

    def spares(self, value: bytes) -> tuple[Spare, ...]:
        """The spares of a packed playlist, best first.

        Raises:
            KeyError: a code is unknown.
        """
        _, tracks, spares = HEADING.unpack_from(value)
        text = value[HEADING.size + (tracks + spares) * TRACK.size :]
        not_at = json.loads(text) if text else [()] * spares
        return tuple(
            Spare(replace(track, position=0), tuple(positions))
            for track, positions in zip(
                self._named(value, tracks, tracks + spares), not_at, strict=True
            )
        )

    def _named(self, value: bytes, start: int, stop: int) -> tuple[PlaylistTrack, ...]:
        tracks, sources = self._tracks, self.rows.sources
        return tuple(
            [
                PlaylistTrack(position, *tracks[track], score, sources[source], tracks[because][0])
                for position, (track, because, score, source) in enumerate(
                    _entries(value, start, stop), start=1
                )
            ]
        )


def _entries(value: bytes, start: int, stop: int) -> Any:
    return TRACK.iter_unpack(
        value[HEADING.size + start * TRACK.size : HEADING.size + stop * TRACK.size]
    )
