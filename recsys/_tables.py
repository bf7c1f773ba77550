"""DuckDB and Parquet, set up once so that every table comes out in the same order and bytes."""

from __future__ import annotations

import contextlib
import errno
import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from recsys._threads import cores, machine_cores
from recsys.errors import ResourceError

ROW_GROUP: Final = 122_880  # DuckDB's own; each is read by one thread
#: Bytes of text, beside lists, that end a row group before it has so many rows.
ROW_GROUP_TEXT: Final = 256 << 20
_STREAM_ROWS: Final = 1 << 16
_ENCODED_ROWS: Final = 1 << 15
#: Errors of the system that say that memory or disk ran out.
RAN_OUT: Final = frozenset({errno.ENOMEM, errno.ENOSPC, errno.EDQUOT})


@contextlib.contextmanager
def database(out: Path, memory: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty DuckDB in memory, a thread a core, that keeps ``ORDER BY`` on the way to Arrow.

    Args:
        out: the folder that is written to; what does not fit into memory is spilled there.
        memory: how much it may use, as bytes with a unit or as a share of the machine's; by default
            60%, and where others work on the machine beside it, its part of that.

    Raises:
        ResourceError: memory or disk ran out.
    """
    with database_when_asked(out, memory) as asked:
        yield asked()


@contextlib.contextmanager
def database_when_asked(
    out: Path, memory: str | None = None
) -> Iterator[Callable[[], duckdb.DuckDBPyConnection]]:
    """As :func:`database`, which is there once it is asked for."""
    with running_out(out), contextlib.ExitStack() as opened:
        yield functools.cache(lambda: opened.enter_context(_connected(out, memory)))


@contextlib.contextmanager
def running_out(out: Path) -> Iterator[None]:
    """Say plainly that memory or disk ran out while a folder, which is made, is written to.

    Raises:
        ResourceError: they did.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.IOException, MemoryError, OSError) as error:
        if isinstance(error, duckdb.IOException) and "No space left" not in str(error):
            raise
        if isinstance(error, OSError) and error.errno not in RAN_OUT:
            raise
        why = str(error).rstrip(".") or "no memory is left"
        raise ResourceError(
            f"Memory or disk ran out while working in {out}: {why}. "
            "Free some of it and run the same command again."
        ) from error


@contextlib.contextmanager
def _connected(out: Path, memory: str | None) -> Iterator[duckdb.DuckDBPyConnection]:
    with (
        tempfile.TemporaryDirectory(dir=out, prefix=".spill-") as spill,
        duckdb.connect(
            config={
                "memory_limit": memory or _memory(),
                "temp_directory": spill,
                "threads": cores(),
            }
        ) as connection,
    ):
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def _memory() -> str:
    return f"{max(60 * cores() // machine_cores(), 1)}%"


def part_files(table: Path) -> list[Path]:
    """The files of a table, in the order of its rows: itself, or those in its folder.

    >>> part_files(Path("plays.parquet"))
    [PosixPath('plays.parquet')]
    """
    return sorted(table.glob("part-*.parquet")) if table.is_dir() else [table]


def rows_of(table: Path) -> int:
    """How many rows a table has, by the footers of its files."""
    return sum(pq.read_metadata(part).num_rows for part in part_files(table))


def batches_of(table: Path, rows: int = 1 << 16, **options: Any) -> Iterator[pa.RecordBatch]:
    """The rows of a table in order, a batch at a time.

    Args:
        table: a file, or a folder of parts.
        rows: of a batch, at most.
        options: for each ``pyarrow.parquet.ParquetFile``.
    """
    for part in part_files(table):
        with pq.ParquetFile(part, **options) as file:
            yield from file.iter_batches(rows)


