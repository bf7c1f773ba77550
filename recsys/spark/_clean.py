"""A day of the log, cleaned on Spark: :func:`recsys.listens.clean_day` to the last row.

Files are read and judged in the executors, by the very code that does it on one machine, one task
for each large file and for each few small ones. What comes after is Spark SQL. A day that is a
single task is cleaned by that task.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls them
from pyspark.sql.pandas.types import from_arrow_schema

from recsys import columns as c
from recsys import errors, listens, schemas
from recsys._tables import part_files, rows_of
from recsys._threads import share_of
from recsys.errors import RecsysError
from recsys.listens import CleanReport, LogFile
from recsys.listens._apart import FilesApart
from recsys.listens._clean import KEY
from recsys.listens._judge import check_names
from recsys.listens._tables import JUDGED
from recsys.settings import ListensSettings
from recsys.spark import _one_task
from recsys.spark._datasets import PART, in_parts, ranges, read, write, write_nothing

#: Small files are read together in one task, up to `TASK_BYTES` and so many.
_TASK_FILES: Final = 2048
#: In which a late arrival may be known already.
_DAYS_BEFORE: Final = 7
#: Up to so many keys are sent to every executor, rather than all rows to where their keys are.
_FEW: Final = 200_000
#: Judged rows; at the end of each task's, one that says in JSON what was read.
_TOLD: Final = JUDGED.append(pa.field("told", pa.string()))
_REST: Final = tuple(name for name in schemas.LISTENS.names if name not in KEY)


def clean_day(
    session: SparkSession,
    settings: ListensSettings,
    day: date,
    source: Sequence[LogFile] | Path,
    earlier: Sequence[Path],
    out: Path,
    requeued: Sequence[Path] = (),
) -> CleanReport:
    """As :func:`recsys.listens.clean_day`; the tables of a large day are folders of parts."""
    if _is_small(source, earlier, requeued):
        return _clean_small(session, settings, day, source, earlier, out, requeued)
    with TemporaryDirectory(dir=out, prefix=".scratch-") as scratch:
        if isinstance(source, Path):
            judged, told = _judged_before(session, source)
        else:
            judged, told = _judged(session, settings, day, source, Path(scratch))
        quarantined = dict(sorted(told.refused.items()))
        _write_quarantine(judged, sum(quarantined.values()), out / "quarantine.parquet")
        accepted = judged.where(F.col(c.REASON).isNull()).select(*schemas.LISTENS.names)
        returned = sum(rows_of(table) for table in requeued)
        if requeued:
            accepted = accepted.unionByName(_in_microseconds(session, requeued))
        rows = told.read + returned - sum(quarantined.values())
        fresh = _unknown(session, accepted, earlier)
        kept = _write_listens(fresh, accepted, rows, out / "listens.parquet")
    return CleanReport(told.read, returned, kept, rows - kept, quarantined, tuple(told.sources))


def _is_small(
    source: Sequence[LogFile] | Path, earlier: Sequence[Path], requeued: Sequence[Path]
) -> bool:
    """Whether one task can read the day, and look for its late arrivals in the days before."""
    if isinstance(source, Path):
        files, size = 1, _one_task.stored_bytes([source])
    else:
        files, size = len(source), sum(file.size for file in source)
    size += _one_task.stored_bytes(requeued)
    others = _one_task.stored_bytes(earlier)
    most = _one_task.TASK_BYTES
    return files <= _TASK_FILES and size <= most and others <= _DAYS_BEFORE * most


def _clean_small(
    session: SparkSession,
    settings: ListensSettings,
    day: date,
    source: Sequence[LogFile] | Path,
    earlier: Sequence[Path],
    out: Path,
    requeued: Sequence[Path],
) -> CleanReport:
    before, back = (
        [file for table in tables for file in part_files(table)] for tables in (earlier, requeued)
    )

    def clean(folder: Path) -> dict[str, Any]:
        return dataclasses.asdict(listens.clean_day(settings, day, source, before, folder, back))

    return _report(_one_task.in_one_task(session, out, clean))


def _report(said: Mapping[str, Any]) -> CleanReport:
    return CleanReport(**{**said, "sources": tuple(said["sources"])})


@dataclass
class _Told:
    """What is told of the judged rows of a day."""

    read: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    sources: list[dict[str, Any]] = field(default_factory=list)


def _judged_before(session: SparkSession, source: Path) -> tuple[DataFrame, _Told]:
    """The rows of a day of a dump, judged when it was divided."""
    parts = sorted(source.glob("part-*.parquet"))
    judged = read(session, parts, JUDGED)
    refused = judged.where(F.col(c.REASON).isNotNull()).groupBy(c.REASON).count().collect()
    counts = Counter({row[c.REASON]: row["count"] for row in refused})
    return judged, _Told(sum(map(rows_of, parts)), counts)


def _judged(
    session: SparkSession,
    settings: ListensSettings,
    day: date,
    files: Sequence[LogFile],
    scratch: Path,
) -> tuple[DataFrame, _Told]:
    """Judge the files of the day, and keep their rows in ``scratch``."""
    tasks = [
        json.dumps([dataclasses.asdict(file) for file in together])
        for together in _shared_out(files)
    ]
    given = session.createDataFrame(
        pa.table({"task": pa.array(range(len(tasks)), pa.int32()), "files": tasks})
    ).repartitionById(len(tasks), F.col("task"))
    told = from_arrow_schema(_TOLD)
    rows = given.mapInArrow(_Judging(settings, day), told)
    rows.write.parquet(f"file://{scratch / 'judged'}")
    judged = read(session, [scratch / "judged"], _TOLD)
    said = [
        json.loads(row.told)
        for row in judged.where(F.col("told").isNotNull()).select("told").collect()
    ]
    said.sort(key=lambda one: one["task"])
    for one in said:
        if "error" in one:
            raise getattr(errors, one["error"])(one["why"])
    check_names(settings, {name for one in said for name in one["found"]})
    day_told = _Told(rows_of(scratch / "judged") - len(said))
    for one in said:
        day_told.refused.update(one["refused"])
        day_told.sources += one["sources"]
    return judged.where(F.col("told").isNull()).select(*JUDGED.names), day_told


def _shared_out(files: Sequence[LogFile]) -> list[list[LogFile]]:
    """The files in order, those of each task together."""
    tasks: list[list[LogFile]] = [[]]
    size = 0
    for file in files:
        if tasks[-1] and (size + file.size > _one_task.TASK_BYTES or len(tasks[-1]) >= _TASK_FILES):
            tasks.append([])
            size = 0
        tasks[-1].append(file)
        size += file.size
    return tasks


@dataclass(frozen=True)
class _Judging:
    """Judges, in an executor, the files of a task."""

    settings: ListensSettings
    day: date

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for task in batch.to_pylist():
                files = [LogFile(**file) for file in json.loads(task["files"])]
                apart = FilesApart(self.settings, self.day, files)
                refused: Counter[str] = Counter()
                told: dict[str, Any] = {"task": task["task"], "refused": refused}
                try:
                    with share_of(1):
                        for rows in apart.judged():
                            refused.update(rows[c.REASON].drop_null().to_pylist())
                            nothing = pa.nulls(len(rows), pa.string())
                            yield pa.RecordBatch.from_arrays([*rows.columns, nothing], schema=_TOLD)
                    told |= {"sources": apart.sources, "found": sorted(apart.found)}
                except RecsysError as error:  # another attempt would say the same
                    told |= {"error": type(error).__name__, "why": str(error)}
                yield pa.RecordBatch.from_pylist([{"told": json.dumps(told)}], schema=_TOLD)


def _write_quarantine(judged: DataFrame, count: int, table: Path) -> None:
    """Write the refused rows, of which there are ``count``."""
    if not count:
        write_nothing(table, schemas.QUARANTINE)
        return
    refused = judged.where(F.col(c.REASON).isNotNull())
    place = (c.ORIGIN_FILE, c.ORIGIN_ROW)
    by = ranges(refused, *place, count=count)
    write(in_parts(refused, by).sortWithinPartitions(*place), table, schemas.QUARANTINE)


def _unknown(session: SparkSession, accepted: DataFrame, earlier: Sequence[Path]) -> DataFrame:
    """The rows that no earlier day holds."""
    newest = _newest(earlier)
    if newest is None:
        return accepted
    # Only what comes late can be there.
    late = accepted.where(F.col(c.LISTENED_AT) <= newest).select(*KEY)
    count = late.count()
    if not count:
        return accepted

    def at_hand(keys: DataFrame) -> DataFrame:
        return F.broadcast(keys) if count <= _FEW else keys

    before = _in_microseconds(session, earlier)
    known = before.join(at_hand(late), [*KEY], "left_semi").select(*KEY).distinct()
    return accepted.join(at_hand(known), [*KEY], "left_anti")


def _newest(tables: Sequence[Path]) -> int | None:
    """The newest time in tables of listens, in microseconds, by the statistics of their files."""
    newest: int | None = None
    place = schemas.LISTENS.names.index(c.LISTENED_AT)
    for file in (file for table in tables for file in part_files(table)):
        # Lists have a column of their elements, so places before the first list are the names'.
        groups = pq.read_metadata(file)
        for n in range(groups.num_row_groups):
            if (found := groups.row_group(n).column(place).statistics) is not None:
                at = int(found.max_raw)
                newest = at if newest is None else max(newest, at)
    return newest


def _in_microseconds(session: SparkSession, tables: Sequence[Path]) -> DataFrame:
    """Cleaned listens, their times as in `JUDGED`."""
    rows = read(session, tables, schemas.LISTENS)
    return rows.withColumn(c.LISTENED_AT, F.unix_micros(c.LISTENED_AT))


def _write_listens(fresh: DataFrame, accepted: DataFrame, count: int, table: Path) -> int:
    """Write the first of the rows of each key, in order; returns how many."""
    same = Window.partitionBy(PART, *KEY).orderBy(*(F.col(name).asc_nulls_last() for name in _REST))
    rows = (
        in_parts(fresh, ranges(accepted, c.USER_ID, count=count, apart=[c.LISTENED_AT, c.TRACK_ID]))
        .withColumn("place", F.row_number().over(same))
        .where(F.col("place") == 1)
        .sortWithinPartitions(PART, *KEY)
        .withColumn(c.LISTENED_AT, F.timestamp_micros(c.LISTENED_AT))
    )
    return write(rows, table, schemas.LISTENS)
