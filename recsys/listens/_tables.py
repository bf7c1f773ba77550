"""What cleaning a day and splitting a log both do with the judged rows."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb

from recsys import schemas
from recsys._tables import write_query

#: A day of 10 GB does with it, 32 million rows; with a quarter it does not.
MEMORY: Final = "2GB"

#: Rows that are sorted in one go: with them, a sort stays within `MEMORY`.
SORTED_AT_ONCE: Final = 2_000_000


def count(database: duckdb.DuckDBPyConnection, table: str) -> int:
    """The number of rows in ``table``, which may be a join."""
    ((rows,),) = database.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(rows)


def write_quarantine(
    database: duckdb.DuckDBPyConnection, condition: str, out: Path
) -> dict[str, int]:
    """Write the refused rows of ``judged`` that meet ``condition``; how many for each reason."""
    refused = f"judged WHERE reason IS NOT NULL AND {condition}"
    columns = ", ".join(schemas.QUARANTINE.names)
    rows = f"SELECT {columns} FROM {refused} ORDER BY file, row"
    write_query(database, rows, out / "quarantine.parquet", schemas.QUARANTINE)
    counts = f"SELECT reason, count(*) FROM {refused} GROUP BY reason ORDER BY reason"
    return dict(database.execute(counts).fetchall())
