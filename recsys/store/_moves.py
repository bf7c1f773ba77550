"""The moves of an edition from staged to served and back, each within one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from recsys.errors import StoreError
from recsys.store._contract import Action, History, LedgerEntry, State
from recsys.store._ledger import entry_of
from recsys.weeks import Week


class Stored(NamedTuple):
    """An edition's folder: its name, the bytes and rows in it, and the rows left out of it."""

    folder: str
    bytes: int
    rows: int
    left_out: int


class _Row(NamedTuple):
    digest: str
    edition: str
    revision: int
    state: State
    replaced: str | None
    folder: str | None
    bytes: int

    @property
    def name(self) -> str:
        return f"{self.edition} r{self.revision} ({self.digest[:12]})"

    @property
    def order(self) -> tuple[str, int]:
        return (self.edition, self.revision)


Present = Callable[[str, int], bool]


def register(
    connection: sqlite3.Connection, digest: str, edition: str, revision: int, stored: Stored
) -> None:
    """Record that a folder is in its place; one staged before keeps its state."""
    known = _row(connection, digest)
    if known is None:
        connection.execute(
            "INSERT INTO edition (digest, edition, revision, state, staged_at, rows, left_out, "
            "valid_from, folder, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                digest,
                edition,
                revision,
                State.STAGED,
                _now(),
                stored.rows,
                stored.left_out,
                Week.parse(edition).monday.isoformat(),
                stored.folder,
                stored.bytes,
            ),
        )
        _record(connection, Action.STAGED, edition, revision, digest)
        return
    connection.execute(
        "UPDATE edition SET folder = ?, bytes = ?, rows = ?, left_out = ? WHERE digest = ?",
        (stored.folder, stored.bytes, stored.rows, stored.left_out, digest),
    )
    if known.folder != stored.folder:
        _record(connection, Action.STAGED, edition, revision, digest, "its rows are back")


def renumber(connection: sqlite3.Connection, digest: str, revision: int) -> None:
    """A later revision has come out the same: the content now counts as that revision."""
    known = _known(connection, digest)
    if revision > known.revision:
        connection.execute("UPDATE edition SET revision = ? WHERE digest = ?", (revision, digest))
        _record(
            connection,
            Action.STAGED,
            known.edition,
            revision,
            digest,
            f"the same rows as revision {known.revision}",
        )


def activate(
    connection: sqlite3.Connection, edition: str, digest: str, *, backfill: bool, present: Present
) -> None:
    """Move the pointer forward, or record an older edition of a backfill."""
    new = _known(connection, digest)
    if new.edition != edition:
        raise StoreError(f"{digest} was staged for {new.edition}, not for {edition}.")
    if new.state is State.ROLLED_BACK:
        raise StoreError(
            f"{new.name} was rolled back, and is not served again by itself. Make the week anew "
            f"from other settings or a mended log (--revision {new.revision + 1}; the same "
            "playlists would be refused again), or publish the next week."
        )
    _require_rows(new, present)
    served = _served(connection)
    if served is not None and served.digest == digest:
        return
    if served is None or new.order > served.order:
        _refuse_twin(connection, new)
        if served is not None:
            _change(connection, served, State.SUPERSEDED, f"by {new.name}")
        _serve(connection, new, "")
        connection.execute(
            "UPDATE edition SET replaced = ? WHERE digest = ?",
            (served.digest if served else None, digest),
        )
    elif not backfill:
        raise StoreError(
            f"{new.name} is not newer than {served.name}, which is served. To serve a week anew, "
            "make it with a higher --revision; to fill in an older week, run a backfill; to go "
            "back, roll back."
        )
    elif new.state is State.STAGED:
        _refuse_twin(connection, new)
        _change(connection, new, State.ACTIVATED, f"a backfill; {served.name} stays served")
        _stamp_activated(connection, new)


def rollback(connection: sqlite3.Connection, present: Present) -> LedgerEntry:
    """Move the pointer back to what was served before."""
    served = _served(connection)
    if served is None:
        raise StoreError("There is nothing to roll back: no edition is served yet.")
    if served.replaced is None:
        raise StoreError(f"No edition was served before {served.name}: nothing to roll back to.")
    before = _known(connection, served.replaced)
    _require_rows(before, present)
    _change(connection, served, State.ROLLED_BACK, f"to {before.name}")
    return _serve(connection, before, f"again, in place of {served.name}")


