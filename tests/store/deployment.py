"""What a test needs to know of the store under test: where it is, and how it is broken.

One subclass a store; the tests themselves know none of them.
"""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import signal
import sqlite3
import struct
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Final, Self

import pytest

from recsys.store import _files, _stage
from recsys.store._bundle import pairs
from recsys.store._frames import Frames


class UnavailableError(Exception):
    """This machine lacks what the store needs; the message says what."""


#: Imported where they are tested: a laptop need not have every server's client.
STORES: Final = {
    "sqlite": "tests.store.deployment:SqliteDeployment",
    "sqlite-3-shards": "tests.store.deployment:ShardedSqliteDeployment",
    "postgresql": "tests.store.postgres:PostgresDeployment",
    "redis": "tests.store.redis_server:RedisDeployment",
}


@contextmanager
def started(name: str, folder: Path) -> Iterator[Any]:
    """An empty store of ``STORES``. Without its server: skipped on a laptop, a failure in CI."""
    module, _, kind = STORES[name].partition(":")
    try:
        deployed: Deployment = getattr(importlib.import_module(module), kind)(folder)
    except (ImportError, UnavailableError) as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must test {name}: {error}")
        pytest.skip(f"{name} is not tested here: {error}")
    yield deployed
    deployed.remove()


class Deployment(ABC):
    """An empty store of its own for one test, whatever else runs beside it.

    Attributes:
        url: how it is opened.
    """

    url: str

    @abstractmethod
    def __init__(self, folder: Path) -> None:
        """Start what is needed, or share what was started before.

        Args:
            folder: an empty folder for the test's files.

        Raises:
            UnavailableError: this machine cannot.
        """

    @abstractmethod
    def another(self) -> Self:
        """One more empty store, as independent of this one as two of one kind can be."""

    @abstractmethod
    def wipe(self) -> None:
        """Lose everything, ledger and rows, as with a disk; stores that are open stay open."""

    @abstractmethod
    def lose_rows(self, digest: str) -> None:
        """Lose an edition's playlists alone; the ledger does not know."""

    @abstractmethod
    def damage(self, digest: str, user_id: str) -> None:
        """Overwrite one user's stored tracks with bytes that mean nothing."""

    @abstractmethod
    def misplace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From now on this process stores each playlist under the next user's id, as a bug would.

        What the store is handed stays as it is; ``monkeypatch.undo()`` mends it.
        """

    @abstractmethod
    def lose_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From now on this process stores one playlist fewer than it is handed, as a bug would."""

    @abstractmethod
    def set_version(self, version: int) -> None:
        """Mark the store as one of this format; 0 is the newest, −1 the one before it."""

    @abstractmethod
    def down(self) -> AbstractContextManager[None]:
        """Within it nobody reaches the store."""

    @abstractmethod
    def full(self) -> AbstractContextManager[None]:
        """Within it there is no room for another edition."""

    @abstractmethod
    def slow(self) -> AbstractContextManager[None]:
        """Within it no write ends; this process waits for it a fraction of a second."""

    @abstractmethod
    def dump(self, place: Path) -> None:
        """Write all of the store to a new file or folder."""

    @abstractmethod
    def load(self, place: Path) -> None:
        """Fill the store, empty so far, with what :meth:`dump` wrote."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """Names of what takes up room and belongs to no edition that has its rows."""

    def remove(self) -> None:  # noqa: B027 (most have nothing to do)
        """After the test."""


def stored_values(shard: Path) -> dict[str, bytes]:
    """All packed playlists of a file by user."""
    with closing(sqlite3.connect(shard)) as connection:
        bundles = connection.execute("SELECT playlists FROM bundle").fetchall()
    return {user.decode(): value for (bundle,) in bundles for user, value in pairs(bundle)}


def change_stored(shard: Path, changed: Mapping[str, bytes | None]) -> None:
    """Store other values for some users, or none."""
    values = {user.encode(): value for user, value in changed.items()}
    with closing(sqlite3.connect(shard)) as connection, connection:
        for first_user, bundle in connection.execute("SELECT * FROM bundle").fetchall():
            frames = b""
            for user, stored in pairs(bundle):
                value = values.get(user, stored)
                if value is not None:
                    frames += struct.pack(">hi", 2, len(user)) + user
                    frames += struct.pack(">i", len(value)) + value
            query = "UPDATE bundle SET playlists = ? WHERE first_user = ?"
            connection.execute(query, (frames, first_user))


class SqliteDeployment(Deployment):
    """A directory."""

    options = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.directory = folder / "store"
        self.url = f"sqlite:///{self.directory}{self.options}"

    def another(self) -> Self:
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir()
        return type(self)(folder)

    def wipe(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def lose_rows(self, digest: str) -> None:
        shutil.rmtree(self._folder(digest))

    def damage(self, digest: str, user_id: str) -> None:
        for shard in self._folder(digest).glob("shard-*.db"):
            change_stored(shard, {user_id: b"\x00\xff\x00"})

    def misplace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        insert = _stage._Writer._insert

        def shifted(shard: sqlite3.Connection, frames: Frames) -> None:
            values = frames.values()
            insert(shard, Frames.of(frames.keys(), values[1:] + values[:1]))

        monkeypatch.setattr(_stage._Writer, "_insert", staticmethod(shifted))

    def lose_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        insert = _stage._Writer._insert

        def without_last(shard: sqlite3.Connection, frames: Frames) -> None:
            insert(shard, frames.slice(0, max(0, len(frames.key_lengths) - 1)))

        monkeypatch.setattr(_stage._Writer, "_insert", staticmethod(without_last))

    def set_version(self, version: int) -> None:
        connection = sqlite3.connect(self.directory / "ledger.db")
        newest = _files.LEDGER_VERSION
        connection.execute(f"PRAGMA user_version = {version if version > 0 else newest + version}")
        connection.close()

    @contextmanager
    def down(self) -> Iterator[None]:
        away = self.directory.rename(self.folder / "away")
        self.directory.write_text("nothing is mounted here")
        try:
            yield
        finally:
            self.directory.unlink()
            away.rename(self.directory)

    @contextmanager
    def full(self) -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)

    @contextmanager
    def slow(self) -> Iterator[None]:
        writer = sqlite3.connect(self.directory / "ledger.db", isolation_level=None)
        writer.execute("BEGIN EXCLUSIVE")
        with closing(writer), pytest.MonkeyPatch.context() as patch:
            patch.setattr(_files, "_SECONDS_TO_WAIT", 0.1)
            yield

    def dump(self, place: Path) -> None:
        shutil.copytree(self.directory, place)

    def load(self, place: Path) -> None:
        shutil.copytree(place, self.directory)

    def leftovers(self) -> list[str]:
        editions = self.directory / "editions"
        connection = sqlite3.connect(self.directory / "ledger.db")
        known = {name for (name,) in connection.execute("SELECT folder FROM edition")}
        connection.close()
        there = editions.iterdir() if editions.exists() else ()
        return sorted(folder.name for folder in there if folder.name not in known)

    def _folder(self, digest: str) -> Path:
        connection = sqlite3.connect(self.directory / "ledger.db")
        query = "SELECT folder FROM edition WHERE digest = ?"
        (name,) = connection.execute(query, (digest,)).fetchone()
        connection.close()
        return self.directory / "editions" / str(name)


class ShardedSqliteDeployment(SqliteDeployment):
    """A directory with three files an edition."""

    options = "?shards=3"
