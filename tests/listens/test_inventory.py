from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pytest

from recsys.errors import BadLogError, MissingDataError, SettingsError
from recsys.listens import list_log
from recsys.settings import ListensSettings

if TYPE_CHECKING:
    from tests.listens.conftest import Lab


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def settings(source: object, **more: object) -> ListensSettings:
    return ListensSettings(source=str(source), format="jsonl", **more)  # type: ignore[arg-type]


def test_files_are_grouped_by_the_day_of_their_folder(tmp_path: Path) -> None:
    put(tmp_path, "day=2026-11-02/b", "day=2026-11-02/a", "date=2026-11-01/hour=03/c")
    log = list_log(settings(tmp_path))
    assert log.partitioned
    assert {day: [f.name for f in files] for day, files in log.days.items()} == {
        date(2026, 11, 1): ["date=2026-11-01/hour=03/c"],
        date(2026, 11, 2): ["day=2026-11-02/a", "day=2026-11-02/b"],
    }
    assert [file.size for file in log.files] == [1, 1, 1]
    written = datetime.fromisoformat(log.files[0].modified or "")
    assert abs(datetime.now(UTC) - written).total_seconds() < 3600


@pytest.mark.parametrize("path", ["{day}/{who}/endsong_0.json", "{who}/{day}/endsong_0.json"])
def test_a_listener_who_comes_renames_no_file_of_a_day_before(tmp_path: Path, path: str) -> None:
    first, second = "date=2026-11-01", "date=2026-11-02"
    put(tmp_path, *(path.format(day=first, who=who) for who in ("bob", "carl")))
    spotify = ListensSettings(source=str(tmp_path), format="spotify")
    day = date(2026, 11, 1)
    before = list_log(spotify).days[day]
    put(tmp_path, *(path.format(day=second, who=who) for who in ("alice", "carl")))
    after = list_log(spotify)
    assert after.days[day] == before
    assert [(file.name, file.listener) for file in after.files] == [
        (f"{first}/listener-1/1-endsong_0.json", "bob"),
        (f"{first}/listener-2/1-endsong_0.json", "carl"),
        (f"{second}/listener-1/1-endsong_0.json", "alice"),
        (f"{second}/listener-2/1-endsong_0.json", "carl"),
    ]


def test_hidden_and_unfinished_files_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "a", "_SUCCESS", ".a.crc", "_temporary/0/part", ".tmp/x")
    assert [file.name for file in list_log(settings(tmp_path)).files] == ["a"]


@pytest.mark.parametrize("pattern", ["date=2026-11-0*", "date=2026-11-0?/*.jsonl", "**/*.jsonl"])
def test_a_glob_may_match_folders_or_files(tmp_path: Path, pattern: str) -> None:
    put(tmp_path, "date=2026-11-01/a.jsonl", "date=2026-11-02/b.jsonl")
    assert list(list_log(settings(tmp_path / pattern)).days) == [
        date(2026, 11, 1),
        date(2026, 11, 2),
    ]


def test_a_single_file_is_a_log(tmp_path: Path) -> None:
    put(tmp_path, "dump[1].jsonl")
    log = list_log(settings(tmp_path / "dump[1].jsonl"))
    assert not log.partitioned
    assert not log.days
    assert [file.name for file in log.files] == ["dump[1].jsonl"]


def test_any_file_system_will_do() -> None:
    with fsspec.open("memory://bucket/date=2026-11-01/a.jsonl", "wb") as file:
        file.write(b"{}\n")
    log = list_log(settings("memory://bucket"))
    assert [file.name for file in log.days[date(2026, 11, 1)]] == ["date=2026-11-01/a.jsonl"]


def test_a_source_that_is_not_there_is_missing_data(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="nowhere does not exist"):
        list_log(settings(tmp_path / "nowhere"))
    with pytest.raises(MissingDataError, match="matches nothing"):
        list_log(settings(tmp_path / "*.jsonl"))


def test_an_empty_source_is_missing_data(tmp_path: Path) -> None:
    (tmp_path / "date=2026-11-01").mkdir()
    with pytest.raises(MissingDataError, match="holds no file"):
        list_log(settings(tmp_path))


def test_a_folder_that_may_not_be_read_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "date=2026-11-01/a", "date=2026-11-02/b")
    listing = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("-02"):
            raise PermissionError(13, "Permission denied", path)
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(BadLogError, match=r"cannot be listed: .*Permission denied"):
        list_log(settings(tmp_path))


def test_links_are_followed(tmp_path: Path) -> None:
    put(tmp_path, "real/date=2026-11-01/a", "elsewhere/b")
    (tmp_path / "real" / "date=2026-11-02").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "log").symlink_to(tmp_path / "real")
    assert [file.name for file in list_log(settings(tmp_path / "log")).files] == [
        "date=2026-11-01/a",
        "date=2026-11-02/b",
    ]


def test_an_unknown_protocol_is_a_setting_to_correct() -> None:
    with pytest.raises(SettingsError, match=r"\[listens\] source = gopher://log"):
        list_log(settings("gopher://log"))


def test_half_a_partitioned_log_is_refused_by_name(tmp_path: Path) -> None:
    put(tmp_path, "date=2026-11-01/a", "loose")
    with pytest.raises(BadLogError, match=r"loose lies in no .* but date=2026-11-01/a does"):
        list_log(settings(tmp_path))


def test_a_folder_of_no_day_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "date=2026-11-31/a")
    with pytest.raises(BadLogError, match="date=2026-11-31, which is no day"):
        list_log(settings(tmp_path))


def test_lastfm_has_no_names_to_map(tmp_path: Path) -> None:
    put(tmp_path, "a.tsv")
    with pytest.raises(SettingsError, match="have one meaning each"):
        list_log(
            ListensSettings(source=str(tmp_path), format="lastfm", columns={"artist": "artist_ids"})
        )


@pytest.mark.parametrize("source", ["log", "log/*", "log/date=2026-11-16/pipe"])
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_regular_file_is_an_error_and_hangs_nothing(
    lab: Lab, source: str, linked: bool
) -> None:
    pipe = lab.partition() / ("_pipe" if linked else "pipe")
    os.mkfifo(pipe)
    if linked:
        (lab.partition() / "pipe").symlink_to(pipe)
    lab.jsonl(lab.listen())
    with pytest.raises(BadLogError, match="pipe is a pipe, a socket or a device"):
        list_log(ListensSettings(source=str(lab.root / source)))


def test_of_a_pipe_in_a_folder_of_a_listener_the_name_is_not_said(lab: Lab) -> None:
    (lab.root / "log" / "ann").mkdir(parents=True)
    os.mkfifo(lab.root / "log" / "ann" / "endsong_0.json")
    with pytest.raises(BadLogError, match="a file in it is a pipe") as refused:
        list_log(lab.settings("spotify"))
    assert "ann" not in str(refused.value).replace(str(lab.root), "")


def test_a_hidden_pipe_is_left_out(lab: Lab) -> None:
    os.mkfifo(lab.partition() / ".pipe")
    lab.jsonl(lab.listen())
    assert len(list_log(lab.settings("jsonl")).files) == 1
