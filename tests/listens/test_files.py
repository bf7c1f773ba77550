"""Files as they are in the wild: compressed, cut short, damaged, named otherwise."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from recsys.artefact import file_sha256
from recsys.errors import BadLogError, SettingsError
from recsys.listens import LogFile, clean_day, list_log
from recsys.listens._lines import BLOCK_BYTES, MAX_LINE_BYTES
from recsys.settings import ListensSettings

if TYPE_CHECKING:
    from tests.listens.conftest import Lab

COMPRESS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
IDS = {"user_id": ["u"], "track_id": ["t"], "listened_at": ["2026-11-16T12:00:00Z"]}


def lines(lab: Lab, first: int, last: int) -> bytes:
    rows = (lab.listen(track_id=f"t{n:05}") for n in range(first, last))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize("suffix", COMPRESS)
def test_every_member_of_a_compressed_file_is_read(lab: Lab, suffix: str) -> None:
    compress = COMPRESS[suffix]
    path = lab.partition() / f"a.jsonl{suffix}"
    path.write_bytes(compress(lines(lab, 0, 500)) + compress(lines(lab, 500, 1000)))
    day = lab.clean("jsonl")
    assert [row["track_id"] for row in day.listens] == [f"t{n:05}" for n in range(1000)]
    (source,) = day.report.sources
    assert source["sha256"] == file_sha256(path)
    assert source["bytes"] == path.stat().st_size
    assert source["rows"] == 1000


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_compressed_file_stops_the_run(lab: Lab, suffix: str, damage: str) -> None:
    whole = COMPRESS[suffix](os.urandom(5000).hex().encode())
    data = {"cut": whole[:-20], "empty": b"", "other": b"plain text, not compressed\n"}[damage]
    (lab.partition() / f"a.jsonl{suffix}").write_bytes(data)
    with pytest.raises(BadLogError, match=rf"a\.jsonl{suffix} cannot be read.*deliver it again"):
        lab.clean("jsonl")


@pytest.mark.parametrize("keep", [0, 3, 200, -1])
def test_a_damaged_parquet_file_stops_the_run(lab: Lab, keep: int) -> None:
    path = lab.parquet(IDS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadLogError, match=r"a\.parquet cannot be read.*deliver it again"):
        lab.clean("parquet")


def test_a_parquet_file_damaged_inside_stops_the_run(lab: Lab) -> None:
    path = lab.parquet({name: values * 5000 for name, values in IDS.items()}, compression="gzip")
    data = bytearray(path.read_bytes())
    data[4:60] = b"\xff" * 56
    path.write_bytes(data)
    with pytest.raises(BadLogError, match=r"a\.parquet cannot be read"):
        lab.clean("parquet")


def test_a_file_that_is_gone_or_has_grown_stops_the_run(lab: Lab, tmp_path: Path) -> None:
    path = lab.jsonl(lab.listen())
    log = list_log(lab.settings("jsonl"))
    (day, files), *_ = log.days.items()
    path.write_bytes(lines(lab, 0, 3))
    with pytest.raises(BadLogError, match="has changed while the log was read"):
        clean_day(lab.settings("jsonl"), day, files, [], tmp_path / "out")
    path.unlink()
    with pytest.raises(BadLogError, match="cannot be read"):
        clean_day(lab.settings("jsonl"), day, files, [], tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*")), "the working folder was left behind"


def test_a_line_cut_in_the_middle_is_refused_alone(lab: Lab) -> None:
    path = lab.partition() / "a.jsonl"
    path.write_bytes(lines(lab, 0, 3)[:-10])
    day = lab.clean("jsonl")
    assert (day.report.kept, day.reasons) == (2, ["unreadable"])


def test_a_last_line_without_an_end_is_read_if_it_is_whole(lab: Lab) -> None:
    (lab.partition() / "a.jsonl").write_bytes(lines(lab, 0, 3)[:-1])
    assert lab.clean("jsonl").report.kept == 3


def test_lines_that_are_not_utf8_are_refused_alone(lab: Lab) -> None:
    good = lines(lab, 0, 2)
    (lab.partition() / "a.jsonl").write_bytes(
        good + b'{"track_id": "caf\xe9"}\n' + lines(lab, 2, 4)
    )
    day = lab.clean("jsonl")
    assert day.report.kept == 4
    assert [(row["row"], row["detail"]) for row in day.quarantine] == [(3, "the line is not UTF-8")]


@pytest.mark.parametrize(
    "line", ["{", "[]", "7", '"text"', "null", "not json", '{"a": 1} x', '{"a": "\\ud800"}', "\x00"]
)
def test_lines_that_are_no_object_are_refused(lab: Lab, line: str) -> None:
    lab.jsonl(lab.listen(), line)
    day = lab.clean("jsonl")
    assert day.report.kept == 1
    assert [(row["row"], row["reason"], row["detail"]) for row in day.quarantine] == [
        (2, "unreadable", "not a JSON object")
    ]


def test_a_very_deep_line_is_no_harm(lab: Lab) -> None:
    lab.jsonl(lab.listen(), '{"artist_ids":' + "[" * 100_000 + "]" * 100_000 + "}", "[" * 100_000)
    assert lab.clean("jsonl").report.kept == 1


@pytest.mark.parametrize("length", [MAX_LINE_BYTES + 1, BLOCK_BYTES * 2 + 5])
def test_a_very_long_line_is_refused_alone(lab: Lab, length: int) -> None:
    good = lines(lab, 0, 2)
    long = b'{"track_id": "' + b"x" * length + b'"}\n'
    (lab.partition() / "a.jsonl").write_bytes(good + long + lines(lab, 2, 4))
    day = lab.clean("jsonl")
    assert day.report.kept == 4
    assert [(row["row"], row["detail"]) for row in day.quarantine] == [
        (3, "the line is longer than 4 MiB")
    ]


def test_empty_lines_are_no_rows_but_have_numbers(lab: Lab) -> None:
    row = json.dumps(lab.listen()).encode()
    (lab.partition() / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + row + b"\r\n\r\n\nbroken\r\n\n")
    day = lab.clean("jsonl")
    assert (day.report.read, day.report.kept) == (2, 1)
    assert [row["row"] for row in day.quarantine] == [4]


def test_rows_keep_their_numbers_across_blocks(lab: Lab) -> None:
    filler = json.dumps(lab.listen(note="x" * 1000)) + "\n"
    count = BLOCK_BYTES // len(filler) + 10
    (lab.partition() / "a.jsonl").write_text(filler * count + "broken\n" + filler)
    day = lab.clean("jsonl")
    assert [row["row"] for row in day.quarantine] == [count + 1]
    assert (day.report.kept, day.report.duplicates) == (1, count)


def test_an_empty_text_file_is_a_day_without_listens(lab: Lab) -> None:
    lab.jsonl()
    day = lab.clean("jsonl")
    assert (day.report.read, day.listens, day.quarantine) == (0, [], [])


def test_files_that_are_not_local_are_read(tmp_path: Path) -> None:
    table = pa.table(IDS)
    with fsspec.open("memory://far/date=2026-11-16/a.parquet", "wb") as file:
        pq.write_table(table, file)
    settings = ListensSettings(source="memory://far")
    ((day, files),) = list_log(settings).days.items()
    report = clean_day(settings, day, files, [], tmp_path)
    assert report.kept == 1
    assert report.sources[0]["bytes"] == files[0].size


def test_columns_are_mapped_and_not_read_twice(lab: Lab) -> None:
    mapping = {"who": "user_id", "artist_name": "artist_ids", "a/b~c": "track_name"}
    row = {"who": "x", "user_id": "other", "artist_name": "Björk", "a/b~c": "Hyperballad"}
    lab.jsonl(lab.listen(**row))
    (kept,) = lab.clean("jsonl", columns=mapping).listens
    assert kept["user_id"] == "x"
    assert kept["artist_ids"] == ["Björk"]
    assert kept["artist_name"] is None
    assert kept["track_name"] == "Hyperballad"


def test_columns_may_swap_names(lab: Lab) -> None:
    lab.parquet(IDS)
    (kept,) = lab.clean("parquet", columns={"user_id": "track_id", "track_id": "user_id"}).listens
    assert (kept["user_id"], kept["track_id"]) == ("t", "u")


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_a_mapped_name_that_no_file_has_stops_the_run(lab: Lab, format_: str) -> None:
    if format_ == "jsonl":
        lab.jsonl(lab.listen(ts=1))
    else:
        lab.parquet(IDS | {"ts": [1]})
    with pytest.raises(BadLogError, match=r"maps 'skiped', .* Columns found: .*track_id, ts"):
        lab.clean(format_, columns={"skiped": "skipped"})


def test_a_mapped_name_may_be_missing_from_some_files(lab: Lab) -> None:
    lab.jsonl(lab.listen(), name="a.jsonl")
    lab.jsonl(lab.listen(track_id="z", skip=True), name="b.jsonl")
    kept = lab.clean("jsonl", columns={"skip": "skipped"}).listens
    assert [row["skipped"] for row in kept] == [None, True]


def test_a_column_that_is_needed_must_be_mapped_to(lab: Lab) -> None:
    lab.parquet(IDS)
    with pytest.raises(SettingsError, match="nothing is mapped to user_id"):
        lab.clean("parquet", columns={"user_id": "track_name"})


@pytest.mark.parametrize("twice", ["private", "user_id"])
def test_a_parquet_column_that_comes_twice_stops_the_run(lab: Lab, twice: str) -> None:
    names = ["user_id", "track_id", "listened_at", "private", twice]
    values = [["u"], ["t"], ["2026-11-16T12:00:00Z"], [True], [True]]
    lab.parquet(pa.table([pa.array(value) for value in values], names=names))
    with pytest.raises(BadLogError, match=rf"a\.parquet has 2 columns '{twice}'; expected one"):
        lab.clean("parquet")


def test_a_parquet_file_without_a_needed_column_stops_the_run(lab: Lab) -> None:
    lab.parquet({"user": ["u"], "track_id": ["t"]})
    with pytest.raises(BadLogError, match=r"a\.parquet has no column 'user_id'.*user, track_id"):
        lab.clean("parquet")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("user_id", pa.array([1.5])),
        ("listened_at", pa.array([True])),
        ("listened_at", pa.array([0], pa.date32())),
        ("artist_ids", pa.array([{"id": "a"}])),
        ("artist_ids", pa.array([[1.5]])),
        ("track_name", pa.array([["a"]])),
        ("event", pa.array([1])),
        ("ms_played", pa.array([True])),
    ],
)
def test_a_parquet_column_of_a_wrong_type_stops_the_run(
    lab: Lab, column: str, values: pa.Array
) -> None:
    lab.parquet(IDS | {column: values})
    with pytest.raises(BadLogError, match=rf"a\.parquet: column '{column}' is of type .* expected"):
        lab.clean("parquet")


def test_a_name_of_a_file_may_hold_anything(lab: Lab) -> None:
    name = 'it\'s "odd" 🎧 [1] #2 100%.jsonl'
    lab.jsonl(lab.listen(), "broken", name=name)
    day = lab.clean("jsonl")
    assert isinstance(list_log(lab.settings("jsonl")).files[0], LogFile)
    assert day.quarantine[0]["file"].endswith(name)
