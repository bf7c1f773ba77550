"""Sorting more rows than fit into memory: sorted runs on disk, merged a stretch at a time."""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from recsys._coded import coded, encoded, joined, spelled
from recsys._tables import ROW_GROUP, read_parquet
from recsys.listens._by_key import by_key

#: Rows are sorted in memory up to so many bytes; more of them become a run on disk.
RUN_BYTES: Final = 96 << 20
#: Bytes of a run's row groups; half of them up to one and a half are in memory while it is merged.
STRETCH_BYTES: Final = 2 << 20
_SPELLED_BYTES: Final = 16 << 20
#: More runs than these are merged in turns.
MERGED_AT_ONCE: Final = 32


class Sorter:
    """Puts rows in the order of a key, in memory that their number has no part in.

    Args:
        scratch: room for the runs.
        schema: of the rows; in memory, their text is held by codes.
        key: columns to sort by, without nulls; text goes by its bytes.
        order: where the rows of a table go: the numbers of those to keep, in this order. It is
            told whether these rows are handed out, or will come again.
    """

    def __init__(
        self,
        scratch: Path,
        schema: pa.Schema,
        key: Sequence[str],
        order: Callable[[pa.Table, bool], npt.NDArray[np.int64]] | None = None,
    ) -> None:
        self._scratch = scratch
        self._schema = schema
        self._coded = coded(schema)
        self._key = key
        self._order = order or (lambda rows, _: by_key(rows, key)[0])
        self._waiting: list[pa.Table] = []
        self._bytes = 0
        self._runs: list[Path] = []
        self._written = 0

    def add(self, rows: pa.Table) -> None:
        """Take in rows of the schema; its columns may come in another order, its text by codes."""
        rows = encoded(rows, self._coded)
        self._waiting.append(rows)
        self._bytes += rows.nbytes
        if self._bytes >= RUN_BYTES:
            self._spill()

    @property
    def on_disk(self) -> bool:
        """Whether some of the rows are in runs."""
        return bool(self._runs)

    def view(self, database: duckdb.DuckDBPyConnection, name: str) -> None:
        """Make what was added so far, in any order, a table for SQL."""
        if not self._runs:
            database.register(name, self.gathered().cast(self._schema))
            return
        self._spill()
        files = f"SELECT * FROM {read_parquet(self._runs)}"
        database.execute(f"CREATE OR REPLACE VIEW {name} AS {files}")

    def gathered(self) -> pa.Table:
        """The rows in the order in which they came, text by codes; while none are on disk."""
        self._waiting = [self._gathered()]
        return self._waiting[0]

    def sorted(self) -> Iterator[pa.Table]:
        """The rows in order, a table at a time, their text by codes; once."""
        if not self._runs:
            rows, self._waiting = self._gathered(), []
            yield from self._ordered(rows, out=True)
            return
        self._spill()
        while len(self._runs) > MERGED_AT_ONCE:
            turn, self._runs = self._runs[:MERGED_AT_ONCE], self._runs[MERGED_AT_ONCE:]
            self._write(self._merged(turn, out=False))
            for run in turn:
                run.unlink()
        yield from self._merged(self._runs, out=True)

    def _gathered(self) -> pa.Table:
        return joined(pa.concat_tables(self._waiting or [self._coded.empty_table()]))

    def _spill(self) -> None:
        if self._waiting:
            rows, self._waiting, self._bytes = self._gathered(), [], 0
            self._write(self._ordered(rows, out=False))

    def _ordered(self, rows: pa.Table, *, out: bool) -> Iterator[pa.Table]:
        order = self._order(rows, out)
        for start in range(0, len(order), ROW_GROUP):
            yield _rows_at(rows, order[start : start + ROW_GROUP])

    def _write(self, tables: Iterable[pa.Table]) -> None:
        run = self._scratch / f"run-{id(self)}-{self._written}.parquet"
        with pq.ParquetWriter(run, self._schema, compression="lz4") as writer:
            for rows in tables:
                for some in spelled(rows, self._schema, _SPELLED_BYTES):
                    for stretch in _stretches(some.combine_chunks()):
                        writer.write_table(stretch)
        self._runs.append(run)
        self._written += 1

    def _merged(self, paths: Sequence[Path], *, out: bool) -> Iterator[pa.Table]:
        with contextlib.ExitStack() as files:
            runs = [_Run(files.enter_context(pq.ParquetFile(path)), self._key) for path in paths]
            while runs := [run for run in runs if run.fill()]:
                # Before it, nothing can come that is not here yet.
                complete = min((run.last for run in runs if run.goes_on), default=None)
                ready = pa.concat_tables([run.take(complete) for run in runs])
                yield from self._ordered(joined(encoded(ready, self._coded)), out=out)


