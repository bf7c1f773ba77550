"""Packed rows are the rows: nothing is lost, whatever stands in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import schemas
from recsys.errors import StoreError
from recsys.store import playlists_digest
from recsys.store._arrow import Unpacker
from recsys.store._frames import Frames
from recsys.store._handed import Handed, _row
from recsys.store._value import Values
from recsys.weeks import Week
from tests.store.making import batch, make_default, playlist_row

WEEK = Week.parse("2026-W47")
TEXT = st.text(max_size=12)
CATALOGUE = st.dictionaries(
    TEXT,
    st.fixed_dictionaries(
        {"track_name": st.none() | TEXT, "artist_names": st.lists(TEXT, max_size=3)}
    ),
    min_size=1,
    max_size=12,
)


@st.composite
def editions(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of some listeners, the default playlist first."""
    catalogue = draw(CATALOGUE)
    heard = st.none() | TEXT
    rows = []
    for user in ["", *sorted(draw(st.sets(st.text(min_size=1, max_size=9), max_size=6)))]:
        ids = draw(st.lists(st.sampled_from(sorted(catalogue)), unique=True, min_size=1))
        listed = draw(st.integers(1, len(ids)))
        entries = [
            {
                "track_id": track_id,
                **catalogue[track_id],
                "score": draw(st.floats(allow_nan=False)),
                "source": draw(st.sampled_from(["als", "popular", ""])),
                "because_track_id": draw(heard),
            }
            for track_id in ids
        ]
        places = st.lists(st.integers(1, listed), max_size=3)
        rows.append(
            {
                **playlist_row("2026-W47", user, "x"),
                "kind": draw(st.sampled_from(["personal", "popular", 'a "kind"\n'])),
                "relaxed": draw(st.lists(TEXT, max_size=2)),
                "tracks": [{"position": n, **e} for n, e in enumerate(entries[:listed], start=1)],
                "spares": [{**entry, "not_at": draw(places)} for entry in entries[listed:]],
            }
        )
    return sorted(rows, key=lambda row: str(row["user_id"]).encode())


def pack(
    rows: list[dict[str, Any]], cut: int, encoded: bool = False
) -> tuple[Handed, list[bytes], list[bytes]]:
    parts = [batch(rows[1 : cut + 1]), batch(rows[cut + 1 :])]
    if encoded:
        parts = [part.cast(schemas.CODED_PLAYLISTS) for part in parts]
    handed = Handed([part for part in parts if part.num_rows], batch(rows[:1]), week=WEEK)
    frames = list(handed)
    handed.digest()
    keys = [key for one in frames for key in Frames.keys(one)]
    return handed, keys, [bytes(value) for one in frames for value in one.values()]


@given(rows=editions(), cut=st.integers(0, 6))
def test_unpacked_rows_are_what_was_packed(rows: list[dict[str, Any]], cut: int) -> None:
    handed, keys, values = pack(rows, cut)
    unpacked = Unpacker(WEEK, handed.tracks(), handed.names()).batch(keys, values)
    assert unpacked.to_pylist() == rows
    reader = Values("2026-W47", handed.names())
    assert [
        _row(reader, key.decode(), value, handed.tracks())
        for key, value in zip(keys, values, strict=True)
    ] == rows
    assert (keys, values) == pack(rows, 0)[1:]
    assert (keys, values) == pack(rows, cut, encoded=True)[1:]


