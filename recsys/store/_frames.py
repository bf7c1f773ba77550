"""Keys and values in frames: what is hashed, sent to a server, and read back. Needs NumPy, numba.

A frame is a row of PostgreSQL's binary ``COPY`` with two columns: the number of fields (int16),
then each after its length (int32), all big-endian.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

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
        (key_data, key_ends), (value_data, value_ends) = _joined(keys), _joined(values)
        starts = key_ends + value_ends + FRAME_BYTES * np.arange(len(keys) + 1)
        out = np.empty(starts[-1], np.uint8)
        put_frames(key_data, key_ends, value_data, value_ends, out)
        return cls(out.data, starts, np.diff(key_ends))

    @classmethod
    def numbered(cls, values: Sequence[bytes]) -> Self:
        """Frames of values under the numbers from 1, int64."""
        keys = np.arange(1, len(values) + 1, dtype=">i8").tobytes()
        return cls.of([keys[at : at + 8] for at in range(0, len(keys), 8)], values)

    def keys(self) -> list[bytes]:
        """The keys."""
        data = self.data
        first = (self.starts[:-1] + FRAME_BYTES - 4).tolist()
        return [
            bytes(data[at : at + length])
            for at, length in zip(first, self.key_lengths.tolist(), strict=True)
        ]

    def values(self) -> list[memoryview]:
        """The values."""
        data = self.data
        first = (self.starts[:-1] + self.key_lengths + FRAME_BYTES).tolist()
        return [data[at:end] for at, end in zip(first, self.starts[1:].tolist(), strict=True)]


def _joined(parts: Sequence[Any]) -> tuple[Ints, Ints]:
    """Byte strings one after another, and where each ends (a 0 before)."""
    ends = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)), out=ends[1:])
    return np.frombuffer(b"".join(parts), np.uint8), ends