def encoded_batches_of(
    table: Path, columns: Sequence[str] | None, encoded: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """The rows of a table in order, some of its strings by dictionaries, also those in lists.

    By row groups: Arrow has no batch of nested dictionaries that lies in two.

    Args:
        table: a file, or a folder of parts.
        columns: the paths of the leaves to be read; None for all.
        encoded: the paths of those that are strings.
    """
    for part in part_files(table):
        with pq.ParquetFile(part, read_dictionary=encoded) as file:
            for group in range(file.num_row_groups):
                yield from file.iter_batches(_ENCODED_ROWS, row_groups=[group], columns=columns)


def file_list(tables: Sequence[Path]) -> str:
    """A SQL list of the files of tables.

    >>> file_list([Path("it's.parquet")])
    "['it''s.parquet']"
    """
    files = (str(part).replace("'", "''") for table in tables for part in part_files(table))
    return "[" + ", ".join(f"'{file}'" for file in files) + "]"


def read_parquet(tables: Sequence[Path], **options: bool) -> str:
    """SQL of the rows of tables; ``options`` are those of DuckDB's function of that name.

    A folder ``user_id=42`` above a table, as partitions of Hive are named, is no column of it.

    >>> read_parquet([Path("plays.parquet")], filename=True)
    "read_parquet(['plays.parquet'], hive_partitioning = false, filename = true)"
    """
    given = {"hive_partitioning": False} | options
    said = ", ".join(f"{name} = {str(value).lower()}" for name, value in given.items())
    return f"read_parquet({file_list(tables)}, {said})"


def arrow(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """The rows of a query, in its order."""
    return connection.sql(query).to_arrow_table()


def stream(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.RecordBatch]:
    """The rows of a query in order, a batch at a time; no other query may run meanwhile."""
    return iter(connection.sql(query).to_arrow_reader(_STREAM_ROWS))


def write_query(
    connection: duckdb.DuckDBPyConnection, query: str, path: Path, schema: pa.Schema
) -> int:
    """Stream a query's rows into a Parquet file; returns how many.

    Args:
        connection: where the query runs.
        query: SQL that ends in an ``ORDER BY``, its columns named as in ``schema``.
        path: the file to write.
        schema: columns and types of the file.
    """
    with TableWriter(path, schema) as writer:
        for batch in stream(connection, query):
            writer.write(batch.select(schema.names))
    return writer.rows


class TableWriter:
    """Writes a Parquet file whose bytes depend on the rows alone, not on how they come."""

    def __init__(
        self, path: Path, schema: pa.Schema, writer: pq.ParquetWriter | None = None
    ) -> None:
        self._schema = schema
        self._writer = writer or pq.ParquetWriter(
            path, schema, compression="zstd", compression_level=1
        )
        self._waiting: list[pa.Table] = []
        self._count = 0
        self._bytes = 0
        self.rows = 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *failed: object) -> None:
        try:
            if failed[0] is None:
                self._flush(self._count)
        finally:
            self._close()

    def _close(self) -> None:
        self._writer.close()

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Append rows; their columns are cast to the schema."""
        if not len(rows):
            return
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
        self._waiting.append(table)
        self._count += len(rows)
        self._bytes += _most_bytes(table)
        self.rows += len(rows)
        while ready := self._ready():
            self._flush(ready)

    def _ready(self) -> int:
        """Rows that fill row groups: 122,880 each, or fewer where their text is very long."""
        if self._bytes < ROW_GROUP_TEXT:
            return self._count - self._count % ROW_GROUP
        group = self._gathered().slice(0, ROW_GROUP)
        enough = int(np.searchsorted(np.cumsum(text_bytes(group)), ROW_GROUP_TEXT)) + 1
        return enough if enough <= len(group) else ROW_GROUP * (len(group) == ROW_GROUP)

    def _flush(self, rows: int) -> None:
        if not rows:
            return
        table = self._gathered()
        self._put(table.slice(0, rows))
        self._count -= rows
        self._waiting = [self._rest(table.slice(rows))] if self._count else []
        self._bytes = sum(map(_most_bytes, self._waiting))

    def _gathered(self) -> pa.Table:
        return pa.concat_tables(self._waiting)

    def _rest(self, rows: pa.Table) -> pa.Table:
        """What waits for more rows."""
        return rows

    def _put(self, rows: pa.Table) -> None:
        ready = rows.cast(self._schema).combine_chunks()
        self._writer.write_table(ready, row_group_size=ROW_GROUP)


def _most_bytes(table: pa.Table) -> int:
    """At least the bytes of the rows, their text spelled out."""
    size = table.nbytes
    for column in table.columns:
        if types.is_dictionary(column.type):
            for chunk in column.chunks:
                size += len(chunk) * (pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0)
    return int(size)


def text_bytes(table: pa.Table, *, lists: bool = False) -> npt.NDArray[np.int64]:
    """How long the text of each row is; that of lists only if it is asked for."""
    size = np.zeros(len(table), np.int64)
    for column in table.columns:
        if lists or not types.is_list(column.type):
            size += np.concatenate([_lengths(chunk) for chunk in column.chunks] or [size])
    return size


def _lengths(column: pa.Array) -> npt.NDArray[np.int64]:
    if types.is_dictionary(column.type):
        of_each = np.append(_lengths(column.dictionary), 0)
        return np.asarray(of_each[column.indices.fill_null(-1).to_numpy()], np.int64)
    if types.is_string(column.type):
        return np.asarray(pc.binary_length(column).fill_null(0), np.int64)
    if types.is_list(column.type):
        ends = np.cumsum(column.value_lengths().fill_null(0).to_numpy(), dtype=np.int64)
        within = np.append(0, np.cumsum(_lengths(column.flatten())))[ends]
        return np.diff(within, prepend=0)
    return np.zeros(len(column), np.int64)
