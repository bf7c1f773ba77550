"""Every format a log can be in: what it is, an example of one listen, and how it is recognised."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recsys.errors import BadLogError
from recsys.listens._archive import is_shown, is_zip
from recsys.listens._inventory import LogFile, is_history
from recsys.listens._lines import MAX_LINE_BYTES
from recsys.listens._open import Opened, reading, unchanging

_HEAD: Final = 1 << 16


@dataclass(frozen=True)
class Format:
    """One value of ``[listens] format``."""

    name: str
    what: str
    #: One listen of it, as text; for Parquet, the columns.
    example: str


FORMATS: Final = (
    Format(
        "parquet",
        "Parquet files, one row a listen",
        "user_id: string, track_id: string, listened_at: timestamp, artist_ids: list<string>, ...",
    ),
    Format(
        "jsonl",
        "JSON Lines, one object a listen",
        '{"user_id": "u1", "track_id": "t1", "listened_at": "2026-11-16T12:00:00Z", '
        '"artist_ids": ["a1"], "ms_played": 201000}',
    ),
    Format(
        "lastfm",
        "Last.fm-1K: tab separated, no header, a track id may be empty",
        "user_000001\t2009-05-04T13:06:09Z\t8f6bd1e4-fbe1\tPortishead\t\tRoads",
    ),
    Format(
        "listenbrainz",
        "ListenBrainz listens, fetched or dumped; dumps are read as .tar.zst",
        '{"user_name": "rob", "listened_at": 1794830400, "track_metadata": {"artist_name": '
        '"Portishead", "track_name": "Roads", "mbid_mapping": {"recording_mbid": "..."}}}',
    ),
    Format(
        "spotify",
        "Spotify Extended Streaming History, the files or the zip; one folder a listener",
        '[{"ts": "2026-11-16T12:03:30Z", "ms_played": 210000, "spotify_track_uri": '
        '"spotify:track:4Hd", "master_metadata_track_name": "Roads"}]',
    ),
)


def guess_format(files: Sequence[LogFile], scratch: Path) -> str:
    """The format of a log, by the names of its files and the beginning of the first one.

    Raises:
        BadLogError: it is none that is known, or the file cannot be read.
    """
    if any(is_history(file.name) and not is_zip(file.name) for file in files):
        return "spotify"
    zipped = next((file for file in files if is_zip(file.name)), None)
    if zipped is not None:
        with reading(zipped):
            if _holds_history(zipped, scratch):
                return "spotify"
    first = next((file for file in files if file.size), files[0])
    if first.name.endswith((".parquet", ".pq")):
        return "parquet"
    with reading(first), contextlib.closing(text_heads(first, scratch)) as heads:
        found = next(filter(None, map(_format_of, heads)), None)
    if found is None:
        raise BadLogError(
            f"{first.name} is in none of the formats that are known: "
            f"{', '.join(one.name for one in FORMATS)}. `recsys formats` shows an example of each."
        )
    return found


def _format_of(head: bytes) -> str | None:
    line = next((one for one in head.splitlines() if one.strip()), b"").decode(errors="replace")
    if head.startswith(b"PAR1"):
        return "parquet"
    if line.count("\t") == 5:
        return "lastfm"
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):  # no JSON, or nested deeper than Python follows
        value = None
    if isinstance(value, dict):
        return "listenbrainz" if "track_metadata" in value else "jsonl"
    return None


def _holds_history(file: LogFile, scratch: Path) -> bool:
    with unchanging(file, scratch) as (path, _), zipfile.ZipFile(path) as archive:
        return any(is_history(name) and not is_zip(name) for name in archive.namelist())


def text_heads(file: LogFile, scratch: Path) -> Generator[bytes]:
    """The first lines of a file of text, decompressed; of an archive, of each of its members."""
    with contextlib.closing(Opened(file, scratch, is_shown).members()) as members:  # type: ignore[type-var]
        for _, text in members:
            yield text.read(_HEAD) + text.readline(MAX_LINE_BYTES)
