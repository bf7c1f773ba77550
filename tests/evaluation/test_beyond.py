"""What lies beyond accuracy, against plain loops and examples worked by hand."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from recsys.evaluation import recommend_popular
from recsys.evaluation._beyond import BeyondAccuracy, gini
from tests.evaluation.worlds import lists_of, ranking_of, with_artists
from tests.models.worlds import sparse_strength

#: Five listeners hold to six songs; nobody to the seventh. Song 5 has no artist.
STRENGTH = [
    [1, 1, 0, 0, 0, 0, 0],
    [1, 0, 1, 0, 0, 0, 0],
    [1, 0, 0, 1, 0, 0, 0],
    [1, 0, 0, 0, 1, 1, 0],
    [0, 0, 0, 0, 1, 1, 0],
]
ARTISTS = [["a"], ["b"], ["a", "c"], ["c"], ["d", "e"], [], ["f"]]
USERS = np.array([0, 1, 4], np.int32)


def measure(lists: list[list[int]], previous: list[set[int]] | None = None) -> dict[str, object]:
    base = with_artists(STRENGTH, ARTISTS)
    earlier = None
    if previous is not None:
        rows = np.zeros((3, 7), bool)
        for row, songs in zip(rows, previous, strict=True):
            row[list(songs)] = True
        earlier = csr_matrix(rows)
    popular = recommend_popular(base, USERS, 3)
    assert lists_of(popular) == [[4, 5, 2], [4, 5, 1], [0, 1, 2]]
    return dict(
        BeyondAccuracy(base, USERS, popular=popular, previous=earlier).of(ranking_of(lists))
    )


def test_an_example_by_hand() -> None:
    found = measure([[2, 4], [4, 5], [0, 1]], previous=[{4, 6}, {1, 3}, set()])
    assert found["coverage"] == pytest.approx(5 / 6, abs=1e-6)  # of the songs held to, not 3
    bits = [math.log2(5), math.log2(5 / 2), math.log2(5 / 2), math.log2(5 / 2),
            math.log2(5 / 4), math.log2(5)]  # fmt: skip
    assert found["novelty"] == pytest.approx(sum(bits) / 6, abs=1e-6)
    # Listener 0 has heard a and b: song 2 is by one of them, song 4 is not. Listener 1 has heard a
    # and c, and song 5 has no artist. Listener 4 has heard d and e.
    assert found["unheard_artists"] == pytest.approx((1 / 2 + 1 + 1) / 3, abs=1e-6)
    # Songs 2 and 4 share no listener, 4 and 5 all of theirs; 0 has four, 1 one of them.
    assert found["intra_list_diversity"] == pytest.approx((1 + 0 + 1 - 1 / 2) / 3, abs=1e-6)
    # Listener 0 had song 4 before; listener 1 nothing of it; the third had no playlist.
    assert found["overlap_previous"] == pytest.approx((1 / 2 + 0) / 2)
    assert found["popularity_overlap"] == pytest.approx((2 / 2 + 2 / 2 + 2 / 2) / 3)


def test_there_may_be_nothing_to_measure() -> None:
    found = measure([[], [], []], previous=[set(), set(), set()])
    for name in ("coverage", "gini", "novelty", "popularity_overlap"):
        assert found[name] == 0, name
    for name in ("unheard_artists", "intra_list_diversity", "overlap_previous"):
        assert found[name] is None, name
    assert measure([[5], [5], []])["unheard_artists"] is None
    assert measure([[5], [5], []])["intra_list_diversity"] is None
    assert measure([[2], [4], [0]])["overlap_previous"] is None


def test_popularity_overlaps_with_itself_alone() -> None:
    base = with_artists(sparse_strength(1, 50, 90), [[f"{n % 9}"] for n in range(90)])
    users = np.arange(50, dtype=np.int32)
    popular = recommend_popular(base, users, 10)
    lists = BeyondAccuracy(base, users, popular=popular)
    assert lists.of(popular)["popularity_overlap"] == 1
    others = [[s for s in range(90) if s not in songs][:10] for songs in lists_of(popular)]
    assert lists.of(ranking_of(others))["popularity_overlap"] == 0


@given(st.integers(0, 10**6))
def test_diversity_equals_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    strength = sparse_strength(seed, 12, 9, 0.4)
    base = with_artists(strength, [["a"]] * 9)
    users = np.arange(12, dtype=np.int32)
    lists = [rng.permutation(9)[: rng.integers(0, 6)].tolist() for _ in users]
    held = strength > 0
    distances = []
    for songs in lists:
        sets = [held[:, s] for s in songs if held[:, s].any()]
        cosines = [(a & b).sum() / math.sqrt(a.sum() * b.sum()) for a, b in combinations(sets, 2)]
        distances += [1 - np.mean(cosines)] if cosines else []
    popular = recommend_popular(base, users, 3)
    found = BeyondAccuracy(base, users, popular=popular).of(ranking_of(lists))
    want = np.mean(distances) if distances else None
    assert found["intra_list_diversity"] == (
        want if want is None else pytest.approx(want, abs=1e-6)
    )


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_gini_is_half_the_mean_difference_over_the_mean(counts: list[int]) -> None:
    times = np.array(counts)
    want = 0.0
    if times.sum():
        want = np.abs(times[:, None] - times).mean() / (2 * times.mean())
    assert gini(times) == pytest.approx(want)


def test_one_list_for_all_is_unequal_and_covers_little() -> None:
    base = with_artists(sparse_strength(2, 40, 200), [["a"]] * 200)
    users = np.arange(40, dtype=np.int32)
    lists = BeyondAccuracy(base, users, popular=recommend_popular(base, users, 5))
    same = lists.of(ranking_of([[1, 2, 3, 4, 5]] * 40))
    each = lists.of(ranking_of([[5 * n % 200 + m for m in range(5)] for n in range(40)]))
    assert same["gini"] == pytest.approx(0.975)
    assert same["coverage"] == pytest.approx(5 / 200)
    assert (each["gini"], each["coverage"]) == (0, 1)
