"""Addresses, devices, user agents and listeners' ids stay outside: no artefact, message or log."""

from __future__ import annotations

import io
import json
import logging
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.cli import main
from recsys.errors import BadLogError
from recsys.listens import clean_day, list_log, split_dump
from recsys.settings import ListensSettings

if TYPE_CHECKING:
    from tests.listens.conftest import Lab

#: Stands for an address, a device, a user agent: it is in every field that is not ours.
SECRET = "SENTINEL-203.0.113.7"
LISTENER = "listener.ann.smith"
NOON = "2026-11-16T12:00:00Z"
HIDDEN: dict[str, Any] = {
    "ip_addr": SECRET,
    "user_agent": SECRET,
    "device": {"name": SECRET, "ids": [SECRET]},
    "context": {"client": {"ip": SECRET}},
}
#: What makes a row refused, each for another reason.
BROKEN: list[dict[str, Any]] = [
    {"user_id": {"ip": SECRET}},
    {"track_id": {"device": SECRET}},
    {"listened_at": {"device": SECRET}},
    {"listened_at": "soon"},
    {"event": {"device": SECRET}},
    {"ms_played": [{"device": SECRET}]},
    {"skipped": [1, {"device": SECRET}]},
    {"artist_ids": ["a", {"device": SECRET}]},
    {"track_name": {"device": SECRET}},
    {"private": True, "track_name": SECRET, "user_id": SECRET},
    {"private": {"ip": SECRET}},
]
UNREADABLE = (
    f'{{"user_id": "u", "ip_addr": "{SECRET}"'.encode(),
    f'{{"ip_addr": "{SECRET}", "x": nan}}'.encode(),
    f'["{SECRET}"]'.encode(),
    f'"{SECRET}"'.encode(),
    SECRET.encode(),
    SECRET.encode() + b"\xff",
)


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    lines = [*(json.dumps(row | HIDDEN).encode() for row in rows), *UNREADABLE]
    return b"\n".join(lines) + b"\n"


def write_jsonl(folder: Path) -> None:
    good = {"user_id": "u", "track_id": "t", "listened_at": NOON}
    (folder / "a.jsonl").write_bytes(json_lines([good, *(good | broken for broken in BROKEN)]))


def write_listenbrainz(folder: Path) -> None:
    about = {"artist_name": "A", "track_name": "T", "device": SECRET}
    info = HIDDEN | {"recording_mbid": "m", "media_player": SECRET, "origin_url": SECRET}
    good = {"user_name": "u", "listened_at": 1794830400}
    rows = [
        good | {"track_metadata": about | {"additional_info": info | broken}}
        for broken in (
            {},
            {"recording_mbid": {"ip": SECRET}},
            {"artist_mbids": [{"ip": SECRET}]},
            {"duration_ms": {"ip": SECRET}},
        )
    ]
    more = [{"user_name": {"ip": SECRET}}, {"listened_at": {"ip": SECRET}}, {"track_metadata": 1}]
    (folder / "a.jsonl").write_bytes(json_lines(rows + [rows[0] | broken for broken in more]))


def write_lastfm(folder: Path) -> None:
    row = ["u", NOON, "a", "Artist", "t", "Track"]
    lines = [row, [*row, SECRET], [SECRET], ["", *row[1:]], [row[0], "soon", *row[2:]]]
    text = "".join("\t".join(line) + "\n" for line in lines)
    (folder / "a.tsv").write_bytes(text.encode() + SECRET.encode() + b"\t\xff\n")


def write_parquet(folder: Path) -> None:
    rows = 4
    table = {
        "user_id": ["u", "u", None, "u"],
        "track_id": ["t"] * rows,
        "listened_at": [NOON, "soon", NOON, NOON],
        "private": [False, False, False, True],
        "track_name": ["T", "T", "T", SECRET],
    }
    hidden = {name: [value] * rows for name, value in HIDDEN.items()}
    pq.write_table(pa.table({**table, **hidden}), folder / "a.parquet")


