"""Spotify's Extended Streaming History, as it arrives."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import BadLogError, MissingDataError, SettingsError
from recsys.listens import Inventory, list_log, split_dump
from recsys.listens._elements import element_blocks
from recsys.listens._split import DumpReport
from recsys.settings import ListensSettings

if TYPE_CHECKING:
    from tests.listens.conftest import Lab

SECRETS = ("203.0.113.7", "Pixel 9 of Ann", "Mozilla/5.0", "DE")


def stream(**changes: Any) -> dict[str, Any]:
    return {
        "ts": "2026-11-16T12:03:30Z",
        "username": "ann.example",
        "platform": "Pixel 9 of Ann",
        "ms_played": 210_000,
        "conn_country": "DE",
        "ip_addr": "203.0.113.7",
        "user_agent_decrypted": "Mozilla/5.0",
        "master_metadata_track_name": "Roads",
        "master_metadata_album_artist_name": "Portishead",
        "master_metadata_album_album_name": "Dummy",
        "spotify_track_uri": "spotify:track:4Hd",
        "episode_name": None,
        "spotify_episode_uri": None,
        "reason_start": "trackdone",
        "reason_end": "trackdone",
        "shuffle": False,
        "skipped": None,
        "offline": False,
        "incognito_mode": False,
    } | changes


class Export:
    """A folder of exports, read as a dump."""

    def __init__(self, root: Path) -> None:
        self.root = root / "log"
        self.out = root / "split"

    def put(self, name: str, content: Any) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    def listed(self, user: str = "") -> tuple[ListensSettings, Inventory]:
        settings = ListensSettings(source=str(self.root), format="spotify", user=user)
        return settings, list_log(settings)

    def read(self, user: str = "") -> tuple[DumpReport, list[dict[str, Any]]]:
        import pyarrow.parquet as pq

        self.out.mkdir()
        report = split_dump(*self.listed(user), self.out)
        rows = [
            row
            for part in sorted(self.out.glob("date=*/*.parquet"))
            for row in pq.read_table(part, partitioning=None).to_pylist()
        ]
        return report, rows


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


def test_a_stream_worked_out_by_hand(lab: Lab) -> None:
    # It ended at 12:03:30 after 210 seconds: it began at 12:00:00.
    path = lab.partition() / "Streaming_History_Audio_2026_0.json"
    path.write_text(json.dumps([stream()]))
    (row,) = lab.clean("spotify", user="ann").listens
    assert row == {
        "user_id": "ann",
        "track_id": "spotify:track:4Hd",
        "listened_at": datetime(2026, 11, 16, 12, 0, 0, tzinfo=UTC),
        "event": "play",
        "artist_ids": ["spotify:" + "d7bb728b6e04d4cb502cfda6cd7affe7"],
        "ms_played": 210_000,
        "duration_ms": None,
        "skipped": False,
        "track_name": "Roads",
        "artist_name": "Portishead",
        "album_name": "Dummy",
    }


def test_a_stream_belongs_to_the_day_on_which_it_began(export: Export) -> None:
    late = stream(ts="2026-11-17T00:00:10Z", ms_played=10_001)
    export.put("ann/Streaming_History_Audio_2026_0.json", [late])
    _, (row,) = export.read()
    assert str(row["day"]) == "2026-11-16"
    assert row["listened_at"] % 10**6 == 999_000  # a millisecond before midnight


@pytest.mark.parametrize(
    ("skipped", "reason_end", "expected"),
    [
        (True, "trackdone", True),
        (False, "fwdbtn", False),
        (None, "fwdbtn", True),
        (None, "trackdone", False),
        (None, "logout", None),
    ],
)
def test_a_skip_is_what_spotify_says_or_how_it_ended(
    lab: Lab, skipped: bool | None, reason_end: str, expected: bool | None
) -> None:
    path = lab.partition() / "endsong_0.json"
    path.write_text(json.dumps([stream(skipped=skipped, reason_end=reason_end)]))
    (row,) = lab.clean("spotify", user="ann").listens
    assert row["skipped"] is expected


def test_every_listener_has_a_folder_and_loose_files_belong_to_the_one_in_the_settings(
    export: Export,
) -> None:
    export.put("ann/Spotify Extended Streaming History/endsong_0.json", [stream()])
    export.put("bob/Streaming_History_Audio_2020-2022_1.json", [stream(), stream(ms_played=5)])
    export.put("Streaming_History_Audio_2026_3.json", [stream()])
    export.put("ann/Spotify Extended Streaming History/ReadMeFirst.pdf", b"%PDF")
    export.put("ann/Spotify Extended Streaming History/Streaming_History_Video_2026.json", [{}])
    _, rows = export.read(user="me")
    assert sorted(row["user_id"] for row in rows) == ["ann", "bob", "bob", "me"]


def test_loose_files_need_a_listener_in_the_settings(export: Export) -> None:
    export.put("Streaming_History_Audio_2026_3.json", [stream()])
    with pytest.raises(SettingsError, match=r"\[listens\] user is missing.*Audio_2026_3"):
        export.read()


def test_a_folder_without_a_history_is_missing_data(export: Export) -> None:
    export.put("ann/Userdata.json", {"email": "ann@example.org"})
    with pytest.raises(MissingDataError, match="Streaming_History_Audio"):
        export.listed()


def zipped(*members: tuple[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return buffer.getvalue()


def test_the_zip_is_read_as_it_arrives_and_nothing_of_it_is_unpacked(export: Export) -> None:
    folder = "Spotify Extended Streaming History/"
    export.put(
        "ann/my_spotify_data.zip",
        zipped(
            (folder + "ReadMeFirst_ExtendedStreamingHistory.pdf", b"%PDF"),
            (folder + "Streaming_History_Audio_2025_0.json", [stream(ts="2025-01-01T10:00:00Z")]),
            ("../../Streaming_History_Audio_2026_1.json", [stream(), "x"]),
            (folder + "Userdata.json", {"email": "ann@example.org"}),
        ),
    )
    before = sorted(export.root.parent.rglob("*"))
    report, rows = export.read()
    assert report.read == 3
    assert report.undated == {"unreadable": 1}
    assert [row["user_id"] for row in rows] == ["ann", "ann"]
    left = [path for path in export.root.parent.rglob("*") if not path.is_relative_to(export.out)]
    assert sorted(left) == before


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "crc"])
def test_a_damaged_zip_stops_the_run(export: Export, damage: str) -> None:
    whole = zipped(("endsong_0.json", [stream(ms_played=n) for n in range(1000)]))
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 0xFF
    data = {"cut": whole[:-30], "empty": b"", "text": b"hello", "crc": bytes(broken)}[damage]
    export.put("ann/my_spotify_data.zip", data)
    with pytest.raises(BadLogError, match=r"listener-1/1-export\.zip cannot be read"):
        export.read()


@pytest.mark.parametrize(
    ("name", "pack", "harm"),
    [
        ("my_spotify_data.zip", None, "cut"),
        ("endsong_0.json.gz", gzip.compress, "cut"),
        ("endsong_0.json.gz", gzip.compress, "garbled"),
        ("endsong_0.json.xz", lzma.compress, "garbled"),
        ("endsong_0.json.zst", zstandard.compress, "garbled"),
    ],
)
def test_what_is_cut_or_damaged_is_said_to_be(
    export: Export, name: str, pack: Callable[[bytes], bytes] | None, harm: str
) -> None:
    rows = [stream()]
    whole = pack(json.dumps(rows).encode()) if pack else zipped(("endsong_0.json", rows))
    export.put(f"ann/{name}", whole[:-30] if harm == "cut" else b"x" + whole[1:])
    with pytest.raises(BadLogError, match="cannot be read: it is damaged or cut short"):
        export.read()


def test_a_zip_bomb_stops_the_run(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.listens._archive._FREE_SWELLING", 1 << 20)
    export.put("ann/my_spotify_data.zip", zipped(("endsong_0.json", b"[" + b" " * (50 << 20))))
    with pytest.raises(BadLogError, match="250 times as large"):
        export.read()


@pytest.mark.parametrize("day", ["1970-01-01T00:29:00Z", "1970-01-20T00:00:00Z"])
def test_a_clock_that_was_never_set_is_too_early(lab: Lab, day: str) -> None:
    path = lab.partition() / "endsong_0.json"
    path.write_text(json.dumps([stream(ts=day, ms_played=0)]))
    assert lab.clean("spotify", user="ann").reasons == ["time_too_early"]


def test_podcasts_audiobooks_and_private_sessions_are_counted_and_nothing_of_them_is_kept(
    lab: Lab,
) -> None:
    podcast = stream(
        spotify_track_uri=None, episode_name="E1", spotify_episode_uri="spotify:episode:1"
    )
    book = stream(spotify_track_uri=None, audiobook_title="B", audiobook_uri="spotify:show:2")
    private = stream(incognito_mode=True)
    local_file = stream(spotify_track_uri=None)
    path = lab.partition() / "Streaming_History_Audio_2026_0.json"
    path.write_text(json.dumps([podcast, book, private, local_file, stream()]))
    day = lab.clean("spotify", user="ann")
    assert day.report.quarantined == {"no_track": 1, "not_music": 2, "private": 1}
    assert [row["detail"] for row in day.quarantine] == [None] * 4


def test_addresses_and_devices_reach_neither_an_artefact_nor_an_error(lab: Lab) -> None:
    rows = [
        stream(),
        stream(ts="yesterday"),
        stream(ms_played="x"),
        stream(spotify_track_uri={"a": 1}),
        stream(skipped="perhaps"),
        [stream()],
    ]
    path = lab.partition() / "Streaming_History_Audio_2026_0.json"
    path.write_text(json.dumps(rows)[:-1] + ', {"ip_addr": "203.0.113.7", "pl')
    day = lab.clean("spotify", user="ann")
    assert day.reasons.count("unreadable") == 2
    assert len(day.reasons) == 6
    written = repr(day.listens) + repr(day.quarantine) + repr(day.report)
    written += day.path.read_bytes().decode("latin-1")
    assert not [secret for secret in SECRETS if repr(secret) in written or f'"{secret}' in written]


def test_a_file_that_is_no_array_stops_the_run(lab: Lab) -> None:
    (lab.partition() / "endsong_0.json").write_text('{"ip_addr": "203.0.113.7"}')
    with pytest.raises(BadLogError, match=r"endsong_0\.json cannot be read.*begins with '\['") as e:
        lab.clean("spotify", user="ann")
    assert "203.0" not in str(e.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(['"', "\\", "[,]{}"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(st.lists(JSON), st.sampled_from([None, 1, "\t"]), st.integers(1, 40), st.booleans())
def test_an_array_is_cut_where_json_says(
    elements: list[Any], indent: Any, block: int, ascii_only: bool
) -> None:
    text = json.dumps(elements, indent=indent, ensure_ascii=ascii_only).encode(
        errors="surrogatepass"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recsys.listens._elements.BLOCK_BYTES", block)
        tables = list(element_blocks(io.BufferedReader(io.BytesIO(text))))
    found = [row for table in tables for row in table.to_pylist()]
    assert [json.loads(row["line"]) for row in found] == elements
    assert [row["row"] for row in found] == list(range(1, len(elements) + 1))


@given(st.lists(JSON, min_size=1), st.data())
def test_an_array_that_is_cut_short_says_so_and_keeps_what_came_before(
    elements: list[Any], data: st.DataObject
) -> None:
    text = json.dumps(elements).encode()
    cut = data.draw(st.integers(1, len(text) - 1))
    tables = list(element_blocks(io.BufferedReader(io.BytesIO(text[:cut]))))
    found = [row for table in tables for row in table.to_pylist()]
    assert found[-1]["fault"] == "the array is not closed: the file may be cut short"
    assert [json.loads(row["line"]) for row in found[:-1]] == elements[: len(found) - 1]


@given(st.binary(max_size=200))
def test_rubbish_is_refused_or_cut_and_never_lost(rubbish: bytes) -> None:
    tables = list(element_blocks(io.BufferedReader(io.BytesIO(b"[" + rubbish))))
    rows = [row for table in tables for row in table.to_pylist()]
    assert [row["row"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows or not rubbish.strip(b" \t\r\n]").strip()
