"""An edition's folder, as readers see it. Needs the standard library alone.

A folder never changes once it has its name, so it is opened as immutable: no locks are taken, and
it may lie on a disk that cannot be written. It holds ``edition.db`` (facts, sources, tracks, the
default playlist) and ``shard-0.db`` … (playlists by user). A playlist's tracks are one BLOB, and
so are its spares: 17 bytes a track, little-endian, in order:

====  =======  ================================================================
byte  type     meaning
====  =======  ================================================================
0     uint32   ``code`` of the track in table ``track``
4     uint32   ``code`` of the track it is there because of; 0 for none
8     float64  score
16    uint8    ``code`` of the source in table ``source``
====  =======  ================================================================

Beside the spares, ``not_at`` is a JSON array with one array of positions a spare; ``[]`` where none
has any. Format 1 had no spares.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from struct import Struct
from typing import Any, Final

from recsys.errors import RecsysError, StoreError
from recsys.store._files import (
    EDITION_ID,
    EDITION_VERSION,
    Connections,
    connect,
    explain,
    version_of,
)
from recsys.store._playlist import Playlist, PlaylistTrack, Spare

EDITION_FILE: Final = "edition.db"
TRACK: Final = Struct("<IIdB")

_CODES_AT_ONCE: Final = 500
_DEFAULT: Final = "FROM default_playlist WHERE ? = ''"


def shard_file(number: int) -> str:
    """The name of the file that holds one shard."""
    return f"shard-{number}.db"


def shard_of(user_id: bytes, shards: int) -> int:
    """The shard that holds a user's playlist: CRC-32 of the UTF-8 bytes, modulo the shards."""
    return zlib.crc32(user_id) % shards


def format_of(connection: sqlite3.Connection) -> int:
    """The format of an open folder."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def open_folder(folder: Path) -> tuple[sqlite3.Connection, dict[str, str]]:
    """Open an edition's folder: ``edition.db`` as ``main``, its shards as ``shard0`` and so on.

    Returns:
        The connection, and what table ``fact`` says.

    Raises:
        StoreError: a file is missing, damaged, or of a newer version.
    """
    connection = None
    try:
        connection = connect(folder / EDITION_FILE, "mode=ro&immutable=1")
        version_of(connection, folder / EDITION_FILE, EDITION_ID, EDITION_VERSION)
        facts = dict(connection.execute("SELECT name, value FROM fact").fetchall())
        for shard in range(int(facts["shards"])):
            uri = f"{(folder / shard_file(shard)).as_uri()}?mode=ro&immutable=1"
            connection.execute(f"ATTACH ? AS shard{shard}", (uri,))
    except (sqlite3.Error, KeyError, RecsysError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, RecsysError):
            raise
        raise StoreError(
            f"The playlists in {folder} are missing or damaged ({error}). Run their week again: "
            "the same command writes the same playlists."
        ) from error
    return connection, facts


class EditionReader:
    """Reads the playlists of one folder; safe for threads and after a fork.

    The names of tracks are read once, when a playlist first needs them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        connection, facts = open_folder(folder)
        self._sources = dict(connection.execute("SELECT code, name FROM source").fetchall())
        self._connections = Connections(lambda: open_folder(folder)[0])
        self._connections.give(connection)
        self._edition = facts["edition"]
        self._valid_from = date.fromisoformat(facts["valid_from"])
        self._valid_until = date.fromisoformat(facts["valid_until"])
        self._tracks: dict[int, tuple[Any, Any, Any]] = {
            0: (None, None, ())  # because of no track
        }
        self._tables = [
            f"FROM shard{shard}.playlist WHERE user_id = ?" for shard in range(int(facts["shards"]))
        ]
        self._has_spares = format_of(connection) > 1

    def playlist(self, user_id: str) -> Playlist | None:
        """One user's playlist as it was made, or None.

        Raises:
            StoreError: the folder is damaged.
        """
        return self._playlist(self._table(user_id), user_id)

    def default(self) -> Playlist:
        """The default playlist as it was made.

        Raises:
            StoreError: the folder is damaged.
        """
        playlist = self._playlist(_DEFAULT, "")
        if playlist is None:
            raise StoreError(f"{self._folder} is damaged: no default playlist. Run its week again.")
        return playlist

    def spares(self, playlist: Playlist) -> tuple[Spare, ...]:
        """The spares of a playlist that was read here.

        Raises:
            StoreError: the folder is damaged.
        """
        if not self._has_spares:
            return ()
        table = self._table(playlist.user_id) if playlist.user_id else _DEFAULT
        with self._connection() as connection:
            query = f"SELECT spares, not_at {table}"
            blob, text = connection.execute(query, (playlist.user_id,)).fetchone()
            tracks = self._unpack(connection, blob)
            not_at = [[]] * len(tracks) if text == "[]" else json.loads(text)
            return tuple(
                Spare(replace(track, position=0), tuple(positions))
                for track, positions in zip(tracks, not_at, strict=True)
            )

    def close(self) -> None:
        """Close the files."""
        self._connections.close()

    def _table(self, user_id: str) -> str:
        shards = len(self._tables)
        return self._tables[shard_of(user_id.encode(), shards) if shards > 1 else 0]

    def _playlist(self, table: str, user_id: str) -> Playlist | None:
        with self._connection() as connection:
            row = connection.execute(f"SELECT kind, relaxed, tracks {table}", (user_id,)).fetchone()
            if row is None:
                return None
            kind, relaxed, blob = row
            return Playlist(
                edition=self._edition,
                user_id=user_id,
                kind=kind,
                tracks=self._unpack(connection, blob),
                relaxed=() if relaxed == "[]" else tuple(json.loads(relaxed)),
                valid_from=self._valid_from,
                valid_until=self._valid_until,
            )

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = self._connections.take()
        try:
            yield connection
        except sqlite3.Error as error:
            raise explain(error, self._folder) from error
        except (LookupError, struct.error, ValueError) as error:
            raise StoreError(
                f"{self._folder} is damaged: a playlist in it cannot be read ({error!r}). "
                "Remove the folder and run its week again."
            ) from error
        finally:
            self._connections.give(connection)

    def _unpack(self, connection: sqlite3.Connection, blob: bytes) -> tuple[PlaylistTrack, ...]:
        entries = list(TRACK.iter_unpack(blob))
        try:
            return self._named(entries)
        except KeyError:
            codes = {code for entry in entries for code in entry[:2]}
            self._load(connection, sorted(codes.difference(self._tracks)))
            return self._named(entries)

    def _named(self, entries: list[tuple[Any, ...]]) -> tuple[PlaylistTrack, ...]:
        tracks, sources = self._tracks, self._sources
        return tuple(
            [
                PlaylistTrack(position, *tracks[track], score, sources[source], tracks[because][0])
                for position, (track, because, score, source) in enumerate(entries, start=1)
            ]
        )

    def _load(self, connection: sqlite3.Connection, codes: list[int]) -> None:
        for start in range(0, len(codes), _CODES_AT_ONCE):
            part = codes[start : start + _CODES_AT_ONCE]
            marks = ",".join("?" * len(part))
            found = connection.execute(
                "SELECT code, track_id, track_name, artist_names FROM track "
                f"WHERE code IN ({marks})",
                part,
            ).fetchall()
            if len(found) != len(part):
                raise StoreError(f"{self._folder} is damaged: tracks missing. Run its week again.")
            for code, track_id, track_name, artist_names in found:
                self._tracks[code] = (track_id, track_name, tuple(json.loads(artist_names)))
