"""Daily plays, from a day that is read in stretches."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys import plays, schemas
from recsys.plays import daily_plays


def listens(count: int) -> pa.Table:
    """Sorted, with pairs that are heard many times a day, and tracks told in several ways."""
    draw = random.Random(5)
    begin = datetime(2026, 11, 1, 22, tzinfo=UTC)
    rows = [
        {
            "user_id": f"u{draw.randrange(3)}",
            "track_id": f"t{draw.randrange(4)}",
            "listened_at": begin + timedelta(minutes=minute),
            "event": draw.choice(["play", "play", "play", "save", "like", "dislike"]),
            "artist_ids": draw.choice([None, ["a"], ["a", "b"], ["a", "b"], ["b", "a"], [None]]),
            "ms_played": draw.choice([None, 0, 20_000, 200_000]),
            "duration_ms": draw.choice([None, 180_000]),
            "skipped": draw.choice([None, True, False]),
            "track_name": draw.choice([None, "Song", "song"]),
            "artist_name": draw.choice(["A", "A", "B"]),
            "album_name": None,
        }
        for minute in range(count)
    ]
    rows.sort(key=lambda row: (row["user_id"], row["track_id"], row["listened_at"]))
    return pa.Table.from_pylist(rows, schemas.LISTENS)


@pytest.mark.parametrize("group", [1, 3, 50])
def test_stretches_play_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int
) -> None:
    day = listens(240)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    made = {}
    for out in (whole, cut):
        out.mkdir()
        pq.write_table(day, out / "listens.parquet", row_group_size=group)
        made[out] = daily_plays(out / "listens.parquet", out)
        monkeypatch.setattr(plays, "_STRETCH_BYTES", 1)
    assert made[whole] == made[cut]
    assert made[whole]["plays"] <= 2 * 12 < len(day)
    for name in ("plays.parquet", "tracks.parquet"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()
    counted = pq.read_table(cut / "plays.parquet").select(plays.DAILY_PLAYS.names[3:9])
    assert sum(sum(column.to_pylist()) for column in counted.columns) == len(day)


_REFERENCE = """
    SELECT * EXCLUDE (times) FROM (
        SELECT track_id, track_name, artist_name, album_name, artist_ids, duration_ms,
            count(*) AS times FROM day GROUP BY ALL
    )
    QUALIFY row_number() OVER (
        PARTITION BY track_id
        ORDER BY track_name IS NULL, times DESC, track_name, artist_name, album_name,
            artist_ids, duration_ms
    ) = 1
    ORDER BY track_id
"""


@pytest.mark.parametrize("run_bytes", [1, 1 << 30])
@pytest.mark.parametrize("count", [0, 1, 40, 3000])
def test_of_a_track_is_told_what_is_told_most_often(
    tmp_path: Path, count: int, run_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plays, "_STRETCH_BYTES", 1)
    monkeypatch.setattr("recsys.listens._sorter.RUN_BYTES", run_bytes)
    monkeypatch.setattr("recsys.listens._sorter.STRETCH_BYTES", 500)
    day = listens(count)
    pq.write_table(day, tmp_path / "listens.parquet", row_group_size=500)
    daily_plays(tmp_path / "listens.parquet", tmp_path)
    with duckdb.connect() as connection:
        connection.register("day", day)
        expected = connection.sql(_REFERENCE).to_arrow_table()
    assert pq.read_table(tmp_path / "tracks.parquet").to_pylist() == expected.to_pylist()
