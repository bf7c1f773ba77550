"""Cleaning one day of a log."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys import schemas
from recsys._tables import TableWriter, file_list, stream
from recsys._tables import database as database_in
from recsys.listens import _tables
from recsys.listens._inventory import LogFile
from recsys.listens._judge import JUDGED, Judge, Window
from recsys.listens._sql import literal
from recsys.listens._tables import MEMORY, count, write_quarantine
from recsys.settings import ListensSettings

#: Rows that agree in these are one listen.
KEY: Final = (c.USER_ID, c.TRACK_ID, c.LISTENED_AT, c.EVENT)

_SAMPLED_PER_PART: Final = 1000


@dataclass(frozen=True)
class CleanReport:
    """Where a day's rows went: ``read + requeued == kept + duplicates + sum(quarantined)``."""

    #: Rows of the day's own files.
    read: int
    #: Rows of earlier days that were refused then and came back with this one.
    requeued: int
    kept: int
    duplicates: int
    #: Rows by `Reason`.
    quarantined: Mapping[str, int]
    #: name, bytes, sha256 and rows of each file read; empty for a day of a dump, whose files
    #: the `DumpReport` names.
    sources: tuple[Mapping[str, Any], ...]


def clean_day(
    settings: ListensSettings,
    day: date,
    source: Sequence[LogFile] | Path,
    earlier: Sequence[Path],
    out: Path,
    requeued: Sequence[Path] = (),
) -> CleanReport:
    """Clean what arrived on ``day``.

    Writes ``listens.parquet`` (`schemas.LISTENS`, sorted by user, track, time and event; the same
    bytes whatever the order of rows and files) and ``quarantine.parquet`` (`schemas.QUARANTINE`,
    sorted by file and row) into ``out``. Of listens with the same user, track, time and event one
    is kept, chosen by its other columns; none if one of ``earlier`` holds it.

    Args:
        settings: ``[listens]``.
        day: the day of arrival, UTC.
        source: the files of the day's folder, or the folder that `split_dump` wrote for the day.
        earlier: ``listens.parquet`` of the days before, as far back as duplicates are looked for.
        out: the folder to write into; memory that does not suffice is spilled there.
        requeued: rows that came back from quarantine (`read_again`), to be taken in as arrived now.

    Raises:
        BadLogError: a file cannot be read as a whole, has changed since it was listed, or lacks a
            column that it needs; or no file has a column that the settings map.
        ResourceError: memory or disk ran out.
    """
    with (
        database_in(out, MEMORY) as database,
        tempfile.TemporaryDirectory(dir=out, prefix=".scratch-") as scratch_name,
    ):
        sources = judge_day(database, settings, day, source, Path(scratch_name))
        read = count(database, "judged")
        if requeued:
            database.execute(f"INSERT INTO judged BY NAME FROM {in_microseconds(requeued)}")
        quarantined = write_quarantine(database, "true", out)
        _find_known(database, earlier)
        known = count(database, "judged SEMI JOIN known USING ({})".format(", ".join(KEY)))
        kept, twice = _write_listens(database, out / "listens.parquet")
        returned = count(database, "judged") - read
    return CleanReport(read, returned, kept, known + twice, quarantined, tuple(sources))


def judge_day(
    database: duckdb.DuckDBPyConnection,
    settings: ListensSettings,
    day: date,
    source: Sequence[LogFile] | Path,
    scratch: Path,
) -> list[dict[str, Any]]:
    """Fill the table ``judged`` (`JUDGED`) with what arrived on ``day``; what files were read.

    Raises:
        BadLogError: as `clean_day`.
    """
    if isinstance(source, Path):
        parts = literal(str(source / "part-*.parquet"))
        database.execute(f"CREATE TABLE judged AS SELECT * FROM read_parquet({parts})")
        return []
    judge = Judge(database, settings, Window.of_arrival(day), scratch)
    database.register("none", JUDGED.empty_table())
    database.execute("CREATE TABLE judged AS FROM none")
    for block in judge.judged(source):
        database.execute(f"INSERT INTO judged BY NAME {block}")
    return judge.sources