def release(
    connection: sqlite3.Connection, edition: str, revision: int, digest: str, note: str
) -> LedgerEntry:
    """Record an operator's word once."""
    found = connection.execute(
        "SELECT seq, at, action, edition, revision, digest, note FROM ledger WHERE action = ? "
        "AND edition = ? AND revision = ? AND digest = ?",
        (Action.RELEASED, edition, revision, digest),
    ).fetchone()
    if found is not None:
        return entry_of(found)
    return _record(connection, Action.RELEASED, edition, revision, digest, note)


def restore(connection: sqlite3.Connection, history: History) -> bool:
    """Fill an empty ledger; False if it is not empty."""
    for table in ("edition", "ledger", "tombstone"):
        if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():
            return False
    connection.executemany(
        "INSERT INTO edition (digest, edition, revision, state, staged_at, activated_at, rows, "
        "left_out, replaced, valid_from) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                e.digest,
                e.edition,
                e.revision,
                e.state,
                e.staged_at.isoformat(),
                None if e.activated_at is None else e.activated_at.isoformat(),
                e.rows,
                e.left_out,
                e.replaced,
                Week.parse(e.edition).monday.isoformat(),
            )
            for e in history.editions
        ],
    )
    connection.executemany(
        "INSERT INTO served (digest) VALUES (?)",
        [(e.digest,) for e in history.editions if e.served],
    )
    connection.executemany(
        "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (e.seq, e.at.isoformat(), e.action, e.edition, e.revision, e.digest, e.note)
            for e in history.ledger
        ],
    )
    connection.executemany(
        "INSERT INTO tombstone VALUES (?, ?)",
        [(user, at.isoformat()) for user, at in history.tombstones.items()],
    )
    return True


def forget(connection: sqlite3.Connection, user_id: str) -> None:
    """Set a tombstone; the first one stays."""
    connection.execute("INSERT OR IGNORE INTO tombstone VALUES (?, ?)", (user_id, _now()))


def _serve(connection: sqlite3.Connection, row: _Row, note: str) -> LedgerEntry:
    connection.execute("DELETE FROM served")
    connection.execute("INSERT INTO served (digest) VALUES (?)", (row.digest,))
    _stamp_activated(connection, row)
    return _change(connection, row, State.ACTIVATED, note)


def _stamp_activated(connection: sqlite3.Connection, row: _Row) -> None:
    connection.execute(
        "UPDATE edition SET activated_at = coalesce(activated_at, ?) WHERE digest = ?",
        (_now(), row.digest),
    )


def _change(connection: sqlite3.Connection, row: _Row, state: State, note: str) -> LedgerEntry:
    connection.execute("UPDATE edition SET state = ? WHERE digest = ?", (state, row.digest))
    return _record(connection, Action(state), row.edition, row.revision, row.digest, note)


def _record(
    connection: sqlite3.Connection,
    action: Action,
    edition: str,
    revision: int,
    digest: str,
    note: str = "",
) -> LedgerEntry:
    fields = (_now(), str(action), edition, revision, digest, note)
    cursor = connection.execute(
        "INSERT INTO ledger (at, action, edition, revision, digest, note) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        fields,
    )
    return entry_of((cursor.lastrowid, *fields))


def _refuse_twin(connection: sqlite3.Connection, new: _Row) -> None:
    twin = connection.execute(
        "SELECT digest FROM edition WHERE edition = ? AND revision = ? AND digest <> ? "
        "AND state IN ('activated', 'superseded')",
        (new.edition, new.revision, new.digest),
    ).fetchone()
    if twin:
        raise StoreError(
            f"Readers know {new.edition} r{new.revision} with other content ({twin[0][:12]}). "
            f"Make the week anew with --revision {new.revision + 1}."
        )


def _require_rows(row: _Row, present: Present) -> None:
    if row.folder is None or not present(row.folder, row.bytes):
        raise StoreError(
            f"The rows of {row.name} are missing from the store or damaged. Run its week again: "
            "they are staged anew from its artefact (an older week: BackfillPlaylists)."
        )


def _served(connection: sqlite3.Connection) -> _Row | None:
    pointer = connection.execute("SELECT digest FROM served").fetchone()
    return _row(connection, pointer[0]) if pointer else None


def _known(connection: sqlite3.Connection, digest: str) -> _Row:
    row = _row(connection, digest)
    if row is None:
        raise StoreError(f"Nothing is staged under {digest}: stage it before.")
    return row


def _row(connection: sqlite3.Connection, digest: str) -> _Row | None:
    found = connection.execute(
        "SELECT digest, edition, revision, state, replaced, folder, bytes FROM edition "
        "WHERE digest = ?",
        (digest,),
    ).fetchone()
    return None if found is None else _Row(*found)._replace(state=State(found[3]))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
