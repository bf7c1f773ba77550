"""Duplicates, order and accounting of a day."""

from __future__ import annotations

import errno
import random
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq
import pytest

from recsys import _tables as tables
from recsys import schemas
from recsys._threads import share_of
from recsys.errors import ResourceError
from recsys.listens import _block, _clean, _sorter

if TYPE_CHECKING:
    from tests.listens.conftest import Lab


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


@pytest.mark.parametrize(
    ("files", "stretch", "at_once"),
    [
        (12, 99, 3),
        pytest.param(1, 9, 64, marks=pytest.mark.soak),
        pytest.param(30, 200, 64, marks=pytest.mark.soak),
    ],
)
def test_a_day_that_is_sorted_in_parts_has_the_same_bytes(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, files: int, stretch: int, at_once: int
) -> None:
    rows = some_rows(lab, 200) + [lab.listen(user_id=f"a\0{n % 20}") for n in range(40)]
    lab.jsonl(*rows[::3])
    before = lab.clean("jsonl")
    rows += [lab.listen(user_id="late", track_id=f"{n}") for n in range(50)] + rows[:100]
    for n in range(files):
        lab.jsonl(*rows[n::files], name=f"{n}.jsonl")
    lab.jsonl("?", name="a.jsonl")
    whole = lab.clean("jsonl", earlier=[before.path])
    monkeypatch.setattr(_block, "_MERGED_BYTES", 1)
    monkeypatch.setattr(_sorter, "RUN_BYTES", 1)
    monkeypatch.setattr(_sorter, "STRETCH_BYTES", stretch)
    monkeypatch.setattr(_sorter, "MERGED_AT_ONCE", at_once)
    monkeypatch.setattr(_clean, "_TIED", 7)
    parts = lab.clean("jsonl", earlier=[before.path])
    assert parts.bytes == whole.bytes
    assert parts.report == whole.report


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
    with share_of(1):
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


def test_a_disk_that_is_full_while_a_day_is_sorted_is_said(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    lab.jsonl(*some_rows(lab, 10))
    monkeypatch.setattr(_sorter, "RUN_BYTES", 1)
    monkeypatch.setattr(_sorter.pq, "ParquetWriter", full)
    with pytest.raises(ResourceError, match="disk ran out"):
        lab.clean("jsonl")


def test_a_disk_that_is_full_while_a_day_is_written_is_said(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    lab.jsonl(*some_rows(lab, 10))
    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(ResourceError, match="disk ran out"):
        lab.clean("jsonl")
