"""One packed playlist, the same bytes in every store. Needs the standard library alone.

A value is, little-endian and one after another: a heading of three uint16, 17 bytes a track in
order, 17 bytes a spare, best first, and 4 bytes for every position that a spare may not take.

=======  ====  =======  ===================================================================
part     byte  type     meaning
=======  ====  =======  ===================================================================
heading  0     uint16   which of the edition's ``forms``, from 0: a kind, and rules relaxed
heading  2     uint16   how many tracks
heading  4     uint16   how many spares
track    0     uint32   code of the track, from 1
track    4     uint32   code of the track it is there because of; 0 for none
track    8     float64  score
track    16    uint8    which of the edition's ``sources``, from 0
not at   0     uint16   which spare, from 0
not at   2     uint16   a position that it may not take, from 1
=======  ====  =======  ===================================================================

By the code of a track lies a JSON array: its id, its name or null, the array of its artists' names.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple, Self

from recsys.store._playlist import Playlist, PlaylistTrack, Spare
from recsys.weeks import Week

HEADING: Final = Struct("<HHH")
TRACK: Final = Struct("<IIdB")
NOT_AT: Final = Struct("<HH")

#: What a value that is not a playlist raises.
DAMAGED: Final = (struct.error, LookupError, TypeError, ValueError)

#: Finds what lies by codes of tracks.
LookUp = Callable[[list[int]], Sequence[str | bytes]]


class Names(NamedTuple):
    """What small codes mean in one edition.

    Attributes:
        forms: kinds of playlists, each with the rules that gave way.
        sources: where tracks come from.
    """

    forms: tuple[tuple[str, tuple[str, ...]], ...] = ()
    sources: tuple[str, ...] = ()

    @classmethod
    def parse(cls, forms: Sequence[Sequence[Any]], sources: Sequence[str]) -> Self:
        """From JSON values."""
        return cls(tuple((kind, tuple(relaxed)) for kind, relaxed in forms), tuple(sources))


class Values:
    """Makes playlists of one edition's values; keeps the names of tracks that it has looked up.

    Safe for threads: names are only ever added.
    """

    def __init__(self, edition: str, names: Names) -> None:
        week = Week.parse(edition)
        self._edition = edition
        self._valid_from, self._valid_until = week.monday, week.sunday
        self._names = names
        self._tracks: dict[int, tuple[Any, Any, Any]] = {
            0: (None, None, ())  # because of no track
        }

    def playlist(self, user_id: str, value: bytes, look_up: LookUp) -> Playlist:
        """A playlist, as it was made.

        Raises:
            DAMAGED: the value, or a track in it, is damaged or missing.
        """
        form, tracks, _ = HEADING.unpack_from(value)
        kind, relaxed = self._names.forms[form]
        packed = value[HEADING.size : HEADING.size + tracks * TRACK.size]
        if len(packed) < tracks * TRACK.size:
            raise ValueError("it ends too early")
        return Playlist(
            edition=self._edition,
            user_id=user_id,
            kind=kind,
            tracks=self._named(list(TRACK.iter_unpack(packed)), look_up),
            relaxed=relaxed,
            valid_from=self._valid_from,
            valid_until=self._valid_until,
        )

    def spares(self, value: bytes, look_up: LookUp) -> tuple[Spare, ...]:
        """The spares of a playlist, best first.

        Raises:
            DAMAGED: the value, or a track in it, is damaged or missing.
        """
        _, tracks, count = HEADING.unpack_from(value)
        first = HEADING.size + tracks * TRACK.size
        end = first + count * TRACK.size
        not_at: list[tuple[int, ...]] = [()] * count
        for spare, position in NOT_AT.iter_unpack(value[end:]):
            not_at[spare] += (position,)
        entries = list(TRACK.iter_unpack(value[first:end]))
        spares = self._named(entries, look_up, positions=[0] * count)
        return tuple(Spare(*spare) for spare in zip(spares, not_at, strict=True))

    def _named(
        self,
        entries: list[tuple[int, int, float, int]],
        look_up: LookUp,
        positions: Sequence[int] | None = None,
    ) -> tuple[PlaylistTrack, ...]:
        places = positions or range(1, len(entries) + 1)
        try:
            return self._known(entries, places)
        except KeyError:
            codes = {code for entry in entries for code in entry[:2]}
            unknown = sorted(codes.difference(self._tracks))
            for code, text in zip(unknown, look_up(unknown), strict=True):
                track_id, name, artists = json.loads(text)
                self._tracks[code] = (track_id, name, tuple(artists))
            return self._known(entries, places)

    def _known(
        self, entries: list[tuple[int, int, float, int]], places: Sequence[int]
    ) -> tuple[PlaylistTrack, ...]:
        tracks, sources = self._tracks, self._names.sources
        return tuple(
            [
                PlaylistTrack(position, *tracks[track], score, sources[source], tracks[because][0])
                for position, (track, because, score, source) in zip(places, entries, strict=True)
            ]
        )
