"""The embedded store: a directory of SQLite files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recsys.errors import NoSuchUserError, StoreError
from recsys.store import _asking as asking
from recsys.store import _records as records
from recsys.store._asking import Which
from recsys.store._contract import Edition, History, LedgerEntry
from recsys.store._edition import EditionReader
from recsys.store._ledger import BEGUN, EDITIONS_FOLDER, NAMED, SERVED, Found, Ledger
from recsys.store._moving import MovingStore, Staging
from recsys.store._playlist import Playlist
from recsys.store._rules import Moves

if TYPE_CHECKING:
    import pyarrow as pa

    from recsys.store._handed import Handed

_READERS_OPEN: Final = 4


class SqliteStore(MovingStore):
    """``ledger.db`` beside ``editions/``, one folder a staging.

    A folder is written aside, flushed, renamed, and then entered in the ledger: whenever a
    publisher is killed, what is served stays served, and the same call again finishes the work.
    """

    def __init__(self, folder: Path, *, shards: int = 1) -> None:
        self._editions = folder / EDITIONS_FOLDER
        self._shards = shards
        self._ledger = Ledger(folder)
        self._readers: dict[str, EditionReader] = {}
        self._lock = threading.Lock()
        self._process = os.getpid()

    def playlist(
        self, user_id: str, edition: str | None = None, on: date | None = None
    ) -> Playlist:
        asking.check_id(user_id)

        def read(reader: EditionReader, found: Found) -> Playlist:
            playlist = None if found.forgotten else reader.playlist(user_id)
            if playlist is None:
                raise asking.no_user(found.edition)
            return self._shown(playlist, reader, found)

        return self._read(asking.which(edition, on), user_id, read)

    def default_playlist(self, edition: str | None = None) -> Playlist:
        def read(reader: EditionReader, found: Found) -> Playlist:
            return self._shown(reader.default(), reader, found)

        return self._read(asking.which(edition, None), "", read)

    def erase(self) -> int:
        from recsys.store._erase import rewrite

        self._check_open()
        forgotten = self.tombstones()
        removed, failed = 0, None
        for edition in self.editions():
            if not (edition.present and forgotten):
                continue
            try:
                removed += rewrite(self._ledger, self._editions, edition, forgotten)
            except StoreError as error:  # the others are not to wait for it
                failed = error
        self._clear()
        if failed is not None:
            raise failed
        return removed

    def prune(self, keep: int) -> tuple[Edition, ...]:
        pruned = super().prune(keep)
        self._clear()
        return pruned

    def rows(self, digest: str) -> Iterator[pa.RecordBatch]:
        from recsys.store._unpack import read_rows

        self._check_open()
        return read_rows(self._folder_of(digest))

    def history(self) -> History:
        self._check_open()
        with self._ledger.read() as connection:
            if connection is None:
                return History((), (), {}, {})
            return records.history_in(connection, self._editions)

    def restore(self, history: History) -> bool:
        self._check_open()
        with self._ledger.write() as connection:
            return records.restore(connection, history)

    def close(self) -> None:
        self._closed = True
        self._ledger.close()
        for reader in self._readers.values():
            reader.close()

    def _move(self, decide: Callable[[History], Moves]) -> list[LedgerEntry]:
        self._check_open()
        with self._ledger.write() as connection:
            history = records.history_in(connection, self._editions)
            return records.write_moves(connection, decide(history))

    def _prepare(self) -> None:
        with self._ledger.write():
            pass

    def _stage(self, staging: Staging, handed: Handed) -> int:
        from recsys.store._place import placed

        self._clear()
        with (
            placed(
                self._editions,
                handed,
                revision=staging.revision,
                digest=staging.digest,
                expected=staging.expected,
                shards=self._shards,
            ) as folder,
            self._ledger.write() as connection,
        ):  # it may take the place of one that a faster publisher has entered
            history = records.history_in(connection, self._editions)
            records.write_moves(connection, staging.register(history, handed))
            records.put_folder(connection, staging.digest, folder.name, folder.size)
        self._clear()
        return handed.rows

    def _stored_default(self, known: Edition) -> pa.RecordBatch:
        from recsys.store._unpack import read_default

        return read_default(self._folder_of(known.digest))

    def _forget(self, user_id: str) -> None:
        with self._ledger.write() as connection:
            records.forget(connection, user_id)

    def _block(self, track_id: str) -> None:
        with self._ledger.write() as connection:
            records.block(connection, track_id)

    def _clear(self) -> None:
        from recsys.store._place import clear

        clear(self._editions, self._ledger.folders)

    def _read(
        self, asked: Which, user_id: str, read: Callable[[EditionReader, Found], Playlist]
    ) -> Playlist:
        """Read from the edition asked for; one rewritten meanwhile is read from its new folder."""
        self._check_open()
        found = self._find(asked, user_id)
        while True:
            try:
                return read(self._reader(found), found)
            except NoSuchUserError:
                raise
            except StoreError:
                again = self._find(asked, user_id)
                if again.folder == found.folder:
                    raise
                found = again

    def _shown(self, playlist: Playlist, reader: EditionReader, found: Found) -> Playlist:
        if found.newest_block is None:
            return playlist
        blocked = self._ledger.blocked(found.newest_block)
        return asking.shown(playlist, lambda: reader.spares(playlist), blocked)

    def _find(self, asked: Which, user_id: str) -> Found:
        if asked.edition is not None:
            found = self._ledger.find(NAMED, (asked.edition,), user_id)
        elif asked.on is not None:
            found = self._ledger.find(BEGUN, (asked.on.isoformat(),), user_id)
        else:
            found = self._ledger.find(SERVED, (), user_id)
        if found is None:
            raise asking.no_edition(asked, self.editions())
        return found

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

    def _folder_of(self, digest: str) -> Path:
        found = self._ledger.find("digest = ?", (digest,), "")
        if found is None:
            raise asking.not_staged(digest)
        return self._folder(found)

    def _folder(self, found: Found) -> Path:
        if found.folder is None:
            raise asking.lost(found.edition)
        return self._editions / found.folder
