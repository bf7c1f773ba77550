"""Cutting a stream of text into blocks of lines, without a loop over the lines."""

from __future__ import annotations

import io
from collections.abc import Iterator
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
    faults = np.full(len(sizes), None, object)
    faults[sizes > MAX_LINE_BYTES] = TOO_LONG
    try:
        lines.validate(full=True)
    except pa.ArrowInvalid:
        # Rare enough for a loop: each line by itself, so that the good ones are kept.
        for index, line in enumerate(np.split(content, ends[:-1])):
            if not _is_utf8(line.tobytes()):
                faults[index] = "the line is not UTF-8"
    rows = pa.array(np.arange(first_row, first_row + len(sizes)))
    why = pa.array(faults, pa.string())
    if why.null_count < len(why):
        lines = pc.if_else(why.is_null(), lines.cast(pa.binary()), None).cast(pa.string())
    blank = (sizes == 1) & (content[starts] == ord("\n"))
    blank |= (sizes == 2) & (content[starts] == ord("\r")) & (content[ends - 1] == ord("\n"))
    return pa.table([rows, lines, why], schema=LINES).filter(pa.array(~blank))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