def _stretches(rows: pa.Table) -> Iterator[pa.Table]:
    """Cut rows into stretches of at most `STRETCH_BYTES`, or of one row."""
    start = 0
    while start < len(rows):
        rest = range(1, len(rows) - start + 1)
        fit = bisect.bisect_right(rest, STRETCH_BYTES, key=lambda n: rows.slice(start, n).nbytes)
        stretch = rows.slice(start, max(1, fit))
        yield stretch
        start += len(stretch)


class _Run:
    """The rest of a sorted file, and its next rows."""

    def __init__(self, file: pq.ParquetFile, key: Sequence[str]) -> None:
        self._file = file
        self._key = key
        self._groups = list(range(file.num_row_groups))[::-1]
        self._rows = file.schema_arrow.empty_table()

    def fill(self) -> bool:
        """Have the next rows in memory, of two keys where it goes on; whether there are any."""
        while self._groups and (self._rows.nbytes < STRETCH_BYTES // 2 or self._is_of_one_key):
            more = self._file.read_row_group(self._groups.pop())
            self._rows = pa.concat_tables([self._rows, more])
        return len(self._rows) > 0

    @property
    def _is_of_one_key(self) -> bool:
        return not len(self._rows) or self._at(0) == self.last

    @property
    def goes_on(self) -> bool:
        """Whether there are rows behind those in memory."""
        return bool(self._groups)

    @property
    def last(self) -> tuple[Any, ...]:
        """The key of the last row in memory."""
        return self._at(len(self._rows) - 1)

    def take(self, complete: tuple[Any, ...] | None) -> pa.Table:
        """Hand out the rows before a key, or all of them."""
        rows = self._rows
        end = len(rows)
        if complete is not None:
            end = bisect.bisect_left(range(end), complete, key=self._at)
        self._rows = rows.slice(end)
        return rows.slice(0, end)

    def _at(self, row: int) -> tuple[Any, ...]:
        return tuple(self._rows[name][row].as_py() for name in self._key)


def _rows_at(rows: pa.Table, places: npt.NDArray[np.int64]) -> pa.Table:
    """Some of the rows of a table in one piece; ``places`` are rows that it has."""
    columns = [_at(column.chunk(0), places) for column in rows.columns]
    return pa.Table.from_arrays(columns, schema=rows.schema)


def _at(column: pa.Array, places: npt.NDArray[np.int64]) -> pa.Array:
    if not types.is_list(column.type):
        return pc.take(column, pa.array(places), boundscheck=False)
    offsets, within = _places_within(column.offsets.to_numpy(), places)
    values = pc.take(column.values, pa.array(within), boundscheck=False)
    nulls = column.is_null().take(pa.array(places)) if column.null_count else None
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=column.type, mask=nulls)


@numba.njit(cache=True, nogil=True)
def _places_within(offsets: Any, places: Any) -> Any:  # pragma: no cover
    """Offsets of the lists in some places, and where their values are."""
    ends = np.zeros(len(places) + 1, np.int32)
    for row in range(len(places)):
        place = places[row]
        ends[row + 1] = ends[row] + offsets[place + 1] - offsets[place]
    within = np.empty(ends[-1], np.int64)
    for row in range(len(places)):
        first = offsets[places[row]]
        for step in range(ends[row + 1] - ends[row]):
            within[ends[row] + step] = first + step
    return ends, within
