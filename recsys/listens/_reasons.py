"""Why a row is refused."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a row went to quarantine: the first that holds, in this order."""

    UNREADABLE = "unreadable"
    """No row can be made of it: not UTF-8, not a JSON object, a wrong number of fields, cut off."""

    PRIVATE = "private"
    """A private session. Nothing of the row is kept, and nothing else about it is looked at."""

    BAD_PRIVATE = "bad_private"
    """``private`` is neither true nor false, so the row must not be used."""

    NOT_MUSIC = "not_music"
    """A podcast or an audiobook. Nothing of the row is kept."""

    NO_USER = "no_user"
    """``user_id`` is missing, empty, or neither text nor a whole number."""

    NO_TRACK = "no_track"
    """``track_id`` is missing, empty, or neither text nor a whole number."""

    NO_TIME = "no_time"
    """``listened_at`` is missing."""

    BAD_TIME = "bad_time"
    """``listened_at`` is not a time that can be read."""

    TIME_TOO_EARLY = "time_too_early"
    """``listened_at`` is before 2002-10-01, when the first listens were ever recorded online."""

    TIME_TOO_LATE = "time_too_late"
    """``listened_at`` is over a day after the day of arrival; in a dump, in 2100 or later."""

    UNKNOWN_EVENT = "unknown_event"
    """``event`` is none of play, save, like, dislike."""

    BAD_NUMBER = "bad_number"
    """``ms_played`` or ``duration_ms`` is negative, not whole, or over 10^12."""

    BAD_FLAG = "bad_flag"
    """``skipped`` is neither true nor false."""

    BAD_ARTISTS = "bad_artists"
    """``artist_ids`` is neither text, a whole number, nor a list of these."""

    BAD_NAME = "bad_name"
    """A track, artist or album name is a list or an object."""
