"""Tables whose ids are numbers, written as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import columns as c
from recsys._codes import Ids
from recsys._side_by_side import Stretch
from recsys._tables import ROW_GROUP

#: Rows of a row group: the more, the fewer times an id is in a dictionary.
_ROWS: Final = 4 * ROW_GROUP
#: Of a row group, so that ids of any length are written by number.
_DICTIONARY_BYTES: Final = 64 << 20


class CodedWriter:
    """Writes a Parquet file of rows whose ids are ranks; its bytes depend on the rows alone.

    Parquet gets the ids of a row group as the dictionary that it keeps of them anyway.

    Args:
        path: the file to write.
        schema: of it; user_id and track_id, and then the other columns.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        ids = pa.dictionary(pa.int32(), pa.string())
        coded = [field.with_type(ids) for field in list(schema)[:2]]
        self._schema = pa.schema([*coded, *list(schema)[2:]])
        # Without Arrow's own schema in it the ids are read as text, as in any other file.
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            compression_level=1,
            store_schema=False,
            use_dictionary=[name for name in schema.names if _repeats(schema.field(name).type)],
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            write_statistics=[c.USER_ID],  # who is looked for; of the others they cost more
        )
        self._waiting: list[pa.Table] = []
        self._ids: tuple[Ids, ...] = ()
        self.rows = 0

    def __enter__(self) -> CodedWriter:
        return self

    def __exit__(self, *failed: object) -> None:
        if failed[0] is None:
            self._flush(1)
        self._writer.close()

    def write(
        self,
        stretch: Stretch,
        user: npt.NDArray[np.int32],
        track: npt.NDArray[np.int32],
        columns: Sequence[pa.Array],
    ) -> None:
        """Append rows; ``user`` and ``track`` are ranks in the stretch."""
        self._ids = stretch.users, stretch.tracks
        numbers = [ids.order[of] for ids, of in zip(self._ids, (user, track), strict=True)]
        self._waiting.append(pa.table([*numbers, *columns], self._schema.names))
        self.rows += len(user)
        self._flush(_ROWS)

    def _flush(self, least: int) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        while len(table) >= least:
            group = table.slice(0, _ROWS).combine_chunks()
            coded = [
                _dictionary(ids, group.column(n).to_numpy()) for n, ids in enumerate(self._ids)
            ]
            rows = pa.table([*coded, *group.columns[2:]], self._schema)
            self._writer.write_table(rows, row_group_size=_ROWS)
            table = table.slice(_ROWS)
        self._waiting = [table]


def _repeats(kind: pa.DataType) -> bool:
    """Whether a column is written by a dictionary: decayed counts hardly repeat."""
    return not pa.types.is_floating(kind) and not pa.types.is_boolean(kind)


def _dictionary(ids: Ids, numbers: npt.NDArray[np.int64]) -> pa.DictionaryArray:
    """Texts by number, with those that occur as their dictionary, in order."""
    ranks = ids.ranks[numbers]
    there = np.flatnonzero(np.bincount(ranks, minlength=len(ids.order)))
    place = np.empty(len(ids.order), np.int32)
    place[there] = np.arange(len(there), dtype=np.int32)
    return pa.DictionaryArray.from_arrays(place[ranks], ids.texts.take(pa.array(ids.order[there])))
