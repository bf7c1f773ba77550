"""An edition's folder back as frames, and as Arrow rows. Needs Arrow."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

import pyarrow as pa

from recsys.errors import StoreError
from recsys.store import _version_1 as version_1
from recsys.store._arrow import Unpacker
from recsys.store._edition import format_of, open_folder, shard_of, track_names
from recsys.store._frames import Frames
from recsys.store._handed import digest_of, playlists_digest
from recsys.store._rows import CHUNK_ROWS
from recsys.store._value import Names
from recsys.weeks import Week

_DEFAULT: Final = "= ''"
_OTHERS: Final = "<> ''"


def read_rows(folder: Path) -> Iterator[pa.RecordBatch]:
    """All playlists in a folder, as ``schemas.PLAYLISTS`` in user order.

    Raises:
        StoreError: the folder is missing or damaged.
    """
    with Unpacked.open(folder) as opened:
        yield from opened.rows()


def read_back(folder: Path) -> str:
    """The digest of what a folder of the newest format holds, every row read under its user.

    Raises:
        StoreError: the folder is missing or damaged.
    """
    with Unpacked.open(folder) as opened:
        frames = (part.data for part in opened.frames())
        rows = int(opened.facts["rows"])
        return digest_of(opened.week, frames, rows, opened.tracks(), opened.names)


class Unpacked:
    """An open folder.

    Attributes:
        facts: what table ``fact`` says.
        week: its edition's week.
        names: what small codes mean.
    """

    def __init__(self, connection: sqlite3.Connection, facts: dict[str, str]) -> None:
        self.facts = facts
        self.week = Week.parse(facts["edition"])
        self._connection = connection
        self._shards = int(facts["shards"])
        self._first: version_1.Values | None = None
        if format_of(connection) > 1:
            self.names = Names.parse(json.loads(facts["forms"]), json.loads(facts["sources"]))
        else:
            self._first = version_1.Values(connection, self._shards)
            self.names = self._first.names

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
        except (sqlite3.Error, pa.ArrowException, LookupError, TypeError, ValueError) as error:
            raise StoreError(
                f"The playlists in {folder} are damaged ({error}). Remove the folder and run the "
                "week again: the same command writes the same playlists."
            ) from error
        finally:
            connection.close()

    def rows(self) -> Iterator[pa.RecordBatch]:
        """All playlists, in user order."""
        unpacker = Unpacker(self.week, self.tracks(), self.names)
        for users, values in self._read():
            yield unpacker.batch(users, values)

    def default(self) -> pa.RecordBatch:
        """The default playlist."""
        ((users, values),) = self._read(_DEFAULT)
        return Unpacker(self.week, self.tracks(), self.names).batch(users, values)

    def frames(self) -> Iterator[Frames]:
        """The default playlist, then all others in user order."""
        for which in (_DEFAULT, _OTHERS):
            for users, values in self._read(which):
                yield Frames.of(users, values)

    def tracks(self) -> list[bytes]:
        """What lies by the codes of tracks, from 1.

        Raises:
            ValueError: codes are missing.
        """
        found = list(track_names(self._connection))
        if [code for code, _ in found] != list(range(1, len(found) + 1)):
            raise ValueError("codes of tracks are missing")
        return [text.encode() for _, text in found]

    def digest(self) -> str:
        """The digest that :meth:`rows` and :meth:`default` have, if nothing is damaged.

        Raises:
            ValueError: something is.
        """
        stored = self.facts["stored_digest"]
        if self._first is None:
            return stored
        default = pa.Table.from_batches([self.default()])
        if version_1.digest(self.rows(), default) != stored:
            raise ValueError("they are not those of their digest")
        return playlists_digest(self.rows(), self.default())

    def holds(self, users: Iterable[str]) -> bool:
        """Whether any of these users has a playlist here."""
        queries = [
            f"SELECT 1 FROM shard{n}.playlist WHERE user_id = ?" for n in range(self._shards)
        ]
        return any(
            self._connection.execute(
                queries[shard_of(user.encode(), self._shards)], (user,)
            ).fetchone()
            for user in users
            if user
        )

    def _read(self, which: str = _OTHERS) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """Users and values, some at a time, in user order."""
        fields = "playlist" if self._first is None else "kind, relaxed, tracks"
        tables = [
            f"SELECT user_id, {fields} FROM shard{n}.playlist WHERE user_id {which}"
            for n in range(self._shards)
        ]
        if self._first is not None and which == _DEFAULT:
            tables = [f"SELECT '' AS user_id, {fields} FROM default_playlist"]
        cursor = self._connection.execute(f"{' UNION ALL '.join(tables)} ORDER BY user_id")
        while rows := cursor.fetchmany(CHUNK_ROWS):
            users, *columns = zip(*rows, strict=True)
            values = columns[0] if self._first is None else map(self._first.value, *columns)
            yield [user.encode() for user in users], list(values)
