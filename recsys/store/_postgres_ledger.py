"""The tables that say what was staged, what is served, who is forgotten and what is blocked.

Each function works within a transaction of its caller, and takes the schema quoted for SQL.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from psycopg import errors

from recsys.errors import StoreError
from recsys.store._contract import Action, Edition, History, LedgerEntry, State
from recsys.store._postgres_server import Connection
from recsys.store._postgres_sql import FUNCTIONS, SHOWN
from recsys.store._rules import Entry, Moves
from recsys.store._value import Names
from recsys.weeks import Week

FORMAT: Final = 1

_TABLES: Final = """
CREATE TABLE {schema}.store (        -- one row
    format int NOT NULL,
    served text,                     -- digest of the edition that readers get
    blocks uuid NOT NULL DEFAULT gen_random_uuid(),  -- another one with every blocked track
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
CREATE TABLE {schema}.edition (
    digest text PRIMARY KEY,
    edition text NOT NULL,
    revision int NOT NULL,
    state text NOT NULL,
    staged_at timestamptz NOT NULL,
    activated_at timestamptz,
    rows bigint NOT NULL,
    left_out bigint NOT NULL,
    replaced text,                   -- the digest that was served before this one
    pinned boolean NOT NULL,
    pruned boolean NOT NULL,
    valid_from date NOT NULL,
    valid_until date NOT NULL,
    tables text,                     -- its rows are in playlist_… and track_…; null: lost or pruned
    forms json,                      -- kinds of playlists with the rules relaxed, by code
    sources json                     -- where tracks come from, by code
);
CREATE TABLE {schema}.ledger (
    seq bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    action text NOT NULL,
    edition text NOT NULL,
    revision int NOT NULL,
    digest text NOT NULL,
    note text NOT NULL
);
CREATE TABLE {schema}.tombstone (user_id bytea PRIMARY KEY, at timestamptz NOT NULL);
CREATE TABLE {schema}.block (         -- the ids as JSON text, as in track_…
    track_id text PRIMARY KEY,
    at timestamptz NOT NULL
);
INSERT INTO {schema}.store (format) VALUES ({format});
"""
_FUNCTIONS_MARK: Final = f"recsys {hashlib.sha256(FUNCTIONS.encode()).hexdigest()}"
_FIELDS: Final = (
    "edition, revision, digest, state, staged_at, activated_at, rows, left_out, replaced, pinned, "
    "pruned"
)
_ENTRY: Final = "seq, at, action, edition, revision, digest, note"
_ATTEMPTS: Final = 30
_JSON: Final = json.JSONEncoder(ensure_ascii=False)  # json.dumps would make one each time
_CHANGING: Final = (
    "revision",
    "state",
    "activated_at",
    "rows",
    "left_out",
    "replaced",
    "pinned",
    "pruned",
)


class Place(NamedTuple):
    """Where the rows of an edition are: what its tables are called, and what codes in them mean."""

    tables: str
    names: Names


def exists(connection: Connection, schema: str) -> bool:
    """Whether there is a store.

    Raises:
        StoreError: it is of another format.
    """
    # Not to_regclass: within a transaction it need not see what others have just made.
    query = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'store'"
    if not run(connection, query, schema, schema.strip('"')):
        return False
    rows = run(connection, "SELECT format FROM {schema}.store", schema)
    check_format(rows[0][0] if rows else None)
    return True


def check_format(version: Any) -> None:
    """Refuse a store that this code does not know.

    Raises:
        StoreError: it is of another format.
    """
    if version != FORMAT:
        raise StoreError(
            f"The store has format {version}, and this recsys knows format {FORMAT}. Install the "
            "recsys that wrote it, or a newer one."
        )


def lock(connection: Connection, schema: str) -> None:
    """Keep other writers out until the transaction ends; make the store if there is none."""
    if not exists(connection, schema):
        # One at a time; whoever comes second finds it made.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"recsys {schema}",))
        if not exists(connection, schema):
            (there,) = connection.execute("SELECT to_regnamespace(%s)", (schema,)).fetchone() or ()
            if there is None:
                run(connection, "CREATE SCHEMA {schema}", schema)
            run(connection, _TABLES.replace("{format}", str(FORMAT)), schema)
            _make_functions(connection, schema)
    run(connection, "SELECT FROM {schema}.store FOR UPDATE", schema)


def renew_functions(connection: Connection, schema: str) -> None:
    """Make the functions of a store those of this recsys, where another made them."""
    query = "SELECT obj_description(to_regprocedure(%s), 'pg_proc')"
    if run(connection, query, schema, f"{schema}.{SHOWN}") != [(_FUNCTIONS_MARK,)]:
        _make_functions(connection, schema)


def _make_functions(connection: Connection, schema: str) -> None:
    run(connection, FUNCTIONS, schema)
    run(connection, f"COMMENT ON FUNCTION {{schema}}.{SHOWN} IS '{_FUNCTIONS_MARK}'", schema)


def run(
    connection: Connection, query: str, schema: str, *parameters: Any, binary: bool = False
) -> list[Any]:
    """Run a statement, ``{schema}`` filled in; its rows, if it has any, sent as ``binary``."""
    statement = query.replace("{schema}", schema).encode()
    cursor = connection.execute(statement, parameters or None, binary=binary)
    return cursor.fetchall() if cursor.description else []


def history_in(connection: Connection, schema: str) -> History:
    """Everything but the playlists."""
    entries = run(connection, f"SELECT {_ENTRY} FROM {{schema}}.ledger ORDER BY seq", schema)
    tombstones = run(connection, "SELECT user_id, at FROM {schema}.tombstone", schema)
    blocks = run(connection, "SELECT track_id, at FROM {schema}.block", schema)
    return History(
        editions=editions_in(connection, schema),
        ledger=tuple(_entry(row) for row in entries),
        tombstones={user.decode(): at for user, at in tombstones},
        blocks={json.loads(track): at for track, at in blocks},
    )


def editions_in(connection: Connection, schema: str) -> tuple[Edition, ...]:
    """Every edition, newest first; whether its tables are there, and not empty, is looked up."""
    tables = (f"to_regclass('{schema}.{kind}_' || tables)" for kind in ("playlist", "track"))
    present = " AND ".join(f"coalesce(pg_relation_size({table}), 0) > 0" for table in tables)
    rows = run(
        connection,
        f"SELECT {_FIELDS}, digest IS NOT DISTINCT FROM (SELECT served FROM {{schema}}.store), "
        f'{present} FROM {{schema}}.edition ORDER BY edition COLLATE "C" DESC, revision DESC, '
        "staged_at DESC",
        schema,
    )
    return tuple(_edition(row) for row in rows)


def place_of(connection: Connection, schema: str, digest: str) -> Place | None:
    """Where an edition's rows are, if anywhere."""
    rows = run(
        connection,
        "SELECT tables, forms, sources FROM {schema}.edition "
        "WHERE digest = %s AND tables IS NOT NULL",
        schema,
        digest,
    )
    return Place(rows[0][0], Names.parse(*rows[0][1:])) if rows else None


def write_moves(connection: Connection, schema: str, moves: Moves) -> list[LedgerEntry]:
    """Write what the rules changed; returns the entries as they are in the ledger."""
    for edition in moves.editions:
        _write_edition(connection, schema, edition)
        if edition.pruned:
            move_rows(connection, schema, edition.digest, None)
    return [_add_entry(connection, schema, entry) for entry in moves.entries]


def move_rows(connection: Connection, schema: str, digest: str, place: Place | None) -> None:
    """Say where an edition's rows are from now on, and drop the tables they were in.

    Raises:
        StoreError: that reads back otherwise than it was written.
    """
    old = place_of(connection, schema, digest)
    run(
        connection,
        "UPDATE {schema}.edition SET tables = %s, forms = %s, sources = %s WHERE digest = %s",
        schema,
        *((place.tables, *map(json.dumps, place.names)) if place else (None, None, None)),
        digest,
    )
    if place_of(connection, schema, digest) != place:
        raise StoreError(
            f"What codes in the playlists of {digest[:12]} mean reads back from PostgreSQL "
            "otherwise than it was written: nothing is changed. The server's disk may be failing."
        )
    if old is not None:
        drop(connection, schema, old)


def drop(connection: Connection, schema: str, place: Place) -> None:
    """Drop the tables of an edition; readers of it are made to wait for moments only.

    Raises:
        psycopg.errors.LockNotAvailable: somebody reads them for long.
    """
    tables = ", ".join(f"{schema}.{kind}_{place.tables}" for kind in ("playlist", "track"))
    for attempt in range(_ATTEMPTS):
        try:
            with connection.transaction():
                connection.execute(b"SET LOCAL lock_timeout = '300ms'")
                connection.execute(f"DROP TABLE IF EXISTS {tables}".encode())
        except errors.LockNotAvailable:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


def restore(connection: Connection, schema: str, history: History) -> bool:
    """Fill an empty store; False if it is not empty."""
    for table in ("edition", "ledger", "tombstone", "block"):
        if run(connection, f"SELECT 1 FROM {{schema}}.{table} LIMIT 1", schema):
            return False
    for edition in history.editions:
        _write_edition(connection, schema, edition)
    for e in history.ledger:
        entry = (e.seq, e.at, e.action, e.edition, e.revision, e.digest, e.note)
        _insert(connection, schema, "ledger", *entry)
    for user_id, at in history.tombstones.items():
        _insert(connection, schema, "tombstone", user_id.encode(), at)
    for track_id, at in history.blocks.items():
        _insert(connection, schema, "block", json_text(track_id), at)
    run(connection, "UPDATE {schema}.store SET blocks = gen_random_uuid()", schema)
    return True


def forget(connection: Connection, schema: str, user_id: str) -> None:
    """Set a tombstone; the first one stays."""
    _insert(connection, schema, "tombstone", user_id.encode(), datetime.now(UTC))


def block(connection: Connection, schema: str, track_id: str) -> None:
    """Block a track; the first time stays."""
    _insert(connection, schema, "block", json_text(track_id), datetime.now(UTC))
    run(connection, "UPDATE {schema}.store SET blocks = gen_random_uuid()", schema)


def json_text(text: str) -> str:
    """A JSON string; unlike text in PostgreSQL it can hold U+0000."""
    return _JSON.encode(text)


def _insert(connection: Connection, schema: str, table: str, *values: Any) -> None:
    marks = ", ".join(["%s"] * len(values))
    query = f"INSERT INTO {{schema}}.{table} VALUES ({marks}) ON CONFLICT DO NOTHING"
    run(connection, query, schema, *values)


def _write_edition(connection: Connection, schema: str, edition: Edition) -> None:
    week = Week.parse(edition.edition)
    fields = {name.strip(): getattr(edition, name.strip()) for name in _FIELDS.split(",")}
    fields |= {"valid_from": week.monday, "valid_until": week.sunday}
    changes = ", ".join(f"{name} = excluded.{name}" for name in _CHANGING)
    run(
        connection,
        f"INSERT INTO {{schema}}.edition ({', '.join(fields)}) "
        f"VALUES ({', '.join(['%s'] * len(fields))}) ON CONFLICT (digest) DO UPDATE SET {changes}",
        schema,
        *fields.values(),
    )
    if edition.served:
        run(connection, "UPDATE {schema}.store SET served = %s", schema, edition.digest)


def _add_entry(connection: Connection, schema: str, entry: Entry) -> LedgerEntry:
    ((seq,),) = run(connection, "SELECT coalesce(max(seq), 0) + 1 FROM {schema}.ledger", schema)
    added = LedgerEntry(seq, datetime.now(UTC), *entry)
    _insert(connection, schema, "ledger", seq, added.at, *entry)
    return added


def _edition(row: tuple[Any, ...]) -> Edition:
    *fields, served, present = row
    names = [name.strip() for name in _FIELDS.split(",")]
    known = dict(zip(names, fields, strict=True))
    return Edition(
        **{**known, "state": State(known["state"])}, served=served, present=bool(present)
    )


def _entry(row: tuple[Any, ...]) -> LedgerEntry:
    seq, at, action, *rest = row
    return LedgerEntry(seq, at, Action(action), *rest)
