"""Who stages on PostgreSQL, and what is left behind by whoever died while staging.

A staging has tables that are committed before the ledger names them. Whoever stages holds a lock of
the server's meanwhile; tables whose lock is free were left behind by a process that died, and the
next one that stages drops them.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Final

from psycopg import errors

from recsys.errors import RecsysError
from recsys.store._postgres_ledger import run
from recsys.store._postgres_server import Connection, Server

_LOCK: Final = "hashtext('recsys staging {schema} ' || %s)"
_ABANDONED: Final = """
SELECT DISTINCT right(tablename, 16) FROM pg_tables
WHERE schemaname = %s AND tablename ~ '^(part|playlist|track)_[0-9a-f]{16}$'
AND NOT EXISTS (SELECT FROM {schema}.edition WHERE tables = right(tablename, 16))
"""


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
            yield connection, tables
    except BaseException:
        with contextlib.suppress(RecsysError), server.write() as connection:
            _drop(connection, server.schema, tables)
        raise


def drop_abandoned(connection: Connection, schema: str) -> None:
    """Drop what processes left behind that died while they staged.

    No other writer may enter an edition meanwhile: the caller keeps them out.
    """
    for (tables,) in run(connection, _ABANDONED, schema, schema.strip('"')):
        free = run(connection, f"SELECT pg_try_advisory_xact_lock({_LOCK})", schema, tables)
        if free == [(True,)]:
            _drop(connection, schema, tables)


def _drop(connection: Connection, schema: str, tables: str) -> None:
    """Drop the tables of a staging, unless somebody writes to them still: the next one will."""
    kinds = ("part", "playlist", "track")
    drop = f"DROP TABLE IF EXISTS {', '.join(f'{{schema}}.{kind}_{tables}' for kind in kinds)}"
    with contextlib.suppress(errors.LockNotAvailable), connection.transaction():
        run(connection, "SET LOCAL lock_timeout = '300ms'", schema)
        run(connection, drop, schema)
