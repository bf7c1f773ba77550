"""Whatever a file holds: each row is accounted for, ids survive, and only our errors rise."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys import schemas
from recsys.errors import BadLogError
from recsys.listens import LogFile, Reason, clean_day
from recsys.settings import FORMATS, ListensSettings

DAY = date(2026, 11, 16)
NOON, NOON_SECONDS = "2026-11-16T12:00:00Z", 1_794_830_400
KEY = ("user_id", "track_id", "listened_at", "event")

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
MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def clean(format_: str, path: Path, out: Path, listener: str = "somebody") -> tuple[int, pa.Table]:
    """Clean ``path``, and see that all it says adds up: rows read, and what is kept."""
    file = LogFile(path.name, path.as_uri(), path.stat().st_size, None, listener)
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
    assert len({(row["file"], row["row"]) for row in refused.to_pylist()}) == len(refused)
    return report.read, kept


@MANY
@given(lines=st.lists(JSON_LINES, max_size=30))
def test_every_json_line_is_accounted_for(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    assert clean("jsonl", path, tmp_path / "out")[0] == sum(
        line not in (b"", b"\r") for line in lines
    )


@MANY
@given(lines=st.lists(TSV_LINES, max_size=30))
def test_every_lastfm_line_is_accounted_for(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    assert clean("lastfm", path, tmp_path / "out")[0] == sum(
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
    assert clean("parquet", path, tmp_path / "out")[0] == count


def nested(names: list[str], more: st.SearchStrategy[Any] = ANYTHING) -> st.SearchStrategy[Any]:
    """An object of some of these names, or something else."""
    return st.one_of(
        st.dictionaries(st.sampled_from(names), more, max_size=4), st.just("x"), st.none()
    )


LENGTHS = ["duration_ms", "duration", "duration_played"]
ADDITIONAL = nested(["recording_mbid", "artist_mbids", *LENGTHS])
MAPPED = nested(["recording_mbid", "artist_mbids"])
BELOW = st.fixed_dictionaries({"additional_info": ADDITIONAL, "mbid_mapping": MAPPED})
ABOUT = st.builds(
    lambda about, below: about | below if isinstance(about, dict) else about,
    nested(["artist_name", "track_name", "release_name"]),
    BELOW,
)
LISTENS = st.fixed_dictionaries(
    {
        "user_name": st.sampled_from(["u", "v"]) | ANYTHING,
        "listened_at": st.sampled_from([NOON_SECONDS, str(NOON_SECONDS)]) | ANYTHING,
        "track_metadata": ABOUT,
    },
    optional={"recording_msid": ANYTHING, "timestamp": ANYTHING, "user_id": ANYTHING},
)
STREAM_FIELDS = ["ts", "ms_played", "spotify_track_uri", "skipped", "incognito_mode", "reason_end"]
STREAM_FIELDS += [f"master_metadata_{what}" for what in ("track_name", "album_artist_name")]
STREAM_FIELDS += ["episode_name"]
STREAMS = st.builds(
    lambda odd: {"ts": NOON, "ms_played": 1, "spotify_track_uri": "spotify:track:1"} | odd,
    st.dictionaries(st.sampled_from(STREAM_FIELDS), ANYTHING, max_size=3),
)


@MANY
@given(lines=st.lists(LISTENS.map(lambda row: json.dumps(row).encode()) | BYTES, max_size=30))
def test_every_listenbrainz_line_is_accounted_for(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    read, _ = clean("listenbrainz", path, tmp_path / "out")
    assert read == sum(line not in (b"", b"\r") for line in lines)


@MANY
@given(streams=st.lists(STREAMS | ANYTHING, max_size=30))
def test_every_spotify_stream_is_accounted_for(tmp_path: Path, streams: list[Any]) -> None:
    path = tmp_path / "endsong_0.json"
    path.write_text(json.dumps(streams))
    read, _ = clean("spotify", path, tmp_path / "out")
    assert read == len(streams)


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
#: NUL, right to left, combining marks, the last code points, a byte order mark, a bit of SQL.
ODD = ["a\x00b", "\x00", "\u202eאב", "e\u0301\u0328", "\U0010ffff", "\uffff", "\ufeffx", "'; --"]
IDS = st.lists(
    TEXT | st.sampled_from([*ODD, "null", "NULL", " ", "\\", '"', "\u2028"]), unique=True
)


def as_jsonl(ids: list[str]) -> bytes:
    rows = ({"user_id": one, "track_id": one, "listened_at": NOON} for one in ids)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_parquet(ids: list[str]) -> bytes:
    buffer = io.BytesIO()
    text = pa.array(ids, pa.string())
    pq.write_table(pa.table([text, text, [NOON] * len(ids)], [*KEY[:3]]), buffer)
    return buffer.getvalue()


def as_lastfm(ids: list[str]) -> bytes:
    return "".join(f"{one}\t{NOON}\ta\tA\t{one}\tT\n" for one in ["first", *ids]).encode()


def as_listenbrainz(ids: list[str]) -> bytes:
    rows = (
        {
            "user_name": one,
            "listened_at": NOON_SECONDS,
            "track_metadata": {"mbid_mapping": {"recording_mbid": one}},
        }
        for one in ids
    )
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_spotify(ids: list[str]) -> bytes:
    return json.dumps(
        [{"ts": NOON, "ms_played": 1, "spotify_track_uri": one} for one in ids]
    ).encode()


WRITERS: dict[str, Callable[[list[str]], bytes]] = {
    "parquet": as_parquet,
    "jsonl": as_jsonl,
    "lastfm": as_lastfm,
    "listenbrainz": as_listenbrainz,
    "spotify": as_spotify,
}
assert WRITERS.keys() == set(FORMATS)


@MANY
@given(ids=IDS, format_=st.sampled_from(FORMATS), listener=TEXT)
def test_an_id_of_any_characters_is_the_same_once_it_was_cleaned(
    tmp_path: Path, ids: list[str], format_: str, listener: str
) -> None:
    if format_ == "lastfm":
        ids = [one for one in ids if not {"\t", "\n"} & set(one)]
    path = tmp_path / "a"
    path.write_bytes(WRITERS[format_](ids))
    _, kept = clean(format_, path, tmp_path / "out", listener)
    assert sorted(set(kept["track_id"].to_pylist()) - {"first"}) == sorted({*ids} - {"first"})
    if format_ == "spotify":
        assert {*kept["user_id"].to_pylist()} <= {listener}
    else:
        assert kept["user_id"].to_pylist() == kept["track_id"].to_pylist()


def in_tar(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("../endsong_0.listens.json")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def in_zip(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("/endsong_0.listens.json", content)
    return buffer.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".tar": in_tar,
    ".zip": in_zip,
    ".tar.zst": lambda content: zstandard.ZstdCompressor().compress(in_tar(content)),
}


def reads_or_says_why(format_: str, path: Path, out: Path) -> None:
    try:
        clean(format_, path, out)
    except BadLogError as error:
        assert path.name in str(error)  # noqa: PT017 - it may as well be read


@pytest.mark.parametrize("format_", FORMATS)
@MANY
@given(suffix=st.sampled_from([*PACKED]), rubbish=st.binary(max_size=60), packed=st.booleans())
def test_rubbish_is_read_or_refused_by_name(
    tmp_path: Path, format_: str, suffix: str, rubbish: bytes, packed: bool
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(PACKED[suffix](rubbish) if packed else rubbish)
    reads_or_says_why(format_, path, tmp_path / "out")


@pytest.mark.parametrize("format_", FORMATS)
@MANY
@given(data=st.data(), suffix=st.sampled_from([*PACKED]))
def test_a_damaged_file_is_read_or_refused_by_name(
    tmp_path: Path, format_: str, data: st.DataObject, suffix: str
) -> None:
    whole = PACKED[suffix](WRITERS[format_]([f"id {n}" for n in range(5)]))
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for at, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(whole)), st.integers(0, 255)), max_size=3)
    ):
        damaged[at : at + 1] = bytes([byte])
    path = tmp_path / f"a{suffix}"
    path.write_bytes(damaged)
    reads_or_says_why(format_, path, tmp_path / "out")
