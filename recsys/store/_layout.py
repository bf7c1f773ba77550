"""How the formats of an edition's folder lay out its tables. Needs the standard library alone."""

from __future__ import annotations

import heapq
import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, Protocol

from recsys.store._bundle import find, holds_first, pairs
from recsys.store._codes import few_at_a_time, in_order
from recsys.store._value import Names
from recsys.store._version_1 import Version1

#: Tracks in a row of format 4.
TRACKS_IN_ROW: Final = 16


def shard_of(user_id: bytes, shards: int) -> int:
    """The shard that holds a user's playlist: CRC-32 of the UTF-8 bytes, modulo the shards."""
    return zlib.crc32(user_id) % shards


def bundles(connection: sqlite3.Connection, shard: int) -> Iterator[bytes]:
    """All bundles of a shard of formats 3 and 4, in user order.

    Raises:
        ValueError: one lies under another user than its first.
    """
    query = f"SELECT first_user, playlists FROM shard{shard}.bundle ORDER BY first_user"
    for first_user, bundle in connection.execute(query):
        if not holds_first(bundle, first_user.encode()):
            raise ValueError("playlists lie under another user")
        yield bundle


def bundled(connection: sqlite3.Connection, shards: int) -> Iterator[tuple[bytes, bytes]]:
    """All users and packed playlists in the shards of formats 3 and 4, in user order.

    Raises:
        ValueError: a user lies in another shard than readers look in; also see :func:`bundles`.
    """

    def of(shard: int) -> Iterator[tuple[bytes, bytes]]:
        for user, value in chain.from_iterable(map(pairs, bundles(connection, shard))):
            if shards > 1 and shard_of(user, shards) != shard:
                raise ValueError("a playlist lies in another shard than readers look in")
            yield user, value

    return heapq.merge(*map(of, range(shards)))


class Layout(Protocol):
    """Finds what is in an open folder, ``shard0`` and so on attached.

    Attributes:
        names: what small codes mean.
    """

    names: Names

    def value(self, connection: sqlite3.Connection, shard: int, user_id: str) -> bytes | None:
        """The packed playlist of a user, if there is one in this shard."""

    def pairs(self, connection: sqlite3.Connection) -> Iterator[tuple[bytes, bytes]]:
        """All users and packed playlists, in user order; the default playlist is the first."""

    def tracks(self, connection: sqlite3.Connection, codes: Sequence[int]) -> Sequence[str]:
        """What lies by some codes of tracks.

        Raises:
            LookupError: a code is missing.
        """

    def all_tracks(self, connection: sqlite3.Connection) -> Sequence[str]:
        """What lies by the codes of tracks, from 1.

        Raises:
            ValueError: codes are missing.
        """


class Version4:
    """Playlists in bundles, and the names of some tracks in a row, a line each."""

    def __init__(self, facts: Mapping[str, str]) -> None:
        self.names = Names.parse(json.loads(facts["forms"]), json.loads(facts["sources"]))
        self._shards = int(facts["shards"])

    def value(self, connection: sqlite3.Connection, shard: int, user_id: str) -> bytes | None:
        query = (
            f"SELECT playlists FROM shard{shard}.bundle WHERE first_user <= ? "
            "ORDER BY first_user DESC LIMIT 1"
        )
        row = connection.execute(query, (user_id,)).fetchone()
        return None if row is None else find(row[0], user_id.encode())

    def pairs(self, connection: sqlite3.Connection) -> Iterator[tuple[bytes, bytes]]:
        return bundled(connection, self._shards)

    def tracks(self, connection: sqlite3.Connection, codes: Sequence[int]) -> Sequence[str]:
        places = [divmod(code - 1, TRACKS_IN_ROW) for code in codes]
        firsts = sorted({row * TRACKS_IN_ROW + 1 for row, _ in places})
        select = "SELECT first_code, names FROM track WHERE first_code IN"
        lines = {
            (first - 1) // TRACKS_IN_ROW: names.split("\n")
            for first, names in few_at_a_time(connection, select, firsts)
        }
        return [lines[row][line] for row, line in places]

    def all_tracks(self, connection: sqlite3.Connection) -> Sequence[str]:
        rows = connection.execute("SELECT first_code, names FROM track ORDER BY first_code")
        found: list[str] = []
        for first, names in rows:
            if first != len(found) + 1:
                raise ValueError("codes of tracks are missing")
            found += names.split("\n")
        return found


class Version3(Version4):
    """One row a track."""

    def tracks(self, connection: sqlite3.Connection, codes: Sequence[int]) -> Sequence[str]:
        select = "SELECT code, names FROM track WHERE code IN"
        found = dict(few_at_a_time(connection, select, codes))
        return [found[code] for code in codes]

    def all_tracks(self, connection: sqlite3.Connection) -> Sequence[str]:
        return in_order(connection.execute("SELECT code, names FROM track ORDER BY code"))


class Version2(Version3):
    """One row a playlist."""

    def value(self, connection: sqlite3.Connection, shard: int, user_id: str) -> bytes | None:
        query = f"SELECT playlist FROM shard{shard}.playlist WHERE user_id = ?"
        row = connection.execute(query, (user_id,)).fetchone()
        return None if row is None else row[0]

    def pairs(self, connection: sqlite3.Connection) -> Iterator[tuple[bytes, bytes]]:
        tables = [f"SELECT user_id, playlist FROM shard{n}.playlist" for n in range(self._shards)]
        query = f"{' UNION ALL '.join(tables)} ORDER BY user_id"
        return ((user.encode(), value) for user, value in connection.execute(query))


def layout_of(connection: sqlite3.Connection, facts: Mapping[str, str]) -> Layout:
    """The layout of an open folder; ``facts`` is its table ``fact``."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 1:
        return Version1(connection, int(facts["shards"]))
    return {2: Version2, 3: Version3, 4: Version4}[version](facts)
