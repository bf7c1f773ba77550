"""Tables that are read side by side, and ids written by number."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import _coded_writer, schemas
from recsys import columns as c
from recsys._coded_writer import CodedWriter
from recsys._side_by_side import SideBySide
from recsys.errors import ArtefactError
from tests.sorted_tables import DAYS, TASTES, Row, read_by, write_plays, write_taste

_PLAYS = pa.schema([(c.PLAYS, pa.int64())])
_LAST = pa.schema([(c.LAST_HEARD, pa.date32())])


def read(tables: SideBySide) -> list[list[tuple[str, str, Any]]]:
    """Of each group its rows; nobody is in two stretches."""
    found: list[list[tuple[str, str, Any]]] = [[], []]
    last = ""
    for stretch in tables:
        named = {
            name for rows in stretch.groups for name in stretch.users.named(rows.user).to_pylist()
        }
        assert not found[0] + found[1] or min(named) > last
        last = max(named)
        for rows, mine in zip(stretch.groups, found, strict=True):
            users, tracks = stretch.users.named(rows.user), stretch.tracks.named(rows.track)
            assert rows.starts[-1] == len(rows.user)
            mine += zip(
                users.to_pylist(), tracks.to_pylist(), rows.columns[0].tolist(), strict=True
            )
    return found


@given(st.lists(DAYS, max_size=4), TASTES, st.integers(1, 40))
def test_every_row_is_read_once_and_users_come_in_order(
    days: list[list[Row]], taste: list[Row], rows: int
) -> None:
    with tempfile.TemporaryDirectory() as name, read_by(rows):
        folder = Path(name)
        tables = [write_plays(day, folder / f"{n}.parquet") for n, day in enumerate(days)]
        state = write_taste(taste, folder / "taste.parquet")
        found, old = read(SideBySide((tables, _PLAYS), ([state], _LAST)))
    assert sorted(found) == sorted(
        (row[c.USER_ID], row[c.TRACK_ID], row[c.PLAYS]) for day in days for row in day
    )
    assert [row[:2] for row in old] == [(row[c.USER_ID], row[c.TRACK_ID]) for row in taste]


def test_a_table_that_is_not_sorted_by_user_is_refused(tmp_path: Path) -> None:
    row = dict.fromkeys(schemas.TASTE.names, 0.0) | {"heard": True, "disliked": False}
    rows = [row | {"user_id": user, "track_id": "t", "last_heard": None} for user in "ba"]
    state = write_taste(rows, tmp_path / "taste.parquet")
    with pytest.raises(ArtefactError, match=r"taste.parquet is not sorted by user"):
        list(SideBySide(([state], _LAST)))


def test_what_is_written_does_not_depend_on_how_much_is_read_at_a_time(tmp_path: Path) -> None:
    row = dict.fromkeys(schemas.TASTE.names, 0.0) | {"heard": True, "disliked": False}
    rows = [
        row | {"user_id": f"u{n // 7:03}", "track_id": f"t{n % 7}", "last_heard": None}
        for n in range(300)
    ]
    state = write_taste(rows, tmp_path / "taste.parquet")
    schema = pa.schema([*list(schemas.TASTE)[:2], schemas.TASTE.field(c.LAST_HEARD)])
    written = []
    for some in (1, 50, 1000):
        out = tmp_path / f"{some}.parquet"
        with (
            read_by(some),
            patch.object(_coded_writer, "_ROWS", 64),
            CodedWriter(out, schema) as writer,
        ):
            for stretch in SideBySide(([state], _LAST)):
                (them,) = stretch.groups
                last = pa.nulls(len(them.user), pa.date32())
                writer.write(stretch, them.user, them.track, [last])
        written.append(out.read_bytes())
    assert written[0] == written[1] == written[2]
    assert pq.read_metadata(out).num_row_groups == 5
    assert pq.read_schema(out).equals(schema)
    assert pq.read_table(out).equals(pq.read_table(state, columns=schema.names).cast(schema))
