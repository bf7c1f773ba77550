"""Parts of an edition: numbered and hashed in one process, packed in others. Needs Arrow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys.errors import StoreError
from recsys.store._frames import Frames
from recsys.store._handed import Handed
from recsys.store._pack import Packer, RefusedRowError
from recsys.store._rows import CHUNK_ROWS, chunks

#: A server hashes so many at once: more would not stay in a core's cache.
_ROWS_SENT: Final = 1_024


class Sent(NamedTuple):
    """Rows that were sent one after another.

    Attributes:
        last: the key of the last one.
        sha256: of their frames.
    """

    last: bytes
    sha256: bytes


class Noted(NamedTuple):
    """What must be found of an edition when its parts are written.

    Attributes:
        default: the frame of the default playlist.
        rows: those to be stored, the default playlist first.
        parts: SHA-256 of the frames of each part.
    """

    default: Frames
    rows: list[Sent]
    parts: list[str]


def sent_of(frames: Frames) -> Iterator[Sent]:
    """What must be found of some frames, a thousand rows at a time."""
    count = len(frames.key_lengths)
    for start in range(0, count, _ROWS_SENT):
        some = frames.slice(start, min(start + _ROWS_SENT, count))
        yield Sent(some.last_key(), hashlib.sha256(some.data).digest())


class PartRows:
    """The rows of parts, one after another; knows which part each chunk was of."""

    def __init__(self, parts: Sequence[Iterable[pa.RecordBatch]]) -> None:
        self.parts = parts
        self.part_of: list[int] = []

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for number, part in enumerate(self.parts):
            for batch in part:
                for start in range(0, batch.num_rows, CHUNK_ROWS):
                    self.part_of.append(number)
                    yield batch.slice(start, CHUNK_ROWS)


def note(handed: Handed, rows: PartRows) -> Noted:
    """Iterate over what is handed over, which is ``rows``.

    Raises:
        StoreError: no store would take these rows.
    """
    parts = [hashlib.sha256() for _ in rows.parts]
    every = iter(handed)
    default = next(every)
    sent = list(sent_of(default))
    try:
        for number, frames in enumerate(every):
            parts[rows.part_of[number]].update(frames.data)
            sent += sent_of(frames)
    except OSError as error:
        raise StoreError(
            f"The rows handed over for {handed.week} cannot be read ({error}): nothing is staged."
        ) from error
    return Noted(default, sent, [part.hexdigest() for part in parts])


@dataclass(frozen=True, repr=False)
class PartPacker:
    """Packs the rows of a part, with the codes that the whole edition has."""

    packer: Packer
    hidden: Set[str]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Frames]:
        """The frames to be stored.

        Raises:
            StoreError: these cannot be the rows that were numbered.
        """
        packer = self.packer.fork()
        hidden = pa.array(sorted(self.hidden), pa.string())
        try:
            for chunk in chunks(batches):
                kept = chunk.filter(pc.invert(pc.is_in(chunk.column(c.USER_ID), value_set=hidden)))
                if kept.num_rows:
                    yield packer.pack(kept)
        except (RefusedRowError, pa.ArrowException, IndexError, OSError) as error:
            raise StoreError(
                f"The rows of a part cannot be read, or are not those handed over ({error}): "
                "nothing is staged. Do all machines see the same files?"
            ) from error
