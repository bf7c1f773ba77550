"""A matrix by ranges of listeners is the matrix."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys._slices import (
    FOLDER,
    part_name,
    read_slice,
    user_bounds,
    user_ranges,
    write_slices,
)
from recsys._tables import part_files
from recsys.matrix import TasteMatrix
from tests.models.worlds import matrix_of, sparse_strength


def assert_same(one: TasteMatrix, other: TasteMatrix) -> None:
    for name in ("users", "songs", "tracks"):
        assert getattr(one, name).equals(getattr(other, name))
    assert (one.strength != other.strength).nnz == 0
    assert (one.excluded != other.excluded).nnz == 0
    assert one.played_track.tolist() == other.played_track.tolist()
    assert one.strength.shape == other.strength.shape
    assert one.strength.dtype == other.strength.dtype


@pytest.fixture
def matrix() -> TasteMatrix:
    strength = sparse_strength(3, users=23, songs=11)
    strength[5] = 0  # somebody who holds to nothing
    return matrix_of(strength, excluded=sparse_strength(4, users=23, songs=11) > 0)


@pytest.mark.parametrize("users", [1, 4, 23, 100])
def test_all_parts_together_are_the_matrix(matrix: TasteMatrix, tmp_path: Path, users: int) -> None:
    write_slices(matrix, tmp_path, users)

    assert_same(TasteMatrix.load(tmp_path), matrix)


def test_a_part_is_the_rows_of_its_listeners(matrix: TasteMatrix, tmp_path: Path) -> None:
    write_slices(matrix, tmp_path, 10)

    middle = read_slice(tmp_path, part_files(tmp_path / FOLDER)[1:2])

    assert middle.users.equals(matrix.users.slice(10, 10))
    assert np.array_equal(middle.strength.toarray(), matrix.strength[10:20].toarray())
    assert np.array_equal(middle.excluded.toarray(), matrix.excluded[10:20].toarray())
    assert middle.songs.equals(matrix.songs)


def test_a_matrix_of_nobody(tmp_path: Path) -> None:
    nobody = matrix_of(np.zeros((0, 4)))

    write_slices(nobody, tmp_path, 10)

    assert TasteMatrix.load(tmp_path).strength.shape == (0, 4)
    assert isinstance(TasteMatrix.load(tmp_path).users, pa.Table)


def test_one_listener_alone(matrix: TasteMatrix, tmp_path: Path) -> None:
    write_slices(matrix, tmp_path, 5)

    alone = TasteMatrix.load(tmp_path, "user00013")

    assert alone.users.equals(matrix.users.slice(13, 1))
    assert np.array_equal(alone.strength.toarray(), matrix.strength[[13]].toarray())
    assert len(TasteMatrix.load(tmp_path, "nobody").users) == 0


@given(st.lists(st.lists(st.text(max_size=3), max_size=4), min_size=1, max_size=6), st.text())
def test_ranges_leave_out_nobody(groups: list[list[str]], stranger: str) -> None:
    users = sorted({user for group in groups for user in group})
    with tempfile.TemporaryDirectory() as folder:
        for number, group in enumerate(groups):
            own = users[: len(group)]
            del users[: len(group)]
            rows = pa.table({"user_id": pa.array(own, pa.string())})
            pq.write_table(rows, Path(folder) / part_name(number))
        parts = part_files(Path(folder))
        bounds = [user_bounds(part) for part in parts]
        ranges = user_ranges(Path(folder))

    assert [number for _, numbers in ranges for number in numbers] == list(range(len(parts)))
    holding = [
        numbers
        for one, numbers in ranges
        if (one.begin is None or one.begin <= stranger) and (one.end is None or stranger < one.end)
    ]
    assert len(holding) == 1
    for number, ends in enumerate(bounds):
        if ends and ends[0] <= stranger <= ends[1]:
            assert number in holding[0]
