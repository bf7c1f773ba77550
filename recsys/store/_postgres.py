"""The playlist store on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import TYPE_CHECKING, TypeVar

from recsys.store import _asking as asking
from recsys.store import _postgres_ledger as ledger
from recsys.store import _rules as rules
from recsys.store._asking import Which
from recsys.store._contract import Edition, History, LedgerEntry
from recsys.store._moving import Staging
from recsys.store._parted import PartedStore, PartWriter
from recsys.store._playlist import Playlist
from recsys.store._postgres_ledger import Place
from recsys.store._postgres_reader import Found, Reader
from recsys.store._postgres_server import Connection, MissingTableError, Server
from recsys.store._rules import Moves
from recsys.weeks import Week

if TYPE_CHECKING:
    import pyarrow as pa

    from recsys.store._handed import Handed
    from recsys.store._parts import Noted

_T = TypeVar("_T")


class PostgresStore(PartedStore):
    """Tables ``store``, ``edition``, ``ledger``, ``tombstone`` and ``block``; two more an edition.

    An edition's playlists are loaded, indexed, read back and entered in the ledger within one
    transaction: whenever a publisher is killed, the server undoes it.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._server = Server(url)
        self._schema = self._server.schema
        self._reader = Reader(self._server)

    def playlist(
        self, user_id: str, edition: str | None = None, on: date | None = None
    ) -> Playlist:
        asking.check_id(user_id)

        def read(found: Found) -> Playlist:
            if found.forgotten or found.value is None or not user_id:
                raise asking.no_user(found.edition)
            return self._shown(found, user_id)

        return self._read(asking.which(edition, on), user_id, read)

    def default_playlist(self, edition: str | None = None) -> Playlist:
        def read(found: Found) -> Playlist:
            return self._shown(found, "")

        return self._read(asking.which(edition, None), "", read)

    def erase(self) -> int:
        present = [edition.digest for edition in self.editions() if edition.present]
        return sum(self._erase(digest) for digest in present)

    def rows(self, digest: str) -> Iterator[pa.RecordBatch]:
        known = self.state(digest)
        if known is None:
            raise asking.not_staged(digest)
        return self._rows(known)

    def history(self) -> History:
        self._check_open()
        with self._server.read() as connection:
            if not ledger.exists(connection, self._schema):
                return History((), (), {}, {})
            return ledger.history_in(connection, self._schema)

    def restore(self, history: History) -> bool:
        return self._write(lambda connection: ledger.restore(connection, self._schema, history))

    def close(self) -> None:
        self._closed = True
        self._server.close()

    def _write(self, change: Callable[[Connection], _T]) -> _T:
        """Change something in a transaction that keeps other writers out."""
        self._check_open()
        with self._server.write() as connection:
            ledger.lock(connection, self._schema)
            return change(connection)

    def _move(self, decide: Callable[[History], Moves]) -> list[LedgerEntry]:
        def change(connection: Connection) -> list[LedgerEntry]:
            history = ledger.history_in(connection, self._schema)
            return ledger.write_moves(connection, self._schema, decide(history))

        return self._write(change)

    def _prepare(self) -> None:
        from recsys.store._postgres_staging import drop_abandoned

        def prepare(connection: Connection) -> None:
            ledger.renew_functions(connection, self._schema)
            drop_abandoned(connection, self._schema)

        self._write(prepare)

    def _stage(self, staging: Staging, handed: Handed) -> int:
        from recsys.store._postgres_load import load
        from recsys.store._postgres_staging import staging as tables_for

        with tables_for(self._server) as (connection, tables):
            place = load(connection, self._server, tables, handed, staging.expected)
            self._enter(connection, staging, handed, place)
        return handed.rows

    def _stage_parts(
        self, staging: Staging, handed: Handed, noted: Noted, send: Callable[[PartWriter], None]
    ) -> int:
        from recsys.store._parts import PartPacker
        from recsys.store._postgres_parts import Writer, load_parts
        from recsys.store._postgres_staging import staging as tables_for

        with tables_for(self._server) as (connection, tables):
            writer = Writer(self._url, tables, PartPacker(handed.packer(), handed.hidden))
            place = load_parts(
                connection, self._server, tables, handed, noted, lambda: send(writer)
            )
            self._enter(connection, staging, handed, place)
        return handed.rows

    def _enter(
        self, connection: Connection, staging: Staging, handed: Handed, place: Place
    ) -> None:
        """Enter rows that are in their place, or drop them where others were faster."""
        ledger.lock(connection, self._schema)
        history, digest = ledger.history_in(connection, self._schema), staging.digest
        if any(one.digest == digest and one.present for one in history.editions):
            moves = rules.renumber(history, digest, staging.revision)
            ledger.write_moves(connection, self._schema, moves)
            ledger.drop(connection, self._schema, place)
        else:
            moves = staging.register(history, handed)
            ledger.write_moves(connection, self._schema, moves)
            ledger.move_rows(connection, self._schema, digest, place)

    def _stored_default(self, known: Edition) -> pa.RecordBatch:
        from recsys.store._postgres_load import read_default

        with self._server.read(load=True) as connection:
            place = ledger.place_of(connection, self._schema, known.digest)
            if place is None:
                raise asking.lost(known.edition)
            return read_default(connection, self._schema, place, Week.parse(known.edition))

    def _forget(self, user_id: str) -> None:
        self._write(lambda connection: ledger.forget(connection, self._schema, user_id))

    def _block(self, track_id: str) -> None:
        self._write(lambda connection: ledger.block(connection, self._schema, track_id))

    def _erase(self, digest: str) -> int:
        """Take the forgotten users out of one edition; returns how many there were."""
        from recsys.store._postgres_load import count_forgotten, rewrite

        with self._server.write(load=True) as connection:
            old = ledger.place_of(connection, self._schema, digest)
            if old is None or not ledger.run(connection, count_forgotten(old), self._schema)[0][0]:
                return 0
            new, removed = rewrite(connection, self._schema, old)
            ledger.lock(connection, self._schema)
            if ledger.place_of(connection, self._schema, digest) != old:  # another was faster
                ledger.drop(connection, self._schema, new)
                return 0
            editions = ledger.editions_in(connection, self._schema)
            moves = rules.erased(editions, digest, removed)
            ledger.write_moves(connection, self._schema, moves)
            ledger.move_rows(connection, self._schema, digest, new)
            return removed

    def _rows(self, known: Edition) -> Iterator[pa.RecordBatch]:
        from recsys.store._postgres_load import read_rows

        with self._server.read(load=True) as connection:
            place = ledger.place_of(connection, self._schema, known.digest)
            if place is None or not known.present:
                raise asking.lost(known.edition)
            week = Week.parse(known.edition)
            yield from read_rows(connection, self._schema, place, week)

    def _read(self, asked: Which, user_id: str, read: Callable[[Found], Playlist]) -> Playlist:
        """Read from the edition asked for; one rewritten meanwhile is read from its new tables."""
        self._check_open()
        gone = None
        while True:
            found = self._reader.find(asked, user_id)
            if found is None:
                raise asking.no_edition(asked, self.editions())
            try:
                return read(found)
            except MissingTableError:
                if found.tables == gone:
                    raise asking.lost(found.edition) from None
                gone = found.tables

    def _shown(self, found: Found, user_id: str) -> Playlist:
        playlist = self._reader.playlist(found, user_id)
        blocked = self._reader.blocked(found)
        return asking.shown(playlist, lambda: self._reader.spares(found), blocked)
