"""The unheard task, its metrics and their intervals, against examples worked by hand."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from recsys.evaluation import Interval, Truth, paired, recommend, recommend_popular, score, truth
from recsys.models import Ranking, train
from tests.models.worlds import SETTINGS, matrix_of, sparse_strength, world


def ranking_of(lists: list[list[int]]) -> Ranking:
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    songs = np.array([song for row in lists for song in row], np.int32)
    return Ranking(offsets, songs, np.zeros(len(songs)))


def truth_of(wanted: list[set[int]], songs: int) -> Truth:
    found = np.zeros((len(wanted), songs), bool)
    for user, row in enumerate(wanted):
        found[user, list(row)] = True
    return Truth(np.arange(len(wanted), dtype=np.int32), csr_matrix(found), {})


def plays_of(*pairs: tuple[str, str]) -> pa.Table:
    return pa.table(
        {
            "user_id": pa.array([user for user, _ in pairs], pa.string()),
            "track_id": pa.array([track for _, track in pairs], pa.string()),
        }
    )


def test_an_example_by_hand() -> None:
    """Hits at 1 and 3 of three wanted; none of one; one of two at position 2, k = 3."""
    metrics = score(
        ranking_of([[4, 9, 5, 6], [1, 2, 3], [7, 0]]),
        truth_of([{4, 5, 6}, {8}, {0, 1}], 10),
        k=3,
    )
    assert metrics.recall.tolist() == [pytest.approx(2 / 3), 0.0, 0.5]
    best3, best2 = 1 + 1 / math.log2(3) + 1 / 2, 1 + 1 / math.log2(3)
    assert metrics.ndcg.tolist() == [
        pytest.approx((1 + 1 / 2) / best3),
        0.0,
        pytest.approx((1 / math.log2(3)) / best2),
    ]


LISTS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 19), unique=True, max_size=12),
        st.sets(st.integers(0, 19), min_size=1, max_size=12),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(rows=LISTS, k=st.integers(1, 12))
def test_metrics_equal_a_plain_loop(rows: list[tuple[list[int], set[int]]], k: int) -> None:
    metrics = score(
        ranking_of([ranked for ranked, _ in rows]), truth_of([want for _, want in rows], 20), k
    )
    for (ranked, wanted), recall, ndcg in zip(rows, metrics.recall, metrics.ndcg, strict=True):
        gains = [1 / math.log2(place + 2) if song in wanted else 0 for place, song in
                 enumerate(ranked[:k])]  # fmt: skip
        best = sum(1 / math.log2(place + 2) for place in range(min(k, len(wanted))))
        assert recall == pytest.approx(len(wanted & set(ranked[:k])) / len(wanted))
        assert ndcg == pytest.approx(sum(gains) / best)
        assert 0 <= ndcg <= 1 + 1e-12


def test_truth_is_what_was_heard_for_the_first_time() -> None:
    strength = np.zeros((4, 5), np.float32)
    strength[0, 0] = strength[1, 1] = strength[3, 2] = 1
    heard = np.zeros((4, 5), bool)
    heard[0, 4] = True
    base = matrix_of(strength, excluded=heard, users=["ann", "bob", "cyd", "dan"])
    users = base.users.set_column(2, "eligible", pa.array([True, True, True, False]))
    base = type(base)(**{**vars(base), "users": users})
    found = truth(
        base,
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
        "unknown_user": 1, "not_rankable": 2, "unknown_track": 1, "excluded": 2
    }  # fmt: skip


def test_no_plays_is_no_truth() -> None:
    base = matrix_of(sparse_strength(1, 5, 6))
    found = truth(base, plays_of())
    assert len(found.users) == 0
    metrics = score(recommend_popular(base, found.users), found)
    assert paired(metrics.ndcg, metrics.recall, seed=1) == Interval(0.0, 0.0, 0.0, 0)


def test_popularity_is_the_most_held_to_that_is_not_heard() -> None:
    base = matrix_of([[1, 0, 0, 0], [1, 2, 0, 0], [0, 2, 1, 0], [1, 1, 1, 0]])
    ranked = recommend_popular(base, np.array([0, 2], np.int32), k=30)
    lists = np.split(ranked.songs, ranked.offsets[1:-1])
    # Song 3 was never held to; song 1 (5) stands before song 0 (3) and song 2 (2).
    assert [row.tolist() for row in lists] == [[1, 2], [0]]


def test_popularity_is_exact_among_songs_that_are_all_but_equal() -> None:
    base = matrix_of(np.vstack([np.zeros(2000), np.ones(2000) + np.arange(2000)[::-1] * 1e-5]))
    assert recommend_popular(base, np.array([0], np.int32)).songs.tolist() == list(range(30))


def test_two_models_are_scored_on_one_base_by_song_key() -> None:
    """A model of a week before, with other columns, ranks for the base's listeners and songs."""
    clear = world()
    strength = clear.base.strength.toarray()
    keys = [f"song{s:05}" for s in range(strength.shape[1])]
    earlier = matrix_of(strength[40:, 20:], songs=keys[20:])
    model = train(earlier, SETTINGS, seed=1)
    users = np.arange(0, 240, 4, dtype=np.int32)
    ranked = recommend(model, clear.base, users)
    assert (ranked.songs >= 20).all()
    row = np.repeat(users, np.diff(ranked.offsets))
    assert not np.asarray(clear.base.excluded[row, ranked.songs]).any()
    first = ranked.songs[ranked.offsets[:-1]]
    assert (clear.group_of_song[first] == clear.group_of_user[users]).mean() > 0.6


def test_the_interval_is_the_bootstraps_and_covers_the_mean() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.3, 0.1, 2000), rng.normal(0.2, 0.1, 2000)
    interval = paired(a, b, seed=7)
    assert interval == paired(a, b, seed=7)
    assert interval != paired(a, b, seed=8)
    assert interval.mean == pytest.approx((a - b).mean())
    half = 1.96 * (a - b).std() / math.sqrt(2000)
    assert interval.low == pytest.approx(interval.mean - half, abs=half / 5)
    assert interval.high == pytest.approx(interval.mean + half, abs=half / 5)
    assert interval.users == 2000


def test_pairing_is_listener_by_listener() -> None:
    """Listeners differ far more than models do; only pairing sees the difference."""
    easy = np.random.default_rng(0).random(200)
    assert paired(easy + 0.01, easy, seed=1).low == pytest.approx(0.01)
