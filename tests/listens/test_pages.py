"""Text of a few rows of a file of ours is what Arrow reads there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys._coded import CodedWriter
from recsys.listens._pages import texts_at

ROWS = 50_000
SCHEMA = pa.schema([pa.field("text", pa.string(), nullable=False)])
TEXTS = {
    "the same in every row": ["ü"] * ROWS,
    "few, in long stretches": [f"user {n // 9000}" for n in range(ROWS)],
    "many": [f"track {n * 7919 % 20_011}" for n in range(ROWS)],
    "stretches and mixtures": [f"t{n % 3 if n % 5000 < 900 else n // 5000}" for n in range(ROWS)],
    "empty ones": ["" if n % 3 else f"{n % 300}" for n in range(ROWS)],
}


def written(path: Path, texts: list[str]) -> pq.ColumnChunkMetaData:
    with CodedWriter(path, SCHEMA, []) as writer:
        writer.write(pa.table([texts], schema=SCHEMA))
    return pq.read_metadata(path).row_group(0).column(0)


@pytest.mark.parametrize("name", TEXTS)
def test_some_rows_are_read(tmp_path: Path, name: str) -> None:
    chunk = written(tmp_path / "a.parquet", TEXTS[name])
    for rows in ([0], [19_999, 20_000], [ROWS - 1], range(7, ROWS, 613), range(ROWS), []):
        read = texts_at(tmp_path / "a.parquet", chunk, np.array(rows, np.int64))
        assert read is not None
        assert read.to_pylist() == [TEXTS[name][row] for row in rows]


def test_what_does_not_fit_a_dictionary_is_left_to_arrow(tmp_path: Path) -> None:
    texts = [f"{n:0200}" for n in range(ROWS)]
    pq.write_table(pa.table([texts], schema=SCHEMA), tmp_path / "a.parquet", compression="lz4")
    chunk = pq.read_metadata(tmp_path / "a.parquet").row_group(0).column(0)
    assert texts_at(tmp_path / "a.parquet", chunk, np.array([ROWS - 1])) is None


def test_what_is_compressed_in_another_way_is_left_to_arrow(tmp_path: Path) -> None:
    pq.write_table(pa.table([["a"] * 9], schema=SCHEMA), tmp_path / "a.parquet", compression="zstd")
    chunk = pq.read_metadata(tmp_path / "a.parquet").row_group(0).column(0)
    assert texts_at(tmp_path / "a.parquet", chunk, np.array([3])) is None


def test_a_damaged_file_is_left_to_arrow_or_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = [f"track {n * 7919 % 211}" for n in range(900)]
    chunk = written(path, texts)
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    left = 0
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[rng.integers(chunk.dictionary_page_offset, len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        read = texts_at(path, chunk, np.arange(0, 900, 7))
        left += read is None
        assert read is None or len(read) == 129
    assert left > 0
    path.write_bytes(whole[: chunk.dictionary_page_offset + chunk.total_compressed_size // 2])
    assert texts_at(path, chunk, np.array([899])) is None
