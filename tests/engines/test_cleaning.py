"""A day of a log comes to the same rows, counts and quarantine on both engines."""

from __future__ import annotations

import json
import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.errors import BadLogError
from recsys.listens import Reason, list_log, split_dump
from recsys.settings import ListensSettings
from recsys.spark import SparkEngine, _datasets, _one_task
from tests.engines.both import Both, write_jsonl

DAY = date(2026, 11, 16)
NOON = "2026-11-16T12:00:00Z"


@pytest.fixture(params=[pytest.param("large", marks=pytest.mark.soak), "small"])
def both(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    spark_engine: SparkEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> Both:
    """Days are large, and divided, or small, and a task each."""
    if request.param == "large":
        monkeypatch.setattr(_one_task, "TASK_BYTES", 0)
    return Both(tmp_path, spark_engine)


large = pytest.mark.parametrize("both", ["large"], indirect=True)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def jsonl(log: Path, **more: Any) -> ListensSettings:
    return ListensSettings(source=str(log), format="jsonl", **more)


def listen(**changes: Any) -> dict[str, Any]:
    return {"user_id": "u", "track_id": "t", "listened_at": NOON} | changes


REFUSED: dict[Reason, dict[str, Any] | str] = {
    Reason.UNREADABLE: '{"user_id": "u", ',
    Reason.PRIVATE: listen(private=True),
    Reason.BAD_PRIVATE: listen(private="perhaps"),
    Reason.NO_USER: listen(user_id=""),
    Reason.NO_TRACK: listen(track_id={"id": 1}),
    Reason.NO_TIME: listen(listened_at=None),
    Reason.BAD_TIME: listen(listened_at="yesterday"),
    Reason.TIME_TOO_EARLY: listen(listened_at="1999-01-01T00:00:00Z"),
    Reason.TIME_TOO_LATE: listen(listened_at="2031-01-01T00:00:00Z"),
    Reason.UNKNOWN_EVENT: listen(event="hum"),
    Reason.BAD_NUMBER: listen(ms_played=-1),
    Reason.BAD_FLAG: listen(skipped="maybe"),
    Reason.BAD_ARTISTS: listen(artist_ids=[["a"]]),
    Reason.BAD_NAME: listen(track_name=["x"]),
}

#: Ids and names that a language, a file system or a sort may trip over.
ODD = ["", " ", "é", "e\u0301", "ß", "\U0001f3b5", "\u4e2d", "a'b", 'a"b', "a\\b", "a\nb", "%41",
       "A", "a", "\ufeffu", "\uffee", "null", "0", "007", "u" * 300]  # fmt: skip


def test_every_reason_of_quarantine_and_every_odd_id(both: Both, log: Path) -> None:
    write_jsonl(log, DAY, list(REFUSED.values()), "a refused é")
    write_jsonl(log, DAY, [listen(user_id=user, track_id=user or "t") for user in ODD], "odd")
    report = both.clean(jsonl(log), DAY)
    assert set(report.quarantined) == set(REFUSED)
    kept = {row["user_id"] for row in both.rows(DAY)}
    assert {user.encode() for user in kept} == {user.encode() for user in ODD if user}
    assert [row["reason"] for row in both.rows(DAY, "quarantine.parquet")][-1] == "no_user"


@large
def test_of_rows_with_one_key_the_same_one_is_kept(both: Both, log: Path) -> None:
    fields: list[dict[str, Any]] = [
        {}, {"ms_played": 0}, {"ms_played": 5}, {"skipped": True}, {"skipped": False},
        {"artist_ids": ["b"]}, {"artist_ids": ["a", "b"]}, {"artist_ids": "a"}, {"artist_ids": []},
        {"track_name": "Z"}, {"track_name": "é"}, {"track_name": ""}, {"duration_ms": 9},
    ]  # fmt: skip
    rng = random.Random(3)
    rows = [listen(user_id=f"u{n % 20}", **rng.choice(fields)) for n in range(200)]
    write_jsonl(log, DAY, rows[:70], "one")
    write_jsonl(log, DAY, [*rows[70:], listen(event="like"), listen(event="save")], "two")
    report = both.clean(jsonl(log), DAY)
    assert (report.kept, report.duplicates) == (22, 180)


def test_late_rows_duplicates_of_days_before_and_rows_that_came_back(
    both: Both, log: Path, tmp_path: Path
) -> None:
    days = [DAY - timedelta(days=n) for n in (2, 1, 0)]
    for n, day in enumerate(days):
        times = [f"{day}T{hour:02}:00:00Z" for hour in range(24)]
        rows = [listen(listened_at=time, track_id=f"t{hour}") for hour, time in enumerate(times)]
        late = [listen(listened_at=f"{days[0]}T{hour:02}:30:00Z") for hour in range(n * 3)]
        again = [listen(listened_at=f"{days[0]}T05:00:00Z", track_id="t5")] * n
        write_jsonl(log, day, [*rows, *late, *again], "rows")
    settings = jsonl(log)
    back = tmp_path / "back.parquet"
    for n, day in enumerate(days):
        report = both.clean(
            settings, day, earlier=days[:n], requeued=[back] if day == days[-1] else []
        )
        if n == 0:  # half of what comes back was there before
            old = pq.read_table(both.folder("local", day) / "listens.parquet").slice(0, 4)
            new = old.set_column(0, old.schema.field(0), pa.array(["back"] * 4))
            pq.write_table(pa.concat_tables([old, new]), back)
    # Three late rows and one that both days before held, and half of what came back.
    assert (report.read, report.requeued, report.duplicates) == (24 + 6 + 2, 8, 3 + 2 + 4)


@large
def test_a_day_in_many_parts_is_the_same_day(
    both: Both, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_datasets, "PART_ROWS", 40)
    monkeypatch.setattr(_one_task, "TASK_BYTES", 2000)
    rng = random.Random(1)
    # One listener and one track have half of all rows.
    for name in "abc":
        write_jsonl(
            log,
            DAY,
            [
                listen(
                    user_id=f"u{rng.randrange(60) if rng.random() < 0.5 else 7}",
                    track_id=f"t{rng.randrange(90) if rng.random() < 0.5 else 3}",
                    listened_at=f"2026-11-16T12:{n % 60:02}:{rng.randrange(60):02}Z",
                    private=rng.random() < 0.2,
                )
                for n in range(150)
            ],
            name,
        )
    both.clean(jsonl(log), DAY)
    for table in ("listens", "quarantine", "plays", "tracks"):
        folder = both.folder("spark", DAY) / f"{table}.parquet"
        names = sorted(path.name for path in folder.iterdir())
        assert len(names) > 1
        assert names == [f"part-{n:05}.parquet" for n in range(len(names))]


def test_a_day_without_a_row(both: Both, log: Path) -> None:
    write_jsonl(log, DAY, [], "empty")
    assert both.clean(jsonl(log), DAY).read == 0


def test_parquet_and_columns_of_other_names(both: Both, log: Path) -> None:
    folder = log / f"date={DAY}"
    folder.mkdir(parents=True)
    table = pa.table(
        {
            "who": [1, 2, None],
            "track_id": ["a", "b", "c"],
            "ts": pa.array([1_794_830_400_000, 1_794_830_401_000, 0], pa.timestamp("ms")),
            "artist_ids": [["x", ""], None, []],
        }
    )
    pq.write_table(table, folder / "a.parquet")
    pq.write_table(table.rename_columns(["who", "track_id", "ts", "others"]), folder / "b.parquet")
    names = {"who": "user_id", "ts": "listened_at"}
    settings = ListensSettings(source=str(log), columns=names)
    assert both.clean(settings, DAY).quarantined == {"no_user": 2}
    absent = ListensSettings(source=str(log), columns={**names, "nobody": "event"})
    for engine in both.engines.values():
        with pytest.raises(BadLogError, match="maps 'nobody', which no file read here has"):
            engine.clean_day(absent, DAY, list_log(absent).days[DAY], [], both.root / "absent")


def test_a_file_that_is_cut_short_is_named(both: Both, log: Path) -> None:
    write_jsonl(log, DAY, [listen()], "good")
    (log / f"date={DAY}" / "bad.parquet").write_bytes(b"PAR1 and no more")
    settings = ListensSettings(source=str(log))
    said = []
    for name, engine in both.engines.items():
        with pytest.raises(BadLogError, match=r"bad\.parquet cannot be read") as refused:
            engine.clean_day(settings, DAY, list_log(settings).days[DAY], [], both.folder(name, 1))
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_a_dump_is_divided_once_and_cleaned_by_day(both: Both, tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.mkdir()
    lines = [
        json.dumps(
            {
                "user_name": f"u{n % 3}",
                "listened_at": 1_794_830_400 + 40_000 * (n % 5),
                "track_metadata": {"artist_name": "A", "track_name": f"T {n % 7}"},
            }
        )
        for n in range(30)
    ]
    (dump / "listens.jsonl").write_text("\n".join([*lines, "{"]) + "\n", encoding="utf-8")
    settings = ListensSettings(source=str(dump), format="listenbrainz")
    split = tmp_path / "split"
    split.mkdir()
    divided = split_dump(settings, list_log(settings), split)
    days = [date.fromisoformat(str(day)) for day in divided.days]
    assert len(days) == 3
    for n, day in enumerate(days):
        both.clean(settings, day, source=split / f"date={day}", earlier=days[:n])
