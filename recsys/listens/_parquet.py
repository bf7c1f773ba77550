"""Parquet files of listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from recsys import columns as c
from recsys._coded import by_codes, spelled_bytes
from recsys.errors import BadLogError
from recsys.listens._archive import Guard
from recsys.listens._block import COLUMNS, REQUIRED, Block, repeated
from recsys.listens._inventory import LogFile
from recsys.listens._open import HashingReader, unchanging
from recsys.listens._sql import Kind
from recsys.listens._typed import is_typed
from recsys.settings import ListensSettings

_BATCH_ROWS: Final = 1 << 15
_BLOCK_BYTES: Final = 24 << 20
_PAGE_BYTES: Final = 1 << 16
_NOT_UTF8: Final = "text that is not UTF-8"
#: Of these, rows are read at once as fit, text by codes.
_CODED_BYTES: Final = 32 << 20
_TEXTS: Final = (
    c.USER_ID,
    c.TRACK_ID,
    c.ARTIST_IDS,
    c.TRACK_NAME,
    c.ARTIST_NAME,
    c.ALBUM_NAME,
)
_TEXT_OR_INTEGER: Final = frozenset({Kind.TEXT, Kind.INTEGER})
_NUMBER: Final = _TEXT_OR_INTEGER | {Kind.DOUBLE}
_INSTANT: Final = frozenset({Kind.SECONDS, Kind.MILLISECONDS, Kind.MICROSECONDS, Kind.NANOSECONDS})
_ACCEPTED: Final[Mapping[str, tuple[frozenset[Kind], str]]] = {
    c.USER_ID: (_TEXT_OR_INTEGER, "a string or an integer"),
    c.TRACK_ID: (_TEXT_OR_INTEGER, "a string or an integer"),
    c.LISTENED_AT: (_TEXT_OR_INTEGER | _INSTANT, "a timestamp, a string or an integer"),
    c.EVENT: (frozenset({Kind.TEXT}), "a string"),
    c.ARTIST_IDS: (_TEXT_OR_INTEGER | {Kind.LIST}, "a list of strings or a string"),
    c.MS_PLAYED: (_NUMBER, "an integer"),
    c.DURATION_MS: (_NUMBER, "an integer"),
    c.SKIPPED: (_NUMBER | {Kind.BOOLEAN}, "a boolean"),
    c.PRIVATE: (_NUMBER | {Kind.BOOLEAN}, "a boolean"),
    c.TRACK_NAME: (_TEXT_OR_INTEGER, "a string"),
    c.ARTIST_NAME: (_TEXT_OR_INTEGER, "a string"),
    c.ALBUM_NAME: (_TEXT_OR_INTEGER, "a string"),
}


class ParquetReader:
    """Reads the columns that are asked for; a column's type is judged once for the file."""

    hashing: HashingReader

    def __init__(
        self, file: LogFile, names: Mapping[str, str], settings: ListensSettings, scratch: Path
    ) -> None:
        del settings
        self._file = file
        self.names = names
        self._scratch = scratch

    def blocks(self) -> Iterator[Block]:
        """The rows of the file, in bounded memory.

        Raises:
            BadLogError: a required column is missing, or a column is of a wrong type.
        """
        with (
            unchanging(self._file, self._scratch) as (path, self.hashing),
            # Spark's old 96-bit times would overflow in pyarrow's default of nanoseconds.
            pq.ParquetFile(path, coerce_int96_timestamp_unit="us") as parquet,
        ):
            schema = parquet.schema_arrow
            kinds = self._kinds(schema)
            log_names = {column: self.names[column] for column in kinds}
            texts = {name: Kind.TEXT for name in _TEXTS if kinds.get(name) is Kind.INTEGER}
            typed = is_typed(kinds | texts) and not any(
                types.is_decimal(schema.field(name).type) for name in log_names.values()
            )
            tables = plain_tables
            if typed:
                tables, kinds = coded_tables, kinds | texts
            select = ", ".join(
                f"nullif({column}, '') AS {column}" if kind is Kind.TEXT else column
                for column, kind in kinds.items()
            )
            for table in tables(parquet, path, log_names, lambda: self.hashing.bytes):
                yield Block(
                    table.append_column("file", repeated(self._file.name, len(table))),
                    f"SELECT file, row, fault, true AS music, {select} FROM block",
                    kinds,
                    frozenset(schema.names),
                    typed=typed,
                )

    def _kinds(self, schema: pa.Schema) -> dict[str, Kind]:
        kinds = {}
        for column in COLUMNS:
            name = self.names.get(column)
            if name is not None and schema.names.count(name) > 1:
                raise BadLogError(
                    f"{self._file.name} has {schema.names.count(name)} columns {name!r}; expected "
                    f"one, which is {column}. Write the file again with a name for each."
                )
            if name is None or name not in schema.names:
                if column in REQUIRED:
                    raise BadLogError(
                        f"{self._file.name} has no column {name!r}, which is needed as {column}. "
                        f"It has: {', '.join(schema.names)}. Map the log's names to ours with "
                        f'[listens] columns = {{"...": "{column}"}}.'
                    )
                continue
            kind = _kind(schema.field(name).type)
            accepted, expected = _ACCEPTED[column]
            if kind not in accepted:
                raise BadLogError(
                    f"{self._file.name}: column {name!r} is of type {schema.field(name).type}; "
                    f"expected {expected}. Write the file again with that type, or map {column} "
                    "to another column with [listens] columns."
                )
            kinds[column] = kind
        return kinds


