"""An edition's folder back as Arrow rows. Needs Arrow."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

import pyarrow as pa

from recsys.errors import StoreError
from recsys.store._edition import format_of, open_folder, shard_of
from recsys.store._pack import Unpacker
from recsys.store._rows import CHUNK_ROWS, playlists_digest
from recsys.weeks import Week

_FIELDS: Final = {1: "kind, relaxed, tracks, x'' AS spares, '[]' AS not_at"}
_NEWEST_FIELDS: Final = "kind, relaxed, tracks, spares, not_at"


def read_rows(folder: Path) -> Iterator[pa.RecordBatch]:
    """All playlists in a folder, as ``schemas.PLAYLISTS`` in user order.

    Raises:
        StoreError: the folder is missing or damaged.
    """
    with Unpacked.open(folder) as opened:
        yield from opened.rows()


def read_back(folder: Path) -> str:
    """The digest of what a folder holds: that of its staging, less the users left out.

    Raises:
        StoreError: the folder is missing or damaged.
    """
    with Unpacked.open(folder) as opened:
        return playlists_digest(opened.rows(), opened.default())


class Unpacked:
    """An open folder.

    Attributes:
        facts: what table ``fact`` says.
        version: its format.
    """

    def __init__(self, connection: sqlite3.Connection, facts: dict[str, str]) -> None:
        self.facts = facts
        self.version = format_of(connection)
        self._connection = connection
        tracks = "SELECT code, track_id, track_name, artist_names FROM track ORDER BY code"
        sources = connection.execute("SELECT name FROM source ORDER BY code")
        self._unpacker = Unpacker(
            Week.parse(facts["edition"]),
            connection.execute(tracks),
            [name for (name,) in sources],
        )
        self._fields = _FIELDS.get(self.version, _NEWEST_FIELDS)

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path) -> Iterator[Self]:
        """Open a folder.

        Raises:
            StoreError: it is missing or damaged.
        """
        connection, facts = open_folder(folder)
        try:
            yield cls(connection, facts)
        except (sqlite3.Error, pa.ArrowException, ValueError) as error:
            raise StoreError(
                f"The playlists in {folder} are damaged ({error}). Remove the folder and run the "
                "week again: the same command writes the same playlists."
            ) from error
        finally:
            connection.close()

    def rows(self) -> Iterator[pa.RecordBatch]:
        """All playlists, in user order."""
        shards = " UNION ALL ".join(
            f"SELECT user_id, {self._fields} FROM shard{shard}.playlist"
            for shard in range(int(self.facts["shards"]))
        )
        return self._batches(f"{shards} ORDER BY user_id")

    def default(self) -> pa.Table:
        """The default playlist."""
        return pa.Table.from_batches(
            self._batches(f"SELECT '', {self._fields} FROM default_playlist")
        )

    def holds(self, users: Iterable[str]) -> bool:
        """Whether any of these users has a playlist here."""
        shards = int(self.facts["shards"])
        queries = [f"SELECT 1 FROM shard{n}.playlist WHERE user_id = ?" for n in range(shards)]
        return any(
            self._connection.execute(queries[shard_of(user.encode(), shards)], (user,)).fetchone()
            for user in users
        )

    def _batches(self, query: str) -> Iterator[pa.RecordBatch]:
        cursor = self._connection.execute(query)
        while rows := cursor.fetchmany(CHUNK_ROWS):
            yield self._unpacker.batch(rows)
