"""What an explanation consists of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class Reason(StrEnum):
    """Why a track is, or is not, on a playlist: the first of these that holds, from the top."""

    #: The catalogue of the edition has no such track.
    UNKNOWN_TRACK = "unknown_track"
    #: The listener had played nothing for too long, and has no playlist.
    NOT_ELIGIBLE = "not_eligible"
    #: There was no song that the listener could get, and they have no playlist.
    NOTHING_LEFT = "nothing_left"
    #: A track of the song is blocked for everyone, and the song is not on the list.
    BLOCKED = "blocked"
    #: It is on the list.
    LISTED = "listed"
    #: Another track of the same song is on the list.
    SAME_SONG = "same_song"
    #: No track of the song is available.
    UNAVAILABLE = "unavailable"
    #: The listener disliked a track of the song.
    DISLIKED = "disliked"
    #: The listener has played a track of the song.
    HEARD = "heard"
    #: The song was on a playlist of the listener's last weeks.
    COOLDOWN = "cooldown"
    #: Its turn came, and the list had as many songs by one of its artists as it may.
    ARTIST_CAP = "artist_cap"
    #: Its turn came, and everywhere it would have stood beside a song by one of its artists.
    NEIGHBOURS = "neighbours"
    #: It is a candidate, and the list was full before its turn.
    FULL = "full"
    #: The listener holds to no song, so the list is popular songs, full before its turn.
    NOTHING_TO_GO_BY = "nothing_to_go_by"
    #: Nobody holds to the song, so the model knows nothing of it.
    NOT_LEARNT = "not_learnt"
    #: The listener saved or liked the song without playing it: it is no candidate.
    SAVED = "saved"
    #: Its score is too low for the listener's candidates.
    BELOW_CUT = "below_cut"


@dataclass(frozen=True)
class Track:
    """A track as it is called; names are untrusted text."""

    track_id: str
    track_name: str | None
    artist_names: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """What a song that the listener holds to adds to a score."""

    track: Track
    weight: float
    #: False for a song that was saved or liked and never played.
    played: bool


@dataclass(frozen=True)
class Listed:
    """A track of the playlist.

    Attributes:
        position: from 1.
        track: what is listed.
        score: under the model; of popular fill, the song's popularity.
        source: ``als`` or ``popular``.
        parts: what adds up to the score, largest first; none for popular fill.
        rank: by score among what the listener could get, from 1; None for popular fill.
        entered: it was a spare, and came in place of a track that was blocked since.
    """

    position: int
    track: Track
    score: float
    source: str
    parts: tuple[Part, ...]
    rank: int | None
    entered: bool


@dataclass(frozen=True)
class Standing:
    """Where a song stands for a listener.

    Attributes:
        score: under the model; None where it has none.
        rank: by score among the ``of`` songs that the listener could get, from 1.
        of: how many those are.
        candidates: how many of them were candidates.
        turn: its place in the order in which the rules met the candidates, from 1: the rank, unless
            a rule that can be argued about reordered them; None for no candidate.
        popularity_rank: among all available songs, from 1; their turn comes after the candidates.
    """

    score: float | None
    rank: int | None
    of: int
    candidates: int
    turn: int | None
    popularity_rank: int | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Why a track is, or is not, on a playlist.

    Attributes:
        track: what was asked for; its names are those of its song.
        reason: see there.
        position: on the list (``listed``, ``same_song``).
        tracks: ``same_song``: the one listed; ``blocked``, ``disliked`` and ``heard``: the tracks
            of the song that are; ``artist_cap`` and ``neighbours``: the listed ones in its way.
        last_heard: the day of the listener's last listen, where it is known: to the song
            (``heard``), to anything (``not_eligible``).
        editions: those that had the song (``cooldown``).
        standing: where it was ranked; None where it was out before anything was ranked.
    """

    track: Track
    reason: Reason
    position: int | None = None
    tracks: tuple[Track, ...] = ()
    last_heard: date | None = None
    editions: tuple[str, ...] = ()
    standing: Standing | None = None
