"""Loading an edition into PostgreSQL by several processes. Needs NumPy and Arrow.

Each part is one transaction that first takes the part's number: another attempt at it waits, and
finds it taken.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

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
        connection: from :func:`~recsys.store._postgres_staging.staging`.
        server: where.
        tables: what their names end with, from there.
        handed: the rows.
        noted: what must be found.
        send: has every part written.

    Raises:
        StoreError: parts are missing, were other rows, or read back otherwise than was noted.
    """
    schema = server.schema
    with server.write() as other:
        for made in (loading.PLAYLIST_TABLE, _PART_TABLE):
            run(other, made.replace("{tables}", tables), schema)
    send()
    found = run(connection, f"SELECT part, sha256 FROM {{schema}}.part_{tables}", schema)
    check_parts(handed.week, noted.parts, dict(found))
    run(connection, f"DROP TABLE {{schema}}.part_{tables}", schema)
    table = f"{schema}.playlist_{tables}"
    loading.copy_in(connection, table, [loading.written(noted.default)], freeze=False)
    return loading.finish(connection, server, tables, handed, noted.rows, handed.tracks)
