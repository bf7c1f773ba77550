"""`recsys formats` and `recsys check-log`: before a log is read."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.cli import main
from recsys.listens import FORMATS, _sample, guess_format, list_log, sample_log
from recsys.settings import FORMATS as NAMES
from recsys.settings import ListensSettings

SPOTIFY = {"ts": "2026-11-16T12:03:30Z", "ms_played": 5, "spotify_track_uri": "spotify:track:4Hd"}
LISTEN = {"user_id": "u", "track_id": "t", "listened_at": "2026-11-16T12:00:00Z"}


@pytest.fixture(autouse=True)
def settings_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "luigi.cfg").write_text("[listens]\nsource = elsewhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LUIGI_CONFIG_PATH", raising=False)


def put(name: str, text: str) -> str:
    path = Path("log") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return "log"


def test_every_format_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["formats"]) == 0
    assert [one.name for one in FORMATS] == list(NAMES)
    said = capsys.readouterr().out
    assert all(f"{one.name}\n" in said and one.example in said for one in FORMATS)


@pytest.mark.parametrize("one", FORMATS[1:], ids=lambda one: one.name)
def test_an_example_is_recognised_and_every_listen_in_it_is_kept(
    one: object, capsys: pytest.CaptureFixture[str]
) -> None:
    example = next(known for known in FORMATS if known is one)
    file = "Streaming_History_Audio_1.json" if example.name == "spotify" else "a.txt"
    assert main(["check-log", put(file, example.example + "\n")]) == 0
    said = capsys.readouterr().out
    assert f"Format    {example.name}\n" in said
    assert "1 rows: 1 would be kept" in said


def test_parquet_is_recognised_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "log" / "part-0")
    listed = list_log(ListensSettings(source="log"))
    assert guess_format(listed.files, tmp_path) == "parquet"


def test_what_would_be_refused_is_shown_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    late = LISTEN | {"listened_at": "16/11/2026 12:00"}
    put("date=2026-11-16/a.jsonl", "".join(json.dumps(row) + "\n" for row in (LISTEN, late)))
    assert main(["check-log", "log"]) == 0
    said = capsys.readouterr().out
    assert "2026-11-16 to 2026-11-16" in said
    assert "2 rows: 1 would be kept" in said
    assert "bad_time" in said
    assert "date=2026-11-16/a.jsonl, row 2: listened_at: 16/11/2026 12:00" in said


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_other_names_are_suggested_as_a_mapping_that_works(
    format_: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"uid": "u", "song_id": "t", "ts": "2026-11-16T12:00:00Z", "artist_name": "A"}]
    if format_ == "jsonl":
        put("a.jsonl", json.dumps(rows[0]) + "\n")
    else:
        put("a.parquet", "")
        pq.write_table(pa.Table.from_pylist(rows), "log/a.parquet")
    assert main(["check-log", "log"]) == 30
    said = capsys.readouterr().out
    mapping = json.loads(said.split("\n  columns = ")[1].splitlines()[0])
    assert mapping == {"uid": "user_id", "song_id": "track_id", "ts": "listened_at"}
    assert "Of 1 rows 1 would then be kept." in said
    assert sample_log(ListensSettings(source="log", format=format_, columns=mapping)).kept == 1


@pytest.mark.parametrize(
    "name",
    [
        *(
            "user_ip",
            "userIp",
            "user_ipv6",
            "user_addr",
            "user_device",
            "user_agent",
            "user_dev_id",
        ),
        *(
            "users_ip",
            "usr_ip",
            "track_ip",
            "track_ids_ip",
            "listened_ip",
            "listened_at_ip",
            "uid_ip",
        ),
        *("device_id", "user_email", "user_phone", "useragent", "account_ip", "mac", "session_id"),
    ],
)
def test_an_address_or_a_device_is_proposed_for_nothing(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put("a.jsonl", json.dumps({name: "203.0.113.7", "song": "t", "ts": "2026-11-16 12:00"}) + "\n")
    assert main(["check-log", "log"]) == 30
    said = capsys.readouterr().out
    mapping = json.loads(said.split("\n  columns = ")[1].splitlines()[0])
    assert mapping == {"song": "track_id", "ts": "listened_at"}


@pytest.mark.parametrize(
    ("name", "ours"),
    [("userId", "user_id"), ("TRACK-ID", "track_id"), ("listenedAt", "listened_at")],
)
def test_a_name_of_ours_in_another_spelling_is_proposed(
    name: str, ours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"user_id": "u", "track_id": "t", "listened_at": "2026-11-16 12:00"}
    row[name] = row.pop(ours)
    put("a.jsonl", json.dumps(row) + "\n")
    main(["check-log", "log"])
    assert f'columns = {{"{name}": "{ours}"}}' in capsys.readouterr().out


def test_a_log_in_no_known_format_is_an_error_that_names_the_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    put("a.csv", "user,track\n1,2\n")
    assert main(["check-log", "log"]) == 30
    assert "a.csv is in none of the formats that are known" in capsys.readouterr().err


def test_a_log_can_be_checked_before_there_are_settings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("luigi.cfg").unlink()
    assert main(["check-log", put("a.jsonl", json.dumps(LISTEN) + "\n")]) == 0
    assert "1 rows: 1 would be kept" in capsys.readouterr().out


def test_a_row_nested_deeply_or_very_long_is_no_harm(capsys: pytest.CaptureFixture[str]) -> None:
    deep = '{"a": ' + "[" * 50_000 + "]" * 50_000 + "}"
    long = json.dumps({"more": "x" * (1 << 17)} | LISTEN)
    assert main(["check-log", put("a.jsonl", f"{long}\n{deep}\n")]) == 0
    assert "2 rows: 1 would be kept" in capsys.readouterr().out
    assert main(["check-log", put("a.jsonl", deep)]) == 30
    assert "a.jsonl is in none of the formats" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("member", "rows", "format_"),
    [
        ("a.jsonl", json.dumps(LISTEN), "jsonl"),
        ("part-0.json", json.dumps(LISTEN), "jsonl"),
        ("lastfm-dataset-1K/userid-timestamp-artid.tsv", FORMATS[2].example + "\n", "lastfm"),
        ("x/endsong_0.json", f"[{json.dumps(SPOTIFY)}]", "spotify"),
    ],
)
def test_a_zip_is_recognised_by_what_is_in_it(
    member: str, rows: str, format_: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put("a.zip", "")
    with zipfile.ZipFile("log/a.zip", "w") as archive:
        archive.writestr(member, rows)
    assert main(["check-log", "log"]) == 0
    said = capsys.readouterr().out
    assert f"Format    {format_}\n" in said
    assert "1 rows: 1 would be kept" in said


@pytest.mark.parametrize("folder", ["log", "log/eu"])
def test_the_listeners_of_a_spotify_source_are_counted(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for listener in ("alice", "bob"):
        put(f"eu/{listener}/endsong_0.json", json.dumps([SPOTIFY]))
    assert main(["check-log", folder]) == 0
    found = {"log": 1, "log/eu": 2}[folder]
    assert f"Listeners {found}, by the first folder below the source" in capsys.readouterr().out


def test_hostile_text_cannot_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    put("a.jsonl", json.dumps(LISTEN | {"listened_at": "\x1b[2J\u202enow"}) + "\n")
    main(["check-log", "log"])
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_settings_that_are_not_done_yet_stop_no_look_into_a_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "luigi.cfg").write_text("[recsys]\nhome = home\n")
    assert main(["check-log", put("a.jsonl", json.dumps(LISTEN) + "\n")]) == 0
    said = capsys.readouterr()
    assert "1 rows: 1 would be kept" in said.out
    assert "[listens] source" in said.err


def test_the_format_of_an_archive_is_that_of_the_first_member_in_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    put("lastfm-dataset-1K.tar.gz", "")
    with tarfile.open("log/lastfm-dataset-1K.tar.gz", "w:gz") as archive:
        for name, text in (
            ("README.txt", "A dataset\n"),
            ("userid-profile.tsv", "#id\tgender\tage\tcountry\tregistered\n"),
            ("userid-timestamp-artid-artname-traid-traname.tsv", FORMATS[2].example + "\n"),
        ):
            info = tarfile.TarInfo(f"lastfm-dataset-1K/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    assert main(["check-log", "log"]) == 0
    said = capsys.readouterr().out
    assert "Format    lastfm\n" in said
    assert "3 rows: 1 would be kept" in said


def test_the_names_in_an_archive_are_looked_for_in_whatever_a_run_would_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    put("a.zip", "")
    with zipfile.ZipFile("log/a.zip", "w") as archive:
        archive.writestr("part-0.json", json.dumps(LISTEN | {"title": "Roads"}))
    assert main(["check-log", "log", "--format", "jsonl"]) == 0
    said = capsys.readouterr().out
    assert "1 rows: 1 would be kept" in said
    assert '{"title": "track_name"}' in said


def test_a_file_is_judged_by_the_day_that_it_arrived_on(capsys: pytest.CaptureFixture[str]) -> None:
    put("date=2026-11-01/a.jsonl", json.dumps(LISTEN | {"listened_at": "2026-11-09T12:00:00Z"}))
    put("date=2026-11-16/a.jsonl", json.dumps(LISTEN))
    assert main(["check-log", "log"]) == 0
    said = capsys.readouterr().out
    assert "2 rows: 1 would be kept" in said
    assert "time_too_late" in said


def test_a_sample_is_not_in_step_with_folders_and_holds_the_newest_day() -> None:
    for day in range(1, 21):
        for region in ("eu", "us"):
            put(f"date=2026-11-{day:02}/{region}/p.jsonl", json.dumps(LISTEN | {"event": region}))
    listed = list_log(ListensSettings(source="log"))
    names = [file.name for file in _sample._spread(listed)]
    assert names == [file.name for file in _sample._spread(listed)]
    assert len(names) == 5
    assert {name.split("/")[1] for name in names} == {"eu", "us"}
    assert names[-1].startswith("date=2026-11-20/")


def test_a_file_beside_an_export_that_a_run_ignores_is_no_harm(
    capsys: pytest.CaptureFixture[str],
) -> None:
    put("alice/ReadMeFirst.pdf", "%PDF-1.4\n")
    put("alice/my_spotify_data.zip", "")
    with zipfile.ZipFile("log/alice/my_spotify_data.zip", "w") as archive:
        archive.writestr("x/endsong_0.json", json.dumps([SPOTIFY]))
    assert main(["check-log", "log"]) == 0
    said = capsys.readouterr().out
    assert "Format    spotify\n" in said
    assert "1 rows: 1 would be kept" in said
