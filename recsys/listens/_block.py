"""What every format turns a file into."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow as pa

from recsys import columns as c
from recsys._coded import TEXT
from recsys.listens._inventory import LogFile
from recsys.listens._open import HashingReader
from recsys.listens._sql import Kind
from recsys.settings import ListensSettings

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
_MERGED_BYTES: Final = 16 << 20
#: A block of a single row takes some KiB, whatever its bytes say.
_MERGED_BLOCKS: Final = 2048
_BATCHES: Final = 8
_MOST_CHUNKS: Final = 64
REQUIRED: Final = (c.USER_ID, c.TRACK_ID, c.LISTENED_AT)


@dataclass(frozen=True)
class Block:
    """Some rows of a file, not judged yet."""

    #: Queried under the name ``block``; ``file`` names the file, or the member of an archive.
    rows: pa.Table
    #: SQL of ``file``, ``row`` (its number there, from 1), ``fault`` (why it cannot be read at all,
    #: else NULL), ``music`` (false for a podcast), and a column for each of ``kinds``, NULL where
    #: the log says nothing.
    select: str
    #: The columns of ours that this block fills, and what kind of value each comes as.
    kinds: Mapping[str, Kind]
    #: SQL of the log's own column names that occur here, or these names.
    columns: str | frozenset[str]
    #: The columns of ours that the log calls now one thing and now another: ``select`` says which
    #: in each row, in a column that is :func:`called` so.
    named: Collection[str] = ()
    #: Whether its text comes by codes, and `recsys.listens._typed` can judge it.
    typed: bool = False


def called(column: str) -> str:
    """The column of what a row of the log calls ``column``."""
    return f"called_{column}"


class Reader(Protocol):
    """Reads one file of a log."""

    #: What the log calls each column of ours, for `Reason` details.
    names: Mapping[str, str]

    def __init__(
        self, file: LogFile, names: Mapping[str, str], settings: ListensSettings, scratch: Path
    ) -> None:
        """``names``: the log's column name for each of ours; ``scratch``: room for a copy."""

    def blocks(self) -> Iterator[Block]:
        """The rows of the file, in bounded memory.

        Raises:
            BadLogError: the file has no column that it must have, or one of a wrong type.
        """

    @property
    def hashing(self) -> HashingReader:
        """The bytes that went by; whole once the blocks are used up."""


def repeated(value: str | None, rows: int) -> pa.Array:
    """A column that says the same in every row, by codes."""
    if value is None:
        return pa.nulls(rows, TEXT)
    codes = pa.array(np.zeros(rows, np.int32))
    return pa.DictionaryArray.from_arrays(codes, pa.array([value], pa.string()))


def merged(blocks: Iterator[Block]) -> Iterator[Block]:
    """The same rows in fewer blocks: a log of many small files is judged a few MiB at a time."""
    waiting: list[Block] = []
    size = 0

    def together() -> Block:
        return replace(waiting[0], rows=pa.concat_tables(block.rows for block in waiting))

    for block in blocks:
        size += block.rows.nbytes
        fits = size <= _MERGED_BYTES and len(waiting) < _MERGED_BLOCKS
        if waiting and not (fits and _form(block) == _form(waiting[0])):
            yield together()
            waiting, size = [], block.rows.nbytes
        waiting.append(block)
        if size > _MERGED_BYTES:
            yield together()
            waiting, size = [], 0
    if waiting:
        yield together()


def _form(block: Block) -> tuple[object, ...]:
    return block.select, block.columns, dict(block.kinds), block.typed, block.rows.schema


def for_threads(rows: pa.Table) -> pa.Table:
    """Rows cut into what DuckDB can hand to its threads."""
    if rows["row"].num_chunks > _MOST_CHUNKS:
        rows = rows.combine_chunks()
    if rows["row"].num_chunks >= _BATCHES:
        return rows
    batches = rows.to_batches(max_chunksize=max(1, len(rows) // _BATCHES))
    return pa.Table.from_batches(batches, rows.schema)
