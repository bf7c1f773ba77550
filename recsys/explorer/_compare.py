"""Two playlists of one listener, held against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from recsys.store import Playlist, PlaylistTrack


class Row(NamedTuple):
    """A track of one side, and where the other side has it; None: nowhere."""

    track: PlaylistTrack
    elsewhere: int | None


@dataclass(frozen=True)
class Compared:
    """Both sides, and what they share.

    Attributes:
        first: the tracks of the first playlist, None where there is none.
        second: those of the second.
        tracks: how many tracks are in both.
        artists: how many artists are in both, and of how many in either.
    """

    first: list[Row] | None
    second: list[Row] | None
    tracks: int
    artists: tuple[int, int]


def compare(first: Playlist | None, second: Playlist | None) -> Compared:
    """Hold two playlists against each other."""
    places = [
        {track.track_id: track.position for track in side.tracks} if side else {}
        for side in (first, second)
    ]
    artists = [
        {name for track in side.tracks for name in track.artist_names} if side else set()
        for side in (first, second)
    ]
    return Compared(
        _rows(first, places[1]),
        _rows(second, places[0]),
        len(places[0].keys() & places[1].keys()),
        (len(artists[0] & artists[1]), len(artists[0] | artists[1])),
    )


def _rows(side: Playlist | None, other: dict[str, int]) -> list[Row] | None:
    if side is None:
        return None
    return [Row(track, other.get(track.track_id)) for track in side.tracks]
