"""Rows by codes from SQLite. Needs the standard library alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

_CODES_AT_ONCE: Final = 500


def in_order(tracks: Iterable[tuple[int, str]]) -> list[str]:
    """What lies by codes, if they are those from 1.

    Raises:
        ValueError: codes are missing.
    """
    found = list(tracks)
    if [code for code, _ in found] != list(range(1, len(found) + 1)):
        raise ValueError("codes of tracks are missing")
    return [names for _, names in found]


def few_at_a_time(
    connection: sqlite3.Connection, select: str, codes: Sequence[int]
) -> Iterator[tuple[Any, ...]]:
    """The rows that ``select`` and a list of codes give."""
    for start in range(0, len(codes), _CODES_AT_ONCE):
        part = ",".join(map(str, codes[start : start + _CODES_AT_ONCE]))
        yield from connection.execute(f"{select} ({part})")
