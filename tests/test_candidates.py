"""Candidates are the exact best, without what must not come, for every user their own."""

import dataclasses
import os

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from recsys.candidates import Candidates, find_candidates
from recsys.errors import GateRefusedError
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel, rank, train
from tests.models.worlds import SETTINGS, matrix_of, sparse_strength, world

FAST = dataclasses.replace(SETTINGS, iterations=1)


def by_hand(
    model: ALSModel,
    matrix: TasteMatrix,
    user: int,
    count: int,
    hidden: npt.NDArray[np.bool_],
) -> list[tuple[int, float]]:
    """All scores in float64, sorted."""
    known = int((matrix.strength.toarray()[user] > 0).sum())
    scores = np.round(model.user_factors[user] @ model.item_factors.astype(np.float64).T, 6)
    hidden = hidden | matrix.excluded.toarray()[user] | ~model.item_factors.any(axis=1)
    songs = [song for song in np.lexsort((np.arange(len(scores)), -scores)) if not hidden[song]]
    return [(int(song), float(scores[song])) for song in songs[: min(count, 10 * known)]]


def of_user(candidates: Candidates, k: int) -> list[tuple[int, float]]:
    part = slice(candidates.offsets[k], candidates.offsets[k + 1])
    return list(zip(candidates.songs[part].tolist(), candidates.scores[part].tolist(), strict=True))


@given(
    seed=st.integers(0, 10_000),
    users=st.integers(1, 25),
    songs=st.integers(1, 150),
    share=st.floats(0.01, 0.6),
    count=st.integers(1, 60),
)
def test_they_are_what_sorting_everything_gives(
    seed: int, users: int, songs: int, share: float, count: int
) -> None:
    rng = np.random.default_rng(seed)
    heard_too = rng.random((users, songs)) < 0.1
    matrix = matrix_of(sparse_strength(seed, users, songs, share), excluded=heard_too)
    model = train(matrix, FAST, seed=seed)
    chosen = np.flatnonzero(rng.random(users) < 0.8).astype(np.int32)
    barred = rng.random(songs) < 0.1
    cooling = rng.random((len(chosen), songs)) < 0.1
    found = find_candidates(
        model, matrix, chosen, count=count, barred=barred, cooling=csr_matrix(cooling)
    )
    assert found.offsets[0] == 0
    assert found.offsets[-1] == len(found.songs) == len(found.scores)
    for k, user in enumerate(chosen):
        assert of_user(found, k) == by_hand(model, matrix, int(user), count, barred | cooling[k])


def test_more_users_than_a_block_and_more_songs_than_a_list() -> None:
    matrix = matrix_of(sparse_strength(3, 300, 1500, 0.02))
    model = train(matrix, SETTINGS, seed=1)
    users = np.arange(300, dtype=np.int32)
    cooling = np.random.default_rng(0).random((300, 1500)) < 0.3
    found = find_candidates(model, matrix, users, count=40, cooling=csr_matrix(cooling))
    for user in range(300):
        assert of_user(found, user) == by_hand(model, matrix, user, 40, cooling[user])


def test_every_user_gets_songs_of_their_own_taste() -> None:
    clear = world(users=600)
    users = np.arange(0, 600, 3, dtype=np.int32)
    found = find_candidates(train(clear.base, SETTINGS, seed=1), clear.base, users, count=5)
    best = found.songs[found.offsets[:-1]]
    assert (clear.group_of_song[best] == clear.group_of_user[users]).mean() > 0.8


def test_a_user_is_not_padded_and_one_song_vouches_for_ten() -> None:
    strength = sparse_strength(4, 80, 120)
    strength[0] = 0
    strength[1] = 0
    strength[1, 5] = 1
    excluded = np.zeros(strength.shape, bool)
    excluded[2, 3:] = True
    matrix = matrix_of(strength, excluded=excluded)
    found = find_candidates(train(matrix, SETTINGS, seed=1), matrix, np.arange(80, dtype=np.int32))
    lengths = np.diff(found.offsets)
    assert lengths[0] == 0
    assert lengths[1] == 10
    assert 0 < lengths[2] <= 3


