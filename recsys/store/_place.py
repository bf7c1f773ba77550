"""Putting an edition's folder in its place: written aside, flushed, renamed. Needs Arrow."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from recsys.errors import StoreError
from recsys.store._edition import open_folder
from recsys.store._files import explain, sync
from recsys.store._moves import Stored
from recsys.store._stage import write_folder
from recsys.store._unpack import read_back
from recsys.weeks import Week


def place(
    editions: Path,
    name: str,
    *,
    week: Week,
    digest: str,
    batches: Iterable[pa.RecordBatch],
    default: pa.RecordBatch | pa.Table,
    hidden: frozenset[str],
    shards: int,
) -> Stored:
    """Write playlists to ``editions/name``, and verify them before the folder gets that name.

    A whole folder of that name, left by a publisher that was killed or by one that was faster, is
    kept; a damaged one is replaced.

    Raises:
        StoreError: see :func:`recsys.store._stage.write_folder`.
        ResourceError: the disk is full.
    """
    folder = editions / name
    try:
        editions.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(editions)
        with _aside(editions) as aside:
            write_folder(
                aside,
                week=week,
                digest=digest,
                batches=batches,
                default=default,
                hidden=hidden,
                shards=shards,
            )
            _rename(aside, folder, digest)
        sync(editions)
        sync(editions.parent)
        connection, facts = open_folder(folder)
        connection.close()
        size = sum(file.stat().st_size for file in folder.iterdir())
    except (OSError, sqlite3.Error) as error:
        raise explain(error, folder) from error
    return Stored(name, size, int(facts["rows"]), int(facts["left_out"]))


def _rename(aside: Path, folder: Path, digest: str) -> None:
    try:
        aside.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        if not _is_whole(folder, digest):
            with _aside(folder.parent) as damaged:
                folder.rename(damaged)
                aside.rename(folder)


def _is_whole(folder: Path, digest: str) -> bool:
    try:
        connection, facts = open_folder(folder)
        connection.close()
        stored = read_back(folder)
    except (StoreError, ValueError, pa.ArrowException):
        return False
    return facts["digest"] == digest and facts["stored_digest"] == stored


@contextlib.contextmanager
def _aside(editions: Path) -> Iterator[Path]:
    """A new folder, locked for as long as it is written, removed where it is left behind."""
    while True:
        folder = editions / f".{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            with _locked(folder) as locked:
                if locked and folder.exists():  # else another has taken it for a leftover
                    yield folder
                    return
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _clear_leftovers(editions: Path) -> None:
    """Remove what killed publishers left; folders of living ones are locked."""
    for folder in editions.glob(".*"):
        with _locked(folder) as locked:
            if locked:
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the folder is there and nobody else holds it; held until the block ends."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)
