"""Keys and values in frames: what is hashed, sent to a server, and read back. Needs Arrow, numba.

A frame is a row of PostgreSQL's binary ``COPY`` with two columns: the number of fields (int16),
then each after its length (int32), all big-endian.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa

from recsys.store._kernel import FRAME_BYTES, Ints, put_frames

#: Bytes of frames.
Data = bytes | memoryview


class Frames(NamedTuple):
    """Some frames, one after another.

    Attributes:
        data: their bytes.
        starts: where each begins, and at the end where the last one ends.
        key_lengths: bytes of each key.
    """

    data: memoryview
    starts: Ints
    key_lengths: Ints

    @classmethod
    def of(cls, keys: Sequence[bytes], values: Sequence[bytes | memoryview]) -> Self:
        """Frames of keys and values."""
        return cls._of(*_joined(keys), *_joined(values))

    @classmethod
    def _of(cls, key_data: Ints, key_ends: Ints, value_data: Ints, value_ends: Ints) -> Self:
        starts = key_ends + value_ends + FRAME_BYTES * np.arange(len(key_ends))
        out = np.empty(starts[-1], np.uint8)
        put_frames(*map(frozen, (key_data, key_ends, value_data, value_ends)), out)
        return cls(out.data, starts, np.diff(key_ends))

    @classmethod
    def numbered(cls, values: pa.StringArray) -> Self:
        """Frames of values under the numbers from 1, int64."""
        numbers = np.arange(len(values) + 1, dtype=">i8")
        key_ends = 8 * np.arange(len(values) + 1)
        return cls._of(numbers[1:].view(np.uint8), key_ends, *text_of(values))

    def slice(self, start: int, stop: int) -> Self:
        """Some of them."""
        starts = self.starts[start : stop + 1]
        data = self.data[int(starts[0]) : int(starts[-1])]
        return type(self)(data, starts - starts[0], self.key_lengths[start:stop])

    def take(self, which: Ints) -> Self:
        """Some of them, by their places."""
        first, last = self.starts[which].tolist(), self.starts[which + 1].tolist()
        data = b"".join([self.data[at:end] for at, end in zip(first, last, strict=True)])
        starts = np.concatenate([[0], np.cumsum(np.diff(self.starts)[which])])
        return type(self)(memoryview(data), starts, self.key_lengths[which])

    def keys(self, step: int = 1) -> list[bytes]:
        """The keys, or every so many."""
        data = self.data
        first = self.starts[:-1:step] + (FRAME_BYTES - 4)
        last = first + self.key_lengths[::step]
        return [bytes(data[at:end]) for at, end in zip(first.tolist(), last.tolist(), strict=True)]

    def last_key(self) -> bytes:
        """The key of the last one."""
        at = int(self.starts[-2]) + FRAME_BYTES - 4
        return bytes(self.data[at : at + int(self.key_lengths[-1])])

    def values(self) -> list[memoryview]:
        """The values."""
        data = self.data
        first = (self.starts[:-1] + self.key_lengths + FRAME_BYTES).tolist()
        return [data[at:end] for at, end in zip(first, self.starts[1:].tolist(), strict=True)]


def frozen(values: Ints) -> Ints:
    """Read-only, as Arrow's own buffers are: the loops are compiled for one kind of array."""
    view: Ints = values.view()
    view.setflags(write=False)
    return view


def text_of(strings: pa.StringArray) -> tuple[Ints, Ints]:
    """The UTF-8 of strings one after another, and where each ends (a 0 before)."""
    _, ends, data = strings.buffers()
    if ends is None:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    found = np.frombuffer(ends, np.int32, len(strings) + 1, 4 * strings.offset).astype(np.int64)
    return np.frombuffer(data or b"", np.uint8)[found[0] :], found - found[0]


def _joined(parts: Sequence[Any]) -> tuple[Ints, Ints]:
    """Byte strings one after another, and where each ends (a 0 before)."""
    ends = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)), out=ends[1:])
    return np.frombuffer(b"".join(parts), np.uint8), ends
