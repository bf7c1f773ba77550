"""The digest is over rows in user order, and over nothing else."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import StoreError
from recsys.store import _rows, _version_1, open_store, playlists_digest
from tests.store.making import Made, batch, make, make_default, playlist_row, stored_rows

MADE = make("2026-W47", [f"user {n:02d}" for n in range(23)])
TABLE = pa.Table.from_batches(MADE.batches)


def test_the_digest_never_changes() -> None:
    """Stores in the field know their editions by it."""
    assert make("2026-W47").digest == (
        "ff337ce3367ecb640729f8853711ab96e914a7a9cc74a957dd09a6667c2e49fa"
    )


def test_digests_of_version_1_are_still_known() -> None:
    """It had no spares; folders that were written then are checked by it."""
    made = make("2026-W47")
    default = pa.Table.from_batches([made.default])
    assert _version_1.digest(made.batches, default) == (
        "721607cd9dd8b0dbe6b9577e236d6da48e5cdbd06afd3e85cb63c4da55e0ec58"
    )


@given(cuts=st.lists(st.integers(0, 23), max_size=6), chunk=st.integers(1, 30))
def test_neither_batches_nor_offsets_matter(cuts: list[int], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_rows, "CHUNK_ROWS", chunk)
        edges = [0, *sorted(cuts), 23]
        parts = [
            part
            for start, stop in pairwise(edges)
            for part in TABLE.slice(start, stop - start).to_batches()
        ]
        assert playlists_digest(parts, MADE.default) == MADE.digest


def test_what_lies_under_a_null_does_not_matter() -> None:
    lists = MADE.batches[0].column("tracks")
    fields = lists.flatten().flatten()
    names = fields[2]
    hidden = pa.StringArray.from_buffers(
        2,
        pa.array([0, 5, 6], pa.int32()).buffers()[1],
        pa.py_buffer(b"dirtyn"),
        pa.array([None, 1]).buffers()[0],
        1,
    )
    clean = pa.array([None, "n"])
    assert hidden.equals(clean)
    tail = names.slice(2)
    digests = set()
    for head in (hidden, clean):
        tracks = pa.StructArray.from_arrays(
            [*fields[:2], pa.concat_arrays([head, tail]), *fields[3:]],
            fields=list(lists.type.value_type),
        )
        column = pa.ListArray.from_arrays(lists.offsets, tracks, type=lists.type)
        rows = MADE.batches[0].set_column(3, lists_field(), column)
        digests.add(playlists_digest([rows], MADE.default))
    assert len(digests) == 1


def lists_field() -> pa.Field:
    return TABLE.schema.field("tracks")


def changed(**fields: Any) -> list[dict[str, Any]]:
    row = playlist_row("2026-W47", "ada", "x")
    track = {**row["tracks"][1], **fields.pop("track", {})}
    row["spares"][1] |= fields.pop("spare", {})
    return [{**row, **fields, "tracks": [row["tracks"][0], track, *row["tracks"][2:]]}]


@pytest.mark.parametrize(
    "other",
    [
        {"user_id": "adb"},
        {"kind": "popular"},
        {"relaxed": ["cooldown"]},
        {"track": {"track_id": "y"}},
        {"track": {"track_name": ""}},
        {"track": {"track_name": None}},
        {"track": {"artist_names": ["An", "a"]}},
        {"track": {"artist_names": []}},
        {"track": {"score": 0.5000001}},
        {"track": {"source": "popular"}},
        {"track": {"because_track_id": None}},
        {"track": {"because_track_id": ""}},
        {"spares": []},
        {"spare": {"track_id": "y"}},
        {"spare": {"not_at": [3]}},
    ],
    ids=str,
)
def test_every_field_counts(other: dict[str, Any]) -> None:
    default = make_default("2026-W47")
    assert playlists_digest([batch(changed(**other))], default) != playlists_digest(
        [batch(changed())], default
    )


def test_the_default_playlist_counts() -> None:
    assert playlists_digest([], make_default("2026-W47")) != playlists_digest(
        [], make_default("2026-W47", "other")
    )


def test_other_string_types_are_the_same_rows() -> None:
    large = pa.schema(
        [
            field.with_type(pa.large_string()) if field.type == pa.string() else field
            for field in TABLE.schema
        ]
    )
    assert playlists_digest(TABLE.cast(large).to_batches(), MADE.default) == MADE.digest


def test_missing_values_are_refused() -> None:
    row = playlist_row("2026-W47", "ada", "x")
    row["tracks"][0]["source"] = None
    with pytest.raises(StoreError, match=r"tracks\.source"):
        playlists_digest([batch([row])], MADE.default)


def test_broken_text_is_refused() -> None:
    users = pa.StringArray.from_buffers(
        1, pa.array([0, 1], pa.int32()).buffers()[1], pa.py_buffer(b"\xff")
    )
    rows = batch([playlist_row("2026-W47", "ada", "x")])
    with pytest.raises(StoreError, match="not playlists"):
        playlists_digest([rows.set_column(1, rows.schema.field(1), users)], MADE.default)


@pytest.mark.parametrize("chunk", [1, 4, 23])
def test_rows_cross_the_borders_of_chunks(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(_rows, "CHUNK_ROWS", chunk)
    monkeypatch.setattr("recsys.store._unpack.CHUNK_ROWS", chunk)
    made = Made("2026-W47", 1, MADE.batches, MADE.default)
    with open_store(sqlite_url) as store:
        store.forget("user 07")
        made.publish(store)
        wanted = [row for row in TABLE.to_pylist() if row["user_id"] != "user 07"]
        assert stored_rows(store, made.digest) == wanted
        unsorted = [MADE.batches[0].slice(4), MADE.batches[0].slice(0, 4)]
        with pytest.raises(StoreError, match="Row 20 is out of order"):
            store.stage("2026-W48", 1, "0" * 64, unsorted_week(unsorted), make_default("2026-W48"))


def unsorted_week(parts: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    rows = [row for part in parts for row in part.to_pylist()]
    return [batch([playlist_row("2026-W48", row["user_id"], "x")]) for row in rows]
