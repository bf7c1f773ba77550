"""Dividing a log without partitions into days."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys import schemas
from recsys._coded import spelled
from recsys._tables import TableWriter
from recsys._tables import database as database_in
from recsys.listens._clean import judged_rows
from recsys.listens._inventory import Inventory
from recsys.listens._judge import Judge, Window
from recsys.listens._sorter import Sorter
from recsys.listens._tables import JUDGED, MEMORY, SPELLED_BYTES, Quarantine
from recsys.settings import ListensSettings

#: So many files of a dump are named for each day.
LONGEST: Final = 20


@dataclass(frozen=True)
class DumpReport:
    """Where the rows of a dump went: ``read`` is the rows of ``days`` and of ``undated``."""

    read: int
    #: Rows without a usable time, by `Reason`.
    undated: Mapping[str, int]
    #: ``{"rows": n, "content": hex, "files": {name: n}}`` per day. The content digest covers every
    #: row of the day, refused ones included; it depends neither on their order nor on where they
    #: came from. Of the files that had rows of the day the `LONGEST` are named, the longest first.
    days: Mapping[date, Mapping[str, Any]]
    #: name, bytes, sha256 and rows of each file.
    sources: tuple[Mapping[str, Any], ...]


def split_dump(settings: ListensSettings, inventory: Inventory, out: Path) -> DumpReport:
    """Read a log without partitions once, and divide it by the UTC date of ``listened_at``.

    Writes ``date=YYYY-MM-DD/part-0.parquet``, for `clean_day` to read, and ``quarantine.parquet``
    (`schemas.QUARANTINE`) with the rows that belong to no day, into ``out``. Rows are judged here
    and deduplicated there: a refused row with a usable time is counted, and refused, on its day.
    Memory does not grow with the log; disk of about its uncompressed size is needed in ``out``.

    Raises:
        BadLogError: as `clean_day`.
        ResourceError: memory or disk ran out.
    """
    with (
        database_in(out, MEMORY) as database,
        tempfile.TemporaryDirectory(dir=out, prefix=".scratch-") as scratch_name,
    ):
        scratch = Path(scratch_name)
        judge = Judge(lambda: database, settings, Window.of_dump(), scratch)
        dated = Sorter(scratch, JUDGED, ("day", c.ORIGIN_FILE, c.ORIGIN_ROW))
        quarantine = Quarantine(scratch)
        read = 0
        for rows in judged_rows(judge, inventory.files):
            read += len(rows)
            undated = pc.is_null(rows["day"])
            quarantine.add(rows.filter(undated))
            dated.add(rows.filter(pc.invert(undated)))
        refused = quarantine.write(out / "quarantine.parquet")
        dated.view(database, "judged")
        days = _contents(database)
        _write_days(dated.sorted(), out)
        return DumpReport(read, refused, days, tuple(judge.sources))


def _contents(database: duckdb.DuckDBPyConnection) -> dict[date, dict[str, Any]]:
    """Rows and content digest of each day: the sum of the rows' hashes is free of their order."""
    columns = [c.REASON, c.DETAIL, *schemas.LISTENS.names]
    # Each value with its length before it, so that two rows never read the same.
    row = " || ".join(
        f"coalesce(strlen({text}) || ':' || {text}, '-')" for text in map(_text, columns)
    )
    days = database.execute(
        f"""SELECT day, count(*), sum(md5_number_lower(text)), sum(md5_number_upper(text))
            FROM (SELECT day, {row} AS text FROM judged)
            GROUP BY day ORDER BY day"""
    ).fetchall()
    files = _files(database)
    return {
        day: {
            "rows": rows,
            "content": hashlib.sha256(f"{rows} {lower} {upper}".encode()).hexdigest(),
            "files": files[day],
        }
        for day, rows, lower, upper in days
    }


def _files(database: duckdb.DuckDBPyConnection) -> dict[date, dict[str, int]]:
    """Rows of each day by the file, or the archive, that they came from."""
    files = defaultdict[date, dict[str, int]](dict)
    for day, name, rows in database.execute(
        f"""SELECT day, split_part({c.ORIGIN_FILE}, '!', 1) AS name, count(*) AS rows
            FROM judged GROUP BY day, name
            QUALIFY row_number() OVER (PARTITION BY day ORDER BY rows DESC, name) <= {LONGEST}
            ORDER BY day, rows DESC, name"""
    ).fetchall():
        files[day][name] = rows
    return files


def _text(column: str) -> str:
    if column == c.ARTIST_IDS:
        return f"array_to_string(list_transform({column}, lambda x: strlen(x) || ':' || x), '')"
    return f"CAST({column} AS VARCHAR)"


def _write_days(tables: Iterable[pa.Table], out: Path) -> None:
    batches = (
        batch
        for rows in tables
        for plain in spelled(rows, JUDGED, SPELLED_BYTES)
        for batch in plain.to_batches()
    )
    pieces = (piece for batch in batches for piece in _by_day(batch))
    for day, of_day in itertools.groupby(pieces, key=lambda piece: piece["day"][0].as_py()):
        folder = out / f"date={day}"
        folder.mkdir()
        with TableWriter(folder / "part-0.parquet", JUDGED) as writer:
            for piece in of_day:
                writer.write(piece)


def _by_day(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch, sorted by day, where the day changes."""
    days = batch["day"].cast(pa.int32()).to_numpy()
    cuts = [0, *(np.flatnonzero(np.diff(days)) + 1), len(batch)]
    for start, end in itertools.pairwise(cuts):
        yield batch.slice(start, end - start)