def plain_tables(
    parquet: pq.ParquetFile, path: Path, names: Mapping[str, str], stored_bytes: Callable[[], int]
) -> Iterator[pa.Table]:
    """Columns of a file by our names, in the types that `Kind` stands for, a few MiB at a time.

    Args:
        parquet: the file, opened.
        path: where it lies.
        names: what it calls each of our columns.
        stored_bytes: its size.

    Yields:
        The columns, ``fault`` (string: why a row cannot be read, else null) and ``row`` (int64,
        from 1).

    Raises:
        DamagedFileError: it swells beyond what is stored, as `Guard` has it.
    """
    first_row, guard = 1, Guard(stored_bytes)
    for batches in _grouped(_batches(parquet, path, list(names.values()))):
        guard.count(sum(batch.nbytes for batch in batches))
        table = pa.Table.from_batches(
            [
                _plain(batch.select(list(names.values())).rename_columns(list(names)))
                for batch in batches
            ]
        )
        yield table.append_column("row", pa.array(np.arange(first_row, first_row + len(table))))
        first_row += len(table)


def coded_tables(
    parquet: pq.ParquetFile, path: Path, names: Mapping[str, str], stored_bytes: Callable[[], int]
) -> Iterator[pa.Table]:
    """As :func:`plain_tables`, but whole numbers in place of text come as text, and text by codes.

    So many rows come at a time as take few MiB by codes, however long their text is.
    """
    first_row, guard = 1, Guard(stored_bytes)
    for batch in _coded_batches(parquet, path, names):
        guard.count(spelled_bytes(pa.Table.from_batches([batch])))
        table = _coded(batch.select(list(names.values())).rename_columns(list(names)))
        yield table.append_column("row", pa.array(np.arange(first_row, first_row + len(table))))
        first_row += len(table)


def _coded_batches(
    parquet: pq.ParquetFile, path: Path, names: Mapping[str, str]
) -> Iterator[pa.RecordBatch]:
    meta = parquet.metadata
    columns = [parquet.schema.column(at) for at in range(meta.num_columns)]
    wanted = list(names.values())
    texts = [
        column.path
        for column in columns
        if column.physical_type == "BYTE_ARRAY" and column.path.split(".")[0] in wanted
    ]
    lists = {at: column.path for at, column in enumerate(columns) if column.max_repetition_level}
    lists = {at: path for at, path in lists.items() if path in texts}
    with pq.ParquetFile(
        path, metadata=meta, read_dictionary=texts, coerce_int96_timestamp_unit="us"
    ) as dictionaries:
        for group in range(meta.num_row_groups):
            stored = meta.row_group(group)
            if stored.num_rows == 0:
                continue
            # Only of columns that were just read: a damaged chunk ends the process here, in C++.
            for _ in dictionaries.iter_batches(1, row_groups=[group], columns=[*lists.values()]):
                break
            elements = sum(stored.column(at).num_values for at in lists)
            size = stored.total_byte_size + 8 * (stored.num_rows * len(names) + elements)
            rows = int(_CODED_BYTES * stored.num_rows / max(size, 1))
            yield from dictionaries.iter_batches(
                max(1, min(rows, stored.num_rows)), row_groups=[group], columns=wanted
            )


