"""Cleaning one day of a log."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import columns as c
from recsys import schemas
from recsys._coded import CodedWriter, coded, compact, encoded, ranked
from recsys._pipelined import ahead
from recsys._tables import database_when_asked, read_parquet
from recsys._threads import beside
from recsys.listens._by_key import by_key
from recsys.listens._inventory import LogFile
from recsys.listens._judge import Judge, Window
from recsys.listens._late import known, newest
from recsys.listens._sorter import Sorter
from recsys.listens._tables import JUDGED, MEMORY, Quarantine
from recsys.settings import ListensSettings

#: Rows that agree in these are one listen.
KEY: Final = (c.USER_ID, c.TRACK_ID, c.LISTENED_AT, c.EVENT)
#: So many rows that are not alone with their key are looked at together.
_TIED: Final = 1 << 17

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
        database_when_asked(out, MEMORY) as database,
        tempfile.TemporaryDirectory(dir=out, prefix=".scratch-") as scratch_name,
    ):
        scratch = Path(scratch_name)
        judge = Judge(database, settings, Window.of_arrival(day), scratch)
        listens = _Listens(scratch, earlier)
        quarantine = Quarantine(scratch)
        read = returned = 0
        for rows in judged_rows(judge, source):
            read += len(rows)
            refused = rows[c.REASON].is_valid()
            quarantine.add(rows.filter(refused))
            listens.add(rows if not pc.any(refused).as_py() else rows.filter(pc.invert(refused)))
        for path in requeued:
            for rows in _batches(path):
                returned += len(rows)
                listens.add(rows)
        quarantined = quarantine.write(out / "quarantine.parquet")
        sought = (c.USER_ID, c.LISTENED_AT)
        with CodedWriter(out / "listens.parquet", schemas.LISTENS, sought) as writer:
            for rows in ahead(listens.sorted()):
                writer.write(rows)
    duplicates = read + returned - writer.rows - sum(quarantined.values())
    return CleanReport(read, returned, writer.rows, duplicates, quarantined, tuple(judge.sources))


def judged_rows(judge: Judge, source: Sequence[LogFile] | Path) -> Iterator[pa.Table]:
    """What arrived on a day as tables of `JUDGED`, text by codes; ``source`` as for `clean_day`.

    Raises:
        BadLogError: as `clean_day`.
    """
    if isinstance(source, Path):
        for part in sorted(source.glob("part-*.parquet")):
            yield from _batches(part)
        return
    yield from judge.judged(source)


def _batches(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            rows = pa.Table.from_batches([batch])
            yield encoded(rows, coded(rows.schema))


class _Listens:
    """Gathers judged listens, and hands out one of each that no earlier day holds."""

    def __init__(self, scratch: Path, earlier: Sequence[Path]) -> None:
        self._earlier = earlier
        self._newest = newest(earlier)
        self._sorter = Sorter(scratch, _LISTEN, KEY, self._one_of_each)
        late = pa.schema([_LISTEN.field(name) for name in KEY])
        self._late = Sorter(scratch, late, KEY)
        self._found: Future[npt.NDArray[np.bool_]] | None = None

    def add(self, rows: pa.Table, *, known: bool = False) -> None:
        """Take in some; only what comes late can be known."""
        rows = encoded(rows.append_column("known", pa.repeat(known, len(rows))), coded(_LISTEN))
        self._sorter.add(rows)
        if self._newest is not None and not known:
            self._late.add(compact(rows.select(KEY).filter(self._are_late(rows))))

    def sorted(self) -> Iterator[pa.Table]:
        """Them by `KEY`."""
        with contextlib.ExitStack() as meanwhile:
            if self._sorter.on_disk:
                self._add_known()
            elif self._newest is not None:
                late = self._late.gathered()
                looking = beside(lambda: known(late, self._earlier))
                self._found = meanwhile.enter_context(looking)
            for rows in self._sorter.sorted():
                yield rows.select(schemas.LISTENS.names)

    def _add_known(self) -> None:
        for late in self._late.sorted():
            found = late.filter(pa.array(known(late, self._earlier)))
            nothing = {n: pa.nulls(len(found), _LISTEN.field(n).type) for n in _LISTEN.names[4:-1]}
            columns = dict(zip(KEY, found.columns, strict=True)) | nothing
            self.add(pa.table(columns), known=True)

    def _are_late(self, rows: pa.Table) -> pa.ChunkedArray:
        return pc.less_equal(rows[c.LISTENED_AT], self._newest)

    def _one_of_each(self, rows: pa.Table, out: bool) -> npt.NDArray[np.int64]:
        """The rows in the order of `KEY`, one of each: what is known, or whose others sort first.

        Where they are handed ``out``, what is known is left out.
        """
        order, first = by_key(rows, KEY)
        if not first.all():
            order = _chosen(rows, order, first)
        if not out:
            return order
        known = rows["known"].to_numpy()
        if self._found is not None:
            known = self._are_late(rows).to_numpy()
            known[known] = self._found.result()
        return np.asarray(order[~known[order]])


def in_microseconds(files: Sequence[Path]) -> str:
    """SQL of the rows of cleaned listens, their times as in `JUDGED`."""
    return f"(SELECT * REPLACE (epoch_us(listened_at) AS listened_at) FROM {read_parquet(files)})"


def _chosen(
    rows: pa.Table, order: npt.NDArray[np.int64], first: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """One row of each key; ``order`` and ``first`` as of `by_key`."""
    tied = ~first
    tied[:-1] |= ~first[1:]
    one = (np.cumsum(first) - 1)[tied]
    several = order[tied]
    chosen = order[first]
    start = 0
    while start < len(one):
        last = one[min(start + _TIED, len(one)) - 1]
        end = int(np.searchsorted(one, last, "right"))
        some, of = several[start:end], one[start:end]
        others = compact(rows.select(_LISTEN.names[4:]).take(pa.array(some)))
        by = [ranked(others[name]) for name in _LISTEN.names[4:-1]]
        best = np.lexsort([*by[::-1], ~others["known"].to_numpy(), of])
        leading = np.diff(of, prepend=-1) != 0  # the first of each, before as after sorting
        chosen[of[leading]] = some[best[leading]]
        start = end
    return chosen
