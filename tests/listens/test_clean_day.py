"""Duplicates, order and accounting of a day."""

from __future__ import annotations

import json
import random
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys import schemas
from recsys.listens import LogFile, Reason, clean_day
from recsys.listens import _tables as tables
from recsys.settings import ListensSettings

if TYPE_CHECKING:
    from tests.listens.conftest import Lab

DAY = date(2026, 11, 16)
KEY = ("user_id", "track_id", "listened_at", "event")


def some_rows(lab: Lab, count: int, seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [
        lab.listen(
            user_id=draw.choice(["a", "b", "ä", "🎧"]),
            track_id=draw.choice("xyz"),
            listened_at=f"2026-11-16T12:00:{draw.randrange(5):02}Z",
            event=draw.choice(["play", "save", None]),
            ms_played=draw.choice([None, 0, 5, -1]),
            skipped=draw.choice([None, True, False]),
            artist_ids=draw.choice([None, ["a"], ["a", "b"], "a"]),
        )
        for _ in range(count)
    ]


def test_the_same_rows_give_the_same_bytes_in_any_order_and_number_of_files(lab: Lab) -> None:
    rows = some_rows(lab, 3000)
    lab.jsonl(*rows)
    first = lab.clean("jsonl")
    random.Random(1).shuffle(rows)
    lab.jsonl(*rows[:1000], name="a.jsonl")
    lab.jsonl(*rows[1000:1001], name="b.jsonl")
    lab.jsonl(*rows[1001:], name="c.jsonl")
    second = lab.clean("jsonl")
    assert second.bytes == first.bytes
    assert second.report.quarantined == first.report.quarantined
    assert first.report.duplicates > 1000


def test_the_same_rows_give_the_same_bytes_on_any_number_of_threads(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = range(130_000)
    lab.parquet(
        {
            "user_id": [f"u{n * 7919 % 1000}" for n in numbers],
            "track_id": [f"t{n * 104729 % 5000}" for n in numbers],
            "listened_at": [1_794_830_400 + n % 86_400 for n in numbers],
        }
    )
    many = lab.clean("parquet")
    connect = duckdb.connect
    monkeypatch.setattr(
        tables.duckdb, "connect", lambda config: connect(config=config | {"threads": 1})
    )
    one = lab.clean("parquet")
    assert one.bytes == many.bytes
    assert pq.ParquetFile(many.path).num_row_groups == 2


def test_rows_are_sorted_by_the_bytes_of_the_key(lab: Lab) -> None:
    lab.jsonl(*some_rows(lab, 300))
    keys = [
        (row["user_id"].encode(), row["track_id"].encode(), row["listened_at"], row["event"])
        for row in lab.clean("jsonl").listens
    ]
    assert keys == sorted(set(keys))


def test_of_duplicates_the_one_that_says_more_is_kept(lab: Lab) -> None:
    lab.jsonl(lab.listen(), lab.listen(ms_played=5), name="a.jsonl")
    lab.jsonl(lab.listen(event="play"), lab.listen(event="save"), name="b.jsonl")
    day = lab.clean("jsonl")
    assert [(row["event"], row["ms_played"]) for row in day.listens] == [
        ("play", 5),
        ("save", None),
    ]
    assert day.report.duplicates == 2


def test_the_same_instant_written_otherwise_is_a_duplicate(lab: Lab) -> None:
    lab.jsonl(lab.listen(), lab.listen(listened_at="2026-11-16T14:00:00+02:00"))
    assert lab.clean("jsonl").report.duplicates == 1


def test_what_an_earlier_day_holds_is_a_duplicate(lab: Lab) -> None:
    lab.jsonl(lab.listen(), lab.listen(track_id="only before"))
    before = lab.clean("jsonl")
    late = lab.listen(listened_at="2026-11-10T00:00:00Z")
    lab.jsonl(lab.listen(ms_played=9), lab.listen(ms_played=8), lab.listen(event="save"), late)
    day = lab.clean("jsonl", earlier=[before.path])
    assert [(row["event"], row["listened_at"].day) for row in day.listens] == [
        ("play", 10),
        ("save", 16),
    ]
    assert day.report.duplicates == 2
    again = lab.clean("jsonl", earlier=[before.path, day.path])
    assert (again.report.kept, again.report.duplicates) == (0, 4)
    assert again.table.schema.equals(schemas.LISTENS)


def test_an_empty_earlier_day_is_no_harm(lab: Lab) -> None:
    lab.jsonl()
    empty = lab.clean("jsonl")
    lab.jsonl(lab.listen())
    assert lab.clean("jsonl", earlier=[empty.path]).report.kept == 1


def test_a_private_row_leaves_no_trace(lab: Lab) -> None:
    lab.jsonl(lab.listen(private=True, user_id="secret-user", track_name="secret-song"))
    day = lab.clean("jsonl")
    assert day.report.quarantined == {"private": 1}
    out = day.path.parent
    assert not any(b"secret" in file.read_bytes() for file in out.iterdir())
    assert sorted(file.name for file in out.iterdir()) == ["listens.parquet", "quarantine.parquet"]


def test_the_quarantine_is_sorted_by_file_and_row(lab: Lab) -> None:
    lab.jsonl("x", "y", name="b.jsonl")
    lab.jsonl(lab.listen(), "x", lab.listen(event="?"), name="a.jsonl")
    day = lab.clean("jsonl")
    assert [(row["file"][-7:], row["row"]) for row in day.quarantine] == [
        ("a.jsonl", 2),
        ("a.jsonl", 3),
        ("b.jsonl", 1),
        ("b.jsonl", 2),
    ]
    assert list(day.report.quarantined) == sorted(day.report.quarantined)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["u", "t", "2026-11-16T12:00:00Z", "2026-11-16T12:00:00-01:00", "play", "1"]),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
GOOD = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["u", "v"]),
        "track_id": st.sampled_from(["t", "w"]),
        "listened_at": st.sampled_from(["2026-11-16T12:00:00Z", "2026-11-15T12:00:00Z"]),
    }
)
ROWS = st.builds(
    lambda good, odd: good | odd,
    GOOD,
    st.dictionaries(
        st.sampled_from([*schemas.LISTENS.names, "private", "other"]), ANYTHING, max_size=3
    ),
)
BYTES = st.binary(max_size=20).map(lambda data: data.replace(b"\n", b" ").lstrip(b"\xef"))
JSON_LINES = st.one_of(
    ROWS.map(lambda row: json.dumps(row).encode()),
    BYTES,
)
FIELDS = st.text(st.characters(exclude_characters="\n\t", codec="utf-8"), max_size=6)
TSV_LINES = st.one_of(
    st.lists(FIELDS, min_size=5, max_size=7).map(lambda fields: "\t".join(fields).encode()),
    st.tuples(st.just("u"), st.just("2009-05-04T23:08:57Z"), FIELDS, FIELDS, FIELDS, FIELDS).map(
        lambda fields: "\t".join(fields).encode()
    ),
    BYTES,
)
MANY = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def account(format_: str, path: Path, out: Path) -> int:
    """Clean ``path``; all it says must add up. The number of rows read."""
    file = LogFile("a", path.as_uri(), path.stat().st_size, None)
    report = clean_day(ListensSettings(source="-", format=format_), DAY, [file], [], out)
    kept = pq.read_table(out / "listens.parquet")
    refused = pq.read_table(out / "quarantine.parquet")
    assert report.kept == len(kept)
    assert sum(report.quarantined.values()) == len(refused)
    assert (
        report.read == report.kept + report.duplicates + len(refused) == report.sources[0]["rows"]
    )
    assert set(report.quarantined) <= set(Reason)
    assert len({tuple(row[name] for name in KEY) for row in kept.to_pylist()}) == len(kept)
    return report.read


