"""Reading a cleaned day again, for the rows that can be used now and could not then."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from recsys import columns as c
from recsys import schemas
from recsys._coded import spelled
from recsys._tables import TableWriter, read_parquet, stream
from recsys._tables import database as database_in
from recsys.listens._clean import KEY, in_microseconds, judged_rows
from recsys.listens._inventory import LogFile
from recsys.listens._judge import Judge, Window
from recsys.listens._reasons import Reason
from recsys.listens._sorter import Sorter
from recsys.listens._tables import JUDGED, MEMORY, SPELLED_BYTES, count
from recsys.settings import ListensSettings

#: What is known of a returned row that was in no file when the day was read.
ADDED: Final = "added"
#: Reasons that are no faults: rows refused for them are not waiting to be read again.
SETTLED: Final = frozenset({Reason.PRIVATE, Reason.NOT_MUSIC})
_PLACE: Final = (c.ORIGIN_FILE, c.ORIGIN_ROW)
#: A listen that came back from quarantine, and where it stands in the log.
RETURNED: Final = pa.schema(
    [schemas.QUARANTINE.field(name) for name in _PLACE] + list(schemas.LISTENS)
)
#: So many rows are held against what is known at once; those of one key are in one part.
PART_ROWS: Final = 2_000_000


@dataclass(frozen=True)
class CleanedDay:
    """What a day was when it was cleaned."""

    #: Its ``listens.parquet`` and ``quarantine.parquet``.
    listens: Path
    quarantine: Path
    #: Rows of earlier days that it took in (:func:`recsys.listens.clean_day`).
    requeued: Sequence[Path] = ()


@dataclass(frozen=True)
class Again:
    """What a day turned out to be when it was read again; the mappings count rows by `Reason`."""

    #: Listens that were kept then, and that the files do not hold any more as they were.
    lost: int
    #: Rows that came back, by why they were refused; `ADDED` where they were not there then.
    returned: Mapping[str, int]
    #: Rows that can be read now, and are listens that some day holds already.
    known: int
    #: Rows that are refused now, by why.
    refused: Mapping[str, int]
    #: name, bytes, sha256 and rows of each file read; empty for a day of a dump.
    sources: Sequence[Mapping[str, Any]]


def read_again(
    settings: ListensSettings,
    day: date,
    source: Sequence[LogFile] | Path,
    then: CleanedDay,
    known: Sequence[Path],
    forgotten: Collection[str],
    out: Path,
) -> Again:
    """Read a day again, and write the listens that no day holds yet to ``out``.

    Nothing that was kept is given back a second time, however often the day is read, since the
    listens that came back before are among ``known``.

    Args:
        settings: ``[listens]``.
        day: the day of arrival, UTC.
        source: as for :func:`recsys.listens.clean_day`, as it is now.
        then: the day as it was cleaned.
        known: Parquet files that hold every listen that may be meant by a row of this day.
        forgotten: users of whom nothing comes back, and nothing needs to be there still.
        out: the Parquet file to write (`RETURNED`, sorted by file and row).

    Raises:
        BadLogError, ResourceError: as :func:`recsys.listens.clean_day`.
    """
    with (
        database_in(out.parent, MEMORY) as database,
        tempfile.TemporaryDirectory(dir=out.parent, prefix=".scratch-") as scratch,
    ):
        judged = Path(scratch) / "judged.parquet"
        judge = Judge(lambda: database, settings, Window.of_arrival(day), Path(scratch))
        with TableWriter(judged, JUDGED) as writer:
            for rows in judged_rows(judge, source):
                for plain in spelled(rows, JUDGED, SPELLED_BYTES):
                    writer.write(plain)
        users = pa.array(sorted(forgotten), pa.string())
        database.register("forgotten", pa.table({c.USER_ID: users}))
        fresh = Sorter(Path(scratch), pa.schema(map(JUDGED.field, RETURNED.names)), _PLACE)
        lost, usable, returned = 0, 0, Counter[str]()
        parts = 1 + writer.rows // PART_ROWS
        for part in range(parts):
            within = f"hash(user_id, track_id, listened_at) % {parts} = {part}"
            database.execute(
                f"CREATE OR REPLACE VIEW judged AS FROM {read_parquet([judged])} "
                f"WHERE reason IS NULL AND {within}"
            )
            lost += _lost(database, then, within)
            _find_fresh(database, known, within)
            for batch in stream(database, "FROM fresh"):
                fresh.add(pa.Table.from_batches([batch]))
            back, readable = _counted(database, then.quarantine)
            returned.update(back)
            usable += readable
        with TableWriter(out, RETURNED) as again:
            for rows in fresh.sorted():
                for plain in spelled(rows, RETURNED, SPELLED_BYTES):
                    again.write(plain)
        refused = dict(
            database.execute(
                f"SELECT reason, count(*) FROM {read_parquet([judged])} "
                "WHERE reason IS NOT NULL GROUP BY 1 ORDER BY 1"
            ).fetchall()
        )
    mended = returned.total() - returned[ADDED]
    return Again(lost, dict(sorted(returned.items())), usable - mended, refused, judge.sources)


def _lost(database: duckdb.DuckDBPyConnection, then: CleanedDay, within: str) -> int:
    columns = ", ".join(schemas.LISTENS.names)

    def those_of(files: Sequence[Path]) -> str:
        return f"SELECT {columns} FROM {in_microseconds(files)} WHERE {within}"

    brought = f"EXCEPT {those_of(then.requeued)}" if then.requeued else ""
    return count(
        database,
        f"""((FROM ({those_of([then.listens])}) ANTI JOIN forgotten USING (user_id))
            {brought} EXCEPT SELECT {columns} FROM judged)""",
    )


def _find_fresh(database: duckdb.DuckDBPyConnection, known: Sequence[Path], within: str) -> None:
    """Fill ``fresh`` with one row for each listen of a part that no day holds."""
    key = ", ".join(KEY)
    order = ", ".join(f"{name} NULLS LAST" for name in schemas.LISTENS.names)
    database.execute(
        f"""CREATE OR REPLACE TABLE fresh AS SELECT {", ".join(RETURNED.names)} FROM judged
            ANTI JOIN forgotten USING (user_id)
            ANTI JOIN (FROM {in_microseconds(known)} WHERE {within}) USING ({key})
            QUALIFY row_number() OVER (
                PARTITION BY {key} ORDER BY {order}, {", ".join(_PLACE)}) = 1"""
    )


def _counted(database: duckdb.DuckDBPyConnection, quarantine: Path) -> tuple[dict[str, int], int]:
    """Rows of a part that came back, by why they were refused, and all that can be read now."""
    place = ", ".join(_PLACE)
    then = read_parquet([quarantine])
    returned = database.execute(
        f"""SELECT coalesce(t.reason, '{ADDED}'), count(*)
            FROM fresh LEFT JOIN {then} t USING ({place}) GROUP BY 1"""
    ).fetchall()
    return dict(returned), count(database, f"(FROM judged SEMI JOIN {then} USING ({place}))")
