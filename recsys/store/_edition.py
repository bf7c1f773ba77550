"""An edition's folder, as readers see it. Needs the standard library alone.

A folder never changes once it has its name, so it is opened as immutable: no locks are taken, and
it may lie on a disk that cannot be written. It holds ``edition.db`` (facts, and the names of
tracks) and ``shard-0.db`` … (packed playlists by user, see :mod:`recsys.store._bundle`; that of the
empty user, in shard 0, is the default playlist).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from recsys.errors import RecsysError, StoreError
from recsys.store._files import (
    EDITION_ID,
    EDITION_VERSION,
    Connections,
    connect,
    explain,
    version_of,
)
from recsys.store._layout import layout_of, shard_of
from recsys.store._playlist import Playlist, Spare
from recsys.store._value import DAMAGED, Values

EDITION_FILE: Final = "edition.db"


def shard_file(number: int) -> str:
    """The name of the file that holds one shard."""
    return f"shard-{number}.db"


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
        attach(connection, folder, int(facts["shards"]))
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


def attach(connection: sqlite3.Connection, folder: Path, shards: int) -> None:
    """Open the shards of a folder as ``shard0`` and so on."""
    for shard in range(shards):
        uri = f"{(folder / shard_file(shard)).as_uri()}?mode=ro&immutable=1"
        connection.execute(f"ATTACH ? AS shard{shard}", (uri,))


class EditionReader:
    """Reads the playlists of one folder; safe for threads.

    The names of tracks are read once, when a playlist first needs them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        connection, facts = open_folder(folder)
        self._connections = Connections(lambda: open_folder(folder)[0])
        self._connections.give(connection)
        self._shards = int(facts["shards"])
        self._layout = layout_of(connection, facts)
        self._values = Values(facts["edition"], self._layout.names)

    def playlist(self, user_id: str) -> Playlist | None:
        """One user's playlist as it was made, or None.

        Raises:
            StoreError: the folder is damaged.
        """
        return self._playlist(user_id) if user_id else None

    def default(self) -> Playlist:
        """The default playlist as it was made.

        Raises:
            StoreError: the folder is damaged.
        """
        playlist = self._playlist("")
        if playlist is None:
            raise StoreError(f"{self._folder} is damaged: no default playlist. Run its week again.")
        return playlist

    def spares(self, playlist: Playlist) -> tuple[Spare, ...]:
        """The spares of a playlist that was read here.

        Raises:
            StoreError: the folder is damaged.
        """
        with self._connection() as connection:
            value = self._value(connection, playlist.user_id)
            if value is None:
                raise LookupError("a playlist is gone")
            return self._values.spares(value, lambda codes: self._layout.tracks(connection, codes))

    def close(self) -> None:
        """Close the files."""
        self._connections.close()

    def _playlist(self, user_id: str) -> Playlist | None:
        with self._connection() as connection:
            value = self._value(connection, user_id)
            if value is None:
                return None
            return self._values.playlist(
                user_id, value, lambda codes: self._layout.tracks(connection, codes)
            )

    def _value(self, connection: sqlite3.Connection, user_id: str) -> bytes | None:
        shard = shard_of(user_id.encode(), self._shards) if self._shards > 1 else 0
        return self._layout.value(connection, shard, user_id)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = self._connections.take()
        try:
            yield connection
        except sqlite3.Error as error:
            raise explain(error, self._folder) from error
        except DAMAGED as error:
            raise StoreError(
                f"{self._folder} is damaged: a playlist in it cannot be read ({error!r}). "
                "Remove the folder and run its week again."
            ) from error
        finally:
            self._connections.give(connection)
