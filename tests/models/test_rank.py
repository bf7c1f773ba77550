"""The best songs, against a plain sort of all scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

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
    """All good songs are in the sample, or none: too few reach what it promises, or nearly all.

    The longer a song's factors the worse its score, so that what is kept has to make room again and
    again for what is better.
    """
    rng = np.random.default_rng(1)
    lengths = np.linspace(9, 8, 9000)
    scores = np.linspace(1, 2, 9000)
    sampled = np.zeros(9000, bool)
    sampled[_best.sampled_order(lengths)[:1024]] = True
    scores[sampled != best_are_sampled] -= 3
    items = np.stack([scores, np.sqrt(lengths**2 - scores**2)], axis=1).astype(np.float32)
    shuffled = rng.permutation(9000)
    users, limits = np.array([[1.0, 0.0]] * 4), np.array([30, 0, 200, 50])
    hidden = rng.random((4, 9000)) < np.array([0, 0, 0.01, 0.5])[:, None]
    assert ranked(users, items[shuffled], limits, hidden) == plain(
        users, items[shuffled], limits, hidden
    )
