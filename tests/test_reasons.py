"""A reason is the heard track that adds most to the score, and nothing else."""

import dataclasses
import os

import numpy as np
import pytest

from recsys.candidates import find_candidates
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel, train
from recsys.playlists import Picks
from recsys.reasons import reasons
from tests.models.dense import dense_parts
from tests.models.worlds import SETTINGS, matrix_of, sparse_strength, world


def lists_of(model: ALSModel, matrix: TasteMatrix, count: int = 6) -> Picks:
    users = np.arange(0, matrix.strength.shape[0], 2, dtype=np.int32)
    found = find_candidates(model, matrix, users, count=count)
    return Picks(
        users=users,
        offsets=found.offsets,
        songs=found.songs,
        scores=found.scores,
        personal=np.ones(len(found.songs), bool),
    )


@pytest.mark.parametrize("factors", [3, 64])  # fewer and more than songs held to
def test_the_largest_part_of_a_score_that_adds_up(factors: int) -> None:
    matrix = matrix_of(sparse_strength(1, 60, 120, 0.12))
    model = train(matrix, dataclasses.replace(SETTINGS, factors=factors), seed=1)
    lists = lists_of(model, matrix)
    found = reasons(model, matrix, lists)
    assert found.dtype == np.int32
    for k, user in enumerate(lists.users):
        for place in range(lists.offsets[k], lists.offsets[k + 1]):
            parts = dense_parts(matrix, model, user, lists.songs[place])
            assert parts.sum() == pytest.approx(lists.scores[place], abs=2e-6)
            # One track per song here, so the row of the track is the song.
            assert parts[found[place]] == pytest.approx(parts[parts != 0].max(), abs=2e-9)


def test_a_reason_is_of_the_listeners_own_taste() -> None:
    clear = world()
    model = train(clear.base, SETTINGS, seed=1)
    lists = lists_of(model, clear.base, count=3)
    found = reasons(model, clear.base, lists)
    heard = clear.base.strength.toarray() > 0
    users = np.repeat(lists.users, np.diff(lists.offsets))
    assert heard[users, found].all()
    assert (clear.group_of_song[found] == clear.group_of_song[lists.songs]).mean() > 0.9


def test_what_is_popular_has_no_reason_and_the_played_track_is_shown() -> None:
    matrix = matrix_of(sparse_strength(2, 20, 60))
    model = train(matrix, SETTINGS, seed=1)
    lists = lists_of(model, matrix)
    every_other = dataclasses.replace(lists, personal=np.arange(len(lists.songs)) % 2 == 0)
    shifted = dataclasses.replace(matrix, played_track=matrix.played_track + np.int32(1000))
    found = reasons(model, shifted, every_other)
    assert (found[1::2] == -1).all()
    np.testing.assert_array_equal(found[::2], reasons(model, matrix, lists)[::2] + 1000)


def test_what_was_saved_but_never_played_is_no_reason() -> None:
    matrix = matrix_of(sparse_strength(3, 20, 60))
    model = train(matrix, SETTINGS, seed=1)
    lists = lists_of(model, matrix)
    usual = reasons(model, matrix, lists)
    never = np.isin(matrix.played_track, usual[:1])
    found = reasons(
        model, dataclasses.replace(matrix, played_track=np.where(never, -1, matrix.played_track)
                                   .astype(np.int32)), lists
    )  # fmt: skip
    parts = dense_parts(matrix, model, int(lists.users[0]), int(lists.songs[0]))
    assert found[0] == np.argsort(-parts)[1]
    np.testing.assert_array_equal(found[usual != usual[0]], usual[usual != usual[0]])


def test_who_has_played_nothing_has_no_reason() -> None:
    matrix = matrix_of(sparse_strength(3, 20, 60))
    model = train(matrix, SETTINGS, seed=1)
    silent = dataclasses.replace(matrix, played_track=np.full_like(matrix.played_track, -1))
    assert (reasons(model, silent, lists_of(model, matrix)) == -1).all()


def test_equal_parts_go_to_the_lower_song() -> None:
    strength = np.ones((4, 5), np.float32)
    strength[0, 4] = 0
    matrix = matrix_of(strength)
    model = train(matrix, SETTINGS, seed=1)
    alike = model.item_factors[[3, 3, 3, 3, 4]]
    model = dataclasses.replace(model, item_factors=alike)
    lists = Picks(
        users=np.array([0], np.int32),
        offsets=np.array([0, 1], np.int64),
        songs=np.array([4], np.int32),
        scores=np.zeros(1),
        personal=np.ones(1, bool),
    )
    assert reasons(model, matrix, lists).tolist() == [0]


def test_same_bytes_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = matrix_of(sparse_strength(6, 700, 200, 0.1))
    model = train(matrix, SETTINGS, seed=1)
    lists = lists_of(model, matrix)
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=threads: set(range(n)))
        found.append(reasons(model, matrix, lists).tobytes())
    assert found[0] == found[1] == found[2]


def test_nobody() -> None:
    matrix = matrix_of(sparse_strength(2, 20, 60))
    model = train(matrix, SETTINGS, seed=1)
    nobody = Picks(
        users=np.array([], np.int32),
        offsets=np.array([0], np.int64),
        songs=np.array([], np.int32),
        scores=np.array([]),
        personal=np.array([], bool),
    )
    assert len(reasons(model, matrix, nobody)) == 0
