"""What a publisher on SQLite finds wrong with what it has just written: then nothing is staged."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recsys.errors import StoreError
from recsys.store import Store, _stage, open_store
from recsys.store._layout import shard_of
from tests.store.making import Made, make


@pytest.fixture(params=["", "?shards=3"])
def store(request: pytest.FixtureRequest, sqlite_url: str) -> Iterator[Store]:
    with open_store(sqlite_url + request.param) as opened:
        yield opened


def assert_refused(store: Store, directory: Path, message: str, made: Made | None = None) -> None:
    with pytest.raises(StoreError, match=message):
        (made or make("2026-W47")).stage(store)
    assert store.editions() == ()
    assert list((directory / "editions").iterdir()) == []


def test_a_disk_that_fails_to_flush_is_told_once_and_believed(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says so to one call of fsync; the next ones find nothing amiss."""
    fsync, failed = os.fsync, []

    def fails_once(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.name.startswith("shard-") and not failed:
            failed.append(path)
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails_once)
    assert_refused(store, directory, r"Input/output error.*disk")
    assert len(failed) == 1


def when_written(monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None]) -> None:
    """From now on something befalls each ``edition.db`` as soon as it is whole."""
    finish = _stage._finish

    def harmed(connection: sqlite3.Connection, path: Path) -> None:
        finish(connection, path)
        if path.name == "edition.db":
            harm(path)

    monkeypatch.setattr(_stage, "_finish", harmed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("edition", "2026-W46"),
        ("valid_until", "2026-11-23"),
        ("digest", "0" * 64),
        ("stored_digest", "0" * 64),
        ("rows", "2"),
        ("left_out", "many"),
        ("shards", "0"),
        ("forms", '[["popular", []], ["personal", []], ["personal", ["cooldown"]]]'),
        ("sources", '["popular", "personal"]'),
    ],
)
def test_every_fact_is_read_back(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    def harm(path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute("UPDATE fact SET value = ? WHERE name = ?", (value, name))
        connection.commit()
        connection.close()

    when_written(monkeypatch, harm)
    assert_refused(store, directory, "read back|damaged")


def test_names_that_a_scan_finds_and_a_reader_would_not_are_refused(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def harm(path: Path) -> None:
        """Change a key of the page above the leaves of table ``track``: scans do not look at it."""
        connection = sqlite3.connect(path)
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'track'"
        (root,) = connection.execute(query).fetchone()
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.close()
        content = bytearray(path.read_bytes())
        page = (root - 1) * page_size
        assert content[page] == 5  # an inner page of a table
        first_cell = page + int.from_bytes(content[page + 12 : page + 14], "big")
        content[first_cell + 5] ^= 0x20  # behind the number of a page
        path.write_bytes(content)

    when_written(monkeypatch, harm)
    made = make("2026-W47", [f"user {n:04d}" for n in range(1500)])
    assert_refused(store, directory, "damaged", made)


def test_a_playlist_in_a_shard_where_nobody_looks_is_refused(
    sqlite_url: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(user: bytes, shards: int) -> int:
        return (shard_of(user, shards) + 1) % shards if user else 0

    monkeypatch.setattr(_stage, "shard_of", another)
    with open_store(f"{sqlite_url}?shards=3") as store:
        assert_refused(store, directory, "another shard")
