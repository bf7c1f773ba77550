"""What a reader gets: one listener's playlist."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from datetime import date
from typing import Any


@dataclass(frozen=True, init=False)
class PlaylistTrack:
    """One track of a playlist.

    Attributes:
        position: 1 for the first.
        track_id: the track, as the log or the catalogue calls it.
        track_name: for people; None where nobody knows it.
        artist_names: every credited artist, the main one first; may be empty.
        score: the model's score, or the popularity of a popular track.
        source: where the track came from, ``als`` or ``popular``.
        because_track_id: the heard track that counted most towards the score, if any.
    """

    position: int
    track_id: str
    track_name: str | None
    artist_names: tuple[str, ...]
    score: float
    source: str
    because_track_id: str | None

    def __init__(
        self,
        position: int,
        track_id: str,
        track_name: str | None,
        artist_names: tuple[str, ...],
        score: float,
        source: str,
        because_track_id: str | None,
    ) -> None:
        fields = self.__dict__  # what a frozen dataclass makes of itself takes three times as long
        fields["position"] = position
        fields["track_id"] = track_id
        fields["track_name"] = track_name
        fields["artist_names"] = artist_names
        fields["score"] = score
        fields["source"] = source
        fields["because_track_id"] = because_track_id


@dataclass(frozen=True)
class Spare:
    """A track that stands by: no reader sees it unless a track of the playlist is blocked.

    Attributes:
        track: as it would be listed; its position is 0.
        not_at: positions where it would break an artist rule.
    """

    track: PlaylistTrack
    not_at: tuple[int, ...]


@dataclass(frozen=True)
class Playlist:
    """One listener's playlist in one edition; ``tracks`` is never empty.

    Attributes:
        edition: the week, such as ``2026-W47``.
        user_id: the listener; empty in an edition's default playlist.
        kind: ``personal``, ``blended`` or ``popular``.
        tracks: in the order to be played.
        relaxed: names of the rules that had to give way.
        valid_from: first day, in the listener's own time zone.
        valid_until: last day, in the listener's own time zone.
    """

    edition: str
    user_id: str
    kind: str
    tracks: tuple[PlaylistTrack, ...]
    relaxed: tuple[str, ...]
    valid_from: date
    valid_until: date

    def to_dict(self) -> dict[str, Any]:
        """As a JSON value: lists for tuples, ``YYYY-MM-DD`` for dates."""
        return {
            **self.__dict__,
            "tracks": [
                {**track.__dict__, "artist_names": list(track.artist_names)}
                for track in self.tracks
            ],
            "relaxed": list(self.relaxed),
            "valid_from": self.valid_from.isoformat(),
            "valid_until": self.valid_until.isoformat(),
        }


def without_blocked(
    playlist: Playlist, spares: Sequence[Spare], blocked: Set[str]
) -> Playlist | None:
    """The playlist as it may be shown: each blocked track gives way to the first spare that fits.

    Where no spare fits, the list closes up. The spares of a playlist share no artist, so they never
    stand in each other's way.

    Args:
        playlist: as it was made.
        spares: best first.
        blocked: track ids.

    Returns:
        None where nothing is left of it.
    """
    if not any(track.track_id in blocked for track in playlist.tracks):
        return playlist
    waiting = [spare for spare in spares if spare.track.track_id not in blocked]
    tracks: list[PlaylistTrack] = []
    for track in playlist.tracks:
        shown: PlaylistTrack | None = track
        if track.track_id in blocked:
            fitting = (spare for spare in waiting if track.position not in spare.not_at)
            spare = next(fitting, None)
            if spare is not None:
                waiting.remove(spare)
            shown = spare.track if spare is not None else None
        if shown is not None:
            tracks.append(replace(shown, position=len(tracks) + 1))
    return replace(playlist, tracks=tuple(tracks)) if tracks else None
