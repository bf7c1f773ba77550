"""The working database of one call, and Parquet files written in a fixed form."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import schemas
from recsys.errors import ResourceError

_MEMORY: Final = "2GB"
_ROW_GROUP: Final = 122_880  # DuckDB's own; each is read by one thread
_STREAM_ROWS: Final = 1 << 16


@contextlib.contextmanager
def working_database(out: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """An empty database, and a folder in ``out`` that it spills to; both are gone afterwards.

    Raises:
        ResourceError: memory or disk ran out.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".scratch-") as scratch:
        try:
            with duckdb.connect(
                config={"memory_limit": _MEMORY, "temp_directory": scratch}
            ) as database:
                yield database, Path(scratch)
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            if isinstance(error, duckdb.IOException) and "No space left" not in str(error):
                raise
            raise ResourceError(
                f"Cleaning the log ran out of memory or disk in {out}: {error} "
                "Free some space there and run the same command again."
            ) from error


def stream(database: duckdb.DuckDBPyConnection, sql: str) -> Iterator[pa.RecordBatch]:
    """The rows of ``sql`` in order, a batch at a time; no other query may run meanwhile."""
    return iter(database.sql(sql).to_arrow_reader(_STREAM_ROWS))


def count(database: duckdb.DuckDBPyConnection, table: str) -> int:
    """The number of rows in ``table``, which may be a join."""
    ((rows,),) = database.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(rows)


class TableWriter:
    """Writes a Parquet file whose bytes depend on the rows alone, not on how they come."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", compression_level=1)
        self._waiting: list[pa.RecordBatch] = []
        self._count = 0
        self.rows = 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *failed: object) -> None:
        if failed[0] is None:
            self._flush(self._count)
        self._writer.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows; their columns are cast to the schema."""
        self._waiting.append(batch)
        self._count += len(batch)
        self.rows += len(batch)
        if self._count >= _ROW_GROUP:
            self._flush(self._count - self._count % _ROW_GROUP)

    def _flush(self, rows: int) -> None:
        if not self._waiting:
            return
        table = pa.Table.from_batches(self._waiting)
        ready = table.slice(0, rows).cast(self._schema).combine_chunks()
        self._writer.write_table(ready, row_group_size=_ROW_GROUP)
        self._waiting = table.slice(rows).to_batches()
        self._count -= rows


def write_quarantine(
    database: duckdb.DuckDBPyConnection, condition: str, out: Path
) -> dict[str, int]:
    """Write the refused rows of ``judged`` that meet ``condition``; how many for each reason."""
    refused = f"judged WHERE reason IS NOT NULL AND {condition}"
    with TableWriter(out / "quarantine.parquet", schemas.QUARANTINE) as writer:
        columns = ", ".join(schemas.QUARANTINE.names)
        for batch in stream(database, f"SELECT {columns} FROM {refused} ORDER BY file, row"):
            writer.write(batch)
    counts = f"SELECT reason, count(*) FROM {refused} GROUP BY reason ORDER BY reason"
    return dict(database.execute(counts).fetchall())
