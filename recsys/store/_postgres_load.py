"""Loading an edition's rows into PostgreSQL, and reading them back. Needs NumPy and Arrow.

Frames are rows of a binary ``COPY``: they go in, and come back, as they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import Any, Final, NamedTuple

import pyarrow as pa
from psycopg import errors

from recsys.errors import StoreError
from recsys.store._arrow import Unpacker
from recsys.store._frames import Data, Frames
from recsys.store._handed import Handed
from recsys.store._parts import Sent
from recsys.store._pipelined import pipelined
from recsys.store._postgres_ledger import Place, run
from recsys.store._postgres_server import Connection
from recsys.store._rows import CHUNK_ROWS
from recsys.weeks import Week

PLAYLIST_TABLE: Final = """
CREATE TABLE {schema}.playlist_{tables} (  -- the default playlist is that of the empty user_id
    user_id bytea NOT NULL,                -- UTF-8
    playlist bytea NOT NULL                -- packed, see function shown
);
"""
TRACK_TABLE: Final = """
CREATE TABLE {schema}.track_{tables} (
    code bigint NOT NULL,
    names json NOT NULL                    -- id, name or null, names of the artists
);
"""
_TABLES: Final = PLAYLIST_TABLE + TRACK_TABLE
_PLAYLIST_KEY: Final = "ALTER TABLE {schema}.playlist_{tables} ADD PRIMARY KEY (user_id)"
_TRACK_KEY: Final = "ALTER TABLE {schema}.track_{tables} ADD PRIMARY KEY (code)"
#: Rows as the server has them, as rows of binary COPY again.
_PLAYLIST_FRAME: Final = (
    "'\\x0002'::bytea || int4send(length(user_id)) || user_id "
    "|| int4send(length(playlist)) || playlist"
)
_TRACK_FRAME: Final = (
    "'\\x000200000008'::bytea || int8send(code) "
    "|| int4send(octet_length(names::text)) || convert_to(names::text, 'UTF8')"
)
#: Through the index, as readers come, and by all cores that the server may use.
_READING_BACK: Final = """
SET LOCAL enable_sort = off;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0
"""
_TRACKS_AT_ONCE: Final = 16_384
_PARTS_AT_ONCE: Final = 32
_HEADING: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"


class Stored(NamedTuple):
    """Rows that are to be found one after another.

    Attributes:
        query: gives the SHA-256 of their frames.
        bounds: its parameters.
        sha256: what it is, None where there must be no row.
    """

    query: str
    bounds: list[Any]
    sha256: bytes | None


def load(connection: Connection, schema: str, handed: Handed, digest: str) -> Place:
    """Write rows into tables of their own, index them, and read them back.

    Nobody sees the tables before the transaction of ``connection`` has ended; if it does not end,
    they never were.

    Args:
        connection: in a transaction.
        schema: quoted for SQL.
        handed: the rows.
        digest: of all the rows that are handed over.

    Raises:
        StoreError: the rows are not in order, not of this week, not what ``digest`` says, or read
            back otherwise than they were written.
    """
    tables = uuid.uuid4().hex[:16]
    run(connection, _TABLES.replace("{tables}", tables), schema)
    playlists: list[Sent] = []
    copy_in(connection, f"{schema}.playlist_{tables}", _noted(_frames(handed), playlists))
    with ThreadPoolExecutor(1) as beside:
        indexed = beside.submit(add_key, connection, schema, tables)
        handed.stored_digest(digest)  # or it refuses: these are not the rows
        return finish(connection, schema, tables, handed, playlists, indexed.result)


def add_key(connection: Connection, schema: str, tables: str) -> None:
    """Let playlists be found by their users."""
    run(connection, _PLAYLIST_KEY.replace("{tables}", tables), schema)


def finish(
    connection: Connection,
    schema: str,
    tables: str,
    handed: Handed,
    playlists: Sequence[Sent],
    indexed: Callable[[], object],
) -> Place:
    """Write the tracks beside playlists that are written, and read both back.

    Args:
        connection: in the transaction that made the table of tracks.
        schema: quoted for SQL.
        tables: what their names end with.
        handed: the rows.
        playlists: what must be found of them, the default playlist first.
        indexed: returns when the playlists have their key.

    Raises:
        StoreError: they read back otherwise than they were written.
    """
    try:
        tracks = Frames.numbered(handed.tracks())
        indexed()
        copy_in(connection, f"{schema}.track_{tables}", [tracks.data])
        run(connection, _TRACK_KEY.replace("{tables}", tables), schema)
        run(connection, _READING_BACK, schema)
        playlist_parts = _stored(f"playlist_{tables}", "user_id", _PLAYLIST_FRAME, playlists)
        track_parts = _stored(f"track_{tables}", "code", _TRACK_FRAME, _parts(tracks))
        whole = _holds(connection, schema, chain(playlist_parts, track_parts))
    except errors.UniqueViolation:
        whole = False
    if not whole:
        raise StoreError(
            f"The playlists of {handed.week} read back from PostgreSQL are not those that were "
            "written: nothing is staged. The server's disk may be failing."
        )
    return Place(tables, handed.names())


def written(frames: Frames) -> memoryview:
    """What is sent to the server of some frames."""
    return frames.data


def rewrite(connection: Connection, schema: str, old: Place) -> tuple[Place, int]:
    """Copy an edition's rows into new tables, without the forgotten users; and how many those are.

    Raises:
        StoreError: a row was lost on the way.
    """
    tables = uuid.uuid4().hex[:16]
    run(connection, _TABLES.replace("{tables}", tables), schema)
    kept = (
        "NOT EXISTS (SELECT FROM {schema}.tombstone t WHERE t.user_id = p.user_id) "
        "OR p.user_id = ''"
    )
    for statement in (
        f"INSERT INTO {{schema}}.playlist_{tables} "
        f"SELECT * FROM {{schema}}.playlist_{old.tables} p WHERE {kept} ORDER BY user_id",
        f"INSERT INTO {{schema}}.track_{tables} TABLE {{schema}}.track_{old.tables}",
        _PLAYLIST_KEY.replace("{tables}", tables),
        _TRACK_KEY.replace("{tables}", tables),
    ):
        run(connection, statement, schema)
    before, forgotten, after = (
        run(connection, query, schema)[0][0]
        for query in (
            f"SELECT count(*) FROM {{schema}}.playlist_{old.tables}",
            count_forgotten(old),
            f"SELECT count(*) FROM {{schema}}.playlist_{tables}",
        )
    )
    if before - forgotten != after:
        raise StoreError(
            "A playlist was lost while forgotten users were erased: nothing is changed."
        )
    return Place(tables, old.names), int(forgotten)


def count_forgotten(place: Place) -> str:
    """The query for how many playlists of an edition belong to forgotten users."""
    return (
        f"SELECT count(*) FROM {{schema}}.tombstone JOIN {{schema}}.playlist_{place.tables} "
        "USING (user_id) WHERE user_id <> ''"
    )


def read_rows(
    connection: Connection, schema: str, place: Place, week: Week
) -> Iterator[pa.RecordBatch]:
    """The playlists of an edition as ``schemas.PLAYLISTS``, in user order.

    Raises:
        StoreError: they are damaged.
    """
    with _explained(place, week):
        unpacker = Unpacker(week, _tracks(connection, schema, place), place.names)
        query = (
            f"SELECT user_id, playlist FROM {schema}.playlist_{place.tables} "
            "WHERE user_id <> '' ORDER BY user_id"
        )
        with connection.cursor("rows", binary=True) as cursor:
            cursor.execute(query.encode())
            while rows := cursor.fetchmany(CHUNK_ROWS):
                yield unpacker.batch(*zip(*rows, strict=True))


def read_default(connection: Connection, schema: str, place: Place, week: Week) -> pa.RecordBatch:
    """The default playlist of an edition as ``schemas.PLAYLISTS``.

    Raises:
        StoreError: it is missing or damaged.
    """
    with _explained(place, week):
        unpacker = Unpacker(week, _tracks(connection, schema, place), place.names)
        query = f"SELECT playlist FROM {{schema}}.playlist_{place.tables} WHERE user_id = ''"
        ((value,),) = run(connection, query, schema, binary=True)
        return unpacker.batch([b""], [value])


@contextlib.contextmanager
def _explained(place: Place, week: Week) -> Iterator[None]:
    try:
        yield
    except (ValueError, LookupError, struct.error, pa.ArrowException) as error:
        raise StoreError(
            f"The playlists of {week} in table playlist_{place.tables} are damaged ({error}). Drop "
            "it and run the week again: the same command writes the same playlists."
        ) from error


def _tracks(connection: Connection, schema: str, place: Place) -> pa.StringArray:
    """What lies by the codes of tracks, from 1."""
    query = f"SELECT code, names::text FROM {{schema}}.track_{place.tables} ORDER BY code"
    rows = run(connection, query, schema)
    if [code for code, _ in rows] != list(range(1, len(rows) + 1)):
        raise ValueError("codes of tracks are missing")
    return pa.array([names for _, names in rows], pa.string())


def copy_in(
    connection: Connection, table: str, data: Iterable[Data], *, freeze: bool = True
) -> None:
    """Write frames into a table; ``freeze`` where this transaction made it."""
    query = f"COPY {table} FROM STDIN (FORMAT binary{', FREEZE' if freeze else ''})"
    with connection.cursor() as cursor, cursor.copy(query.encode()) as copy:
        copy.write(_HEADING)
        for part in data:
            copy.write(part)
        copy.write(_END)


def _noted(frames: Iterable[Frames], sent: list[Sent]) -> Iterator[memoryview]:
    """What is sent to the server; what must be found there again is noted in ``sent``."""

    def hashed(part: Frames) -> tuple[Frames, bytes]:
        return part, hashlib.sha256(part.data).digest()

    for part, sha256 in pipelined(hashed, frames):
        if part.data:
            sent.append(Sent(part.last_key(), sha256))
            yield written(part)


def _parts(tracks: Frames) -> Iterator[Sent]:
    """What must be found in a table of tracks."""
    count = len(tracks.key_lengths)
    for start in range(0, count, _TRACKS_AT_ONCE):
        stop = min(start + _TRACKS_AT_ONCE, count)
        yield Sent(stop, hashlib.sha256(tracks.slice(start, stop).data).digest())


def _holds(connection: Connection, schema: str, stored: Iterable[Stored]) -> bool:
    """Whether tables hold rows as they were sent, each under its key.

    The server hashes what it finds by its index, some parts beside each other: sending all rows
    back would take several times as long.
    """
    parts = iter(stored)
    while some := list(islice(parts, _PARTS_AT_ONCE)):
        arms = [f"SELECT {n}, hash FROM ({part.query}) p" for n, part in enumerate(some)]
        bounds = [bound for part in some for bound in part.bounds]
        hashes = run(connection, " UNION ALL ".join(arms), schema, *bounds)
        if dict(hashes) != {n: part.sha256 for n, part in enumerate(some)}:
            return False
    return True


def _stored(table: str, key: str, frame: str, sent: Iterable[Sent]) -> Iterator[Stored]:
    """How the rows of a table are read back: what was sent, and nothing behind it."""
    rows, last = f"SELECT * FROM {{schema}}.{table} WHERE", list[Any]()
    for part in sent:
        after = f"{key} > %s AND " if last else ""
        found = f"{rows} {after}{key} <= %s ORDER BY {key}"
        query = f"SELECT sha256(string_agg({frame}, '')) AS hash FROM ({found}) t"
        yield Stored(query, [*last, part.last], part.sha256)
        last = [part.last]
    behind = f"SELECT sha256(int8send(nullif(count(*), 0))) AS hash FROM ({rows} {key} > %s) t"
    yield Stored(behind, last, None)  # a LIMIT would keep workers away


def _frames(handed: Handed) -> Iterator[Frames]:
    try:
        yield from handed
    except OSError as error:
        raise StoreError(
            f"The rows handed over for {handed.week} cannot be read ({error}): nothing is staged."
        ) from error
