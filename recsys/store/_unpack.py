"""An edition's folder read back, and as Arrow rows. Needs Arrow."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Self

import pyarrow as pa

from recsys.errors import StoreError
from recsys.store._arrow import Unpacker
from recsys.store._edition import attach, open_folder
from recsys.store._frames import Frames
from recsys.store._handed import EditionDigest, playlists_digest
from recsys.store._layout import TRACKS_IN_ROW, bundled, bundles, layout_of, shard_of
from recsys.store._rows import CHUNK_ROWS
from recsys.store._value import Names
from recsys.store._version_1 import Version1
from recsys.store._version_1 import digest as version_1_digest
from recsys.weeks import Week


def read_rows(folder: Path) -> Iterator[pa.RecordBatch]:
    """All playlists in a folder, as ``schemas.PLAYLISTS`` in user order.

    Raises:
        StoreError: the folder is missing or damaged.
    """
    with Unpacked.open(folder) as opened:
        yield from opened.rows()


def read_default(folder: Path) -> pa.RecordBatch:
    """The default playlist in a folder, as ``schemas.PLAYLISTS``.

    Raises:
        StoreError: the folder is missing or damaged.
    """
    with Unpacked.open(folder) as opened:
        return opened.default()


def read_playlists(folder: Path, shards: int, digest: EditionDigest) -> None:
    """Hash the playlists in the shards of a folder of the newest format, each under its user.

    Raises:
        StoreError: they are missing or damaged.
    """
    with _explained(folder), closing(sqlite3.connect(":memory:", uri=True)) as connection:
        attach(connection, folder, shards)
        if shards == 1:
            for bundle in bundles(connection, 0):
                digest.update(bundle)
            return
        merged = bundled(connection, shards)
        while part := list(islice(merged, CHUNK_ROWS)):
            digest.update(Frames.of(*zip(*part, strict=True)).data)


def read_names(folder: Path) -> tuple[dict[str, str], pa.StringArray, Names]:
    """What a folder of the newest format says of its playlists.

    Returns:
        Its facts, and what codes of tracks and small codes mean.

    Raises:
        StoreError: the folder is missing or damaged, or has names that readers would not find.
    """
    with Unpacked.open(folder) as opened:
        tracks = opened.tracks()
        opened.look_up(range(1, len(tracks) + 1, TRACKS_IN_ROW))
        return opened.facts, tracks, opened.names


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, pa.ArrowException, LookupError, TypeError, ValueError) as error:
        raise StoreError(
            f"The playlists in {folder} are damaged ({error}). Remove the folder and run the "
            "week again: the same command writes the same playlists."
        ) from error


class Unpacked:
    """An open folder.

    Attributes:
        facts: what table ``fact`` says.
        week: its edition's week.
        names: what small codes mean.
    """

    def __init__(self, connection: sqlite3.Connection, facts: dict[str, str]) -> None:
        self.facts = facts
        self.week = Week.parse(facts["edition"])
        self._connection = connection
        self._shards = int(facts["shards"])
        self._layout = layout_of(connection, facts)
        self.names = self._layout.names

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path) -> Iterator[Self]:
        """Open a folder.

        Raises:
            StoreError: it is missing or damaged.
        """
        connection, facts = open_folder(folder)
        with closing(connection), _explained(folder):
            yield cls(connection, facts)

    def rows(self) -> Iterator[pa.RecordBatch]:
        """All playlists, in user order."""
        unpacker = Unpacker(self.week, self.tracks(), self.names)
        pairs = self._layout.pairs(self._connection)
        next(pairs)  # the default playlist
        while part := list(islice(pairs, CHUNK_ROWS)):
            yield unpacker.batch(*zip(*part, strict=True))

    def default(self) -> pa.RecordBatch:
        """The default playlist."""
        user, value = next(self._layout.pairs(self._connection))
        return Unpacker(self.week, self.tracks(), self.names).batch([user], [value])

    def tracks(self) -> pa.StringArray:
        """What lies by the codes of tracks, from 1.

        Raises:
            ValueError: codes are missing.
        """
        return pa.array(self._layout.all_tracks(self._connection), pa.string())

    def look_up(self, codes: Sequence[int]) -> Sequence[str]:
        """What lies by some codes of tracks, found as readers find it.

        Raises:
            LookupError: a code is not found.
        """
        return self._layout.tracks(self._connection, codes)

    def digest(self) -> str:
        """The digest that :meth:`rows` and :meth:`default` have, if nothing is damaged.

        Raises:
            ValueError: something is.
        """
        stored = self.facts["stored_digest"]
        if not isinstance(self._layout, Version1):
            return stored
        default = pa.Table.from_batches([self.default()])
        if version_1_digest(self.rows(), default) != stored:
            raise ValueError("they are not those of their digest")
        return playlists_digest(self.rows(), self.default())

    def holds(self, users: Iterable[str]) -> bool:
        """Whether any of these users has a playlist here."""
        return any(
            self._layout.value(self._connection, shard_of(user.encode(), self._shards), user)
            for user in users
            if user
        )
