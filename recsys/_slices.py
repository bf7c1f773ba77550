"""A taste matrix as rows of listeners, in parts by ranges of users: what many machines work on.

``listeners.parquet`` is a folder of ``part-*.parquet``, sorted by user across them. A part is a
whole matrix of its own users, over all songs: reading one takes nothing of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from recsys import columns as c
from recsys._tables import part_files

if TYPE_CHECKING:
    from recsys.matrix import TasteMatrix

FOLDER: Final = "listeners.parquet"

#: A listener of the matrix. ``code`` counts all listeners from 0 in order of their ids; ``songs``,
#: ``strength`` and ``played_track`` are the entries of a row, beside each other, songs ascending.
LISTENERS: Final = pa.schema(
    [
        pa.field(c.USER_ID, pa.string()),
        pa.field("code", pa.int32()),
        pa.field(c.LAST_HEARD, pa.date32()),
        pa.field("eligible", pa.bool_()),
        pa.field("songs", pa.list_(pa.int32())),
        pa.field("strength", pa.list_(pa.float32())),
        pa.field("played_track", pa.list_(pa.int32())),
        pa.field("excluded", pa.list_(pa.int32())),
    ]
)


def part_name(number: int) -> str:
    """What a part is called: their order is that of their names.

    >>> part_name(7)
    'part-00007.parquet'
    """
    return f"part-{number:05}.parquet"


@dataclass(frozen=True)
class UserRange:
    """All user ids from ``begin`` on and before ``end``, by their bytes; None is open."""

    begin: str | None = None
    end: str | None = None

    @property
    def sql(self) -> str:
        """The condition on ``user_id``.

        >>> UserRange("ann", "o'neil").sql
        "user_id >= 'ann' AND user_id < 'o''neil'"
        >>> UserRange().sql
        'true'
        """
        ends = ((">=", self.begin), ("<", self.end))
        quoted = [(sign, end.replace("'", "''")) for sign, end in ends if end is not None]
        return " AND ".join(f"user_id {sign} '{end}'" for sign, end in quoted) or "true"

    def files_of(self, table: Path) -> list[Path]:
        """The files that hold users of the range, of a table that is sorted by user."""
        files = part_files(table)
        bounds = [user_bounds(file) for file in files]
        return [
            file
            for file, between in zip(files, bounds, strict=True)
            if between is not None
            and (self.begin is None or self.begin <= between[1])
            and (self.end is None or between[0] < self.end)
        ]


def user_ranges(table: Path) -> list[tuple[UserRange, list[int]]]:
    """All user ids there can be, in ranges by the parts of a table that is sorted by user.

    Returns:
        Ranges that follow each other, and the numbers of the parts in each: one that has users, and
        those after it that have none.
    """
    bounds = [user_bounds(file) for file in part_files(table)]
    firsts = [number for number, between in enumerate(bounds) if between is not None]
    starts = [0, *firsts[1:], len(bounds)]
    borders = [None, *(bounds[number][0] for number in firsts[1:]), None]  # type: ignore[index]
    return [
        (UserRange(borders[n], borders[n + 1]), list(range(starts[n], starts[n + 1])))
        for n in range(max(len(firsts), 1))
    ]


def user_bounds(file: Path) -> tuple[str, str] | None:
    """The first and the last user of a file that is sorted by user; None where it has nobody."""
    about = file.stat()
    return _bounds(file, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=100_000)
def _bounds(file: Path, _modified: int, _size: int) -> tuple[str, str] | None:
    with pq.ParquetFile(file) as about:
        if not about.metadata.num_rows:
            return None
        groups = (0, about.metadata.num_row_groups - 1)
        first, last = (about.read_row_group(n, columns=[c.USER_ID])[c.USER_ID] for n in groups)
    return first[0].as_py(), last[-1].as_py()


def read_slice(folder: Path, parts: Sequence[Path], user_id: str | None = None) -> TasteMatrix:
    """The matrix of the listeners of some parts.

    Args:
        folder: with ``songs.parquet`` and ``tracks.parquet``.
        parts: files of :data:`LISTENERS`, in order.
        user_id: the only one of them that is wanted.
    """
    songs, tracks = (pq.read_table(folder / f"{name}.parquet") for name in ("songs", "tracks"))
    if user_id is None:
        return slice_of(read_listeners(parts), songs, tracks)
    bounds = {part: user_bounds(part) for part in parts}
    theirs = [part for part, ends in bounds.items() if ends and ends[0] <= user_id <= ends[1]]
    rows = read_listeners(theirs)
    return slice_of(rows.filter(pc.equal(rows[c.USER_ID], user_id)), songs, tracks)


def read_listeners(parts: Sequence[Path]) -> pa.Table:
    """The rows of some parts."""
    rows = [pq.ParquetFile(part).read(LISTENERS.names).cast(LISTENERS) for part in parts]
    return pa.concat_tables([LISTENERS.empty_table(), *rows])


def slice_of(listeners: pa.Table, songs: pa.Table, tracks: pa.Table) -> TasteMatrix:
    """The matrix of some listeners.

    Args:
        listeners: of :data:`LISTENERS`, in order of their ids.
        songs: ``TasteMatrix.songs``, of all listeners together.
        tracks: ``TasteMatrix.tracks``.
    """
    from recsys.matrix import TasteMatrix

    shape = (len(listeners), len(songs))
    indptr, held = list_entries(listeners["songs"])
    out_indptr, out = list_entries(listeners["excluded"])
    return TasteMatrix(
        users=listeners.select([c.USER_ID, c.LAST_HEARD, "eligible"]),
        songs=songs,
        tracks=tracks,
        strength=csr_matrix((list_entries(listeners["strength"])[1], held, indptr), shape),
        played_track=list_entries(listeners["played_track"])[1],
        excluded=csr_matrix((np.ones(len(out), bool), out, out_indptr), shape),
    )


def listener_rows(matrix: TasteMatrix) -> pa.Table:
    """The rows of a matrix, in :data:`LISTENERS`."""
    strength, excluded = matrix.strength, matrix.excluded
    columns = [
        matrix.users[c.USER_ID],
        pa.array(np.arange(len(matrix.users)), pa.int32()),
        matrix.users[c.LAST_HEARD],
        matrix.users["eligible"],
        _lists(strength.indptr, strength.indices),
        _lists(strength.indptr, strength.data),
        _lists(strength.indptr, matrix.played_track),
        _lists(excluded.indptr, excluded.indices),
    ]
    return pa.table(columns, LISTENERS)


def write_slices(matrix: TasteMatrix, folder: Path, users: int) -> None:
    """Write a matrix in parts of so many users, with the tables that they share."""
    pq.write_table(matrix.eligible, folder / "eligible.parquet", compression="zstd")
    for name in ("songs", "tracks"):
        pq.write_table(getattr(matrix, name), folder / f"{name}.parquet", compression="zstd")
    rows = listener_rows(matrix)
    (folder / FOLDER).mkdir()
    for number, start in enumerate(range(0, max(len(rows), 1), users)):
        part = folder / FOLDER / part_name(number)
        pq.write_table(rows.slice(start, users), part, compression="zstd")


def list_entries(lists: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """``indptr`` and the values of a column of lists, of which none is null.

    Both are copies that may be written to, as the arrays of one machine are: for those that may
    not, numba compiles every kernel once more.
    """
    chunks = lists.chunks or [pa.array([], lists.type)]
    offsets = [chunk.offsets.to_numpy().astype(np.int64) for chunk in chunks]
    values = [
        chunk.values.slice(at[0], at[-1] - at[0]).to_numpy()
        for chunk, at in zip(chunks, offsets, strict=True)
    ]
    lengths = np.concatenate([np.diff(at) for at in offsets])
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return indptr, np.concatenate(values)


def _lists(indptr: npt.NDArray[np.integer[Any]], values: npt.NDArray[Any]) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(indptr, pa.int32()), pa.array(values))
