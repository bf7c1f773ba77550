"""ListenBrainz: listens as its API returns them, and as its dumps hold them.

Both are one JSON object per line: fetched listens have ``user_name`` and ``listened_at``, those of
a dump ``user_name``, ``user_id`` and ``timestamp``; times are Unix seconds at playback's start.
See https://listenbrainz.readthedocs.io/en/latest/users/json.html and
https://listenbrainz.readthedocs.io/en/latest/users/listenbrainz-dumps.html.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa

from recsys import columns as c
from recsys.listens._block import called, repeated
from recsys.listens._inventory import LogFile
from recsys.listens._sql import Kind
from recsys.listens._text import TextReader, json_values
from recsys.settings import ListensSettings

_ABOUT: Final = "track_metadata"
_INFO: Final = (_ABOUT, "additional_info")
_MAPPED: Final = (_ABOUT, "mbid_mapping")
#: A length that is none, as text.
_ZERO: Final = r"0+(\.0*)?"
#: A JSON array without an id.
_NO_IDS: Final = r"\[(\s|,|null|\"\")*\]"

#: What is read as JSON, by the name it gets below; nothing else of a line is ever looked at.
_TYPED: Final[Mapping[str, tuple[str, ...]]] = {
    "user_name": ("user_name",),
    "user_id": ("user_id",),
    "mapped_recording": (*_MAPPED, "recording_mbid"),
    "told_recording": (*_INFO, "recording_mbid"),
    "msid": ("recording_msid",),
    "told_msid": (*_INFO, "recording_msid"),
    "mapped_artists": (*_MAPPED, "artist_mbids"),
    "told_artists": (*_INFO, "artist_mbids"),
    "artist": (_ABOUT, "artist_name"),
    "track": (_ABOUT, "track_name"),
    "release": (_ABOUT, "release_name"),
}
_PLAIN: Final[Mapping[str, tuple[str, ...]]] = {
    "listened_at": ("listened_at",),
    "dumped_at": ("timestamp",),
    "duration_ms": (*_INFO, "duration_ms"),
    "duration": (*_INFO, "duration"),
    "played": (*_INFO, "duration_played"),
}
#: What a listen calls ours, where it is called the same in each; the others are in the SQL below.
_NAMES: Final[Mapping[str, str]] = {
    c.TRACK_ID: "recording_mbid",
    c.ARTIST_IDS: "artist_mbids",
    c.MS_PLAYED: "duration_played",
    c.ALBUM_NAME: "release_name",
}


class ListenBrainzReader(TextReader):
    """A listen's track is its MusicBrainz recording, mapped by ListenBrainz or told by the player.

    Where there is none it is ``msid:`` and the MessyBrainz id, and where that is missing too,
    ``listenbrainz:`` and an MD5 of the names, as for the artist.
    """

    def __init__(
        self, file: LogFile, names: Mapping[str, str], settings: ListensSettings, scratch: Path
    ) -> None:
        super().__init__(file, {**names, **_NAMES}, settings, scratch)

    def _wanted(self, member: str) -> bool:
        """Dumps hold licences and timestamps beside the listens."""
        return member.endswith((".listens", ".jsonl"))

    def _extended(self, rows: pa.Table) -> pa.Table:
        return rows.append_column("owner", repeated(self._settings.user or None, len(rows)))

    def _select(self) -> str:
        def text(name: str) -> str:
            return f"json_extract_string({name}, '$')"

        def some(ids: str) -> str:
            return f"CASE WHEN NOT regexp_full_match({ids}, '{_NO_IDS}') THEN {ids} END"

        artist_name = f"coalesce({text('artist')}, '')"
        track_name = f"coalesce({text('track')}, '')"
        made_artist = (
            f"CASE WHEN {artist_name} <> '' THEN 'listenbrainz:' || md5({artist_name}) END"
        )
        made_track = (
            f"CASE WHEN {track_name} <> '' THEN 'listenbrainz:' || md5(length({artist_name}) || "
            f"':' || {artist_name} || {track_name}) END"
        )
        length = f"CASE WHEN NOT regexp_full_match(duration_ms, '{_ZERO}') THEN duration_ms END"
        return f"""
            SELECT file, row, fault, music,
                if(listened_at IS NULL, 'timestamp', 'listened_at') AS {called(c.LISTENED_AT)},
                if({length} IS NULL, 'duration', 'duration_ms') AS {called(c.DURATION_MS)},
                coalesce(user_name, user_id, CAST(to_json(owner) AS VARCHAR)) AS {c.USER_ID},
                coalesce(mapped_recording, told_recording,
                    CASE WHEN starts_with(coalesce(msid, told_msid), '"')
                        THEN '"msid:' || coalesce(msid, told_msid)[2:] END,
                    CAST(to_json({made_track}) AS VARCHAR)) AS {c.TRACK_ID},
                coalesce(listened_at, dumped_at) AS {c.LISTENED_AT},
                coalesce({some("mapped_artists")}, {some("told_artists")},
                    CAST(to_json({made_artist}) AS VARCHAR)) AS {c.ARTIST_IDS},
                {_milliseconds("played")} AS {c.MS_PLAYED},
                coalesce({length}, {_milliseconds("duration")}) AS {c.DURATION_MS},
                track AS {c.TRACK_NAME}, artist AS {c.ARTIST_NAME}, release AS {c.ALBUM_NAME}
            FROM ({json_values(_TYPED, _PLAIN, ", owner")})"""

    def _called(self) -> Collection[str]:
        return (c.LISTENED_AT, c.DURATION_MS)

    def _kinds(self) -> Mapping[str, Kind]:
        numbers = (c.LISTENED_AT, c.MS_PLAYED, c.DURATION_MS)
        texts = (c.USER_ID, c.TRACK_ID, c.ARTIST_IDS, c.TRACK_NAME, c.ARTIST_NAME, c.ALBUM_NAME)
        return dict.fromkeys(texts, Kind.JSON) | dict.fromkeys(numbers, Kind.TEXT)


def _milliseconds(seconds: str) -> str:
    """Seconds as text, in milliseconds as text; what is no number from 0 stays as it is."""
    return (
        f"coalesce(CASE WHEN TRY_CAST({seconds} AS DOUBLE) >= 0 THEN "
        f"CAST(TRY_CAST(round(TRY_CAST({seconds} AS DOUBLE) * 1000) AS BIGINT) AS VARCHAR) END, "
        f"{seconds})"
    )
