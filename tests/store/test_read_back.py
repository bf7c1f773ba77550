"""What a publisher on SQLite finds wrong with what it has just written: then nothing is staged."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys.errors import StoreError
from recsys.store import Store, open_store
from tests.store.making import make


@pytest.fixture(params=["", "?shards=3"])
def store(request: pytest.FixtureRequest, sqlite_url: str) -> Iterator[Store]:
    with open_store(sqlite_url + request.param) as opened:
        yield opened


def assert_refused(store: Store, directory: Path, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        make("2026-W47").stage(store)
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
