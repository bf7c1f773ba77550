"""Sorting more rows than fit into memory: sorted runs on disk, merged a stretch at a time."""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from recsys._tables import ROW_GROUP, read_parquet

#: Rows are sorted in memory up to so many bytes; more of them become a run on disk.
RUN_BYTES: Final = 160 << 20
#: Bytes of a run's row groups; half of them up to one and a half are in memory while it is merged.
STRETCH_BYTES: Final = 2 << 20
#: More runs than these are merged in turns.
MERGED_AT_ONCE: Final = 32


class Sorter:
    """Puts rows in the order of a key, in memory that their number has no part in.

    Args:
        scratch: room for the runs.
        schema: of the rows.
        key: columns to sort by, without nulls; text goes by its bytes.
        order: where the rows of a table go: the numbers of those to keep, in this order.
    """

    def __init__(
        self,
        scratch: Path,
        schema: pa.Schema,
        key: Sequence[str],
        order: Callable[[pa.Table], npt.NDArray[np.int64]] | None = None,
    ) -> None:
        self._scratch = scratch
        self._schema = schema
        self._key = key
        self._order = order or (lambda rows: by_key(rows, key)[0])
        self._waiting: list[pa.Table] = []
        self._bytes = 0
        self._runs: list[Path] = []
        self._written = 0

    def add(self, rows: pa.Table) -> None:
        """Take in rows of the schema; its columns may come in another order."""
        rows = rows.select(self._schema.names).cast(self._schema)
        self._waiting.append(rows)
        self._bytes += rows.nbytes
        if self._bytes >= RUN_BYTES:
            self._spill()

    def view(self, database: duckdb.DuckDBPyConnection, name: str) -> None:
        """Make what was added so far, in any order, a table for SQL."""
        if not self._runs:
            self._waiting = [self._gathered()]
            database.register(name, self._waiting[0])
            return
        self._spill()
        files = f"SELECT * FROM {read_parquet(self._runs)}"
        database.execute(f"CREATE OR REPLACE VIEW {name} AS {files}")

    def sorted(self) -> Iterator[pa.Table]:
        """The rows in order, a table at a time; once."""
        if not self._runs:
            rows, self._waiting = self._gathered().combine_chunks(), []
            yield from self._ordered(rows)
            return
        self._spill()
        while len(self._runs) > MERGED_AT_ONCE:
            turn, self._runs = self._runs[:MERGED_AT_ONCE], self._runs[MERGED_AT_ONCE:]
            self._write(self._merged(turn))
            for run in turn:
                run.unlink()
        yield from self._merged(self._runs)

    def _gathered(self) -> pa.Table:
        return pa.concat_tables([self._schema.empty_table(), *self._waiting])

    def _spill(self) -> None:
        if self._waiting:
            rows, self._waiting, self._bytes = self._gathered().combine_chunks(), [], 0
            self._write(self._ordered(rows))

    def _ordered(self, rows: pa.Table) -> Iterator[pa.Table]:
        order = self._order(rows)
        for start in range(0, len(order), ROW_GROUP):
            yield rows.take(pa.array(order[start : start + ROW_GROUP]))

    def _write(self, tables: Iterable[pa.Table]) -> None:
        run = self._scratch / f"run-{id(self)}-{self._written}.parquet"
        with pq.ParquetWriter(run, self._schema, compression="lz4") as writer:
            for rows in tables:
                for stretch in _stretches(rows.combine_chunks()):
                    writer.write_table(stretch)
        self._runs.append(run)
        self._written += 1

    def _merged(self, paths: Sequence[Path]) -> Iterator[pa.Table]:
        with contextlib.ExitStack() as files:
            runs = [_Run(files.enter_context(pq.ParquetFile(path)), self._key) for path in paths]
            while runs := [run for run in runs if run.fill()]:
                # Up to there, nothing can come that is not here yet.
                complete = min((run.last for run in runs if run.goes_on), default=None)
                yield from self._ordered(pa.concat_tables([run.take(complete) for run in runs]))


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
        """Have the next rows in memory; whether there are any."""
        while self._groups and self._rows.nbytes < STRETCH_BYTES // 2:
            more = self._file.read_row_group(self._groups.pop())
            self._rows = pa.concat_tables([self._rows, more])
        return len(self._rows) > 0

    @property
    def goes_on(self) -> bool:
        """Whether there are rows behind those in memory."""
        return bool(self._groups)

    @property
    def last(self) -> tuple[Any, ...]:
        """The key of the last row in memory."""
        return self._at(len(self._rows) - 1)

    def take(self, complete: tuple[Any, ...] | None) -> pa.Table:
        """Hand out the rows up to a key, or all of them."""
        rows = self._rows
        end = len(rows)
        if complete is not None:
            end = bisect.bisect_right(range(end), complete, key=self._at)
        self._rows = rows.slice(end)
        return rows.slice(0, end)

    def _at(self, row: int) -> tuple[Any, ...]:
        return tuple(self._rows[name][row].as_py() for name in self._key)


def by_key(
    rows: pa.Table, key: Sequence[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Where the rows go when they are sorted by a key, those that agree in their own order.

    Args:
        rows: any table.
        key: columns of text, integers or dates, without nulls.

    Returns:
        For each place in the order, the number of the row that belongs there; and whether that
        row's key differs from the one before.
    """
    if not len(rows):
        return np.empty(0, np.int64), np.empty(0, np.bool_)
    packed: list[npt.NDArray[np.int64]] = []
    size = 0
    for codes, many in (_codes(rows[name]) for name in key):
        if packed and size * many < 2**63:
            packed[-1] = packed[-1] * many + codes
            size *= many
        else:
            packed.append(codes)
            size = many
    order = np.lexsort(packed[::-1])
    differs = np.ones(len(rows), np.bool_)
    differs[1:] = False
    for codes in packed:
        ordered = codes[order]
        differs[1:] |= ordered[1:] != ordered[:-1]
    return order, differs


def _codes(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], int]:
    """Numbers from 0 that sort as the values do, and one more than the largest may be."""
    if types.is_string(column.type):
        coded = column.combine_chunks().dictionary_encode()
        rank = np.empty(len(coded.dictionary), np.int64)
        rank[pc.sort_indices(coded.dictionary).to_numpy()] = np.arange(len(rank))
        return rank[coded.indices.to_numpy()], len(rank)
    kind = pa.int32() if types.is_date32(column.type) else pa.int64()
    numbers = column.cast(kind).to_numpy().astype(np.int64)
    least = int(numbers.min())
    return numbers - least, int(numbers.max()) - least + 1
