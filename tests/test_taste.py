from __future__ import annotations

import random
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import schemas
from recsys.plays import daily_plays
from recsys.taste import roll_taste
from tests.sorted_tables import CUTOFF, DAYS, TASTES, Row, read_by, write_plays, write_taste

MONDAY = date(2026, 11, 2)
COUNTS = ("plays", "part_plays", "skips", "saves", "likes", "dislikes")


def listen(user: str, track: str, day: date, **fields: Any) -> dict[str, Any]:
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return {"user_id": user, "track_id": track, "listened_at": at, "event": "play"} | fields


def day_of(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows, schema=schemas.LISTENS)
    table = table.sort_by([(name, "ascending") for name in ("user_id", "track_id", "listened_at")])
    pq.write_table(table, folder / "listens.parquet")
    daily_plays(folder / "listens.parquet", folder)
    return folder / "plays.parquet"


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({}, "plays"),
        ({"ms_played": 100_000, "duration_ms": 200_000}, "plays"),
        ({"ms_played": 240_000, "duration_ms": 900_000}, "plays"),
        ({"ms_played": 30_000}, "plays"),
        ({"ms_played": 99_999, "duration_ms": 200_000}, "part_plays"),
        ({"ms_played": 150_000, "duration_ms": 200_000, "skipped": True}, "part_plays"),
        ({"ms_played": 29_999, "duration_ms": 200_000}, "skips"),
        ({"ms_played": 99_000, "duration_ms": 200_000, "skipped": True}, "skips"),
        ({"skipped": True}, "skips"),
        ({"event": "save"}, "saves"),
        ({"event": "like"}, "likes"),
        ({"event": "dislike"}, "dislikes"),
    ],
)
def test_a_listen_counts_as_one_thing(tmp_path: Path, fields: dict[str, Any], counted: str) -> None:
    plays = pq.read_table(day_of(tmp_path / "day", [listen("u", "t", MONDAY, **fields)]))
    row = plays.to_pylist()[0]
    assert {name: row[name] for name in COUNTS} == {name: int(name == counted) for name in COUNTS}


def test_a_listen_counts_on_its_own_day_however_late_it_arrives(tmp_path: Path) -> None:
    plays = pq.read_table(
        day_of(
            tmp_path / "day", [listen("u", "t", MONDAY), listen("u", "t", MONDAY + timedelta(3))]
        )
    )
    assert plays["listened_on"].to_pylist() == [MONDAY, MONDAY + timedelta(3)]


def test_a_play_halves_with_the_half_life(tmp_path: Path) -> None:
    plays = day_of(tmp_path / "day", [listen("u", "t", MONDAY), listen("u", "t", MONDAY)])
    out = tmp_path / "taste.parquet"
    roll_taste(None, [plays], MONDAY + timedelta(14), 7.0, out)
    row = pq.read_table(out).to_pylist()[0]
    assert row["plays"] == pytest.approx(2 * 0.25)
    assert (row["heard"], row["disliked"], row["last_heard"]) == (True, False, MONDAY)


def test_going_on_from_last_week_equals_starting_from_the_days(tmp_path: Path) -> None:
    days = [
        day_of(
            tmp_path / str(n),
            [listen(f"u{n % 3}", f"t{n % 4}", MONDAY + timedelta(n)), listen("u0", "t0", MONDAY)],
        )
        for n in range(14)
    ]
    one, two, whole = (tmp_path / name for name in ("one.parquet", "two.parquet", "whole.parquet"))
    roll_taste(None, days[:7], MONDAY + timedelta(7), 5.0, one)
    roll_taste((one, MONDAY + timedelta(7)), days[7:], MONDAY + timedelta(14), 5.0, two)
    roll_taste(None, days, MONDAY + timedelta(14), 5.0, whole)
    chained, direct = pq.read_table(two).to_pylist(), pq.read_table(whole).to_pylist()
    assert [row | {"plays": 0} for row in chained] == [row | {"plays": 0} for row in direct]
    assert [row["plays"] for row in chained] == pytest.approx([row["plays"] for row in direct])


