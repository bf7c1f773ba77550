"""Loading an edition's rows into PostgreSQL, and reading them back. Needs NumPy and Arrow.

Frames are rows of a binary ``COPY``: they go in, and come back, as they are.
"""

from __future__ import annotations

import contextlib
import struct
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final, NamedTuple

import pyarrow as pa
from psycopg import errors

from recsys._pipelined import pipelined
from recsys.errors import StoreError
from recsys.store._arrow import Unpacker
from recsys.store._frames import Data, Frames
from recsys.store._handed import Handed
from recsys.store._parts import Sent, sent_of
from recsys.store._postgres_ledger import Place, lock, run
from recsys.store._postgres_server import Connection, Server
from recsys.store._rows import CHUNK_ROWS
from recsys.weeks import Week

PLAYLIST_TABLE: Final = """
CREATE TABLE {schema}.playlist_{tables} (  -- the default playlist is that of the empty user_id
    user_id bytea NOT NULL,                -- UTF-8
    playlist bytea NOT NULL                -- packed, see function shown
);
"""
_TRACK_TABLE: Final = """
CREATE TABLE {schema}.track_{tables} (
    code bigint NOT NULL,
    names json NOT NULL                    -- id, name or null, names of the artists
);
"""
#: Rows as the server has them, as rows of binary COPY again.
_PLAYLIST_FRAME: Final = (
    "'\\x0002'::bytea || int4send(length(user_id)) || user_id "
    "|| int4send(length(playlist)) || playlist"
)
_TRACK_FRAME: Final = (
    "'\\x000200000008'::bytea || int8send(code) "
    "|| int4send(octet_length(names::text)) || json_send(names)"
)
_BY_INDEX: Final = "SET LOCAL enable_sort = off"  # as readers come
_PARTS_AT_ONCE: Final = 256
_LOWEST: Final = -(2**63)
_HEADING: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"


class Table(NamedTuple):
    """A table that is read back.

    Attributes:
        name: without its schema.
        key: the column by which rows are found.
        kind: its type.
        key_of: what stands in it, from a frame's key.
        lowest: no key is below this one.
        frame: a row as a row of binary COPY.
    """

    name: str
    key: str
    kind: str
    key_of: Callable[[bytes], bytes | int]
    lowest: bytes | int
    frame: str


def load(connection: Connection, server: Server, tables: str, handed: Handed, digest: str) -> Place:
    """Write rows into tables of their own, index them, and read them back.

    Args:
        connection: from :func:`~recsys.store._postgres_staging.staging`.
        server: where.
        tables: what their names end with, from there.
        handed: the rows.
        digest: of all the rows that are handed over.

    Raises:
        StoreError: the rows are not in order, not of this week, not what ``digest`` says, or read
            back otherwise than they were written.
    """
    schema = server.schema
    run(connection, PLAYLIST_TABLE.replace("{tables}", tables), schema)
    playlists: list[Sent] = []
    copy_in(connection, f"{schema}.playlist_{tables}", _noted(_frames(handed), playlists))

    def tracks() -> pa.StringArray:
        handed.stored_digest(digest)  # or it refuses: these are not the rows
        return handed.tracks()

    return finish(connection, server, tables, handed, playlists, tracks)