@MANY
@given(lines=st.lists(JSON_LINES, max_size=30))
def test_every_json_line_is_accounted_for(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    assert account("jsonl", path, tmp_path / "out") == sum(
        line not in (b"", b"\r") for line in lines
    )


@MANY
@given(lines=st.lists(TSV_LINES, max_size=30))
def test_every_lastfm_line_is_accounted_for(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    assert account("lastfm", path, tmp_path / "out") == sum(
        line not in (b"", b"\r") for line in lines
    )


@MANY
@given(data=st.data(), count=st.integers(0, 20))
def test_every_parquet_row_is_accounted_for(
    tmp_path: Path, data: st.DataObject, count: int
) -> None:
    int64 = st.integers(-(2**63), 2**63 - 1)
    kinds: dict[pa.DataType, st.SearchStrategy[Any]] = {
        pa.string(): st.one_of(st.text(max_size=5), st.just("2026-11-16T12:00:00Z")),
        pa.int64(): st.one_of(int64, st.sampled_from([0, 1, 1_794_830_400])),
        pa.timestamp("ns"): int64,
        pa.timestamp("ms", "UTC"): int64,
        pa.float64(): st.floats(),
        pa.bool_(): st.booleans(),
        pa.list_(pa.string()): st.lists(st.one_of(st.none(), st.text(max_size=2)), max_size=3),
    }
    string, int64_, ns, ms, double, flag, texts = kinds
    allowed = {
        "user_id": [string, int64_],
        "track_id": [string, int64_],
        "listened_at": [string, int64_, ns, ms],
        "event": [string],
        "artist_ids": [string, int64_, texts],
        "ms_played": [int64_, double, string],
        "duration_ms": [int64_, double],
        "skipped": [flag, int64_, double, string],
        "private": [flag, int64_],
        "album_name": [string],
    }
    columns = {}
    for name, types in allowed.items():
        kind = data.draw(st.sampled_from(types))
        values = st.one_of(st.none(), kinds[kind])
        drawn = data.draw(st.lists(values, min_size=count, max_size=count))
        stored = pa.int64() if pa.types.is_timestamp(kind) else kind
        columns[name] = pa.array(drawn, stored).cast(kind)
    path = tmp_path / "a"
    pq.write_table(pa.table(columns), path)
    assert account("parquet", path, tmp_path / "out") == count
