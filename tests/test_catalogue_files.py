"""A service's catalogue as services write it, and as it arrives when something is wrong."""

from __future__ import annotations

import json
import lzma
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import BadLogError
from recsys.listens import _catalogue, catalogue_files, read_catalogue

TRACK = b'{"track_id": "t", "track_name": "Song"}\n'


def read(source: Path) -> tuple[dict[str, int], list[dict[str, Any]]]:
    out = source.parent / "given.parquet"
    counts = read_catalogue(catalogue_files(str(source)), out)
    return counts, pq.read_table(out).to_pylist()


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", TRACK + b'{"track_id": "u", "available": "maybe"}', r"row 2: available"),
        ("a.jsonl", TRACK * 2 + b'{"track_id": "t"\n', r"a\.jsonl, row 3: not a JSON object"),
        ("a.jsonl", TRACK + b'{"track_name": "Caf\xe9"}\n', r"a\.jsonl, row 2: .* not UTF-8"),
        ("a.jsonl", TRACK + b'{"track_id": 1.5}\n', r"a\.jsonl, row 2: track_id"),
        ("a.jsonl", TRACK + b'{"track_id": "u", "artist_ids": [["a"]]}\n', "row 2: artist_ids"),
        ("a.jsonl", lines({"id": "t"}, {"id": "u"}), "names no track: none of its 2 rows"),
        ("a.jsonl", b"", r"has no rows in a\.jsonl"),
        ("a.jsonl.xz", b"no xz", r"a\.jsonl\.xz cannot be read.* than Parquet or JSON Lines"),
        ("a.parquet", b"PAR1", r"a\.parquet cannot be read.* than Parquet or JSON Lines"),
    ],
)
def test_what_is_wrong_is_said_with_file_row_and_column(
    source: Path, name: str, content: bytes, said: str
) -> None:
    (source / name).write_bytes(content)
    with pytest.raises(BadLogError, match=said) as refused:
        read(source)
    assert "[listens]" not in str(refused.value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pa.table({"id": ["t"]}), r"a\.parquet has no column 'track_id'.*It has: id"),
        (
            pa.table({"track_id": [1], "available": ["x"]}),
            "column 'available' is of type string, expected bool",
        ),
        (
            pa.Table.from_arrays(
                [pa.array(["t"]), pa.array(["A"]), pa.array(["B"])],
                names=["track_id", "track_name", "track_name"],
            ),
            "a.parquet has 2 columns 'track_name'",
        ),
        (
            pa.table({"track_id": ["t", "u"], "duration_ms": [1, -1]}),
            r"a\.parquet, row 2: duration_ms",
        ),
        (pa.table({"track_id": pa.nulls(2)}), "names no track: none of its 2 rows"),
        (pa.table({"track_id": pa.array([], pa.string())}), "has no rows"),
    ],
)
def test_what_is_wrong_with_parquet_is_said(source: Path, table: pa.Table, said: str) -> None:
    pq.write_table(table, source / "a.parquet")
    with pytest.raises(BadLogError, match=said):
        read(source)


@pytest.mark.parametrize("column", ["album_name", "artist_ids"])
def test_a_long_value_that_is_stored_once_is_read_a_few_rows_at_a_time(
    source: Path, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.listens._parquet._BLOCK_BYTES", 1 << 20)
    rows = 3000
    once = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * 20_000])
    if column == "artist_ids":
        once = pa.ListArray.from_arrays(pa.array(range(rows + 1), pa.int32()), once)
    table = pa.table({"track_id": [f"t{n}" for n in range(rows)], column: once})
    pq.write_table(table, source / "a.parquet", store_schema=False)
    assert (source / "a.parquet").stat().st_size < 60_000
    sizes = []

    def noted(block: pa.Table) -> None:
        sizes.append(block.nbytes)
        check(block)

    check = _catalogue._check_values
    monkeypatch.setattr(_catalogue, "_check_values", noted)
    assert read(source)[0]["rows"] == rows
    assert max(sizes) < 4 << 20
    monkeypatch.setattr("recsys.listens._archive._FREE_SWELLING", 1 << 20)
    with pytest.raises(BadLogError, match=r"a\.parquet cannot be read: it is over 250 times"):
        read(source)


def test_ids_and_artists_are_read_as_in_a_log(source: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"track_id": 7, "artist_ids": 9, "available": True, "duration_ms": 1000.0},
        {"track_id": "b", "artist_ids": "one"},
        {"track_id": "c", "artist_ids": [None, "z"]},
        {"track_id": "d", "artist_ids": ["", None]},
        {"track_id": "e", "artist_ids": ["x", "y"], "unknown": {"deep": []}},
        {"track_id": "f", "artist_ids": None, "track_name": "", "duration_ms": 0},
    ]
    (source / "a.jsonl").write_bytes(lines(*rows))
    counts, found = read(source)
    assert counts == {"rows": 6, "without_id": 0}
    assert {row["track_id"]: row["artist_ids"] for row in found} == {
        "7": ["9"], "b": ["one"], "c": ["z"], "d": None, "e": ["x", "y"], "f": None,
    }  # fmt: skip
    assert (found[0]["available"], found[0]["duration_ms"]) == (True, 1000)
    assert (found[5]["track_name"], found[5]["duration_ms"]) == (None, None)


def test_each_row_is_read_once_however_late_the_artists_come(source: Path) -> None:
    rows = [
        {"track_id": f"t{n}", "track_name": "x" * 900, "artist_ids": None} for n in range(20_000)
    ]
    (source / "a.jsonl").write_bytes(lines(*rows, {"track_id": "last", "artist_ids": "a"}))
    counts, found = read(source)
    assert counts["rows"] == len(found) == 20_001
    assert found[-1]["artist_ids"] == ["a"]


def test_compressed_and_archived_catalogues_are_read(source: Path) -> None:
    (source / "a.jsonl.xz").write_bytes(lzma.compress(TRACK))
    with zipfile.ZipFile(source / "b.zip", "w") as archive:
        archive.writestr("tracks.jsonl", TRACK)
        archive.writestr("__MACOSX/tracks.jsonl", b"\0")
    assert read(source)[0] == {"rows": 2, "without_id": 0}


ROWS = st.lists(
    st.fixed_dictionaries(
        {"track_id": st.text(min_size=1)},
        optional={
            "track_name": st.none() | st.text(),
            "artist_ids": st.none() | st.text() | st.lists(st.none() | st.text()),
            "explicit": st.none() | st.booleans(),
        },
    ),
    min_size=1,
)


@given(rows=ROWS)
def test_json_lines_and_parquet_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("catalogue")
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    (folder / "a" / "a.jsonl").write_bytes(lines(*rows))
    schema = pa.schema(
        {
            "track_id": pa.string(), "track_name": pa.string(),
            "artist_ids": pa.list_(pa.string()), "explicit": pa.bool_(),
        }
    )  # fmt: skip
    listed = [
        row
        | {
            "artist_ids": [artists]
            if isinstance(artists := row.get("artist_ids"), str)
            else artists
        }
        for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(listed, schema), folder / "b" / "b.parquet")
    assert read(folder / "a") == read(folder / "b")
