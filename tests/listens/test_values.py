"""What a single value of a log becomes: kept, made null, or refused for a reason."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from recsys import schemas
from recsys.listens import Reason

if TYPE_CHECKING:
    from tests.listens.conftest import Lab

NOON = "2026-11-16T12:00:00Z"
NOON_AT = datetime(2026, 11, 16, 12, tzinfo=UTC)
SECONDS = int(NOON_AT.timestamp())


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (NOON, NOON_AT),
        ("2026-11-16 12:00", NOON_AT),
        ("2026-11-16T12:00:00", NOON_AT),
        ("2026-11-16T14:00:00+02:00", NOON_AT),
        ("2026-11-16T06:30:00-0530", NOON_AT),
        ("2026-11-16T13:00+01", NOON_AT),
        ("2026-11-16T12:00:00.250Z", NOON_AT + timedelta(milliseconds=250)),
        ("2026-11-16T12:00:00.123456789+00:00", NOON_AT + timedelta(microseconds=123456)),
        (SECONDS, NOON_AT),
        (str(SECONDS), NOON_AT),
        (SECONDS * 10**3, NOON_AT),
        (SECONDS * 10**6 + 1, NOON_AT + timedelta(microseconds=1)),
        (SECONDS * 10**9, NOON_AT),
        ("2002-10-01T00:00:00Z", datetime(2002, 10, 1, tzinfo=UTC)),
        ("2026-11-17T23:59:59.999999Z", datetime(2026, 11, 17, 23, 59, 59, 999999, UTC)),
        # The hour that clocks in Berlin run through twice, and a leap second.
        ("2025-10-26T02:30:00+02:00", datetime(2025, 10, 26, 0, 30, tzinfo=UTC)),
        ("2025-10-26T02:30:00+01:00", datetime(2025, 10, 26, 1, 30, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31T24:00:00Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2017-01-01T00:59:60.5+01:00", datetime(2017, 1, 1, 0, 0, 0, 500000, UTC)),
        ("2017-01-01T05:29:60+05:30", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31T20:29:60-0330", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31T23:58:60Z", "bad_time"),
        ("2017-01-01T05:59:60+05:30", "bad_time"),
        # RFC 3339 allows small letters, and an offset has at most 23 hours and 59 minutes.
        ("2026-11-16t12:00:00z", NOON_AT),
        ("2026-11-16t14:00:00+02:00", NOON_AT),
        ("2026-11-16T12:00:00+99:99", "bad_time"),
        ("2026-11-16T12:00:00+24:00", "bad_time"),
        ("2026-11-16T12:00:00-01:60", "bad_time"),
        # What is refused.
        ("2002-09-30T23:59:59Z", "time_too_early"),
        ("2002-10-01T00:30:00+01:00", "time_too_early"),
        ("1970-01-01T00:00:00Z", "time_too_early"),
        (0, "time_too_early"),
        (-(2**63), "time_too_early"),
        ("2026-11-18T00:00:00Z", "time_too_late"),
        ("2262-04-12T00:00:00Z", "time_too_late"),
        ("9999-12-31T23:59:59Z", "time_too_late"),
        (2**63 - 1, "time_too_late"),
        (2**63, "bad_time"),
        (10**30, "bad_time"),
        ("2026-02-30T00:00:00Z", "bad_time"),
        ("2026-11-16", "bad_time"),
        ("yesterday", "bad_time"),
        ("infinity", "bad_time"),
        ("16/11/2026 12:00", "bad_time"),
        ("+12026-11-16T12:00:00Z", "bad_time"),
        (1.5, "bad_time"),
        (True, "bad_time"),
        ({"sec": 1}, "bad_time"),
        (None, "no_time"),
        ("", "no_time"),
    ],
)
def test_times_in_text(lab: Lab, written: Any, read: datetime | str) -> None:
    lab.jsonl(lab.listen(listened_at=written))
    day = lab.clean("jsonl")
    assert [*[row["listened_at"] for row in day.listens], *day.reasons] == [read]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_times_in_parquet(lab: Lab, unit: str, zone: str | None) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    far = (2**63 - 1) // (1000 if unit == "s" else 1)  # Parquet has no seconds, but milliseconds
    times = [SECONDS * per_second, 0, far, -far, None]
    column = pa.array(times, pa.int64()).cast(pa.timestamp(unit, zone))
    lab.parquet({"user_id": ["u"] * 5, "track_id": ["t"] * 5, "listened_at": column})
    day = lab.clean("parquet")
    assert [row["listened_at"] for row in day.listens] == [NOON_AT]
    assert day.reasons == ["time_too_early", "time_too_late", "time_too_early", "no_time"]


def test_old_spark_times_do_not_wrap_around(lab: Lab) -> None:
    times = pa.array([NOON_AT, datetime(3000, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    lab.parquet(
        {"user_id": ["u", "u"], "track_id": ["t", "t"], "listened_at": times},
        use_deprecated_int96_timestamps=True,
    )
    day = lab.clean("parquet")
    assert [row["listened_at"] for row in day.listens] == [NOON_AT]
    assert day.reasons == ["time_too_late"]


@pytest.mark.parametrize(
    "identifier",
    ["it's", 'say "hi"', "two\nlines", "tab\there", "🎧", "NULL", "x" * 10_000, " ", "a\x00b"],
)
@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_identifiers_are_opaque(lab: Lab, identifier: str, format_: str) -> None:
    row = lab.listen(user_id=identifier, track_id=identifier, artist_ids=[identifier])
    if format_ == "jsonl":
        lab.jsonl(row)
    else:
        lab.parquet(pa.Table.from_pylist([row]))
    (kept,) = lab.clean(format_).listens
    assert (kept["user_id"], kept["track_id"]) == (identifier, identifier)
    assert kept["artist_ids"] == [identifier]


def test_whole_numbers_are_identifiers_by_their_digits(lab: Lab) -> None:
    lab.jsonl(lab.listen(user_id=7, track_id=123456789012345678901234567890))
    (kept,) = lab.clean("jsonl").listens
    assert (kept["user_id"], kept["track_id"]) == ("7", "123456789012345678901234567890")
    ids = {"user_id": pa.array([2**64 - 1], pa.uint64()), "track_id": pa.array([-3], pa.int8())}
    lab.jsonl()
    lab.parquet({**ids, "listened_at": [NOON]}, name="b.parquet")
    (lab.partition() / "a.jsonl").unlink()
    (kept,) = lab.clean("parquet").listens
    assert (kept["user_id"], kept["track_id"]) == (str(2**64 - 1), "-3")


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"user_id": None}, "no_user", None),
        ({"user_id": ""}, "no_user", None),
        ({"user_id": {"secret": 1}}, "no_user", None),
        ({"track_id": ""}, "no_track", None),
        ({"track_id": 1.5}, "no_track", "track_id: a decimal number"),
        ({"track_id": True}, "no_track", "track_id: true"),
        ({"listened_at": "soon"}, "bad_time", "listened_at: a text of 4 characters"),
        ({"event": "Play"}, "unknown_event", "event: Play"),
        ({"ms_played": -1}, "bad_number", "ms_played: a negative 1-digit number"),
        ({"ms_played": 1.5}, "bad_number", "ms_played: a decimal number"),
        ({"ms_played": "long"}, "bad_number", "ms_played: a text of 4 characters"),
        ({"ms_played": 10**12 + 1}, "bad_number", "ms_played: a 13-digit number"),
        ({"duration_ms": -5}, "bad_number", "duration_ms: a negative 1-digit number"),
        ({"duration_ms": 10**40}, "bad_number", "duration_ms: a 41-digit number"),
        ({"skipped": "maybe"}, "bad_flag", "skipped: maybe"),
        ({"skipped": "Windows"}, "bad_flag", "skipped: a text of 7 characters"),
        ({"skipped": 2}, "bad_flag", "skipped: a 1-digit number"),
        ({"private": "maybe"}, "bad_private", "private: maybe"),
        ({"private": True, "user_id": None}, "private", None),
        ({"private": 1, "track_name": "secret"}, "private", None),
        ({"artist_ids": {"id": 1}}, "bad_artists", "artist_ids: an object"),
        ({"artist_ids": ["a", {"ip": "x"}]}, "bad_artists", "artist_ids: an object"),
        ({"listened_at": {"ip": "x"}}, "bad_time", "listened_at: an object"),
        ({"listened_at": ["10.0.0.1 Mozilla"]}, "bad_time", "listened_at: a list"),
        ({"listened_at": "10.0.0.1"}, "bad_time", "listened_at: a text of 8 characters"),
        ({"listened_at": "2001:0:0:1"}, "bad_time", "listened_at: a text of 10 characters"),
        ({"listened_at": "16/11/2026 12:00"}, "bad_time", "listened_at: 16/11/2026 12:00"),
        ({"listened_at": NOON[:-1] + "+99:99"}, "bad_time", f"listened_at: {NOON[:-1]}+99:99"),
        ({"ms_played": ' {"ip": "x"}'}, "bad_number", "ms_played: a text of 12 characters"),
        ({"skipped": "10.0.0.1"}, "bad_flag", "skipped: a text of 8 characters"),
        ({"artist_ids": ["a", 1.5]}, "bad_artists", "artist_ids: a list"),
        ({"artist_ids": [["10.1.2.3"]]}, "bad_artists", "artist_ids: a list"),
        ({"artist_ids": 1.5}, "bad_artists", "artist_ids: a decimal number"),
        ({"track_name": ["Mozilla/5.0"]}, "bad_name", "track_name: a list"),
        ({"track_id": ["10.1.2.3", "u"]}, "no_track", "track_id: a list"),
        ({"event": "x" * 200}, "unknown_event", "event: a text of 200 characters"),
        ({"event": "Mozilla/5.0 10.1.2.3"}, "unknown_event", "event: a text of 20 characters"),
        ({"event": "10.1.23"}, "unknown_event", "event: a text of 7 characters"),
        ({"event": "user-1"}, "unknown_event", "event: a text of 6 characters"),
        ({"event": "Skipped"}, "unknown_event", "event: Skipped"),
        ({"event": "thumbs_up"}, "unknown_event", "event: thumbs_up"),
        ({"ms_played": "10.1.23"}, "bad_number", "ms_played: a text of 7 characters"),
        ({"listened_at": "2026-11-16 24:00:01"}, "bad_time", "listened_at: 2026-11-16 24:00:01"),
        ({"listened_at": "0000-01-01"}, "bad_time", "listened_at: 0000-01-01"),
        ({"listened_at": "0000-01-01 00:00"}, "time_too_early", "listened_at: 0000-01-01 00:00"),
        ({"listened_at": "10.1.2"}, "bad_time", "listened_at: a text of 6 characters"),
        ({"listened_at": "10.1.2026"}, "bad_time", "listened_at: 10.1.2026"),
        ({"listened_at": "2026-11-16"}, "bad_time", "listened_at: 2026-11-16"),
        ({"listened_at": 4711}, "time_too_early", "listened_at: a 4-digit number"),
        (
            {"listened_at": f"{NOON[:-1]}.{'1' * 20}Z"},
            "bad_time",
            "listened_at: a text of 41 characters",
        ),
        ({"duration_ms": "9" * 100}, "bad_number", "duration_ms: a 100-digit number"),
        # The first reason of several is the one.
        ({"track_id": None, "listened_at": "soon", "event": "x"}, "no_track", None),
    ],
)
def test_a_refused_row_says_why(
    lab: Lab, changes: dict[str, Any], reason: str, detail: str | None
) -> None:
    lab.jsonl(lab.listen(), lab.listen(**changes, device="secret"))
    day = lab.clean("jsonl")
    assert day.report.kept == 1
    assert day.quarantine == [
        {"file": f"{lab.partition().name}/a.jsonl", "row": 2, "reason": reason, "detail": detail}
    ]


@pytest.mark.parametrize(
    ("changes", "column", "read"),
    [
        ({}, "event", "play"),
        ({"event": ""}, "event", "play"),
        ({"event": "dislike"}, "event", "dislike"),
        ({"duration_ms": 0}, "duration_ms", None),
        ({"duration_ms": "180000"}, "duration_ms", 180_000),
        ({"ms_played": 0}, "ms_played", 0),
        ({"ms_played": 180000.0}, "ms_played", 180_000),
        ({"ms_played": ""}, "ms_played", None),
        ({"skipped": 1}, "skipped", True),
        ({"skipped": False}, "skipped", False),
        ({"skipped": "True"}, "skipped", True),
        ({"skipped": None}, "skipped", None),
        ({"artist_ids": "a"}, "artist_ids", ["a"]),
        ({"artist_ids": ["b", None, "", "a"]}, "artist_ids", ["b", "a"]),
        ({"artist_ids": [1, "x"]}, "artist_ids", ["1", "x"]),
        ({"artist_ids": []}, "artist_ids", None),
        ({"artist_ids": [None, ""]}, "artist_ids", None),
        ({"track_name": 1979}, "track_name", "1979"),
        ({"track_name": ""}, "track_name", None),
        ({"track_name": "[untitled]"}, "track_name", "[untitled]"),
        ({"private": 0}, "track_id", "t"),
    ],
)
def test_optional_columns(lab: Lab, changes: dict[str, Any], column: str, read: Any) -> None:
    lab.jsonl(lab.listen(**changes))
    day = lab.clean("jsonl")
    assert day.table.schema.equals(schemas.LISTENS)
    assert [row[column] for row in day.listens] == [read]


@pytest.mark.parametrize(
    ("column", "values", "read"),
    [
        ("ms_played", pa.array([1.0, None, 1.5, float("nan"), 1e300]), [1, None]),
        ("ms_played", pa.array([1, None, 2**63, 3, 4], pa.uint64()), [1, None, 3, 4]),
        ("skipped", pa.array([1.0, 0.0, None, 2.0, float("nan")]), [True, False, None]),
        (
            "artist_ids",
            pa.array([[1], None, [], [2, None], [3]]),
            [["1"], None, None, ["2"], ["3"]],
        ),
        ("artist_ids", pa.array(["a", "", None, "b", "c"]), [["a"], None, None, ["b"], ["c"]]),
        ("track_name", pa.array(["a"] * 5).dictionary_encode(), ["a"] * 5),
        ("track_name", pa.array([b"a", b"\xff", None, b"", b"b"]), ["a", None, None, "b"]),
        ("track_name", pa.nulls(5), [None] * 5),
    ],
)
def test_parquet_types_in_the_wild(lab: Lab, column: str, values: Any, read: list[Any]) -> None:
    ids = {"user_id": list("abcde"), "track_id": ["t"] * 5, "listened_at": [NOON] * 5}
    lab.parquet({**ids, column: values})
    assert [row[column] for row in lab.clean("parquet").listens] == read


def test_the_window_of_a_day_is_its_own(lab: Lab) -> None:
    lab.jsonl(lab.listen(listened_at="2026-11-18T00:00:00Z"))
    day = lab.clean("jsonl")
    assert day.reasons == ["time_too_late"]
    lab.partition().rename(lab.partition().with_name("date=2026-11-17"))
    assert lab.clean("jsonl", day=date(2026, 11, 17)).report.kept == 1


def test_unknown_fields_are_ignored_whatever_they_hold(lab: Lab) -> None:
    lab.jsonl(json.dumps(lab.listen() | {"x": [[[]]], "user_id2": "\x00"}))
    assert lab.clean("jsonl").report.kept == 1


def documented_reasons() -> list[tuple[str, str]]:
    """Each reason in the docs, and its example."""
    page = Path(__file__).parents[2] / "docs" / "listens.md"
    table = page.read_text(encoding="utf-8").split("## Reasons")[1].split("\n## ")[0]
    return re.findall(r"^\| `([a-z_]+)` \| .* \| `([^`]+)` \|$", table, re.MULTILINE)


def test_every_reason_is_documented_in_order() -> None:
    assert [reason for reason, _ in documented_reasons()] == list(Reason)


@pytest.mark.parametrize(("reason", "example"), documented_reasons())
def test_the_example_of_each_reason_is_refused_for_it(lab: Lab, reason: str, example: str) -> None:
    if reason == "unreadable":
        lab.jsonl(lab.listen(), example)
    elif reason == "not_music":
        stream = {"ts": NOON, "ms_played": 1} | json.loads(f"{{{example}}}")
        (lab.partition() / "endsong_0.json").write_text(json.dumps([stream]))
    else:
        lab.jsonl(lab.listen(), lab.listen(**json.loads(f"{{{example}}}")))
    format_ = "spotify" if reason == "not_music" else "jsonl"
    assert lab.clean(format_, user="u").reasons == [reason]