def _coded(batch: pa.RecordBatch) -> pa.Table:
    """Text by codes, other columns in the types that `Kind` stands for; text that is not UTF-8."""
    columns = {}
    faults = None
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name not in (*_TEXTS, c.EVENT):
            columns[name] = column.cast(_plain_type(column.type), safe=False)
            continue
        columns[name] = by_codes(column)
        try:
            columns[name].validate(full=True)
        except pa.ArrowInvalid:
            plain, good = _readable(columns[name].cast(_plain_type(column.type)))
            columns[name] = by_codes(plain)
            faults = np.full(len(batch), None, object) if faults is None else faults
            faults[~good] = _NOT_UTF8
    fault = pa.nulls(len(batch), pa.string()) if faults is None else pa.array(faults, pa.string())
    return pa.table({**columns, "fault": fault})


def _kind(kind: pa.DataType) -> Kind | None:
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_timestamp(kind):
        return Kind(kind.unit)
    if types.is_list(kind) or types.is_large_list(kind):
        return Kind.LIST if _kind(kind.value_type) in _TEXT_OR_INTEGER else None
    if types.is_integer(kind) or (types.is_decimal128(kind) and kind.scale == 0):
        return Kind.INTEGER
    if types.is_floating(kind):
        return Kind.DOUBLE
    if types.is_boolean(kind):
        return Kind.BOOLEAN
    if types.is_null(kind) or any(test(kind) for test in _TEXT_TYPES):
        return Kind.TEXT
    return None


_TEXT_TYPES: Final = (
    types.is_string,
    types.is_large_string,
    types.is_string_view,
    types.is_binary,
    types.is_large_binary,
    types.is_binary_view,
)


def _batches(parquet: pq.ParquetFile, path: Path, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows, so many at a time as fit `_BLOCK_BYTES` if all are as long as the longest may be.

    A value that is stored once for many rows is as long in each of them when it is read: 40,000
    rows of one text of 60 kB lie in 80 kB. So each row group's dictionaries are looked at first.
    """
    meta = parquet.metadata
    columns = map(parquet.schema.column, range(meta.num_columns))
    texts = {
        at: column.path
        for at, column in enumerate(columns)
        if column.physical_type == "BYTE_ARRAY" and column.path.split(".")[0] in names
    }
    paths = list(texts.values())
    with pq.ParquetFile(
        path, metadata=meta, read_dictionary=paths, buffer_size=_PAGE_BYTES
    ) as dictionaries:
        for group in range(meta.num_row_groups):
            stored = meta.row_group(group)
            if stored.num_rows == 0:
                continue
            longest = 0.0
            for batch in dictionaries.iter_batches(1, row_groups=[group], columns=paths):
                longest += sum(map(_longest, batch.columns))
                break
            # Only of columns that were just read: a damaged chunk ends the process here, in C++.
            plain = sum(stored.column(at).total_uncompressed_size for at in texts)
            longest += plain / stored.num_rows
            rows = min(_BATCH_ROWS, max(1, int(_BLOCK_BYTES / max(longest, 1))))
            yield from parquet.iter_batches(rows, row_groups=[group], columns=names)


def _longest(column: pa.Array) -> int:
    """Bytes of the longest value of a dictionary, which the first row already brings along."""
    while types.is_list(column.type) or types.is_large_list(column.type):
        column = column.values
    if not types.is_dictionary(column.type):
        return 0
    return pc.max(pc.binary_length(column.dictionary)).as_py() or 0


def _grouped(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    group: list[pa.RecordBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(member.nbytes for member in group) > _BLOCK_BYTES:
            yield group
            group = []
    if group:
        yield group


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Bring columns to the types that `Kind` stands for, and find text that is not UTF-8."""
    columns, faults = [], np.full(len(batch), None, object)
    for column in batch.columns:
        plain = column.cast(_plain_type(column.type), safe=False)
        try:
            plain.validate(full=True)
        except pa.ArrowInvalid:
            plain, good = _readable(plain)
            faults[~good] = _NOT_UTF8
        columns.append(plain)
    names = [*batch.schema.names, "fault"]
    return pa.RecordBatch.from_arrays([*columns, pa.array(faults, pa.string())], names)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return {
        Kind.TEXT: pa.string(),
        Kind.LIST: pa.list_(pa.string()),
        Kind.DOUBLE: pa.float64(),
        **dict.fromkeys(_INSTANT, pa.int64()),
    }.get(_kind(kind), kind)


def _readable(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """The values that are UTF-8, null in place of others; and which are."""
    good = np.array([_is_utf8(value) for value in column])
    return column.filter(pa.array(good)).take(_places(good)), good


def _is_utf8(value: pa.Scalar) -> bool:
    try:
        value.as_py()
    except UnicodeDecodeError:
        return False
    return True


def _places(good: np.ndarray) -> pa.Array:
    """Where each row is found among the good ones; null for the others."""
    return pa.array(np.cumsum(good) - 1, mask=~good)