def _find_known(database: duckdb.DuckDBPyConnection, earlier: Sequence[Path]) -> None:
    """Fill the table ``known`` with the keys of the day that an earlier day holds already."""
    key = ", ".join(KEY)
    if not earlier:
        database.execute(f"CREATE TABLE known AS SELECT {key} FROM judged LIMIT 0")
        return
    newest = f"SELECT epoch_us(max(listened_at)) FROM read_parquet({file_list(earlier)})"
    # Only what comes late can be there: the newest time is in the files' statistics.
    database.execute(
        f"""CREATE TABLE known AS
            SELECT DISTINCT {key} FROM {in_microseconds(earlier)}
            SEMI JOIN (
                SELECT {key} FROM judged WHERE listened_at <= ({newest})
            ) USING ({key})"""
    )


def in_microseconds(files: Sequence[Path]) -> str:
    """SQL of the rows of cleaned listens, their times as in `JUDGED`."""
    return (
        "(SELECT * REPLACE (epoch_us(listened_at) AS listened_at) "
        f"FROM read_parquet({file_list(files)}))"
    )


def _write_listens(database: duckdb.DuckDBPyConnection, path: Path) -> tuple[int, int]:
    """Write what is kept; the numbers of rows kept and of duplicates dropped."""
    key = ", ".join(KEY)
    columns = ", ".join(schemas.LISTENS.names)
    order = ", ".join(f"{name} NULLS LAST" for name in schemas.LISTENS.names)
    with TableWriter(path, schemas.LISTENS) as writer:
        dropped = 0
        last: list[pa.RecordBatch] = []
        for users in _ranges_of_users(database):
            rows = stream(
                database,
                f"""SELECT {columns} FROM judged ANTI JOIN known USING ({key})
                    WHERE reason IS NULL AND {users} ORDER BY {order}""",
            )
            for batch in rows:
                fresh = _differs_from_row_before(last, batch)
                writer.write(batch.filter(fresh))
                dropped += len(batch) - pc.sum(fresh).as_py()
                last = [batch.slice(len(batch) - 1)]
        return writer.rows, dropped


def _ranges_of_users(database: duckdb.DuckDBPyConnection) -> list[str]:
    """SQL conditions that divide the rows by user, in order, into parts that can be sorted.

    Where the parts end is drawn by chance, and changes nothing in what they come to together.
    """
    parts = -(-count(database, "judged WHERE reason IS NULL") // _tables.SORTED_AT_ONCE)
    if parts < 2:
        return ["true"]
    database.execute(
        f"""CREATE TABLE border AS
            SELECT row_number() OVER (ORDER BY {c.USER_ID}) AS n, {c.USER_ID} FROM (
                SELECT DISTINCT {c.USER_ID} FROM (
                    SELECT {c.USER_ID}, row_number() OVER (ORDER BY {c.USER_ID}) AS drawn
                    FROM (SELECT {c.USER_ID} FROM judged WHERE reason IS NULL)
                    USING SAMPLE {_SAMPLED_PER_PART * parts} ROWS)
                WHERE drawn % {_SAMPLED_PER_PART} = 0)"""
    )
    borders = count(database, "border")
    border = f"(SELECT {c.USER_ID} FROM border WHERE n = {{}})"
    return [
        " AND ".join(
            [f"{c.USER_ID} >= {border.format(n)}"] * (n > 0)
            + [f"{c.USER_ID} < {border.format(n + 1)}"] * (n < borders)
        )
        for n in range(borders + 1)
    ]


def _differs_from_row_before(last: list[pa.RecordBatch], batch: pa.RecordBatch) -> pa.Array:
    """Whether each row's key differs from that of the row before it; ``last`` comes first."""
    keys = pa.Table.from_batches([*last, batch]).select(KEY).combine_chunks()
    here, before = keys.slice(1), keys.slice(0, len(keys) - 1)
    changes = [pc.not_equal(here[name], before[name]) for name in KEY]
    differs = functools.reduce(pc.or_, changes).combine_chunks()
    return differs if last else pa.concat_arrays([pa.array([True]), differs])
