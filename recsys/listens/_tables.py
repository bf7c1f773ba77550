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
from recsys._coded import spelled
from recsys._tables import TableWriter
from recsys.listens._sorter import Sorter

#: A judged row. ``day`` is the UTC date of its time, null where that cannot be used; the columns
#: of a listen are null where the row is refused, and ``listened_at`` is in microseconds.
JUDGED: Final = pa.schema(
    [
        pa.field(c.ORIGIN_FILE, pa.string()),
        pa.field(c.ORIGIN_ROW, pa.int64()),
        pa.field(c.REASON, pa.string()),
        pa.field(c.DETAIL, pa.string()),
        pa.field("day", pa.date32()),
        *(
            pa.field(field.name, pa.int64() if field.name == c.LISTENED_AT else field.type)
            for field in schemas.LISTENS
        ),
    ]
)
#: For the working database: rows pass through it block by block, and none stay.
MEMORY: Final = "512MB"
#: Text by codes is written out in full so much at a time.
SPELLED_BYTES: Final = 16 << 20


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
                for plain in spelled(rows, schemas.QUARANTINE, SPELLED_BYTES):
                    writer.write(plain)
        return dict(sorted(self._reasons.items()))