def finish(
    connection: Connection,
    server: Server,
    tables: str,
    handed: Handed,
    playlists: Sequence[Sent],
    tracks: Callable[[], pa.StringArray],
) -> Place:
    """Index playlists that are written and read them back; beside that, write the tracks, too.

    Args:
        connection: as of :func:`load`; so are all others not named here.
        server: likewise.
        tables: likewise.
        handed: likewise.
        playlists: what must be found of them, the default playlist first.
        tracks: makes what is to be stored by the codes of tracks.

    Raises:
        StoreError: they read back otherwise than they were written.
    """
    schema = server.schema
    by_user = Table(f"playlist_{tables}", "user_id", "bytea", bytes, b"", _PLAYLIST_FRAME)
    by_code = Table(f"track_{tables}", "code", "bigint", int.from_bytes, _LOWEST, _TRACK_FRAME)
    with ThreadPoolExecutor(1) as beside:
        indexed = beside.submit(_index, connection, schema, by_user, playlists)
        made = Frames.numbered(tracks())
        with server.write(load=True) as other:
            run(other, "SET LOCAL idle_in_transaction_session_timeout = 0", schema)
            run(other, _TRACK_TABLE.replace("{tables}", tables), schema)
            copy_in(other, f"{schema}.{by_code.name}", [made.data])
            if not _index(other, schema, by_code, sent_of(made)) or not indexed.result():
                raise StoreError(
                    f"The playlists of {handed.week} read back from PostgreSQL are not those that "
                    "were written: nothing is staged. The server's disk may be failing."
                )
            lock(connection, schema)  # whoever looks for what was left behind waits for this one
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
    run(connection, (PLAYLIST_TABLE + _TRACK_TABLE).replace("{tables}", tables), schema)
    kept = (
        "NOT EXISTS (SELECT FROM {schema}.tombstone t WHERE t.user_id = p.user_id) "
        "OR p.user_id = ''"
    )
    for statement in (
        f"INSERT INTO {{schema}}.playlist_{tables} "
        f"SELECT * FROM {{schema}}.playlist_{old.tables} p WHERE {kept} ORDER BY user_id",
        f"INSERT INTO {{schema}}.track_{tables} TABLE {{schema}}.track_{old.tables}",
        _add_key(f"playlist_{tables}", "user_id"),
        _add_key(f"track_{tables}", "code"),
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


def _noted(frames: Iterable[Frames], noted: list[Sent]) -> Iterator[memoryview]:
    """What is sent to the server; what must be found there again goes into ``noted``."""

    def hashed(part: Frames) -> tuple[Frames, list[Sent]]:
        return part, list(sent_of(part))

    for part, sent in pipelined(hashed, frames):
        if sent:
            noted += sent
            yield written(part)


def _index(connection: Connection, schema: str, table: Table, sent: Iterable[Sent]) -> bool:
    """Index a table, and see whether it holds rows as they were sent, each under its key, and no
    others.

    The server hashes what it finds by the index: sending all rows back would take several times as
    long. A statement hashes many parts one after another, since it keeps what it has put together
    of one until the next.
    """
    name, key, kind, key_of, lowest, frame = table
    found = f"SELECT * FROM {{schema}}.{name} WHERE {key} BETWEEN first AND last ORDER BY {key}"
    query = (
        f"SELECT n, (SELECT sha256(string_agg({frame}, '')) FROM ({found}) t) "
        f"FROM unnest(%s::{kind}[], %s::{kind}[]) WITH ORDINALITY AS part (first, last, n)"
    )
    try:
        run(connection, _add_key(name, key), schema)
    except errors.UniqueViolation:
        return False
    run(connection, _BY_INDEX, schema)
    parts = iter(sent)
    while some := list(islice(parts, _PARTS_AT_ONCE)):
        last = [key_of(part.last) for part in some]
        first = [lowest, *map(_next, last)]
        hashes = run(connection, query, schema, first[:-1], last)
        if dict(hashes) != {n: part.sha256 for n, part in enumerate(some, start=1)}:
            return False
        lowest = first[-1]
    beyond = f"SELECT 1 FROM {{schema}}.{name} WHERE {key} >= %s ORDER BY {key} LIMIT 1"
    return not run(connection, beyond, schema, lowest)


def _add_key(table: str, key: str) -> str:
    return f"ALTER TABLE {{schema}}.{table} ADD PRIMARY KEY ({key})"


def _next(key: bytes | int) -> bytes | int:
    """The key that comes right after another."""
    return key + 1 if isinstance(key, int) else key + b"\0"


def _frames(handed: Handed) -> Iterator[Frames]:
    try:
        yield from handed
    except OSError as error:
        raise StoreError(
            f"The rows handed over for {handed.week} cannot be read ({error}): nothing is staged."
        ) from error
