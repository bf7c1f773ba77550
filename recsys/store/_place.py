"""Putting an edition's folder in its place: written aside, flushed, renamed. Needs Arrow."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from recsys.store._files import explain, sync
from recsys.store._handed import Handed
from recsys.store._stage import write_folder


class Placed(NamedTuple):
    """A folder below ``editions``: its name, and the bytes in it."""

    name: str
    size: int


@contextlib.contextmanager
def placed(
    editions: Path,
    handed: Handed,
    *,
    revision: int,
    digest: str,
    expected: str,
    left_out: int = 0,
    shards: int,
) -> Iterator[Placed]:
    """Write and verify playlists in a new folder, and hold it until the ledger knows it.

    Its name was never there before: readers keep what they know of a folder by its name. Where the
    block does not enter it in the ledger, the next :func:`clear` removes it.

    Args:
        editions: where folders are.
        handed: the rows.
        revision: a part of the folder's name.
        digest: what the folder will be known by.
        expected: see :func:`~recsys.store._stage.write_folder`, like the rest.
        left_out: users that were left out of the rows before.
        shards: over how many files to spread them.

    Raises:
        StoreError: see :func:`~recsys.store._stage.write_folder`.
        ResourceError: the disk is full.
    """
    name = f"{handed.week}-r{revision}-{digest[:12]}-{uuid.uuid4().hex[:8]}"
    try:
        editions.mkdir(parents=True, exist_ok=True)
        with _aside(editions) as aside:
            write_folder(
                aside, handed, digest=digest, expected=expected, left_out=left_out, shards=shards
            )
            folder = aside.rename(editions / name)
            sync(editions)
            sync(editions.parent)
            yield Placed(name, sum(file.stat().st_size for file in folder.iterdir()))
    except (OSError, sqlite3.Error) as error:
        raise explain(error, editions / name) from error


def clear(editions: Path, known: Callable[[], frozenset[str]]) -> None:
    """Remove the folders that are not in the ledger, and are not held by a living publisher.

    Args:
        editions: where folders are.
        known: the names of those that the ledger knows now.
    """
    before = known()
    names = os.listdir(editions) if editions.exists() else ()  # noqa: PTH208 (names, not paths)
    for folder in [editions / name for name in names if name not in before]:
        with _locked(folder) as locked:
            if locked and folder.name not in known():  # a publisher may just have let go of it
                shutil.rmtree(folder, ignore_errors=True)


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
