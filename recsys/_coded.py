"""Text by codes: each different value of a column is held, compared and written once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from recsys._tables import ROW_GROUP, TableWriter, text_bytes
from recsys._threads import on_each

#: Row groups wait to be written while they take no more than this.
_WAITING_BYTES: Final = 64 << 20
TEXT: Final = pa.dictionary(pa.int32(), pa.string())

Codes = npt.NDArray[np.int32]


def coded(schema: pa.Schema) -> pa.Schema:
    """A schema whose text is held by codes, that of lists too.

    >>> coded(pa.schema([("track_id", pa.string()), ("at", pa.int64())]))
    track_id: dictionary<values=string, indices=int32, ordered=0>
    at: int64
    """
    return pa.schema([field.with_type(_coded_type(field.type)) for field in schema])


def _coded_type(kind: pa.DataType) -> pa.DataType:
    if types.is_string(kind):
        return TEXT
    if types.is_list(kind):
        return pa.list_(pa.field("element", _coded_type(kind.value_type)))
    return kind


def plain(schema: pa.Schema) -> pa.Schema:
    """A schema whose text is in full: what :func:`coded` was made from."""
    return pa.schema([field.with_type(_plain_type(field.type)) for field in schema])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if types.is_dictionary(kind):
        return kind.value_type
    if types.is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    return kind


def encoded(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a coded schema, by name."""
    columns = []
    for field in schema:
        chunks = [_encoded(chunk, field.type) for chunk in rows[field.name].chunks]
        columns.append(pa.chunked_array(chunks, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _encoded(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type == kind:
        return column
    is_text = kind in (TEXT, _coded_type(pa.list_(pa.string())))
    return by_codes(column) if is_text else column.cast(kind)


def by_codes(column: pa.Array) -> pa.Array:
    """Text, integers or lists of these as text by codes; what is no UTF-8 is left as it is."""
    kind = column.type
    if types.is_large_list(kind):
        column = column.cast(pa.list_(kind.value_type))
    if types.is_list(column.type):
        kind = pa.list_(pa.field("element", TEXT))
        return _with_values(column, by_codes(column.values), kind)
    if not types.is_dictionary(kind):
        column = column if types.is_integer(kind) else column.cast(pa.string(), safe=False)
        column = column.dictionary_encode()
    return pa.DictionaryArray.from_arrays(
        column.indices.cast(pa.int32()), column.dictionary.cast(pa.string(), safe=False)
    )


def joined(rows: pa.Table) -> pa.Table:
    """The same rows, each column in one piece and each different text once."""
    if not len(rows):
        return pa.Table.from_arrays([pa.nulls(0, f.type) for f in rows.schema], schema=rows.schema)
    if all(column.num_chunks == 1 for column in rows.columns):
        return rows
    columns = on_each(_in_one_piece, rows.columns)
    return pa.Table.from_arrays(columns, schema=rows.schema)


def _in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    """What a file is read into by and by has dictionaries that only grow: the last will do."""
    dictionaries = [_dictionary(chunk) for chunk in column.chunks]
    last = max(dictionaries, key=len)
    if all(last[: len(one)].equals(one) for one in dictionaries):
        chunks = [_with_dictionary(chunk, last) for chunk in column.chunks]
    else:
        chunks = column.unify_dictionaries().chunks
    return pa.concat_arrays(chunks)


def _dictionary(column: pa.Array) -> pa.StringArray:
    if types.is_list(column.type):
        return _dictionary(column.values)
    return column.dictionary if types.is_dictionary(column.type) else pa.array([], pa.string())


def _with_dictionary(column: pa.Array, values: pa.StringArray) -> pa.Array:
    if types.is_list(column.type):
        return _with_values(column, _with_dictionary(column.values, values), column.type)
    if not types.is_dictionary(column.type):
        return column
    return pa.DictionaryArray.from_arrays(column.indices, values, safe=False)


def _with_values(lists: pa.ListArray, values: pa.Array, kind: pa.DataType) -> pa.ListArray:
    """The same lists, of other values in the places of theirs."""
    buffers = lists.buffers()[:2]
    return pa.Array.from_buffers(
        kind, len(lists), buffers, lists.null_count, lists.offset, [values]
    )


def codes_of(column: pa.ChunkedArray) -> Codes:
    """The codes of a column in one piece, -1 for null."""
    indices = column.chunk(0).indices
    return np.asarray(indices.fill_null(-1) if indices.null_count else indices, np.int32)


def values_of(column: pa.ChunkedArray) -> pa.StringArray:
    """The different texts of a column in one piece."""
    return column.chunk(0).dictionary


def ranks(values: pa.StringArray) -> npt.NDArray[np.int64]:
    """The place of each text among all of them, by its bytes."""
    rank = np.empty(len(values), np.int64)
    rank[pc.sort_indices(values).to_numpy()] = np.arange(len(rank))
    return rank


def ranked(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Numbers that sort as text, lists of text, integers or flags do, null behind all."""
    if not len(column):
        return np.empty(0, np.int64)
    piece = joined(pa.table([column], ["values"]))["values"].chunk(0)
    if types.is_list(piece.type):
        return _ranked_lists(piece)
    if not types.is_dictionary(piece.type):
        piece = piece.dictionary_encode()
    rank = np.append(ranks(piece.dictionary), len(piece.dictionary))
    return np.asarray(rank[piece.indices.fill_null(-1).to_numpy()])


def _ranked_lists(lists: pa.ListArray) -> npt.NDArray[np.int64]:
    lengths = lists.value_lengths().fill_null(0).to_numpy()
    row = np.repeat(np.arange(len(lists)), lengths)
    step = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    values = ranked(pa.chunked_array([lists.flatten()]))
    # Element by element: rows are ranked by what they have before it, and by it.
    rank = np.where(lists.is_valid().to_numpy(zero_copy_only=False), 0, 1)
    for at in range(int(lengths.max(initial=0))):
        element = np.zeros(len(lists), np.int64)
        element[row[step == at]] = values[step == at] + 1
        rank = np.unique(rank * (len(lists) + len(row) + 2) + element, return_inverse=True)[1]
    return np.asarray(rank, np.int64)


def compact(rows: pa.Table) -> pa.Table:
    """The same rows in one piece, with no text that is in none of them."""
    columns = [in_order_met(column.chunk(0)) for column in joined(rows).columns]
    return pa.Table.from_arrays(columns, schema=rows.schema)


def spelled(rows: pa.Table, schema: pa.Schema, most_bytes: int) -> Iterator[pa.Table]:
    """The same rows with their text in full, so many at a time as have at most so much of it.

    Args:
        rows: of the coded schema.
        schema: the one they come in.
        most_bytes: of text; a row that has more comes by itself.
    """
    rows = joined(rows)
    size = np.cumsum(text_bytes(rows, lists=True))
    start = 0
    while start < len(rows):
        before = size[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(size, before + most_bytes, "right")))
        yield rows.slice(start, end - start).cast(schema)
        start = end


def spelled_bytes(rows: pa.Table) -> int:
    """What the rows take with their text in full."""
    return int(
        rows.nbytes + sum(_spelled_bytes(a) for column in rows.columns for a in column.chunks)
    )


def _spelled_bytes(column: pa.Array) -> int:
    if types.is_list(column.type):
        return _spelled_bytes(column.flatten())
    if not types.is_dictionary(column.type):
        return (
            int(pc.sum(pc.binary_length(column)).as_py() or 0)
            if types.is_string(column.type)
            else 0
        )
    lengths = pc.binary_length(column.dictionary).fill_null(0).to_numpy()
    return int(lengths[column.indices.drop_null().to_numpy()].sum(dtype=np.int64))


class CodedWriter(TableWriter):
    """As :class:`TableWriter`, for rows whose text may come by codes.

    Row groups are written in another thread, while the next ones are gathered.

    Args:
        path: the file to write.
        schema: columns and types of the file, of which readers see nothing of codes.
        sought: columns by whose least and greatest values row groups are passed over.
    """

    def __init__(self, path: Path, schema: pa.Schema, sought: Sequence[str]) -> None:
        self._coded = coded(schema)
        text = [
            f"{field.name}.list.element" if types.is_list(field.type) else field.name
            for field, plain in zip(self._coded, schema, strict=True)
            if field.type != plain.type
        ]
        numbers = [
            field.name
            for field in schema
            if types.is_integer(field.type) or types.is_temporal(field.type)
        ]
        self._worker = ThreadPoolExecutor(1)
        self._writing: deque[tuple[int, Future[None]]] = deque()
        super().__init__(
            path,
            self._coded,
            pq.ParquetWriter(
                path,
                self._coded,
                compression="lz4",
                use_dictionary=text,
                column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
                write_statistics=list(sought),
                store_schema=False,
            ),
        )

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Append rows; their columns are cast to the schema."""
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
        super().write(encoded(table, self._coded))

    def _gathered(self) -> pa.Table:
        return joined(super()._gathered())

    def _rest(self, rows: pa.Table) -> pa.Table:
        return compact(rows)

    def _put(self, rows: pa.Table) -> None:
        for start in range(0, len(rows), ROW_GROUP):
            group = compact(rows.slice(start, ROW_GROUP))
            self._wait(_WAITING_BYTES)
            writing = self._worker.submit(self._writer.write_table, group)
            self._writing.append((group.nbytes, writing))

    def _close(self) -> None:
        self._worker.shutdown()
        try:
            self._wait(-1)
        finally:
            super()._close()

    def _wait(self, most: int) -> None:
        """Until what is still to be written takes at most so many bytes; all of it below 0."""
        while self._writing and sum(size for size, _ in self._writing) > most:
            self._writing.popleft()[1].result()


def in_order_met(column: pa.Array) -> pa.Array:
    """The same values, their dictionary in the order in which they are met, and no others."""
    if types.is_list(column.type):
        if not types.is_dictionary(column.type.value_type):
            return column
        lengths = column.value_lengths().fill_null(0).to_numpy()
        offsets = np.zeros(len(column) + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
        nulls = column.is_null() if column.null_count else None
        values = in_order_met(column.flatten())
        return pa.ListArray.from_arrays(pa.array(offsets), values, type=column.type, mask=nulls)
    if not types.is_dictionary(column.type):
        return column
    codes = codes_of(pa.chunked_array([column]))
    met, seen = _met(codes, np.full(len(column.dictionary), -1, np.int32))
    indices = pa.array(met, mask=met < 0 if column.null_count else None)
    return pa.DictionaryArray.from_arrays(indices, column.dictionary.take(pa.array(seen)))


@numba.njit(cache=True, nogil=True)
def _met(codes: Any, place: Any) -> Any:  # pragma: no cover
    """Number codes in the order in which they are met; and the codes in that order."""
    met = np.empty(len(codes), np.int32)
    seen = np.empty(min(len(codes), len(place)), np.int32)
    many = 0
    for row in range(len(codes)):
        code = codes[row]
        if code < 0:
            met[row] = -1
            continue
        if place[code] < 0:
            place[code] = many
            seen[many] = code
            many += 1
        met[row] = place[code]
    return met, seen[:many]
