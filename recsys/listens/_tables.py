"""What cleaning a day and splitting a log both do with the judged rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys import schemas
from recsys._tables import TableWriter
from recsys.listens._sorter import Sorter

#: For the working database: rows pass through it block by block, and none stay.
MEMORY: Final = "512MB"


def count(database: duckdb.DuckDBPyConnection, table: str) -> int:
    """The number of rows in ``table``, which may be a join."""
    ((rows,),) = database.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(rows)


class Quarantine:
    """Gathers refused rows, for a file of `schemas.QUARANTINE` sorted by file and row."""

    def __init__(self, scratch: Path) -> None:
        self._sorter = Sorter(scratch, schemas.QUARANTINE, (c.ORIGIN_FILE, c.ORIGIN_ROW))
        self._reasons = Counter[str]()

    def add(self, refused: pa.Table) -> None:
        """Take in judged rows that have a reason."""
        if len(refused):
            self._sorter.add(refused)
            for said in pc.value_counts(refused[c.REASON]).to_pylist():
                self._reasons[said["values"]] += said["counts"]

    def write(self, path: Path) -> dict[str, int]:
        """Write the file; how many rows there are for each reason."""
        with TableWriter(path, schemas.QUARANTINE) as writer:
            for rows in self._sorter.sorted():
                writer.write(rows)
        return dict(sorted(self._reasons.items()))
