"""ListenBrainz listens: fetched, from a dump, mapped and not, plain and in archives."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from recsys.errors import BadLogError, SettingsError
from recsys.listens import list_log, split_dump
from recsys.settings import ListensSettings

if TYPE_CHECKING:
    from tests.listens.conftest import Lab

# 2026-11-16 12:00:00 UTC is 20,773 days and 12 hours after 1970: 20773 * 86400 + 43200.
AT = 1_794_830_400


def fetched(**about: Any) -> dict[str, Any]:
    """A listen as the API returns it, with one level of metadata changed."""
    info = about.pop("additional_info", {})
    return {
        "user_name": "rob",
        "listened_at": AT,
        "recording_msid": "d23f4719",
        "track_metadata": {
            "artist_name": "Portishead",
            "track_name": "Roads",
            "release_name": "Dummy",
            "additional_info": info,
            **about,
        },
    }


def dumped(**about: Any) -> dict[str, Any]:
    """The same in the layout of a dump."""
    listen = fetched(**about)
    return {
        "user_id": 1,
        "user_name": listen.pop("user_name"),
        "timestamp": listen.pop("listened_at"),
        **listen,
    }


@pytest.mark.parametrize("layout", [fetched, dumped])
def test_a_mapped_listen_worked_out_by_hand(lab: Lab, layout: Any) -> None:
    mapping = {"recording_mbid": "rec-1", "artist_mbids": ["art-1", "art-2"]}
    told = {
        "recording_mbid": "told-rec",
        "artist_mbids": ["told-art"],
        "duration": 305,
        "duration_played": 61.5,
    }
    lab.jsonl(layout(mbid_mapping=mapping, additional_info=told))
    (row,) = lab.clean("listenbrainz").listens
    assert row == {
        "user_id": "rob",
        "track_id": "rec-1",
        "listened_at": datetime(2026, 11, 16, 12, 0, 0, tzinfo=UTC),
        "event": "play",
        "artist_ids": ["art-1", "art-2"],
        "ms_played": 61_500,
        "duration_ms": 305_000,
        "skipped": None,
        "track_name": "Roads",
        "artist_name": "Portishead",
        "album_name": "Dummy",
    }


def test_what_the_player_told_counts_where_nothing_is_mapped(lab: Lab) -> None:
    info = {"recording_mbid": "told-rec", "artist_mbids": ["told-art"], "duration_ms": 304_999}
    lab.jsonl(fetched(additional_info=info, mbid_mapping=None))
    (row,) = lab.clean("listenbrainz").listens
    assert (row["track_id"], row["artist_ids"]) == ("told-rec", ["told-art"])
    assert (row["ms_played"], row["duration_ms"]) == (None, 304_999)


@pytest.mark.parametrize("ids", [None, [], [None], [None, ""], ""])
def test_a_list_without_an_id_of_an_artist_counts_as_none(lab: Lab, ids: object) -> None:
    told = {"artist_mbids": ["told-art"]}
    mapped = {"recording_mbid": "r", "artist_mbids": ids}
    lab.jsonl(
        fetched(mbid_mapping=mapped, additional_info=told),
        fetched(mbid_mapping=mapped | {"recording_mbid": "s"}, additional_info=mapped),
    )
    found = [row["artist_ids"] for row in lab.clean("listenbrainz").listens]
    assert found == [["told-art"], ["listenbrainz:" + "d7bb728b6e04d4cb502cfda6cd7affe7"]]


def test_an_unmapped_listen_goes_by_its_messybrainz_id_and_its_artist_by_name(lab: Lab) -> None:
    lab.jsonl(fetched())
    (row,) = lab.clean("listenbrainz").listens
    assert row["track_id"] == "msid:d23f4719"
    # md5 of "Portishead"
    assert row["artist_ids"] == ["listenbrainz:" + "d7bb728b6e04d4cb502cfda6cd7affe7"]


def test_names_alone_make_an_id_that_no_other_pair_of_names_has(lab: Lab) -> None:
    pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("a", "bc")]
    rows = []
    for at, (artist, track) in enumerate(pairs):
        listen = fetched(artist_name=artist, track_name=track)
        del listen["recording_msid"]
        rows.append({**listen, "listened_at": AT + at})
    lab.jsonl(*rows)
    ids = [row["track_id"] for row in lab.clean("listenbrainz").listens]
    assert len(ids) == 4
    assert len(set(ids)) == 3


def test_rows_without_user_track_or_time_are_told_apart(lab: Lab) -> None:
    nobody, nothing, never = fetched(), fetched(), fetched()
    del nobody["user_name"], nothing["recording_msid"], never["listened_at"]
    nothing["track_metadata"] = {}
    lab.jsonl(nobody, nothing, never, "[]", '{"user_name":')
    reasons = lab.clean("listenbrainz").reasons
    assert reasons == ["no_user", "no_track", "no_time", "unreadable", "unreadable"]


def test_a_listener_of_an_export_without_names_is_the_one_in_the_settings(lab: Lab) -> None:
    listen = fetched()
    del listen["user_name"]
    lab.jsonl(listen)
    (row,) = lab.clean("listenbrainz", user="rob's phone").listens
    assert row["user_id"] == "rob's phone"


@pytest.mark.parametrize("zero", [0, 0.0, "0"])
def test_a_length_of_zero_is_none_and_the_other_counts(lab: Lab, zero: object) -> None:
    lab.jsonl(fetched(additional_info={"duration_ms": zero, "duration": 99}))
    assert lab.clean("listenbrainz").listens[0]["duration_ms"] == 99_000


@pytest.mark.parametrize(
    ("listen", "detail"),
    [
        (fetched(additional_info={"duration": -1}), "duration: a negative 1-digit number"),
        (fetched(additional_info={"duration_ms": -20}), "duration_ms: a negative 2-digit number"),
        (
            fetched(additional_info={"duration_ms": 0, "duration": "long"}),
            "duration: a text of 4 characters",
        ),
        (fetched(additional_info={"duration_played": -1.5}), "duration_played: a decimal number"),
        (fetched(additional_info={"artist_mbids": {}}), "artist_mbids: an object"),
        (fetched(additional_info={"recording_mbid": {"a": 1}}), "recording_mbid: an object"),
        (fetched(release_name=[{}]), "release_name: an object"),
        (fetched() | {"listened_at": "noon"}, "listened_at: a text of 4 characters"),
        (dumped() | {"timestamp": "noon"}, "timestamp: a text of 4 characters"),
    ],
)
def test_a_refusal_names_the_key_of_the_log(lab: Lab, listen: Any, detail: str) -> None:
    lab.jsonl(listen)
    (refused,) = lab.clean("listenbrainz").quarantine
    assert refused["detail"] == detail


def archive(*members: tuple[str, str], keep: int | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in members:
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()[:keep]


def text_of(*listens: dict[str, Any]) -> str:
    return "".join(json.dumps(listen) + "\n" for listen in listens)


@pytest.mark.parametrize("suffix", [".tar", ".tar.zst"])
def test_a_dump_is_read_out_of_its_archive(lab: Lab, suffix: str) -> None:
    data = archive(
        ("dump-1-full/COPYING", "CC0"),
        ("dump-1-full/TIMESTAMP", "2026-11-16"),
        ("dump-1-full/listens/2026/11.listens", text_of(dumped(), {**dumped(), "timestamp": 5})),
        ("dump-1-full/../../listens/2026/10.listens", text_of({**dumped(), "user_name": "ann"})),
    )
    if suffix.endswith(".zst"):
        data = zstandard.ZstdCompressor().compress(data)
    path = lab.root / "log" / f"listenbrainz-listens-dump-1-full{suffix}"
    path.parent.mkdir()
    path.write_bytes(data)
    settings = ListensSettings(source=str(path.parent), format="listenbrainz")
    out = lab.root / "split"
    out.mkdir()
    report = split_dump(settings, list_log(settings), out)
    assert report.read == 3
    assert report.undated == {"time_too_early": 1}
    assert [source["rows"] for source in report.sources] == [3]
    assert sorted(file.name for file in lab.root.iterdir()) == ["log", "split"]


def test_a_row_in_an_archive_is_traced_to_its_member(lab: Lab) -> None:
    data = archive(("x/1.listens", text_of(fetched())), ("x/2.listens", text_of(fetched()) + "{\n"))
    (lab.partition() / "a.tar").write_bytes(data)
    day = lab.clean("listenbrainz")
    (refused,) = day.quarantine
    assert (refused["file"], refused["row"]) == (f"date={lab.DAY}/a.tar!x/2.listens", 2)
    assert (day.report.kept, day.report.duplicates) == (1, 1)


@pytest.mark.parametrize("keep", [300, 700, 1024, 1536])
def test_an_archive_that_is_cut_short_stops_the_run(lab: Lab, keep: int) -> None:
    whole = archive(("x/1.listens", text_of(fetched())), ("x/2.listens", text_of(fetched())))
    (lab.partition() / "a.tar").write_bytes(whole[:keep])
    with pytest.raises(BadLogError, match=r"a\.tar cannot be read.*deliver it again"):
        lab.clean("listenbrainz")


def test_columns_cannot_be_mapped(lab: Lab) -> None:
    lab.jsonl(fetched())
    with pytest.raises(SettingsError, match="one meaning each"):
        lab.clean("listenbrainz", columns={"x": "user_id"})