def write_spotify(folder: Path) -> None:
    good = {"ts": NOON, "ms_played": 1000, "spotify_track_uri": "spotify:track:1", "username": "x"}
    names = {
        "user_id": "username",
        "track_id": "spotify_track_uri",
        "listened_at": "ts",
        "track_name": "master_metadata_track_name",
        "private": "incognito_mode",
    }
    broken = [{names.get(key, key): value for key, value in one.items()} for one in BROKEN]
    podcast = {"spotify_track_uri": None, "episode_name": SECRET}
    rows = [good | one | HIDDEN for one in ({}, *broken, podcast)]
    mine = folder / LISTENER
    mine.mkdir()
    text = json.dumps(rows)[:-1] + f', {{"ip_addr": "{SECRET}", "pl'
    (mine / "Streaming_History_Audio_2026_0.json").write_text(text)
    with zipfile.ZipFile(mine / f"{LISTENER}.zip", "w") as archive:
        archive.writestr(f"{LISTENER}/endsong_0.json", text)
        archive.writestr(f"{LISTENER}/Userdata.json", json.dumps({"email": SECRET}))


WRITERS: dict[str, Callable[[Path], None]] = {
    "jsonl": write_jsonl,
    "lastfm": write_lastfm,
    "listenbrainz": write_listenbrainz,
    "parquet": write_parquet,
    "spotify": write_spotify,
}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Everything that was logged above debug level, or printed."""
    caplog.set_level(logging.INFO)
    return lambda: caplog.text + "".join(capfd.readouterr())


def written_under(folder: Path) -> bytes:
    """Every byte under a folder, tables decompressed, and the names of its files."""
    found = []
    for path in sorted(folder.rglob("*")):
        found.append(str(path.relative_to(folder)).encode())
        if path.suffix == ".parquet":
            found.append(repr(pq.read_table(path, partitioning=None).to_pylist()).encode())
        if path.is_file():
            found.append(path.read_bytes())
    return b"\n".join(found)


@pytest.mark.parametrize("format_", WRITERS)
def test_what_is_not_ours_reaches_nothing(
    lab: Lab, format_: str, said: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS[format_](lab.partition())
    day = lab.clean(format_)
    assert day.report.kept
    assert len(day.reasons) >= 3
    written = written_under(day.path.parent) + repr(day.report).encode()
    assert SECRET.encode() not in written
    if format_ == "spotify":
        written = written.replace(f"'{LISTENER}'".encode(), b"")  # the column user_id
        listens = day.path.read_bytes()
        assert LISTENER.encode() not in written.replace(listens, b"")
        assert {row["user_id"] for row in day.listens} == {LISTENER}
    overlay = lab.root / "overlay.cfg"
    overlay.write_text(f"[recsys]\nhome = {lab.root / 'home'}\n[listens]\nsource = elsewhere\n")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(overlay))
    main(["check-log", str(lab.root / "log"), "--format", format_])
    printed = said()
    assert "would be kept" in printed
    assert SECRET not in printed
    assert LISTENER not in printed


def export(listener: str, content: bytes) -> dict[str, bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{listener}/endsong_0.json", content)
    return {"endsong_0.json": content, f"{listener}.zip": buffer.getvalue()}


@pytest.mark.parametrize("name", ["endsong_0.json", f"{LISTENER}.zip", "gone", "grown", "closed"])
@pytest.mark.parametrize("in_folder", [True, False])
def test_an_error_names_the_file_and_not_its_listener(
    tmp_path: Path,
    name: str,
    in_folder: bool,
    said: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = {"endsong_0.json": b'{"ip": 1}', f"{LISTENER}.zip": b"PK damaged " + SECRET.encode()}
    folder = tmp_path / "log" / "date=2026-11-16" / (LISTENER if in_folder else "")
    folder.mkdir(parents=True)
    path = folder / (name if name in broken else f"endsong_{LISTENER}.json")
    path.write_bytes(broken.get(name, b"[]"))
    settings = ListensSettings(source=str(tmp_path / "log"), format="spotify", user="me")
    ((day, files),) = list_log(settings).days.items()
    if name == "gone":
        path.unlink()
    elif name == "grown":
        path.write_bytes(b"[]  ")
    elif name == "closed":

        def refuse(*_: Any, **__: Any) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("recsys.listens._open.file_system", refuse)
    with pytest.raises(BadLogError, match=r"date=2026-11-16/listener-1/1-") as error:
        clean_day(settings, day, files, [], tmp_path / "out")
    chain = "".join(str(one) for one in (error.value, error.value.__cause__))
    assert LISTENER not in chain
    assert SECRET not in chain
    assert LISTENER not in said()


def test_a_listeners_folder_that_may_not_be_listed_is_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LISTENER).mkdir()

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / LISTENER))

    monkeypatch.setattr("recsys.listens._inventory.os.walk", refuse)
    with pytest.raises(BadLogError, match="cannot be listed: Permission denied") as error:
        list_log(ListensSettings(source=str(tmp_path), format="spotify"))
    assert LISTENER not in str(error.value)


@pytest.mark.parametrize(
    "listener", ["ann\u00a0smith", "ann\\smith", "ann's", "ann\"s'", "ann\nsmith", "ann\x85"]
)
def test_a_folder_of_odd_characters_reaches_no_error(tmp_path: Path, listener: str) -> None:
    path = tmp_path / "log" / listener / "endsong_0.json"
    path.parent.mkdir(parents=True)
    path.write_text("[]")
    settings = ListensSettings(source=str(tmp_path / "log"), format="spotify")
    log = list_log(settings)
    path.unlink()
    with pytest.raises(BadLogError, match=r"cannot be read: No such file or directory\.") as error:
        split_dump(settings, log, tmp_path)
    assert not {"ann", "smith"} & set(re.findall("[a-z]+", str(error.value)))


def test_a_listener_in_the_name_of_a_file_is_left_out(lab: Lab) -> None:
    folder = lab.partition() / LISTENER
    folder.mkdir()
    for name in (f"endsong_{LISTENER}.json", f"Streaming_History_Audio_2024_{LISTENER}.json"):
        (folder / name).write_text('[{"ts": "soon", "spotify_track_uri": "spotify:track:1"}]')
    with zipfile.ZipFile(folder / "mine.zip", "w") as archive:
        archive.write(folder / f"endsong_{LISTENER}.json")
    day = lab.clean("spotify")
    assert LISTENER not in repr(day.quarantine)
    assert [row["file"].split("/")[-1] for row in day.quarantine] == [
        "1-Streaming_History_Audio.json",
        "2-endsong.json",
        "3-export.zip!endsong.json",
    ]


#: Ids of a service that numbers its listeners, as text and as a number of any type.
NUMBERED = ["7041776000000000042", "41", "-41", "00041", "41.0", "4.1e1"]


@pytest.mark.parametrize("format_", ["jsonl", "parquet", "lastfm", "listenbrainz", "spotify"])
@pytest.mark.parametrize("listener", NUMBERED)
def test_a_listeners_number_in_another_column_reaches_no_detail(
    lab: Lab, format_: str, listener: str
) -> None:
    if format_ == "jsonl":
        columns = ("listened_at", "event", "ms_played", "duration_ms", "skipped", "private")
        lab.jsonl(*(lab.listen(**{name: listener}) for name in columns))
    elif format_ == "parquet":
        lab.parquet({name: [value] for name, value in lab.listen(listened_at=listener).items()})
    elif format_ == "lastfm":
        (lab.partition() / "a.tsv").write_text(f"u\t{listener}\ta\tA\tt\tT\n")
    elif format_ == "listenbrainz":
        lab.jsonl({"user_name": "u", "listened_at": listener, "recording_msid": "m"})
    else:
        stream = {"ts": listener, "ms_played": 1, "spotify_track_uri": "spotify:track:1"}
        (lab.partition() / "endsong_0.json").write_text(json.dumps([stream]))
    day = lab.clean(format_, user="u")
    assert day.quarantine
    assert not [row for row in day.quarantine if listener.strip("-") in str(row["detail"])]
