"""Typed columns are judged as the SQL judges them; late listens and ties are settled as before."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.listens import _parquet, clean_day
from recsys.listens._archive import MOST_SWELLING, DamagedFileError
from recsys.listens._inventory import LogFile
from recsys.listens._said import said_of, told
from recsys.listens._sql import literal
from recsys.settings import ListensSettings
from tests.listens.test_properties import DAY

MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
NOON = 1_794_830_400_000_000
IDS = st.sampled_from([None, "", "u", "v", "\0", "🎧", "é", "u" * 40])
NAMES = st.sampled_from([None, "", "a", "A\0", "🎧"])
TIMES = st.sampled_from([None, NOON, NOON + 1, NOON - 86_400_000_000, 0, -5, 2**62])
EVENTS = st.sampled_from([None, "", "play", "save", "skips", "a@b.c", "+12", "1.5", "{x", "ünd"])
AMOUNTS = st.sampled_from([None, 0, 1, -1, 10**12, 10**12 + 1, 200_000])
ARTISTS = st.sampled_from([None, [], ["a"], ["a", "b"], [None], ["", "a"], ["b", None, ""]])
FLAGS = st.sampled_from([None, True, False])
ROW = st.fixed_dictionaries(
    {
        "user_id": IDS,
        "track_id": IDS,
        "listened_at": TIMES,
        "event": EVENTS,
        "artist_ids": ARTISTS,
        "ms_played": AMOUNTS,
        "duration_ms": AMOUNTS,
        "skipped": FLAGS,
        "private": FLAGS,
        "track_name": NAMES,
        "artist_name": NAMES,
        "album_name": NAMES,
    }
)
TYPES: dict[str, list[pa.DataType]] = {
    "user_id": [pa.string(), pa.large_string(), pa.binary()],
    "listened_at": [pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.int64()],
    "ms_played": [pa.int64(), pa.float64()],
    "duration_ms": [pa.int64(), pa.float64()],
    "artist_ids": [pa.list_(pa.string())],
    "skipped": [pa.bool_(), pa.int8(), pa.float64()],
    "private": [pa.bool_(), pa.int8()],
}


def clean(path: Path, out: Path) -> tuple[pa.Table, pa.Table]:
    file = LogFile(path.name, path.as_uri(), path.stat().st_size, None)
    clean_day(ListensSettings(source="-", format="parquet"), DAY, [file], [], out)
    return pq.read_table(out / "listens.parquet"), pq.read_table(out / "quarantine.parquet")


@MANY
@given(rows=st.lists(ROW, max_size=40), seed=st.integers(0, 1000))
def test_typed_columns_are_judged_as_by_sql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], seed: int
) -> None:
    draw = random.Random(seed)
    schema = pa.schema({name: draw.choice(TYPES.get(name, [pa.string()])) for name in ROW_NAMES})
    plain = {name: pa.array([row[name] for row in rows], FIRST.get(name)) for name in ROW_NAMES}
    table = pa.table({name: plain[name].cast(schema.field(name).type) for name in ROW_NAMES})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=draw.choice([3, 100]), use_dictionary=seed % 2 == 0)
    by_types = clean(path, tmp_path / "typed")
    with monkeypatch.context() as patch:
        patch.setattr(_parquet, "is_typed", lambda _: False)
        by_sql = clean(path, tmp_path / "sql")
    assert by_types[0].equals(by_sql[0])
    assert by_types[1].equals(by_sql[1])


ROW_NAMES = [
    "user_id",
    "track_id",
    "listened_at",
    "event",
    "artist_ids",
    "ms_played",
    "duration_ms",
    "skipped",
    "private",
    "track_name",
    "artist_name",
    "album_name",
]
FIRST = {
    "listened_at": pa.int64(),
    "artist_ids": pa.list_(pa.string()),
    **dict.fromkeys(("ms_played", "duration_ms"), pa.int64()),
    **dict.fromkeys(("skipped", "private"), pa.bool_()),
    **dict.fromkeys(("user_id", "track_id", "event"), pa.string()),
    **dict.fromkeys(("track_name", "artist_name", "album_name"), pa.string()),
}


@given(
    text=st.one_of(
        st.text(st.characters(codec="ascii"), max_size=8),
        st.sampled_from(["Skipped", "2026-11-16", "-12", "+1", "1.5e3", "-inf", "nan", "[{", "["]),
    )
)
def test_what_is_said_of_an_event_is_what_sql_says(text: str) -> None:
    said = said_of("event", text)
    if said is not None:
        query = f"SELECT 'event: ' || {told('raw')} FROM (SELECT {literal(text)} AS raw)"
        assert duckdb.execute(query).fetchall() == [(said,)]


@pytest.mark.parametrize("longest", [1, 5000])
def test_late_listens_are_known_by_all_of_their_key(tmp_path: Path, longest: int) -> None:
    draw = random.Random(3)

    def listens(count: int) -> pa.Table:
        rows = [
            {
                "user_id": draw.choice(["a", "b", "é", "🎧" * longest, "z\0"]),
                "track_id": draw.choice(["s", "t", "ü"]),
                "listened_at": NOON + draw.randrange(12) * 1_000_000,
                "event": draw.choice(["play", "save"]),
            }
            for _ in range(count)
        ]
        schema = pa.schema(
            {
                "user_id": pa.string(),
                "track_id": pa.string(),
                "listened_at": pa.timestamp("us", "UTC"),
                "event": pa.string(),
            }
        )
        return pa.Table.from_pylist(rows, schema)

    key = ["user_id", "track_id", "listened_at", "event"]
    earlier: list[Path] = []
    seen: set[tuple[Any, ...]] = set()
    for day in range(4):
        path = tmp_path / f"{day}.parquet"
        pq.write_table(listens(60), path)
        file = LogFile(path.name, path.as_uri(), path.stat().st_size, None)
        out = tmp_path / f"out-{day}"
        clean_day(ListensSettings(source="-", format="parquet"), DAY, [file], earlier, out)
        given_rows = {tuple(row.values()) for row in pq.read_table(path).to_pylist()}
        kept = pq.read_table(out / "listens.parquet").select(key).to_pylist()
        assert [tuple(row.values()) for row in kept] == sorted(
            given_rows - seen, key=lambda row: (row[0].encode(), row[1].encode(), *row[2:])
        )
        seen |= given_rows
        earlier.append(out / "listens.parquet")


def test_numbers_in_place_of_text_count_as_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.listens._archive._FREE_SWELLING", 0)
    rows, path = 20_000, tmp_path / "log.parquet"
    ids = pa.array(range(10**15, 10**15 + rows))
    names = {name: name for name in ("user_id", "track_id", "listened_at")}
    pq.write_table(pa.table(dict.fromkeys(names, ids)), path)
    stored = 3 * 9 * rows // MOST_SWELLING  # eight bytes a number, and whether it is there
    with pq.ParquetFile(path) as parquet:
        read = _parquet.coded_tables(parquet, path, names, lambda: stored)
        assert sum(map(len, read)) == rows
        with pytest.raises(DamagedFileError, match="250 times as large"):
            list(_parquet.coded_tables(parquet, path, names, lambda: stored // 2))