def test_the_bytes_do_not_depend_on_the_order_of_rows_or_days(tmp_path: Path) -> None:
    rows = [
        listen(f"u{n % 7}", f"t{n % 11}", MONDAY + timedelta(n % 5), ms_played=n * 1000)
        for n in range(500)
    ]
    shuffled = random.Random(1).sample(rows, len(rows))
    outs = []
    for name, order in (("a", rows), ("b", shuffled)):
        plays = [day_of(tmp_path / name / str(k), order[k::2]) for k in range(2)]
        if name == "b":
            plays = plays[::-1]
        out = tmp_path / f"{name}.parquet"
        roll_taste(None, plays, MONDAY + timedelta(7), 30.0, out)
        outs.append(out.read_bytes())
    assert outs[0] == outs[1]


def test_a_save_is_not_hearing(tmp_path: Path) -> None:
    plays = day_of(tmp_path / "day", [listen("u", "t", MONDAY, event="save")])
    out = tmp_path / "taste.parquet"
    roll_taste(None, [plays], MONDAY + timedelta(1), 7.0, out)
    row = pq.read_table(out).to_pylist()[0]
    assert (row["heard"], row["last_heard"]) == (False, None)


def test_no_days_make_an_empty_state(tmp_path: Path) -> None:
    out = tmp_path / "taste.parquet"
    assert roll_taste(None, [], MONDAY, 7.0, out) == 0
    assert pq.read_schema(out).equals(schemas.TASTE)


def plainly(
    previous: list[Row], factor: float, days: list[list[Row]], half_life_days: float
) -> list[Row]:
    """The state, row by row."""
    weight = {
        row["listened_on"]: round(
            2**32 * 0.5 ** (max((CUTOFF - row["listened_on"]).days, 1) / half_life_days)
        )
        for day in days
        for row in day
    }
    old = {(row["user_id"], row["track_id"]): row for row in previous}
    new: dict[tuple[str, str], list[Row]] = {}
    for day in days:
        for row in day:
            new.setdefault((row["user_id"], row["track_id"]), []).append(row)
    state = []
    for key in sorted(old | new):
        was, rows = old.get(key, {}), new.get(key, [])
        began = [row for row in rows if row["plays"] + row["part_plays"] + row["skips"] > 0]
        dates = [min(row["listened_on"], CUTOFF - timedelta(1)) for row in began]
        dates += [was["last_heard"]] if was.get("last_heard") else []
        state.append(
            {"user_id": key[0], "track_id": key[1]}
            | {
                name: was.get(name, 0.0) * factor
                + sum(row[name] * weight[row["listened_on"]] for row in rows) / 2**32
                for name in COUNTS
            }
            | {
                "heard": was.get("heard", False) or bool(began),
                "disliked": was.get("disliked", False) or any(row["dislikes"] for row in rows),
                "last_heard": max(dates, default=None),
            }
        )
    return state


@given(st.lists(DAYS, max_size=4), TASTES, st.integers(1, 40), st.sampled_from([0.5, 7.0, 90.0]))
def test_it_is_what_adding_up_row_by_row_gives(
    days: list[list[Row]], previous: list[Row], rows: int, half_life_days: float
) -> None:
    with tempfile.TemporaryDirectory() as name, read_by(rows):
        folder = Path(name)
        tables = [write_plays(day, folder / f"{n}.parquet") for n, day in enumerate(days)]
        before = write_taste(previous, folder / "before.parquet"), CUTOFF - timedelta(7)
        out = folder / "taste.parquet"
        assert (
            roll_taste(before, tables, CUTOFF, half_life_days, out)
            == pq.read_metadata(out).num_rows
        )
        found = pq.read_table(out)
    assert found.schema.equals(schemas.TASTE)
    assert found.to_pylist() == plainly(previous, 0.5 ** (7 / half_life_days), days, half_life_days)
