"""Tables of users and tracks for property tests, and a way to have them read in small pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from recsys import _side_by_side, schemas
from recsys import columns as c
from recsys.plays import DAILY_PLAYS

CUTOFF = date(2026, 11, 15)
#: Few of them, so that rows meet: some differ in case, accent or what follows a NUL.
IDS = st.sampled_from(["", "a", "A", "a\0", "a\0b", "ab", "é", "e\u0301", "🎧", "\uffff", "z" * 40])
_COUNT = st.integers(0, 3)
_DATES = st.integers(-40, 2).map(lambda n: CUTOFF + timedelta(n))
_DECAYED = st.floats(0, 9).map(lambda value: round(value * 2**32) / 2**32)

Row = dict[str, Any]


def _rows(key: Sequence[str], rows: st.SearchStrategy[Row]) -> st.SearchStrategy[list[Row]]:
    """Rows in order of their key, none of them twice."""

    def of(row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in key)

    return st.lists(rows, unique_by=of, max_size=30).map(lambda them: sorted(them, key=of))


#: A day's plays.
DAYS = _rows(
    [c.USER_ID, c.TRACK_ID, c.LISTENED_ON],
    st.fixed_dictionaries(
        {
            c.USER_ID: IDS,
            c.TRACK_ID: IDS,
            c.LISTENED_ON: _DATES,
            **dict.fromkeys(c.COUNTS, _COUNT),
            c.MS_PLAYED: st.just(0),
        }
    ),
)
#: A taste state.
TASTES = _rows(
    [c.USER_ID, c.TRACK_ID],
    st.fixed_dictionaries(
        {
            c.USER_ID: IDS,
            c.TRACK_ID: IDS,
            **dict.fromkeys(c.COUNTS, _DECAYED),
            c.HEARD: st.booleans(),
            c.DISLIKED: st.booleans(),
            c.LAST_HEARD: st.none() | _DATES,
        }
    ),
)
#: A catalogue: some tracks, each of one of a few songs.
CATALOGUES = _rows(
    [c.TRACK_ID],
    st.fixed_dictionaries(
        {
            c.TRACK_ID: IDS,
            c.TRACK_NAME: st.none(),
            c.ARTIST_NAME: st.none(),
            c.ALBUM_NAME: st.none(),
            c.ARTIST_IDS: st.just(["one"]),
            c.ARTIST_NAMES: st.just(["One"]),
            c.DURATION_MS: st.none(),
            c.AVAILABLE: st.booleans(),
            c.EXPLICIT: st.none(),
            c.SONG_KEY: st.sampled_from(["é", "s", "\0"]),
        }
    ),
)


def write_plays(rows: Sequence[Row], path: Path) -> Path:
    return _write(rows, path, DAILY_PLAYS)


def write_taste(rows: Sequence[Row], path: Path) -> Path:
    return _write(rows, path, schemas.TASTE)


def write_catalogue(rows: Sequence[Row], path: Path) -> Path:
    return _write(rows, path, schemas.CATALOGUE)


def _write(rows: Sequence[Row], path: Path, schema: pa.Schema) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path, row_group_size=5)
    return path


@contextmanager
def read_by(rows: int) -> Iterator[None]:
    """Have so many rows read at a time, at least."""
    with (
        patch.object(_side_by_side, "_STRETCH_ROWS", rows),
        patch.object(_side_by_side, "_LEAST_ROWS", 1),
    ):
        yield
