"""DuckDB and Parquet, set up once so that every table comes out in the same order and bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP: Final = 131_072


@contextlib.contextmanager
def database(spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory DuckDB that spills into ``spill`` and keeps ``ORDER BY`` on the way to Arrow."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": str(spill / ".spill"),
        "memory_limit": "60%",
        "preserve_insertion_order": True,
    }
    with duckdb.connect(config=config) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def arrow(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """The rows of a query, in its order."""
    return connection.sql(query).to_arrow_table()


def file_list(paths: Sequence[Path]) -> str:
    """A SQL list of file names, for ``read_parquet``.

    >>> file_list([Path("it's.parquet")])
    "['it''s.parquet']"
    """
    return "[" + ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths) + "]"


def write_query(
    connection: duckdb.DuckDBPyConnection, query: str, path: Path, schema: pa.Schema
) -> int:
    """Stream a query's rows into a Parquet file with row groups of one size.

    Args:
        connection: where the query runs.
        query: SQL that ends in an ``ORDER BY``, its columns named as in ``schema``.
        path: the file to write.
        schema: columns and types of the file.

    Returns:
        The number of rows written.
    """
    reader: pa.RecordBatchReader = connection.sql(query).to_arrow_reader(ROW_GROUP)
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        waiting = schema.empty_table()
        for batch in reader:
            table = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
            waiting = pa.concat_tables([waiting, table])
            while len(waiting) >= ROW_GROUP:
                writer.write_table(waiting.slice(0, ROW_GROUP), row_group_size=ROW_GROUP)
                rows += ROW_GROUP
                waiting = waiting.slice(ROW_GROUP)
        if len(waiting):
            writer.write_table(waiting.combine_chunks(), row_group_size=ROW_GROUP)
            rows += len(waiting)
    return rows