def test_equal_scores_go_by_song() -> None:
    """Songs with one and the same audience have one and the same score."""
    strength = np.zeros((6, 40), np.float32)
    strength[:3, 0] = strength[3:, 1] = 1
    strength[:3, 2:] = 1
    strength[0, 2:] = 0
    matrix = matrix_of(strength)
    model = train(matrix, SETTINGS, seed=1)
    model.item_factors[2:] = model.item_factors[2]
    barred = np.arange(40) < 2
    found = find_candidates(model, matrix, np.array([0], np.int32), count=8, barred=barred)
    assert len(set(found.scores)) == 1
    assert found.songs.tolist() == list(range(2, 10))


def best_of_all(user: list[float], items: npt.NDArray[np.float32], count: int) -> list[int]:
    ranked = rank(
        np.array([user]),
        items,
        limits=np.array([count]),
        allowed=np.ones(len(items), bool),
        excluded=csr_matrix((1, len(items)), dtype=bool),
        rows=np.array([0], np.int32),
    )
    return [int(song) for song in ranked.songs]


def test_a_thousand_equal_scores_at_the_cut() -> None:
    items = np.ones((3000, 1), np.float32)
    items[[2500, 10, 2000], 0] = [4, 3, 2]
    assert best_of_all([1.0], items, 8) == [2500, 10, 2000, 0, 1, 2, 3, 4]


def test_what_float32_cannot_tell_apart_is_ranked_right() -> None:
    """Scores of 10,000 and a few ten-thousandths; float32 has steps of a thousandth there."""
    order = np.random.default_rng(0).permutation(60)
    items = np.column_stack([np.full(60, 100), order / 100]).astype(np.float32)
    assert best_of_all([100.0, 0.01], items, 5) == np.argsort(-order)[:5].tolist()


def test_same_bytes_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = matrix_of(sparse_strength(6, 700, 900, 0.03))
    model = train(matrix, SETTINGS, seed=1)
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=threads: set(range(n)))
        users = np.arange(700, dtype=np.int32)
        candidates = find_candidates(model, matrix, users, count=50)
        found.append((candidates.songs.tobytes(), candidates.scores.tobytes()))
    assert found[0] == found[1] == found[2]


def test_a_users_candidates_do_not_depend_on_who_else_is_asked_for() -> None:
    matrix = matrix_of(sparse_strength(7, 400, 500, 0.05))
    model = train(matrix, SETTINGS, seed=1)
    everyone = find_candidates(model, matrix, np.arange(400, dtype=np.int32), count=30)
    for user in (0, 130, 399):
        alone = find_candidates(model, matrix, np.array([user], np.int32), count=30)
        assert of_user(alone, 0) == of_user(everyone, user)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_scores_that_cannot_be_ordered_are_refused(bad: float) -> None:
    with pytest.raises(GateRefusedError, match="exploded"):
        rank(
            np.full((1, 2), bad),
            np.ones((3, 2)),
            limits=np.array([2]),
            allowed=np.ones(3, bool),
            excluded=csr_matrix((1, 3), dtype=bool),
            rows=np.array([0], np.int32),
        )


def test_nobody_and_nothing() -> None:
    matrix = matrix_of(sparse_strength(1, 5, 6))
    model = train(matrix, SETTINGS, seed=1)
    assert find_candidates(model, matrix, np.array([], np.int32)).offsets.tolist() == [0]
    everything = np.ones(6, bool)
    found = find_candidates(model, matrix, np.arange(5, dtype=np.int32), barred=everything)
    assert found.offsets.tolist() == [0] * 6


def test_what_was_saved_and_never_played_is_no_candidate() -> None:
    """The model was told of it: its score is no prediction, and would be the highest of all."""
    matrix = matrix_of(sparse_strength(8, 40, 60))
    entry = matrix.strength.indptr[3]
    saved = matrix.strength.indices[entry]
    played, excluded = matrix.played_track.copy(), matrix.excluded.toarray()
    played[entry], excluded[3, saved] = -1, False
    matrix = dataclasses.replace(matrix, played_track=played, excluded=csr_matrix(excluded))
    model = train(matrix, dataclasses.replace(SETTINGS, factors=30), seed=1)
    found = find_candidates(model, matrix, np.arange(40, dtype=np.int32))
    songs = [[song for song, _ in of_user(found, k)] for k in range(40)]
    scores = model.user_factors[3] @ model.item_factors.T
    assert scores[saved] > max(scores[songs[3]])
    assert saved not in songs[3]
    assert any(saved in others for others in songs)
