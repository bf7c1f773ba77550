"""What a reader gets: one listener's playlist."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any


@dataclass(frozen=True)
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
