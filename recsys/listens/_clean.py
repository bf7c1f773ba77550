"""Cleaning one day of a log."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import columns as c
from recsys import schemas
from recsys._pipelined import ahead
from recsys._tables import TableWriter, arrow, read_parquet, write_query
from recsys._tables import database as database_in
from recsys.listens._inventory import LogFile
from recsys.listens._judge import JUDGED, Judge, Window
from recsys.listens._sorter import Sorter, by_key
from recsys.listens._tables import MEMORY, Quarantine
from recsys.settings import ListensSettings

#: Rows that agree in these are one listen.
KEY: Final = (c.USER_ID, c.TRACK_ID, c.LISTENED_AT, c.EVENT)

#: A judged listen; ``known`` is true for a key that an earlier day holds, of which nothing else
#: is filled.
_LISTEN: Final = pa.schema(
    [*(JUDGED.field(name) for name in schemas.LISTENS.names), pa.field("known", pa.bool_())]
)


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
        out: the folder to write into; what does not fit into memory is sorted there.
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
        scratch = Path(scratch_name)
        judge = Judge(database, settings, Window.of_arrival(day), scratch)
        listens = Sorter(scratch, _LISTEN, KEY, lambda rows: _one_of_each(database, rows))
        quarantine = Quarantine(scratch)
        read = returned = 0
        for rows in judged_rows(database, judge, source):
            read += len(rows)
            refused = pc.is_valid(rows[c.REASON])
            quarantine.add(rows.filter(refused))
            _add(listens, rows.filter(pc.invert(refused)))
        for path in requeued:
            for rows in _batches(path):
                returned += len(rows)
                _add(listens, rows)
        quarantined = quarantine.write(out / "quarantine.parquet")
        if earlier:
            _add_known(database, listens, earlier, scratch / "known.parquet")
        with TableWriter(out / "listens.parquet", schemas.LISTENS) as writer:
            for rows in ahead(listens.sorted()):
                fresh = rows.filter(pc.invert(rows["known"])) if earlier else rows
                writer.write(fresh.select(schemas.LISTENS.names))
    duplicates = read + returned - writer.rows - sum(quarantined.values())
    return CleanReport(read, returned, writer.rows, duplicates, quarantined, tuple(judge.sources))


def judged_rows(
    database: duckdb.DuckDBPyConnection, judge: Judge, source: Sequence[LogFile] | Path
) -> Iterator[pa.Table]:
    """What arrived on a day as tables of `JUDGED`; ``source`` as for `clean_day`.

    Raises:
        BadLogError: as `clean_day`.
    """
    if isinstance(source, Path):
        for part in sorted(source.glob("part-*.parquet")):
            yield from _batches(part)
        return
    for block in judge.judged(source):
        yield arrow(database, block)


def _batches(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield pa.Table.from_batches([batch])


def _add(listens: Sorter, rows: pa.Table, *, known: bool = False) -> None:
    marks = pa.repeat(known, len(rows))
    listens.add(rows.append_column("known", marks))


def _add_known(
    database: duckdb.DuckDBPyConnection, listens: Sorter, earlier: Sequence[Path], path: Path
) -> None:
    """Add the keys of the day that an earlier day holds already."""
    key = ", ".join(KEY)
    listens.view(database, "listen")
    at = c.LISTENED_AT
    # Only what comes late can be there. The files' times stay as they are, for DuckDB to pass over
    # what cannot be meant.
    found = write_query(
        database,
        f"""SELECT {key} FROM {read_parquet(earlier)}
            SEMI JOIN (
                SELECT {key} FROM (SELECT * REPLACE (make_timestamptz({at}) AS {at}) FROM listen
                WHERE {at} <= {_newest(earlier)})
            ) USING ({key})""",
        path,
        pa.schema([schemas.LISTENS.field(name) for name in KEY]),
    )
    if found:
        for rows in _batches(path):
            nothing = {n: pa.nulls(len(rows), _LISTEN.field(n).type) for n in _LISTEN.names[4:-1]}
            columns = dict(zip(KEY, rows.select(KEY).columns, strict=True)) | nothing
            _add(listens, pa.table(columns), known=True)


def _newest(earlier: Sequence[Path]) -> int:
    """The newest time of cleaned listens in microseconds, out of the files' statistics."""
    at = schemas.LISTENS.get_field_index(c.LISTENED_AT)
    metas = [pq.read_metadata(path) for path in earlier]
    groups = [meta.row_group(n) for meta in metas for n in range(meta.num_row_groups)]
    return max((group.column(at).statistics.max_raw for group in groups), default=0)


def in_microseconds(files: Sequence[Path]) -> str:
    """SQL of the rows of cleaned listens, their times as in `JUDGED`."""
    return f"(SELECT * REPLACE (epoch_us(listened_at) AS listened_at) FROM {read_parquet(files)})"


def _one_of_each(database: duckdb.DuckDBPyConnection, rows: pa.Table) -> npt.NDArray[np.int64]:
    """The rows in the order of `KEY`, one of each: what is known, or whose others sort first."""
    order, first = by_key(rows, KEY)
    if not first.all():
        order = _chosen(database, rows, order, first)
    return order


def _chosen(
    database: duckdb.DuckDBPyConnection,
    rows: pa.Table,
    order: npt.NDArray[np.int64],
    first: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """One row of each key; ``order`` and ``first`` as of `by_key`."""
    one = np.cumsum(first) - 1
    tied = ~first
    tied[:-1] |= ~first[1:]
    others = rows.take(pa.array(order[tied])).select(_LISTEN.names[4:])
    database.register(
        "tied",
        others.append_column("one", pa.array(one[tied])).append_column(
            "row", pa.array(order[tied])
        ),
    )
    by = ", ".join(f"{name} NULLS LAST" for name in _LISTEN.names[4:-1])
    best = arrow(
        database,
        f"""SELECT one, row FROM tied
            QUALIFY row_number() OVER (PARTITION BY one ORDER BY known DESC, {by}) = 1""",
    )
    database.unregister("tied")
    chosen = order[first]
    chosen[best["one"].to_numpy()] = best["row"].to_numpy()
    return chosen
