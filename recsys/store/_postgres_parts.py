"""Loading an edition into PostgreSQL by several processes. Needs NumPy and Arrow.

Each part is one transaction that first takes the part's number: another attempt at it waits, and
finds it taken. Whoever stages holds a lock of the server's meanwhile; tables whose lock is free
were left behind by a process that died, and the next one that stages drops them.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from psycopg import errors

from recsys.errors import RecsysError
from recsys.store import _postgres_load as loading
from recsys.store._handed import Handed
from recsys.store._parted import PartWriter, check_parts
from recsys.store._parts import Noted, PartPacker
from recsys.store._postgres_ledger import Place, run
from recsys.store._postgres_server import Connection, Server

_PART_TABLE: Final = """
CREATE TABLE {schema}.part_{tables} (  -- those that are written, while an edition is staged
    part int PRIMARY KEY,
    sha256 text NOT NULL               -- of its frames
);
"""
_LOCK: Final = "hashtext('recsys staging {schema} ' || %s)"
#: A machine that is gone is noticed after half a minute, and its part is free for another attempt.
_PATIENT: Final = (
    "SET LOCAL lock_timeout = 0; SET LOCAL tcp_keepalives_idle = 10; "
    "SET LOCAL tcp_keepalives_interval = 5; SET LOCAL tcp_keepalives_count = 4"
)


@dataclass(frozen=True, repr=False)
class Writer(PartWriter):
    """Writes parts into the tables of a staging."""

    url: str
    tables: str
    packed: PartPacker

    def write(self, part: int, batches: Iterable[pa.RecordBatch]) -> None:
        server = Server(self.url)
        with contextlib.closing(server), server.write(load=True) as connection:
            run(connection, _PATIENT, server.schema)
            parts = f"{{schema}}.part_{self.tables}"
            claim = f"INSERT INTO {parts} VALUES (%s, '') ON CONFLICT DO NOTHING RETURNING part"
            if not run(connection, claim, server.schema, part):
                return  # another attempt was faster
            sha256 = hashlib.sha256()
            table = f"{server.schema}.playlist_{self.tables}"
            loading.copy_in(connection, table, self._frames(batches, sha256), freeze=False)
            say = f"UPDATE {parts} SET sha256 = %s WHERE part = %s"
            run(connection, say, server.schema, sha256.hexdigest(), part)

    def _frames(self, batches: Iterable[pa.RecordBatch], sha256: Any) -> Iterator[memoryview]:
        for frames in self.packed(batches):
            sent = loading.written(frames)
            sha256.update(sent)
            yield sent


@contextlib.contextmanager
def staging(server: Server) -> Iterator[tuple[Connection, str]]:
    """A connection in a transaction, and what the names of tables for a staging end with.

    The tables are gone in the end, unless the transaction has taken what is in them.
    """
    tables = uuid.uuid4().hex[:16]
    try:
        with server.write(load=True) as connection:
            run(connection, "SET LOCAL idle_in_transaction_session_timeout = 0", server.schema)
            run(connection, f"SELECT pg_advisory_xact_lock({_LOCK})", server.schema, tables)
            with server.write() as other:
                for table in (loading.PLAYLIST_TABLE, _PART_TABLE):
                    run(other, table.replace("{tables}", tables), server.schema)
            yield connection, tables
    except BaseException:
        with contextlib.suppress(RecsysError), server.write() as connection:
            _drop(connection, server.schema, tables)
        raise


def load_parts(
    connection: Connection,
    server: Server,
    tables: str,
    handed: Handed,
    noted: Noted,
    send: Callable[[], None],
) -> Place:
    """Have parts written into tables, index them, and read them back.

    Args:
        connection: from :func:`staging`.
        server: where.
        tables: likewise from :func:`staging`.
        handed: the rows.
        noted: what must be found.
        send: has every part written.

    Raises:
        StoreError: parts are missing, were other rows, or read back otherwise than was noted.
    """
    schema = server.schema
    send()
    found = run(connection, f"SELECT part, sha256 FROM {{schema}}.part_{tables}", schema)
    check_parts(handed.week, noted.parts, dict(found))
    run(connection, f"DROP TABLE {{schema}}.part_{tables}", schema)
    table = f"{schema}.playlist_{tables}"
    loading.copy_in(connection, table, [loading.written(noted.default)], freeze=False)
    run(connection, loading.TRACK_TABLE.replace("{tables}", tables), schema)
    return loading.finish(connection, schema, tables, handed, noted.rows, handed.tracks)


def drop_abandoned(connection: Connection, schema: str) -> None:
    """Drop what processes left behind that died while they staged."""
    query = "SELECT substr(tablename, 6) FROM pg_tables WHERE schemaname = %s AND tablename ~ %s"
    name = schema.strip('"')
    for (tables,) in run(connection, query, schema, name, "^part_[0-9a-f]{16}$"):
        free = run(connection, f"SELECT pg_try_advisory_xact_lock({_LOCK})", schema, tables)
        if free == [(True,)]:
            _drop(connection, schema, tables)


def _drop(connection: Connection, schema: str, tables: str) -> None:
    """Drop the tables of a staging, unless somebody writes to them still: the next one will."""
    drop = f"DROP TABLE IF EXISTS {{schema}}.part_{tables}, {{schema}}.playlist_{tables}"
    with contextlib.suppress(errors.LockNotAvailable), connection.transaction():
        run(connection, "SET LOCAL lock_timeout = '300ms'", schema)
        run(connection, drop, schema)
