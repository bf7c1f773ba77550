"""Tables of users and tracks, read side by side with numbers for ids, some users at a time.

Tables that are sorted by user are merged without comparing a text row by row: Parquet keeps the
distinct ids of a row group apart, and only these are looked up.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import columns as c
from recsys._codes import NEVER, Codes, Ids
from recsys._tables import part_files, rows_of
from recsys.errors import ArtefactError

#: Of all tables together, about so many rows are held at a time.
_STRETCH_ROWS: Final = 1 << 20
_LEAST_ROWS: Final = 1 << 12


@dataclass(frozen=True)
class Stretch:
    """All rows of some users.

    Attributes:
        users: everybody met so far.
        tracks: every track met so far.
        groups: the rows of each group of tables.
    """

    users: Ids
    tracks: Ids
    groups: tuple[Rows, ...]


@dataclass(frozen=True)
class Rows:
    """Rows of some tables, one table after the other.

    Attributes:
        user: int32, the rank of each row's user; ascending in a table.
        track: int32, likewise.
        columns: the others, beside them.
        starts: int64, where the rows of each table begin, and where the last ones end.
    """

    user: npt.NDArray[np.int32]
    track: npt.NDArray[np.int32]
    columns: tuple[npt.NDArray[Any], ...]
    starts: npt.NDArray[np.int64]


class SideBySide:
    """Groups of tables that are sorted by user, to be read together.

    Args:
        groups: the tables of each group, and the columns that are read besides the ids. Dates
            become days since 1970 (int32, :data:`NEVER` for null); of others none may be null.
        users: those that have the first numbers, each once.
        tracks: likewise.
    """

    def __init__(
        self,
        *groups: tuple[Sequence[Path], pa.Schema],
        users: pa.ChunkedArray | None = None,
        tracks: pa.ChunkedArray | None = None,
    ) -> None:
        self._users, self._tracks = Codes(), Codes()
        for codes, first in ((self._users, users), (self._tracks, tracks)):
            if first is not None:
                codes.of(first)
        rows = {table: rows_of(table) for tables, _ in groups for table in tables}
        share = _STRETCH_ROWS / max(sum(rows.values()), 1)
        self._groups = [
            ([_Source(table, schema.names, rows[table], share) for table in tables], schema)
            for tables, schema in groups
        ]

    def __iter__(self) -> Iterator[Stretch]:
        """All rows of some users, then those of the users after them.

        Raises:
            ArtefactError: a table is not sorted by user.
        """
        sources = [source for group, _ in self._groups for source in group]
        while self._read_on(sources):
            users, tracks = self._users.ids, self._tracks.ids
            ranks = users.ranks
            limit = min((s.last_rank(ranks) for s in sources if not s.at_end), default=len(ranks))
            taken = tuple(
                _rows([source.take(limit, ranks) for source in group], tracks.ranks, schema)
                for group, schema in self._groups
            )
            if any(len(rows.user) for rows in taken):
                yield Stretch(users, tracks, taken)

    def _read_on(self, sources: Sequence[_Source]) -> bool:
        """Read on where little is left; whether there is anything."""
        read = [(source, batch) for source in sources for batch in source.read()]
        users = _numbered(c.USER_ID, self._users, read)
        tracks = _numbered(c.TRACK_ID, self._tracks, read)
        for (source, batch), user, track in zip(read, users, tracks, strict=True):
            source.add(batch, user, track)
        return any(source.pieces or not source.at_end for source in sources)


@dataclass
class _Texts:
    """A dictionary that was read, and the numbers of its texts."""

    texts: pa.StringArray
    numbers: npt.NDArray[np.int32]


@dataclass(frozen=True)
class _Piece:
    """Some rows of a table: numbers of users and tracks, and other columns."""

    user: npt.NDArray[np.int32]
    track: npt.NDArray[np.int32]
    columns: tuple[npt.NDArray[Any], ...]

    def between(self, start: int, stop: int) -> _Piece:
        columns = tuple(column[start:stop] for column in self.columns)
        return _Piece(self.user[start:stop], self.track[start:stop], columns)


class _Source:
    """A table that is being read: the rows that nobody has taken yet."""

    def __init__(self, table: Path, columns: Sequence[str], rows: int, share: float) -> None:
        self._table = table
        self._columns = columns
        self._left = rows
        self._rows = max(int(rows * share), _LEAST_ROWS)
        self._batches = self._all()
        self.pieces: list[_Piece] = []
        #: The dictionary that was read last, of each column of ids.
        self.texts: dict[str, _Texts] = {}

    def _all(self) -> Generator[pa.RecordBatch, None, None]:
        ids = [c.USER_ID, c.TRACK_ID]
        for part in part_files(self._table):
            with pq.ParquetFile(part, read_dictionary=ids) as file:
                for group in range(file.metadata.num_row_groups):
                    batches = file.iter_batches(
                        self._rows, [group], [*ids, *self._columns], use_threads=False
                    )
                    yield from filter(len, batches)

    def read(self) -> Iterator[pa.RecordBatch]:
        """The next rows, until there are enough of more than one user."""
        there = sum(len(piece.user) for piece in self.pieces)
        if self.pieces and self.pieces[0].user[0] == self.pieces[-1].user[-1]:
            there = 0
        while there < self._rows and not self.at_end:
            batch = next(self._batches)
            there += len(batch)
            self._left -= len(batch)
            if self.at_end:
                self._batches.close()  # and the file with it
            yield batch

    @property
    def at_end(self) -> bool:
        """Whether all has been read."""
        return not self._left

    def add(
        self, batch: pa.RecordBatch, user: npt.NDArray[np.int32], track: npt.NDArray[np.int32]
    ) -> None:
        """Keep rows, with the numbers of the texts in their dictionaries."""
        user, track = (
            numbers[batch.column(name).indices.to_numpy()]
            for name, numbers in ((c.USER_ID, user), (c.TRACK_ID, track))
        )
        columns = tuple(_numpy(batch.column(name)) for name in self._columns)
        self.pieces.append(_Piece(user, track, columns))

    def last_rank(self, ranks: npt.NDArray[np.int32]) -> int:
        """The place of the last user that was read, of whom more may follow."""
        return int(ranks[self.pieces[-1].user[-1]])

    def take(self, limit: int, ranks: npt.NDArray[np.int32]) -> list[_Piece]:
        """Take out the rows of users whose rank is before ``limit``, and give them ranks."""
        taken, left, last = [], [], -1
        for piece in self.pieces:
            user = ranks[piece.user]
            if user[0] < last or (user[1:] < user[:-1]).any():
                raise ArtefactError(
                    f"{self._table} is not sorted by user. Remove its folder and run again."
                )
            last = user[-1]
            at = int(np.searchsorted(user, limit))
            if at:
                taken.append(_Piece(user, piece.track, piece.columns).between(0, at))
            if at < len(user):
                left.append(piece.between(at, len(user)))
        self.pieces = left
        return taken


def _numbered(
    name: str, codes: Codes, read: Sequence[tuple[_Source, pa.RecordBatch]]
) -> list[npt.NDArray[np.int32]]:
    """The numbers of the texts in the dictionary of each batch; equal ones are looked up once."""
    found, new = [], []
    for source, batch in read:
        texts = batch.column(name).dictionary
        if name not in source.texts or not source.texts[name].texts.equals(texts):
            source.texts[name] = _Texts(texts, np.zeros(0, np.int32))
            new.append(source.texts[name])
        found.append(source.texts[name])
    numbers = codes.of(pa.chunked_array([one.texts for one in new], pa.string()))
    ends = np.cumsum([len(one.texts) for one in new], dtype=np.int64)
    for one, mine in zip(new, np.split(numbers, ends[:-1]), strict=False):
        one.numbers = mine
    return [one.numbers for one in found]


def _rows(
    taken: Sequence[Sequence[_Piece]], tracks: npt.NDArray[np.int32], schema: pa.Schema
) -> Rows:
    pieces = [piece for some in taken for piece in some]
    nothing = np.zeros(0, np.int32)
    return Rows(
        user=np.concatenate([nothing, *(piece.user for piece in pieces)]),
        track=tracks[np.concatenate([nothing, *(piece.track for piece in pieces)])],
        columns=tuple(
            np.concatenate([_numpy(pa.array([], kind)), *(piece.columns[n] for piece in pieces)])
            for n, kind in enumerate(schema.types)
        ),
        starts=np.cumsum([0, *(sum(len(p.user) for p in some) for some in taken)], dtype=np.int64),
    )


def _numpy(column: pa.Array) -> npt.NDArray[Any]:
    if pa.types.is_date32(column.type):
        return np.asarray(column.view(pa.int32()).fill_null(NEVER))
    return np.asarray(column.to_numpy(zero_copy_only=False))
