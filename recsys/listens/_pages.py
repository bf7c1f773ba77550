"""The text of a few rows of a column in Parquet, of which Arrow would make every row."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Integers = npt.NDArray[np.int64]

#: What a page's header says (`PageHeader` in the format's parquet.thrift), by its numbers there.
_KIND: Final = 1
_FULL_SIZE: Final = 2
_STORED_SIZE: Final = 3
_OF_DATA: Final = 5
_OF_DICTIONARY: Final = 7
_MANY: Final = 1
_ENCODING: Final = 2
_DATA_PAGE: Final = 0
_DICTIONARY_PAGE: Final = 2
_BY_CODES: Final = 8


def texts_at(path: Path, chunk: pq.ColumnChunkMetaData, rows: Integers) -> pa.StringArray | None:
    """Text in some rows of a chunk of a required column.

    Args:
        path: the file.
        chunk: the column in a row group.
        rows: of the row group, ascending.

    Returns:
        None where it is not stored as `recsys._coded.CodedWriter` stores what repeats: by codes
        of one dictionary, with LZ4.
    """
    if not chunk.has_dictionary_page or chunk.compression != "LZ4":
        return None
    with path.open("rb") as file:
        file.seek(chunk.dictionary_page_offset)
        stored = file.read(chunk.total_compressed_size)
    try:
        return _texts_at(stored, rows)
    except (IndexError, KeyError, TypeError, ValueError, pa.ArrowException, OSError):
        return None


def _texts_at(stored: bytes, rows: Integers) -> pa.StringArray | None:
    """As :func:`texts_at`, of the bytes of a chunk."""
    codec = pa.Codec("lz4_raw")
    codes = np.full(len(rows), -1, np.int64)
    dictionary, starts = b"", np.empty(0, np.int64)
    place = first = done = 0
    while done < len(rows):
        header, place = _struct(stored, place)
        page = memoryview(stored)[place : place + header[_STORED_SIZE]]
        place += len(page)
        if header[_KIND] == _DICTIONARY_PAGE:
            dictionary = codec.decompress(page, header[_FULL_SIZE], asbytes=True)
            many = min(header[_OF_DICTIONARY][_MANY], len(dictionary))  # at most, if undamaged
            starts = _starts(np.frombuffer(dictionary, np.uint8), many)
        elif header[_KIND] != _DATA_PAGE or header[_OF_DATA][_ENCODING] != _BY_CODES:
            return None
        else:
            end = first + header[_OF_DATA][_MANY]
            until = int(np.searchsorted(rows, end))
            if until > done:
                values = codec.decompress(page, header[_FULL_SIZE], asbytes=True)
                within = rows[done:until] - first
                _fill(np.frombuffer(values, np.uint8), within, codes[done:until])
            first, done = end, until
    if len(rows) and (codes.min() < 0 or codes.max() >= len(starts) - 1):
        return None
    begin, end = starts[codes], starts[codes + 1] - 4
    texts = [dictionary[a:b] for a, b in zip(begin.tolist(), end.tolist(), strict=True)]
    return pa.array(texts, pa.string())


def _struct(data: bytes, place: int) -> tuple[dict[int, Any], int]:
    """A struct in Thrift's compact protocol, by the numbers of its fields; and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while kind := data[place]:
        place += 1
        number += kind >> 4
        match kind & 15:
            case 1 | 2:
                fields[number] = kind & 15 == 1
            case 5 | 6:
                value, place = _varint(data, place)
                fields[number] = (value >> 1) ^ -(value & 1)
            case 8:
                size, place = _varint(data, place)
                place += size
            case 12:
                fields[number], place = _struct(data, place)
            case _:
                raise ValueError(f"a field of kind {kind & 15}")
    return fields, place + 1


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[place] & 127) << shift
        shift += 7
        place += 1
        if data[place - 1] < 128:
            return value, place


@numba.njit(cache=True, nogil=True)
def _starts(data: Any, many: Any) -> Any:  # pragma: no cover
    """Where texts start, each behind its length in four bytes; those that are whole."""
    starts = np.empty(many + 1, np.int64)
    place = np.int64(4)
    for text in range(many):
        if place > len(data):
            return starts[: text + 1][:0]
        starts[text] = place
        size = np.int64(0)
        for byte in range(4):
            size |= np.int64(data[place - 4 + byte]) << (8 * byte)
        place += size + 4
    starts[many] = place
    return starts if place == len(data) + 4 else starts[:0]


@numba.njit(cache=True, nogil=True)
def _fill(data: Any, rows: Any, codes: Any) -> None:  # pragma: no cover
    """The codes in some rows of a page; what is cut short leaves them as they are.

    They lie in runs of one code, or of eight codes and more packed by bits.
    """
    bits = np.int64(data[0]) if len(data) else np.int64(0)
    place, first, done = np.int64(1), np.int64(0), 0
    while done < len(rows):
        run, shift, more = np.int64(0), 0, True
        while more:
            if place >= len(data) or shift > 28:
                return
            run |= np.int64(data[place] & 127) << shift
            more = data[place] > 127
            shift += 7
            place += 1
        packed = (run & 1) == 1
        many = (run >> 1) * 8 if packed else run >> 1
        size = (run >> 1) * bits if packed else (bits + 7) // 8
        while done < len(rows) and rows[done] < first + many:
            start = (rows[done] - first) * bits if packed else np.int64(0)
            code = np.int64(0)
            for byte in range(start >> 3, (start + bits + 7) >> 3):
                if place + byte >= len(data):
                    return
                code |= np.int64(data[place + byte]) << (8 * (byte - (start >> 3)))
            codes[done] = (code >> (start & 7)) & ((np.int64(1) << bits) - 1)
            done += 1
        first += many
        place += size
