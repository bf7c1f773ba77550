"""Loading an edition's rows into PostgreSQL, and reading them back. Needs NumPy and Arrow.

Rows go in as a binary ``COPY`` stream that Arrow puts together, column beside column.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import errors

from recsys.errors import StoreError
from recsys.store._handed import Handed
from recsys.store._pack import Packed, Packer, TrackNames, Unpacker
from recsys.store._postgres_ledger import Place, json_text, run
from recsys.store._postgres_server import Connection
from recsys.store._rows import CHUNK_ROWS, playlists_digest
from recsys.weeks import Week

_TABLES: Final = """
CREATE TABLE {schema}.playlist_{tables} (  -- the default playlist is that of the empty user_id
    user_id bytea NOT NULL,                -- UTF-8
    kind text NOT NULL,
    relaxed json NOT NULL,
    tracks bytea NOT NULL,                 -- 17 bytes a track, see function unpacked
    spares bytea NOT NULL,
    not_at json NOT NULL
);
CREATE TABLE {schema}.track_{tables} (     -- as JSON: text cannot hold U+0000
    code bigint NOT NULL,
    track_id json NOT NULL,
    track_name json,
    artist_names json NOT NULL
);
"""
_KEYS: Final = """
ALTER TABLE {schema}.playlist_{tables} ADD PRIMARY KEY (user_id);
ALTER TABLE {schema}.track_{tables} ADD PRIMARY KEY (code)
"""
_HEADING: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_FIELDS: Final = len(Packed._fields).to_bytes(2, "big")


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
    packer = Packer()
    names: list[TrackNames] = []
    with connection.cursor() as cursor:
        query = f"COPY {schema}.playlist_{tables} FROM STDIN (FORMAT binary, FREEZE)"
        with cursor.copy(query.encode()) as copy:
            copy.write(_HEADING)
            for chunk in _chunks(handed):
                copy.write(copy_rows(packer.pack(chunk)))
                names += packer.take_tracks()
            copy.write(_END)
        stored = handed.finish(digest)
        names += packer.nameless()
        query = f"COPY {schema}.track_{tables} FROM STDIN (FREEZE)"
        with cursor.copy(query.encode()) as copy:
            for row in sorted(names):
                name = None if row.track_name is None else json_text(row.track_name)
                copy.write_row((row.code, json_text(row.track_id), name, row.artist_names))
    place = Place(tables, packer.sources)
    try:
        run(connection, _KEYS.replace("{tables}", tables), schema)
    except errors.UniqueViolation:
        raise StoreError(
            "A playlist has an empty user_id, which is the default playlist's."
        ) from None
    if read_back(connection, schema, place, handed.week) != stored:
        raise StoreError(
            f"The playlists of {handed.week} read back from PostgreSQL are not those that were "
            "written: nothing is staged. Either one track has two names, or the disk is failing."
        )
    return place


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
        _KEYS.replace("{tables}", tables),
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
    return Place(tables, old.sources), int(forgotten)


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
        yield from _batches(connection, schema, place, _unpacker(connection, schema, place, week))


def read_back(connection: Connection, schema: str, place: Place, week: Week) -> str:
    """The digest of an edition's rows as they are stored."""
    with _explained(place, week):
        unpacker = _unpacker(connection, schema, place, week)
        (default,) = _batches(connection, schema, place, unpacker, "= ''")
        return playlists_digest(_batches(connection, schema, place, unpacker), default)


@contextlib.contextmanager
def _explained(place: Place, week: Week) -> Iterator[None]:
    try:
        yield
    except (ValueError, pa.ArrowException) as error:
        raise StoreError(
            f"The playlists of {week} in table playlist_{place.tables} are damaged ({error}). Drop "
            "it and run the week again: the same command writes the same playlists."
        ) from error


def _unpacker(connection: Connection, schema: str, place: Place, week: Week) -> Unpacker:
    rows = run(
        connection,
        "SELECT code, track_id::text, track_name::text, artist_names::text "
        f"FROM {{schema}}.track_{place.tables} ORDER BY code",
        schema,
    )
    if not rows:
        return Unpacker(week, (), place.sources)
    codes, ids, names, artists = zip(*rows, strict=True)
    named = zip(codes, _texts(ids), _texts(names), artists, strict=True)
    return Unpacker(week, named, place.sources)


def _texts(values: Iterable[str | None]) -> list[str | None]:
    """JSON strings, or null, as Python values."""
    texts: list[str | None] = json.loads(f"[{','.join(value or 'null' for value in values)}]")
    return texts


def _batches(
    connection: Connection, schema: str, place: Place, unpacker: Unpacker, which: str = "<> ''"
) -> Iterator[pa.RecordBatch]:
    query = (
        "SELECT user_id, kind, relaxed::text, tracks, spares, not_at::text "
        f"FROM {schema}.playlist_{place.tables} WHERE user_id {which} ORDER BY user_id"
    )
    run(connection, "SET LOCAL enable_sort = off", schema)  # through the index, as readers come
    with connection.cursor("rows", binary=True) as cursor:
        cursor.execute(query.encode())
        while rows := cursor.fetchmany(CHUNK_ROWS):
            yield unpacker.batch([(row[0].decode(), *row[1:]) for row in rows])


def copy_rows(packed: Packed) -> memoryview:
    """Rows in the binary format of ``COPY``: a count of fields, then each after its length."""
    parts: list[Any] = []
    for column in packed:
        values = column.cast(pa.binary())
        parts += [_big_endian(pc.binary_length(values)), values]
    rows = pc.binary_join_element_wise(pa.scalar(_FIELDS), *parts, pa.scalar(b""))
    _, ends, data = rows.buffers()
    stop = np.frombuffer(ends, np.int32)[len(rows)]
    return memoryview(data)[:stop]


def _big_endian(lengths: pa.Array[Any]) -> pa.Array[Any]:
    data = pa.py_buffer(lengths.to_numpy().astype(">i4"))
    return pa.Array.from_buffers(pa.binary(4), len(lengths), [None, data]).cast(pa.binary())


def _chunks(handed: Handed) -> Iterator[pa.RecordBatch]:
    yield handed.default
    try:
        yield from handed
    except OSError as error:
        raise StoreError(
            f"The rows handed over for {handed.week} cannot be read ({error}): nothing is staged."
        ) from error
