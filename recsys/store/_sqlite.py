"""The embedded store: a directory of SQLite files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recsys.errors import NoEditionError, NoSuchUserError, StoreError
from recsys.store import _moves as moves
from recsys.store._contract import Edition, History, LedgerEntry, Store
from recsys.store._edition import EditionReader
from recsys.store._ledger import (
    BEGUN,
    EDITIONS_FOLDER,
    NAMED,
    SERVED,
    Found,
    Ledger,
    history_in,
    is_present,
)
from recsys.store._playlist import Playlist
from recsys.weeks import Week

if TYPE_CHECKING:
    import pyarrow as pa

_READERS_OPEN: Final = 4


class SqliteStore(Store):
    """``ledger.db`` beside ``editions/<week>-r<revision>-<digest>/``, one folder a staging.

    A folder is written aside, flushed, renamed, and then entered in the ledger: whenever a
    publisher is killed, what is served stays served, and staging again finishes the work.
    """

    def __init__(self, folder: Path, *, shards: int = 1) -> None:
        self._editions = folder / EDITIONS_FOLDER
        self._shards = shards
        self._ledger = Ledger(folder)
        self._readers: dict[str, EditionReader] = {}
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False

    def stage(
        self,
        edition: str,
        revision: int,
        digest: str,
        batches: Iterable[pa.RecordBatch],
        default: pa.RecordBatch | pa.Table,
    ) -> int:
        from recsys.store._place import place
        from recsys.store._rows import playlists_digest

        self._check_open()
        try:
            week = Week.parse(edition)
        except ValueError as error:
            raise StoreError(f"Nothing is staged: {error}.") from None
        if revision < 1:
            raise StoreError(f"Revision {revision} of {edition}: revisions count from 1.")
        with self._ledger.write():
            pass  # there is a ledger now, or the directory is refused before the long work
        known = self.state(digest)
        if known is not None and known.present:
            if known.edition != edition or playlists_digest(batches, default) != digest:
                raise StoreError(
                    f"Digest {digest[:12]} is staged already, for {known.edition} and with other "
                    "rows than these. Give the digest of the rows that are handed over."
                )
            with self._ledger.write() as connection:
                moves.renumber(connection, digest, revision)
            return known.rows
        stored = place(
            self._editions,
            f"{edition}-r{revision}-{digest[:12]}",
            week=week,
            digest=digest,
            batches=batches,
            default=default,
            hidden=self.tombstones(),
            shards=self._shards,
        )
        with self._ledger.write() as connection:
            moves.register(connection, digest, edition, revision, stored)
        return stored.rows

    def activate(self, edition: str, digest: str, *, backfill: bool = False) -> None:
        self._check_open()
        with self._ledger.write() as connection:
            moves.activate(connection, edition, digest, backfill=backfill, present=self._present)

    def rollback(self) -> LedgerEntry:
        self._check_open()
        with self._ledger.write() as connection:
            return moves.rollback(connection, self._present)

    def release(self, edition: str, revision: int, digest: str, note: str) -> LedgerEntry:
        self._check_open()
        with self._ledger.write() as connection:
            return moves.release(connection, edition, revision, digest, note)

    def playlist(
        self, user_id: str, edition: str | None = None, on: date | None = None
    ) -> Playlist:
        self._check_open()
        _check_user(user_id)
        found = self._find(user_id, edition, on)
        if not found.forgotten:
            playlist = self._reader(found).playlist(user_id)
            if playlist is not None:
                return playlist
        raise NoSuchUserError(
            f"Edition {found.edition} has no playlist for this user. "
            "default_playlist() has one for listeners who came since."
        )

    def default_playlist(self, edition: str | None = None) -> Playlist:
        self._check_open()
        return self._reader(self._find("", edition, None)).default()

    def forget(self, user_id: str) -> None:
        self._check_open()
        _check_user(user_id)
        with self._ledger.write() as connection:
            moves.forget(connection, user_id)

    def tombstones(self) -> frozenset[str]:
        return frozenset(self.history().tombstones)

    def editions(self) -> tuple[Edition, ...]:
        return self.history().editions

    def ledger(self) -> tuple[LedgerEntry, ...]:
        return self.history().ledger

    def rows(self, digest: str) -> Iterator[pa.RecordBatch]:
        from recsys.store._unpack import read_rows

        self._check_open()
        found = self._ledger.find("digest = ?", (digest,), "")
        if found is None:
            raise NoEditionError(f"Nothing is staged under digest {digest}.")
        return read_rows(self._folder(found))

    def history(self) -> History:
        self._check_open()
        with self._ledger.read() as connection:
            if connection is None:
                return History((), (), {})
            return history_in(connection, self._editions)

    def restore(self, history: History) -> bool:
        self._check_open()
        with self._ledger.write() as connection:
            return moves.restore(connection, history)

    def close(self) -> None:
        self._closed = True
        self._ledger.close()
        for reader in self._readers.values():
            reader.close()

    def _find(self, user_id: str, edition: str | None, on: date | None) -> Found:
        if edition is None and on is None:
            found, wanted = self._ledger.find(SERVED, (), user_id), "has no edition yet"
        elif on is None:
            found = self._ledger.find(NAMED, (str(edition),), user_id)
            wanted = f"has no edition {edition} that readers may see"
        elif edition is None:
            found = self._ledger.find(BEGUN, (on.isoformat(),), user_id)
            wanted = f"has no edition that had begun on {on}"
        else:
            raise StoreError("Ask for an edition by its name or by a date, not by both.")
        if found is not None:
            return found
        readable = ", ".join(sorted({e.edition for e in self.editions() if e.readable}))
        there = f"it has {readable}" if readable else "publish a week first"
        raise NoEditionError(f"The store {wanted}: {there}.")

    def _reader(self, found: Found) -> EditionReader:
        if self._process != os.getpid():  # a lock that was held during the fork stays held
            self._lock, self._process = threading.Lock(), os.getpid()
        key = str(found.folder)
        reader = self._readers.get(key)
        if reader is not None:
            return reader
        with self._lock:
            if key not in self._readers:
                self._readers[key] = EditionReader(self._folder(found))
                while len(self._readers) > _READERS_OPEN:
                    self._readers.pop(next(iter(self._readers))).close()
            return self._readers[key]

    def _folder(self, found: Found) -> Path:
        if found.folder is None:
            raise StoreError(
                f"The playlists of {found.edition} were lost with the store that held them. Run "
                "the week again: they are staged anew from its artefact."
            )
        return self._editions / found.folder

    def _present(self, folder: str, size: int) -> bool:
        return is_present(self._editions / folder, size)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("This store is closed: open it again with open_store(url).")


def _check_user(user_id: str) -> None:
    if not isinstance(user_id, str):
        raise StoreError(f"A user_id is a string, not {type(user_id).__name__}.")
    try:
        user_id.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"A user_id is Unicode text; this one holds {error.reason}.") from None
