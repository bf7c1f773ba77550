"""Rows of very different width: memory is bounded by bytes, not by how many rows they make."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys._coded import CodedWriter
from recsys._tables import TableWriter
from recsys.listens._sorter import Sorter

SCHEMA = pa.schema({"key": pa.string(), "number": pa.int64(), "name": pa.string()})


def rows_from(number: int, thin: int, wide: int) -> pa.Table:
    return pa.table(
        {
            "key": ["a"] * thin + ["z"] * wide,
            "number": range(number, number + thin + wide),
            "name": ["x"] * thin + [os.urandom(5_000).hex() for _ in range(wide)],
        },
        SCHEMA,
    )


def test_runs_whose_rows_grow_at_their_end_are_merged_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, thin, wide, stretch = 20, 1000, 50, 32 << 10
    monkeypatch.setattr("recsys.listens._sorter.RUN_BYTES", 1)
    monkeypatch.setattr("recsys.listens._sorter.STRETCH_BYTES", stretch)
    sorter = Sorter(tmp_path, SCHEMA, ("key", "number"))
    for run in range(runs):
        sorter.add(rows_from(run * (thin + wide), thin, wide))
    before = pa.total_allocated_bytes()
    numbers, most = [], 0
    for rows in sorter.sorted():
        numbers += rows["number"].to_pylist()
        most = max(most, pa.total_allocated_bytes() - before)
    assert numbers == sorted(numbers, key=lambda n: (n % (thin + wide) >= thin, n))
    assert most < 6 * runs * stretch


@pytest.mark.parametrize("stretch", [0, 400, 1 << 20])
def test_rows_of_a_key_stay_together_where_a_run_has_it_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stretch: int
) -> None:
    monkeypatch.setattr("recsys.listens._sorter.RUN_BYTES", 1)
    monkeypatch.setattr("recsys.listens._sorter.STRETCH_BYTES", stretch)
    sorter = Sorter(tmp_path, SCHEMA, ("key",))
    for run in range(4):
        some = [f"{n * n % 37 % 5}" for n in range(run * 50, run * 50 + 60)]
        sorter.add(pa.table({"key": some, "number": range(60), "name": ["x" * 40] * 60}, SCHEMA))
    pieces = [rows["key"].to_pylist() for rows in sorter.sorted()]
    keys = [key for piece in pieces for key in piece]
    assert len(keys) == 240
    assert keys == sorted(keys)
    assert sum(len(set(piece)) for piece in pieces) == 5  # no key is in two pieces


@pytest.mark.parametrize("kind", [TableWriter, CodedWriter])
@pytest.mark.parametrize("rows_at_once", [1, 7, 1000])
def test_long_text_ends_a_row_group_at_the_same_row_however_it_comes(
    tmp_path: Path, rows_at_once: int, kind: type[TableWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys._tables.ROW_GROUP_TEXT", 40_000)
    monkeypatch.setattr("recsys._tables.ROW_GROUP", 100)
    rows = pa.concat_tables([rows_from(0, 130, 9), rows_from(139, 250, 2)])
    more = {"sought": ["number"]} if kind is CodedWriter else {}
    with kind(tmp_path / "a.parquet", SCHEMA, **more) as writer:
        for start in range(0, len(rows), rows_at_once):
            writer.write(rows.slice(start, rows_at_once))
    written = pq.ParquetFile(tmp_path / "a.parquet")
    groups = [written.metadata.row_group(at).num_rows for at in range(written.num_row_groups)]
    assert groups == [100, 30 + 4, 4, 100, 100, 53]
    assert written.read().equals(rows)


def test_texts_that_were_written_do_not_wait_with_the_next_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys._tables.ROW_GROUP", 100)
    monkeypatch.setattr("recsys._tables.ROW_GROUP_TEXT", 30 * 10_000)
    monkeypatch.setattr("recsys._coded._WAITING_BYTES", 30 * 10_000)
    before, most = pa.total_allocated_bytes(), 0
    with CodedWriter(tmp_path / "a.parquet", SCHEMA, ["number"]) as writer:
        for start in range(0, 600, 30):  # row groups end with the rows that are there
            writer.write(rows_from(start, 0, 30))
            most = max(most, pa.total_allocated_bytes() - before)
    written = pq.ParquetFile(tmp_path / "a.parquet").metadata
    assert [written.row_group(at).num_rows for at in range(20)] == [30] * 20
    assert most < 6 * 30 * 10_000