@given(rows=editions(), data=st.data())
def test_any_change_is_another_digest(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    before = playlists_digest([batch(rows[1:])], batch(rows[:1]))
    row = data.draw(st.sampled_from(rows))
    entries = [*row["tracks"], *row["spares"]]
    entry = data.draw(st.sampled_from(entries))
    field = data.draw(
        st.sampled_from(["kind", "relaxed", "user_id", *(key for key in entry if key != "not_at")])
    )
    changed = entry if field in entry else row
    if field == "relaxed":
        row["relaxed"] = [*row["relaxed"], "one more"]
    elif field == "artist_names":
        entry["artist_names"] = [*entry["artist_names"], "one more"]
    elif field == "score":
        entry["score"] = 1.5 if entry["score"] != 1.5 else 2.5
    elif field == "position":
        entry["position"] += 1
    else:
        changed[field] = f"{changed[field]}+"
    try:
        after = playlists_digest([batch(rows[1:])], batch(rows[:1]))
    except StoreError:
        return  # another name than elsewhere, out of order, …: nothing that could be published
    assert after != before


def names(**changes: Any) -> list[dict[str, Any]]:
    rows = [playlist_row("2026-W47", user, "x") for user in ("a", "b")]
    rows[1]["spares"][0] = {**rows[0]["tracks"][1], "not_at": [], **changes}
    del rows[1]["spares"][0]["position"]
    return rows


@pytest.mark.parametrize(
    "change",
    [{"track_name": "other"}, {"track_name": None}, {"artist_names": []}, {"artist_names": ["A"]}],
    ids=str,
)
def test_a_track_has_one_name(change: dict[str, Any]) -> None:
    default = make_default("2026-W47")
    assert playlists_digest([batch(names())], default)
    with pytest.raises(StoreError, match=r"Row 2 names a track otherwise.*two names"):
        playlists_digest([batch(names(**change))], default)


def test_strings_that_overlap_are_refused() -> None:
    rows = batch(names())
    lists = rows.column("tracks")
    fields = lists.flatten().flatten()
    ids = fields[1]
    ends = pa.array([0, 5, 3, 9, 9, 9, 9], pa.int32()).buffers()[1]
    fields[1] = pa.StringArray.from_buffers(len(ids), ends, ids.buffers()[2])
    entries = pa.StructArray.from_arrays(fields, fields=list(lists.type.value_type))
    column = pa.ListArray.from_arrays(lists.offsets, entries, type=lists.type)
    broken = rows.set_column(3, rows.schema.field(3), column)
    with pytest.raises(StoreError, match="are not playlists"):
        playlists_digest([broken], make_default("2026-W47"))


def test_broken_text_within_a_list_is_refused() -> None:
    rows = batch(names())
    lists = rows.column("tracks")
    fields = lists.flatten().flatten()
    ids = fields[1]
    _, ends, data = ids.buffers()
    fields[1] = pa.StringArray.from_buffers(
        len(ids), ends, pa.py_buffer(b"\xff" + data.to_pybytes()[1:])
    )
    entries = pa.StructArray.from_arrays(fields, fields=list(lists.type.value_type))
    column = pa.ListArray.from_arrays(lists.offsets, entries, type=lists.type)
    with pytest.raises(StoreError, match="not playlists"):
        playlists_digest(
            [rows.set_column(3, rows.schema.field(3), column)], make_default("2026-W47")
        )


def encoded(change: Callable[[pa.DictionaryArray], pa.DictionaryArray]) -> pa.RecordBatch:
    """Rows whose track ids have another dictionary, or other indices into it."""
    rows = batch(names()).cast(schemas.CODED_PLAYLISTS)
    lists = rows.column("tracks")
    fields = lists.flatten().flatten()
    fields[1] = change(fields[1])
    entries = pa.StructArray.from_arrays(fields, fields=list(lists.type.value_type))
    column = pa.ListArray.from_arrays(lists.offsets, entries, type=lists.type)
    return rows.set_column(3, rows.schema.field(3), column)


def test_strings_that_nobody_has_do_not_matter() -> None:
    def padded(ids: pa.DictionaryArray) -> pa.DictionaryArray:
        strings = ["unused", *ids.dictionary.to_pylist(), "unused", *ids.dictionary.to_pylist()]
        indices = pa.array(ids.indices.to_numpy() + 1, pa.int32())
        return pa.DictionaryArray.from_arrays(indices, pa.array(strings))

    default = make_default("2026-W47")
    plain = playlists_digest([batch(names())], default)
    assert playlists_digest([encoded(padded)], default) == plain


@pytest.mark.parametrize("index", [-1, -2, 99])
def test_an_index_outside_its_dictionary_is_refused(index: int) -> None:
    def misled(ids: pa.DictionaryArray) -> pa.DictionaryArray:
        indices = pa.array([index, *ids.indices.to_pylist()[1:]], pa.int32())
        return pa.DictionaryArray.from_arrays(indices, ids.dictionary, safe=False)

    with pytest.raises(StoreError, match="are not playlists"):
        playlists_digest([encoded(misled)], make_default("2026-W47"))


def test_a_missing_string_in_a_dictionary_is_refused() -> None:
    def holed(ids: pa.DictionaryArray) -> pa.DictionaryArray:
        strings = [None, *ids.dictionary.to_pylist()[1:]]
        return pa.DictionaryArray.from_arrays(ids.indices, pa.array(strings))

    with pytest.raises(StoreError, match=r"tracks\.track_id"):
        playlists_digest([encoded(holed)], make_default("2026-W47"))
