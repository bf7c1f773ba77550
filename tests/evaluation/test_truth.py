"""What is to be predicted."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recsys.evaluation import paired, recommend_popular, score, truth
from tests.evaluation.worlds import plays_of, truth_of
from tests.models.worlds import matrix_of, sparse_strength


def test_truth_is_what_was_heard_for_the_first_time() -> None:
    strength = np.zeros((4, 5), np.float32)
    strength[0, 0] = strength[1, 1] = strength[3, 2] = 1
    heard = np.zeros((4, 5), bool)
    heard[0, 4] = True
    base = matrix_of(strength, excluded=heard, users=["ann", "bob", "cyd", "dan"])
    users = base.users.set_column(2, "eligible", pa.array([True, True, True, False]))
    found = truth(
        replace(base, users=users),
        plays_of(
            ("bob", "track-song00002"),
            ("bob", "track-song00002"),  # a repeat
            ("bob", "track-song00001"),  # held to before
            ("ann", "track-song00003"),
            ("ann", "track-song00004"),  # heard before, though not held to
            ("ann", "track-new"),
            ("cyd", "track-song00000"),  # without strength
            ("dan", "track-song00000"),  # not eligible
            ("eve", "track-song00000"),
        ),
    )
    assert found.users.tolist() == [0, 1]
    assert [sorted(row.indices.tolist()) for row in found.songs] == [[3], [2]]
    assert found.dropped == {
        "unknown_user": 1, "skipped_only": 0, "not_rankable": 2, "unknown_track": 1, "excluded": 2
    }  # fmt: skip


def test_a_song_that_was_only_skipped_is_heard_and_not_wanted() -> None:
    base = matrix_of([[1.0, 0, 0, 0]], users=["ann"])
    base = replace(base, users=base.users.set_column(2, "eligible", pa.array([True])))
    heard = plays_of(("ann", "track-song00001"), ("ann", "track-song00002"))
    found = truth(base, heard.append_column("played", pa.array([False, True])))
    assert found.songs.indices.tolist() == [2]
    assert found.dropped["skipped_only"] == 1


def test_no_plays_is_no_truth() -> None:
    base = matrix_of(sparse_strength(1, 5, 6))
    found = truth(base, plays_of())
    assert len(found.users) == 0
    metrics = score(recommend_popular(base, found.users), found)
    assert paired(metrics.ndcg, metrics.recall, seed=1).users == 0


def test_a_sample_is_of_the_same_listeners_for_the_same_seed() -> None:
    whole = truth_of([{n % 7, 9} for n in range(100)], 10)
    part = whole.sample(20, seed=1)
    assert len(part.users) == 20
    assert (np.diff(part.users) > 0).all()
    assert (part.songs != whole.songs[part.users]).nnz == 0
    assert part.users.tolist() == whole.sample(20, seed=1).users.tolist()
    assert part.users.tolist() != whole.sample(20, seed=2).users.tolist()
    assert whole.sample(100, seed=1) is whole


def test_a_part_of_the_songs_leaves_every_listener_in_place() -> None:
    part = truth_of([{0, 1, 5}, {2}, {4, 5}], 6).among(np.arange(6) >= 4)
    assert [sorted(row.indices.tolist()) for row in part.songs] == [[5], [], [4, 5]]


@given(st.data())
def test_truth_is_that_of_going_through_the_plays(drawn: st.DataObject) -> None:
    users, songs = 4, 5
    shape = (users, songs)
    held = np.array(drawn.draw(st.lists(st.booleans(), min_size=20, max_size=20))).reshape(shape)
    heard = np.array(drawn.draw(st.lists(st.booleans(), min_size=20, max_size=20))).reshape(shape)
    eligible = drawn.draw(st.lists(st.booleans(), min_size=users, max_size=users))
    ids = ["ann", "b\u00f6b", "cy\0d", "\U0001f3b5"]
    base = matrix_of(held.astype(np.float32), excluded=heard, users=ids)
    base = replace(base, users=base.users.set_column(2, "eligible", pa.array(eligible)))
    tracks = [*base.tracks["track_id"].to_pylist(), "track-new"]
    pair = st.tuples(st.sampled_from([*ids, "eve"]), st.sampled_from(tracks), st.booleans())
    plays = drawn.draw(st.lists(pair, max_size=30))
    table = plays_of(*((user, track) for user, track, _ in plays))
    table = table.append_column("played", pa.array([one for *_, one in plays], pa.bool_()))

    found = truth(base, table)

    excluded = base.excluded.toarray().astype(bool)
    dropped = dict.fromkeys(found.dropped, 0)
    wanted = np.zeros(shape, bool)
    for user, track in {(user, track) for user, track, _ in plays}:
        row = ids.index(user) if user in ids else -1
        song = tracks.index(track)
        if row < 0:
            dropped["unknown_user"] += 1
        elif (user, track, True) not in plays:
            dropped["skipped_only"] += 1
        elif not (eligible[row] and held[row].any()):
            dropped["not_rankable"] += 1
        elif track == "track-new":
            dropped["unknown_track"] += 1
        elif excluded[row, song]:
            dropped["excluded"] += 1
        else:
            wanted[row, song] = True
    assert found.dropped == dropped
    assert found.users.tolist() == np.flatnonzero(wanted.any(axis=1)).tolist()
    assert (found.songs.toarray() == wanted[found.users]).all()
