"""Spotify's Extended Streaming History: the files that a listener gets on request.

A file is one JSON array. Its ``ts`` is the end of the stream in UTC: playback began ``ms_played``
earlier. Addresses, devices, countries and user agents are in the file and are never looked at.
See https://support.spotify.com/article/understanding-your-data/.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa

from recsys import columns as c
from recsys.errors import SettingsError
from recsys.listens._block import repeated
from recsys.listens._elements import element_blocks
from recsys.listens._inventory import LogFile, history_name, is_history
from recsys.listens._sql import Kind, value
from recsys.listens._text import TextReader, json_values
from recsys.settings import ListensSettings

#: ours -> theirs.
_NAMES: Final[Mapping[str, str]] = {
    c.TRACK_ID: "spotify_track_uri",
    c.TRACK_NAME: "master_metadata_track_name",
    c.ARTIST_NAME: "master_metadata_album_artist_name",
    c.ALBUM_NAME: "master_metadata_album_album_name",
    c.LISTENED_AT: "ts",
    c.MS_PLAYED: "ms_played",
    c.SKIPPED: "skipped",
    c.PRIVATE: "incognito_mode",
}
_TYPED: Final = (c.TRACK_ID, c.TRACK_NAME, c.ARTIST_NAME, c.ALBUM_NAME)
#: What else a stream may be of.
_OTHERS: Final = ("episode_name", "spotify_episode_uri", "audiobook_title", "audiobook_uri")
_PLAIN: Final = ("ts", "ms_played", "skipped", "incognito_mode", "reason_end", *_OTHERS)


class SpotifyReader(TextReader):
    """The listener is the folder that the file lies in; in no folder, ``[listens] user``.

    An artist has a name and no id here: the id is ``spotify:`` and the MD5 of the name.
    """

    def __init__(
        self, file: LogFile, names: Mapping[str, str], settings: ListensSettings, scratch: Path
    ) -> None:
        super().__init__(file, {**names, **_NAMES}, settings, scratch)
        self._owner = file.listener or settings.user
        if not self._owner:
            raise SettingsError(
                f"[listens] user is missing: {file.name} lies in no listener's folder. Expected "
                "the listener's id there, or one folder for each listener, named by the id."
            )

    def _wanted(self, member: str) -> bool:
        """An export holds video history, playlists and personal data beside the listens."""
        return is_history(member)

    def _label(self, name: str) -> str:
        """Folders inside an archive are the listener's own business."""
        archive, mark, member = name.partition("!")
        return archive + mark + history_name(member) if mark else name

    def _rows(self, stream: io.BufferedReader) -> Iterator[pa.Table]:
        return element_blocks(stream)

    def _extended(self, rows: pa.Table) -> pa.Table:
        return rows.append_column("owner", repeated(self._owner, len(rows)))

    def _select(self) -> str:
        artist = f"json_extract_string({c.ARTIST_NAME}, '$')"
        end = value(c.LISTENED_AT, "ts", Kind.TEXT)
        played = value(c.MS_PLAYED, c.MS_PLAYED, Kind.TEXT)
        # As text of a timestamp: a number would leave its unit to be guessed.
        began = f"make_timestamp({end} - 1000 * coalesce({played}, 0))"
        values = json_values(
            {name: (_NAMES[name],) for name in _TYPED},
            {name: (name,) for name in _PLAIN},
            ", owner",
        )
        return f"""
            SELECT file, row, fault,
                {c.TRACK_ID} IS NOT NULL OR coalesce({", ".join(_OTHERS)}) IS NULL AS music,
                owner AS {c.USER_ID}, {c.TRACK_ID},
                coalesce(CAST({began} AS VARCHAR), ts) AS {c.LISTENED_AT},
                CASE WHEN {artist} IS NOT NULL THEN 'spotify:' || md5({artist}) END
                    AS {c.ARTIST_IDS},
                {c.MS_PLAYED},
                coalesce(skipped, CASE reason_end
                    WHEN 'fwdbtn' THEN 'true' WHEN 'trackdone' THEN 'false' END) AS {c.SKIPPED},
                incognito_mode AS {c.PRIVATE}, {c.TRACK_NAME}, {c.ARTIST_NAME}, {c.ALBUM_NAME}
            FROM ({values})"""

    def _kinds(self) -> Mapping[str, Kind]:
        texts = (c.USER_ID, c.LISTENED_AT, c.ARTIST_IDS, c.MS_PLAYED, c.SKIPPED, c.PRIVATE)
        return dict.fromkeys(_TYPED, Kind.JSON) | dict.fromkeys(texts, Kind.TEXT)
