"""Cutting a stream of one JSON array into blocks of its elements, whatever is inside them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

import numba
import numpy as np
import pyarrow as pa

from recsys.listens._archive import DamagedFileError
from recsys.listens._lines import BLOCK_BYTES, MAX_LINE_BYTES, TOO_LONG, pieces, refused

_BLANK: Final = b" \t\r\n"
_CUT: Final = "the array is not closed: the file may be cut short"
_OUTSIDE: Final = "text outside the array"


def element_blocks(stream: io.BufferedReader) -> Iterator[pa.Table]:
    """Yield the elements of the array in ``stream`` in tables of about 16 MiB.

    Columns as `recsys.listens._lines.LINES`; ``row`` is the element's number from 1. An array that
    is not closed ends in a row that says so.

    Raises:
        DamagedFileError: the text is not a JSON array.
    """
    _check_start(stream)
    row, carry, skipping = 1, b"", False
    state = np.zeros(3, np.int64)
    while chunk := stream.read(BLOCK_BYTES):
        content = np.frombuffer(chunk, np.uint8).copy()
        marks = np.empty(len(content), np.int64)
        marks = marks[: _cut(content, state, marks)]
        if len(marks) and skipping:
            content, marks, skipping = content[marks[0] :], marks[1:] - marks[0], False
        if len(marks):
            data = carry + content[: marks[-1]].tobytes()
            if row > 1 or len(marks) > 1 or data.strip(_BLANK):  # else the array is empty
                yield pieces(data, marks + len(carry), row)
                row += len(marks)
            carry = content[marks[-1] :].tobytes()
        elif not skipping:
            carry += content.tobytes()
        if len(carry) > MAX_LINE_BYTES:
            yield refused(row, TOO_LONG)
            row, carry, skipping = row + 1, b"", True
    if state[_DEPTH]:
        yield refused(row, _CUT)
    elif carry.strip(_BLANK):
        yield refused(row, _OUTSIDE)


def _check_start(stream: io.BufferedReader) -> None:
    if stream.peek(3).startswith(b"\xef\xbb\xbf"):
        stream.read(3)
    begin = bytes(stream.peek(64)).lstrip(_BLANK)[:1]
    if begin not in (b"[", b""):
        raise DamagedFileError(f"it begins with {begin!r}, and a JSON array begins with '['")


_DEPTH: Final = 0
_IN_STRING: Final = 1
_ESCAPED: Final = 2


@numba.njit(cache=True, nogil=True)
def _cut(content: Any, state: Any, marks: Any) -> Any:  # pragma: no cover
    """Blank the marks between elements, and note where the element before each one ends.

    ``state`` goes on from chunk to chunk.
    """
    depth, in_string, escaped, found = state[0], state[1], state[2], 0
    for at in range(len(content)):
        mark = content[at]
        if escaped:
            escaped = 0
        elif in_string:
            if mark == 92:  # a backslash
                escaped = 1
            elif mark == 34:
                in_string = 0
        elif mark == 34:
            in_string = 1
        elif mark in (91, 123):
            depth += 1
            if depth == 1:
                content[at] = 32
        elif mark in (93, 125) and depth > 0:
            depth -= 1
            if depth == 0:
                content[at] = 10
                marks[found] = at + 1
                found += 1
        elif mark == 44 and depth == 1:
            content[at] = 32
            marks[found] = at + 1
            found += 1
    state[0], state[1], state[2] = depth, in_string, escaped
    return found
