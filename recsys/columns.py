"""The one vocabulary of column names. Every module spells a column by its name here."""

from __future__ import annotations

from typing import Final

USER_ID: Final = "user_id"
TRACK_ID: Final = "track_id"
LISTENED_AT: Final = "listened_at"
ARTIST_IDS: Final = "artist_ids"
MS_PLAYED: Final = "ms_played"
DURATION_MS: Final = "duration_ms"
SKIPPED: Final = "skipped"
EVENT: Final = "event"
PRIVATE: Final = "private"
TRACK_NAME: Final = "track_name"
ARTIST_NAME: Final = "artist_name"
ALBUM_NAME: Final = "album_name"

LISTENED_ON: Final = "listened_on"
PLAYS: Final = "plays"
PART_PLAYS: Final = "part_plays"
SKIPS: Final = "skips"
SAVES: Final = "saves"
LIKES: Final = "likes"
DISLIKES: Final = "dislikes"
COUNTS: Final = (PLAYS, PART_PLAYS, SKIPS, SAVES, LIKES, DISLIKES)
HEARD: Final = "heard"
DISLIKED: Final = "disliked"
LAST_HEARD: Final = "last_heard"

ARTIST_NAMES: Final = "artist_names"
SONG_KEY: Final = "song_key"
AVAILABLE: Final = "available"
EXPLICIT: Final = "explicit"

ORIGIN_FILE: Final = "file"
ORIGIN_ROW: Final = "row"
REASON: Final = "reason"
DETAIL: Final = "detail"

EDITION: Final = "edition"
KIND: Final = "kind"
TRACKS: Final = "tracks"
POSITION: Final = "position"
SCORE: Final = "score"
SOURCE: Final = "source"
BECAUSE_TRACK_ID: Final = "because_track_id"
SPARES: Final = "spares"
NOT_AT: Final = "not_at"
RELAXED: Final = "relaxed"
VALID_FROM: Final = "valid_from"
VALID_UNTIL: Final = "valid_until"
SHOWN_AT: Final = "shown_at"
