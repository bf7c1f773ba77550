"""What every format turns a file into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa

from recsys import columns as c
from recsys.listens._inventory import LogFile
from recsys.listens._open import HashingReader
from recsys.listens._sql import Kind

#: Every column a log can fill, in the order of `schemas.LISTENS`, then ``private``.
COLUMNS: Final = (
    c.USER_ID,
    c.TRACK_ID,
    c.LISTENED_AT,
    c.EVENT,
    c.ARTIST_IDS,
    c.MS_PLAYED,
    c.DURATION_MS,
    c.SKIPPED,
    c.TRACK_NAME,
    c.ARTIST_NAME,
    c.ALBUM_NAME,
    c.PRIVATE,
)
REQUIRED: Final = (c.USER_ID, c.TRACK_ID, c.LISTENED_AT)


@dataclass(frozen=True)
class Block:
    """Some rows of a file, not judged yet."""

    #: Queried under the name ``block``.
    rows: pa.Table
    #: SQL of ``row`` (its number in the file, from 1), ``fault`` (why it cannot be read at all,
    #: else NULL), and a column for each of ``kinds``, NULL where the log says nothing.
    select: str
    #: The columns of ours that this block fills, and what kind of value each comes as.
    kinds: Mapping[str, Kind]
    #: SQL of the log's own column names that occur here.
    columns: str


class Reader(Protocol):
    """Reads one file of a log."""

    def __init__(self, file: LogFile, names: Mapping[str, str], scratch: Path) -> None:
        """``names``: the log's column name for each of ours; ``scratch``: room for a copy."""

    def blocks(self) -> Iterator[Block]:
        """The rows of the file, in bounded memory.

        Raises:
            BadLogError: the file has no column that it must have, or one of a wrong type.
        """

    @property
    def hashing(self) -> HashingReader:
        """The bytes that went by; whole once the blocks are used up."""
