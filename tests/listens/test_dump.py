"""Logs without partitions: Last.fm's real file, and dumps of our own."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from recsys.artefact import file_sha256
from recsys.listens import DumpReport, _sorter, _split, clean_day, list_log, split_dump
from recsys.settings import ListensSettings

if TYPE_CHECKING:
    from tests.listens.conftest import Lab

REAL = (
    Path(os.environ.get("RECSYS_REAL_DATA") or Path(__file__).parents[2] / "../shared/data")
    / "lastfm-1k-excerpt"
)
ROW = ["u", "2009-05-04T23:08:57Z", "artist-id", "Artist", "track-id", "Track"]


def split(root: Path, lines: list[str], format_: str = "jsonl") -> tuple[DumpReport, Path]:
    source = root / "dump.txt"
    source.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return split_source(source, root / "out", format_)


def split_source(source: Path, out: Path, format_: str) -> tuple[DumpReport, Path]:
    settings = ListensSettings(source=str(source), format=format_)
    report = split_dump(settings, list_log(settings), out)
    assert report.read == sum(report.undated.values()) + sum(
        day["rows"] for day in report.days.values()
    )
    assert pq.read_metadata(out / "quarantine.parquet").num_rows == sum(report.undated.values())
    assert not list(out.glob(".*"))
    return report, out


def clean(out: Path, day: date) -> list[dict[str, Any]]:
    target = out / "clean" / str(day)
    clean_day(ListensSettings(source="-"), day, out / f"date={day}", [], target)
    return pq.read_table(target / "listens.parquet").to_pylist()


def lastfm(tmp_path: Path, *rows: list[str]) -> list[dict[str, Any]]:
    _, out = split(tmp_path, ["\t".join(row) for row in rows], "lastfm")
    return clean(out, date(2009, 5, 4))


def test_a_dump_is_split_by_the_utc_date_of_the_listen(lab: Lab, tmp_path: Path) -> None:
    times = [
        "2026-11-16T23:59:59.999Z",
        "2026-11-16T23:59:59-01:00",
        "2026-11-16T00:00:00",
        "2099-12-31T23:59:59Z",
    ]
    report, out = split(tmp_path, [json.dumps(lab.listen(listened_at=time)) for time in times])
    assert {day: info["rows"] for day, info in report.days.items()} == {
        date(2026, 11, 16): 2,
        date(2026, 11, 17): 1,
        date(2099, 12, 31): 1,
    }
    assert sorted(path.name for path in out.glob("date=*")) == [
        f"date={day}" for day in report.days
    ]
    assert report.sources[0]["sha256"] == file_sha256(tmp_path / "dump.txt")


@pytest.mark.parametrize("at_once", [1, 7])
def test_a_dump_that_is_sorted_in_parts_is_split_into_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    days = [f"2026-11-{1 + n * 7 % 9:02}" for n in range(30)]
    lines = [
        json.dumps({"user_id": f"u{n % 4}", "track_id": "t", "listened_at": f"{day}T00:00:00Z"})
        for n, day in enumerate(days)
    ]

    def files(name: str) -> dict[str, bytes]:
        (tmp_path / name).mkdir()
        _, out = split(tmp_path / name, lines)
        return {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*.parquet")}

    whole = files("whole")
    monkeypatch.setattr(_sorter, "RUN_BYTES", at_once)
    assert files("parts") == whole
    assert len(whole) == 10


def test_rows_without_a_usable_time_belong_to_no_day(lab: Lab, tmp_path: Path) -> None:
    times = [None, "soon", 0, "2100-01-01T00:00:00Z", 2**63 - 1]
    rows = [json.dumps(lab.listen(listened_at=time)) for time in times]
    report, _ = split(tmp_path, [*rows, "broken", json.dumps({"private": True})])
    assert report.undated == {
        "bad_time": 1,
        "no_time": 1,
        "private": 1,
        "time_too_early": 1,
        "time_too_late": 2,
        "unreadable": 1,
    }
    assert report.days == {}


def test_a_refused_row_with_a_time_is_refused_on_its_day(lab: Lab, tmp_path: Path) -> None:
    rows = [lab.listen(), lab.listen(), lab.listen(event="?"), lab.listen(private=True)]
    report, out = split(tmp_path, [json.dumps(row) for row in rows])
    day = date(2026, 11, 16)
    assert report.days[day]["rows"] == 4
    cleaned = clean_day(
        ListensSettings(source="-"), day, out / f"date={day}", [], tmp_path / "clean"
    )
    assert (cleaned.read, cleaned.kept, cleaned.duplicates) == (4, 1, 1)
    assert cleaned.quarantined == {"private": 1, "unknown_event": 1}
    origins = pq.read_table(tmp_path / "clean" / "quarantine.parquet").to_pylist()
    assert [(row["file"], row["row"]) for row in origins] == [("dump.txt", 3), ("dump.txt", 4)]


def test_the_longest_files_of_a_day_are_named(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_split, "LONGEST", 2)
    log = tmp_path / "log"
    log.mkdir()
    with tarfile.open(log / "two.tar", "w") as archive:
        for name in ("x.jsonl", "y.jsonl"):
            member = tarfile.TarInfo(name)
            line = json.dumps(lab.listen(event="?")).encode() + b"\n"
            member.size = len(line)
            archive.addfile(member, io.BytesIO(line))
    (log / "one.jsonl").write_text(json.dumps(lab.listen()) + "\n")
    (log / "many.jsonl").write_text((json.dumps(lab.listen()) + "\n") * 3)
    report, _ = split_source(log, tmp_path / "out", "jsonl")
    assert report.days[date(2026, 11, 16)]["files"] == {"many.jsonl": 3, "two.tar": 2}


def test_the_content_of_a_day_is_its_rows_whatever_their_order(lab: Lab, tmp_path: Path) -> None:
    def content(name: str, *rows: dict[str, Any]) -> str:
        (tmp_path / name).mkdir()
        report, _ = split(tmp_path / name, [json.dumps(row) for row in rows])
        return str(report.days[date(2026, 11, 16)]["content"])

    one, two = lab.listen(artist_ids=["a", "b"]), lab.listen(event="?")
    first = content("first", one, two)
    other_day = lab.listen(listened_at="2026-11-01T00:00:00Z")
    assert content("turned", other_day, two, one) == first
    different = {
        content("joined", lab.listen(artist_ids=["ab"]), two),
        content("swapped", lab.listen(artist_ids=["b", "a"]), two),
        content("refused otherwise", one, lab.listen(user_id="")),
        content("one more", one, two, two),
        content("moved", one | {"artist_ids": None, "track_name": "a"}, two),
        content("moved on", one | {"artist_ids": None, "album_name": "a"}, two),
    }
    assert len(different | {first}) == 7


def test_quotes_are_data_and_names_keep_their_bytes(tmp_path: Path) -> None:
    rows = [[*ROW[:3], '"Weird Al" ', f"id{n}", name] for n, name in enumerate(['"', "'x'", " a "])]
    kept = lastfm(tmp_path, *rows)
    assert [row["track_name"] for row in kept] == ['"', "'x'", " a "]
    assert {row["artist_name"] for row in kept} == {'"Weird Al" '}
    assert {tuple(row["artist_ids"]) for row in kept} == {("artist-id",)}


def test_a_scrobble_worked_out_by_hand(tmp_path: Path) -> None:
    # Last.fm-1K writes the start of playback in UTC, to the second, and no length.
    (kept,) = lastfm(tmp_path, ROW)
    assert kept == {
        "user_id": "u",
        "track_id": "track-id",
        "listened_at": datetime(2009, 5, 4, 23, 8, 57, tzinfo=UTC),
        "event": "play",
        "artist_ids": ["artist-id"],
        "ms_played": None,
        "duration_ms": None,
        "skipped": None,
        "track_name": "Track",
        "artist_name": "Artist",
        "album_name": None,
    }


def test_missing_lastfm_ids_are_made_of_the_names(tmp_path: Path) -> None:
    (kept,) = lastfm(tmp_path, [*ROW[:2], "", "Björk", "", "Jóga"])
    artist = hashlib.md5("Björk".encode()).hexdigest()
    track = hashlib.md5("5:BjörkJóga".encode()).hexdigest()
    assert kept["artist_ids"] == [f"lastfm:{artist}"]
    assert kept["track_id"] == f"lastfm:{track}"


def test_distinct_pairs_of_names_have_distinct_ids(tmp_path: Path) -> None:
    pairs = [("ab", "c"), ("a", "bc"), ("a\x00b", "c"), ("a", "b\x00c"), ("", "abc"), ("1:a", "bc")]
    kept = lastfm(tmp_path, *([*ROW[:3], artist, "", track] for artist, track in pairs))
    assert len({row["track_id"] for row in kept}) == len(pairs)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("\t".join(ROW[:5]), "unreadable"),
        ("\t".join([*ROW, ""]), "unreadable"),
        ("\t".join(["", *ROW[1:]]), "no_user"),
        ("\t".join([*ROW[:4], "", ""]), "no_track"),
        ("\t".join([ROW[0], "", *ROW[2:]]), "no_time"),
        ("\t".join([ROW[0], "2009-05-04T25:00:00Z", *ROW[2:]]), "bad_time"),
    ],
)
def test_broken_lastfm_lines_are_refused(tmp_path: Path, row: str, reason: str) -> None:
    report, out = split(tmp_path, [row], "lastfm")
    if report.days:
        target = tmp_path / "clean"
        source = out / "date=2009-05-04"
        day = clean_day(ListensSettings(source="-"), date(2009, 5, 4), source, [], target)
        assert day.quarantined == {reason: 1}
    else:
        assert report.undated == {reason: 1}


def test_a_lastfm_file_cut_within_its_last_field_loses_that_line(tmp_path: Path) -> None:
    source = tmp_path / "cut.tsv"
    source.write_text("\t".join(ROW) + "\n" + "\t".join(ROW)[:-2])
    report, _ = split_source(source, tmp_path / "out", "lastfm")
    assert (report.read, report.undated) == (2, {"unreadable": 1})


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the Last.fm excerpt is not in {REAL}")
def test_every_row_of_the_real_lastfm_file_is_accounted_for(tmp_path: Path) -> None:
    report, out = split_source(REAL, tmp_path / "out", "lastfm")
    assert report.read == 5000
    assert report.undated == {}
    days = sorted(report.days)
    for day in days[:3] + days[-3:]:
        rows = clean(out, day)
        assert len(rows) == report.days[day]["rows"]
        assert all(row["listened_at"].date() == day for row in rows)
    everything = [pq.read_table(path) for path in sorted(out.glob("date=*/part-*.parquet"))]
    tracks = [track for table in everything for track in table["track_id"].to_pylist()]
    assert sum(track.startswith("lastfm:") for track in tracks) == 1396
    listeners = [user for table in everything for user in table["user_id"].to_pylist()]
    assert sorted({user: listeners.count(user) for user in set(listeners)}.values()) == [3, 4997]
