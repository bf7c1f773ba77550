"""The best songs, against a plain sort of all scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random_array

from recsys.models import _best, rank


def plain(
    users: np.ndarray, songs: np.ndarray, limits: np.ndarray, hidden: np.ndarray
) -> list[list[int]]:
    scores = np.round(users @ songs.T.astype(np.float64), 6)
    lists = []
    for row, limit, out in zip(scores, limits, hidden, strict=True):
        order = np.lexsort((np.arange(len(row)), -row))
        lists.append([song for song in order.tolist() if not out[song]][:limit])
    return lists


def ranked(
    users: np.ndarray, songs: np.ndarray, limits: np.ndarray, hidden: np.ndarray
) -> list[list[int]]:
    """Half of what is hidden by row number, half beside the users."""
    half = np.arange(hidden.shape[1]) % 2 == 0
    found = rank(
        users,
        songs,
        limits=limits,
        allowed=np.ones(len(songs), bool),
        excluded=csr_matrix((hidden & half)[::-1]),
        rows=np.arange(len(users), dtype=np.int32)[::-1].copy(),
        also_excluded=csr_matrix(hidden & ~half),
    )
    return [one.tolist() for one in np.split(found.songs, found.offsets[1:-1])]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([1, 70, 1024, 1030, 5000]), st.booleans())
def test_it_is_a_sort_of_all_scores(seed: int, songs: int, in_steps: bool) -> None:
    """With many equal scores, too, and for listeners who want nothing or have heard nearly all."""
    rng = np.random.default_rng(seed)
    users, items = rng.standard_normal((6, 5)), rng.standard_normal((songs, 5)).astype(np.float32)
    if in_steps:
        users, items = np.rint(users), np.rint(items)
    limits = rng.integers(0, 40, 6)
    hidden = rng.random((6, songs)) < np.array([0, 0.01, 0.2, 0.5, 0.98, 1])[:, None]
    assert ranked(users, items, limits, hidden) == plain(users, items, limits, hidden)


@pytest.mark.parametrize("best_are_sampled", [True, False])
def test_a_sample_unlike_the_rest_misleads_nobody(best_are_sampled: bool) -> None:
    """All good songs are in the sample, or none: too few are above the threshold, or all."""
    items = np.linspace(1, 2, 4096, dtype=np.float32)[:, None]
    in_sample = np.arange(4096) % 32 == 0
    items[in_sample == best_are_sampled] += 10
    users, limits = np.ones((3, 1)), np.array([30, 0, 200])
    hidden = np.zeros((3, 4096), bool)
    assert ranked(users, items, limits, hidden) == plain(users, items, limits, hidden)


def test_room_that_is_full_drops_only_what_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that rise with the place fill the room again and again."""
    monkeypatch.setattr(_best, "_ROOM", 1)
    items = np.linspace(1, 2, 9000, dtype=np.float32)[:, None]
    hidden = random_array((2, 9000), density=0.3, rng=np.random.default_rng(1)).toarray() > 0
    users, limits = np.ones((2, 1)), np.array([50, 3])
    assert ranked(users, items, limits, hidden) == plain(users, items, limits, hidden)
