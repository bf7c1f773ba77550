"""Cutting a stream of text into blocks of lines, without a loop over the lines."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

BLOCK_BYTES: Final = 16 << 20
MAX_LINE_BYTES: Final = 4 << 20
_BOM: Final = b"\xef\xbb\xbf"
TOO_LONG: Final = f"the line is longer than {MAX_LINE_BYTES >> 20} MiB"

LINES: Final = pa.schema({"row": pa.int64(), "line": pa.string(), "fault": pa.string()})


def line_blocks(stream: io.BufferedReader) -> Iterator[pa.Table]:
    """Yield the lines of ``stream`` in tables of about 16 MiB.

    Columns: ``row`` (int64, the line's number from 1), ``line`` (string, with its line end),
    ``fault`` (string: why there is no ``line``, else null). Empty lines are numbered, not yielded.
    """
    row, carry, skipping = 1, b"", False
    if stream.peek(len(_BOM)).startswith(_BOM):
        stream.read(len(_BOM))
    while chunk := stream.read(BLOCK_BYTES):
        if skipping:
            _, line_end, chunk = chunk.partition(b"\n")
            skipping = not line_end
        end = chunk.rfind(b"\n") + 1
        if end:
            yield _table(carry + chunk[:end], row)
            row += chunk.count(b"\n")
            carry = chunk[end:]
        else:
            carry += chunk
        if len(carry) > MAX_LINE_BYTES:
            yield refused(row, TOO_LONG)
            row, carry, skipping = row + 1, b"", True
    if carry:
        yield _table(carry, row)


def refused(row: int, fault: str) -> pa.Table:
    """One row that cannot be read."""
    return pa.table({"row": [row], "line": [None], "fault": [fault]}, schema=LINES)


def _table(data: bytes, first_row: int) -> pa.Table:
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    if not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    return pieces(data, ends, first_row)


def pieces(data: bytes, ends: npt.NDArray[np.int64], first_row: int) -> pa.Table:
    """The pieces of ``data`` that end before ``ends`` as rows; empty lines are left out."""
    content = np.frombuffer(data, np.uint8)
    starts = np.concatenate([[0], ends[:-1]])
    sizes = ends - starts
    lines = pa.StringArray.from_buffers(
        len(sizes), pa.py_buffer(np.append(0, ends).astype(np.int32)), pa.py_buffer(data)
    )
    why = pa.nulls(len(sizes), pa.string())
    try:
        lines.validate(full=True)
        broken = bool((sizes > MAX_LINE_BYTES).any())
    except pa.ArrowInvalid:
        broken = True
    if broken:
        why = _faults(np.split(content, ends[:-1]))
        lines = pc.if_else(why.is_null(), lines.cast(pa.binary()), None).cast(pa.string())
    rows = pa.array(np.arange(first_row, first_row + len(sizes)))
    blank = (sizes == 1) & (content[starts] == ord("\n"))
    blank |= (sizes == 2) & (content[starts] == ord("\r")) & (content[ends - 1] == ord("\n"))
    return pa.table([rows, lines, why], schema=LINES).filter(pa.array(~blank))


def _faults(lines: Sequence[npt.NDArray[np.uint8]]) -> pa.Array:
    """What is wrong with each line; rare enough for a loop, and so the good ones are kept."""
    return pa.array(
        [
            TOO_LONG
            if len(line) > MAX_LINE_BYTES
            else (None if _is_utf8(line.tobytes()) else "the line is not UTF-8")
            for line in lines
        ],
        pa.string(),
    )


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
