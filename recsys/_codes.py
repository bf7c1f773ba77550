"""Tables of users and tracks, read side by side with numbers for ids, some users at a time.

Tables that are sorted by user are merged without comparing a text row by row: Parquet keeps the
distinct ids of a row group apart, and only these are looked up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import columns as c
from recsys._tables import ROW_GROUP, part_files, rows_of
from recsys.errors import ArtefactError

#: A day that no listen is of, where a date is null; days are counted from 1970.
NEVER: Final = np.iinfo(np.int32).min
#: Of all tables together, about so many rows are held at a time.
_STRETCH_ROWS: Final = 1 << 20
_LEAST_ROWS: Final = 1 << 12
#: Rows of a row group that is written: the more, the fewer times an id is in a dictionary.
_ROWS: Final = 4 * ROW_GROUP
#: Of a row group, so that ids of any length are written by number.
_DICTIONARY_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class Ids:
    """Distinct texts by number, and their order.

    Attributes:
        texts: by number.
        order: int64, the numbers in order of their texts' bytes.
        ranks: int32, the place of each number in it.
    """

    texts: pa.StringArray
    order: npt.NDArray[np.int64]
    ranks: npt.NDArray[np.int32]

    def and_also(self, new: pa.StringArray) -> Ids:
        """These and new ones, which get the next numbers.

        >>> few = Ids.none().and_also(pa.array(["b", "a"]))
        >>> few.and_also(pa.array(["c"])).order.tolist()
        [1, 0, 2]
        """
        texts = pa.concat_arrays([self.texts, new])
        first = pc.min(new).as_py()
        # Users come in order, or nearly: what is before all new ones stays where it is.
        before = bisect_left(self.order, first, key=lambda number: self.texts[number].as_py())
        rest = np.concatenate([self.order[before:], np.arange(len(self.texts), len(texts))])
        rest = rest[pc.sort_indices(texts.take(pa.array(rest))).to_numpy()]
        order = np.concatenate([self.order[:before], rest])
        ranks = np.empty(len(order), np.int32)
        ranks[order] = np.arange(len(order), dtype=np.int32)
        return Ids(texts, order, ranks)

    @classmethod
    def none(cls) -> Ids:
        """No texts."""
        return cls(pa.array([], pa.string()), np.zeros(0, np.int64), np.zeros(0, np.int32))

    def places(self, count: int) -> npt.NDArray[np.int32]:
        """By rank, the number where it is one of the first ``count``, else -1."""
        return np.where(self.order < count, self.order, -1).astype(np.int32)

    def named(self, ranks: npt.NDArray[np.int32]) -> pa.StringArray:
        """The texts of some ranks."""
        return self.texts.take(pa.array(self.order[ranks]))


class Codes:
    """Distinct texts, numbered as they come.

    >>> codes = Codes()
    >>> codes.of(pa.chunked_array([["b", "a"], ["c", "b"]])).tolist()
    [0, 1, 2, 0]
    >>> codes.ids.ranks.tolist()
    [1, 0, 2]
    """

    def __init__(self) -> None:
        self.ids = Ids.none()

    def of(self, texts: pa.ChunkedArray) -> npt.NDArray[np.int32]:
        """The numbers of some texts, of which none is null; new ones get the next."""
        known = pc.index_in(texts, self.ids.texts)
        new = texts.filter(known.is_null())
        if not len(new):
            return _int32(known)
        fresh = new.unique()
        found = _int32(known.fill_null(-1)).copy()
        found[found < 0] = len(self.ids.texts) + _int32(pc.index_in(new, fresh))
        self.ids = self.ids.and_also(fresh)
        return found


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


def number_of(day: date) -> int:
    """Days since 1970.

    >>> number_of(date(1970, 1, 3))
    2
    """
    return (day - date(1970, 1, 1)).days


def to_dates(days: npt.NDArray[np.int32]) -> pa.Date32Array:
    """Dates of days since 1970; null for :data:`NEVER`."""
    return pa.array(days, mask=days == NEVER).view(pa.date32())


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


def _int32(numbers: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int32]:
    return np.asarray(numbers, np.int32)


class CodedWriter:
    """Writes a Parquet file of rows whose ids are ranks; its bytes depend on the rows alone.

    Parquet gets the ids of a row group as the dictionary that it keeps of them anyway.

    Args:
        path: the file to write.
        schema: of it; user_id and track_id, and then the other columns.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        ids = pa.dictionary(pa.int32(), pa.string())
        coded = [field.with_type(ids) for field in list(schema)[:2]]
        self._schema = pa.schema([*coded, *list(schema)[2:]])
        # Without Arrow's own schema in it the ids are read as text, as in any other file.
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            compression_level=1,
            store_schema=False,
            use_dictionary=[name for name in schema.names if _repeats(schema.field(name).type)],
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            write_statistics=[c.USER_ID],  # who is looked for; of the others they cost more
        )
        self._waiting: list[pa.Table] = []
        self._ids: tuple[Ids, ...] = ()
        self.rows = 0

    def __enter__(self) -> CodedWriter:
        return self

    def __exit__(self, *failed: object) -> None:
        if failed[0] is None:
            self._flush(1)
        self._writer.close()

    def write(
        self,
        stretch: Stretch,
        user: npt.NDArray[np.int32],
        track: npt.NDArray[np.int32],
        columns: Sequence[pa.Array],
    ) -> None:
        """Append rows; ``user`` and ``track`` are ranks in the stretch."""
        self._ids = stretch.users, stretch.tracks
        numbers = [ids.order[of] for ids, of in zip(self._ids, (user, track), strict=True)]
        self._waiting.append(pa.table([*numbers, *columns], self._schema.names))
        self.rows += len(user)
        self._flush(_ROWS)

    def _flush(self, least: int) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        while len(table) >= least:
            group = table.slice(0, _ROWS).combine_chunks()
            coded = [
                _dictionary(ids, group.column(n).to_numpy()) for n, ids in enumerate(self._ids)
            ]
            rows = pa.table([*coded, *group.columns[2:]], self._schema)
            self._writer.write_table(rows, row_group_size=_ROWS)
            table = table.slice(_ROWS)
        self._waiting = [table]


def _repeats(kind: pa.DataType) -> bool:
    """Whether a column is written by a dictionary: decayed counts hardly repeat."""
    return not pa.types.is_floating(kind) and not pa.types.is_boolean(kind)


def _dictionary(ids: Ids, numbers: npt.NDArray[np.int64]) -> pa.DictionaryArray:
    """Texts by number, with those that occur as their dictionary, in order."""
    ranks = ids.ranks[numbers]
    there = np.flatnonzero(np.bincount(ranks, minlength=len(ids.order)))
    place = np.empty(len(ids.order), np.int32)
    place[there] = np.arange(len(there), dtype=np.int32)
    return pa.DictionaryArray.from_arrays(place[ranks], ids.texts.take(pa.array(ids.order[there])))
