"""Models and baselines rank the same songs for the same listeners."""

from __future__ import annotations

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import CosineRecommender
from implicit.utils import ParameterWarning

from recsys._threads import one_blas_thread
from recsys.evaluation import (
    _rankers,
    recommend,
    recommend_baselines,
    recommend_neighbours,
    recommend_popular,
)
from recsys.matrix import TasteMatrix
from recsys.models import ImplicitALS, train
from recsys.settings import BASELINES
from tests.evaluation.worlds import lists_of
from tests.models.worlds import SETTINGS, matrix_of, sparse_strength, world

EVERY_FOURTH = np.arange(0, 240, 4, dtype=np.int32)


def test_popularity_is_the_most_held_to_that_is_not_heard() -> None:
    base = matrix_of([[1, 0, 0, 0], [1, 2, 0, 0], [0, 2, 1, 0], [1, 1, 1, 0]])
    ranked = recommend_popular(base, np.array([0, 2], np.int32), k=30)
    # Song 3 was never held to; song 1 (5) stands before song 0 (3) and song 2 (2).
    assert lists_of(ranked) == [[1, 2], [0]]


def test_popularity_is_exact_among_songs_that_are_all_but_equal() -> None:
    base = matrix_of(np.vstack([np.zeros(2000), np.ones(2000) + np.arange(2000)[::-1] * 1e-5]))
    assert recommend_popular(base, np.array([0], np.int32)).songs.tolist() == list(range(30))


def test_what_is_popular_of_late_is_another_order() -> None:
    base = matrix_of([[1, 0, 0, 0, 0], [0, 2, 2, 2, 0]])
    recent = np.array([4, 1, 3, 0, 9])
    ranked = recommend_popular(base, np.array([0], np.int32), popularity=recent)
    # Song 0 is heard, song 3 was not played of late, nobody holds to song 4.
    assert lists_of(ranked) == [[2, 1]]


def test_two_models_are_scored_on_one_base_by_song_key() -> None:
    """A model of a week before, with other columns, ranks for the base's listeners and songs."""
    clear = world()
    strength = clear.base.strength.toarray()
    keys = [f"song{s:05}" for s in range(strength.shape[1])]
    earlier = matrix_of(strength[40:, 20:], songs=keys[20:])
    model = train(earlier, SETTINGS, seed=1)
    ranked = recommend(model, clear.base, EVERY_FOURTH)
    assert (ranked.songs >= 20).all()
    row = np.repeat(EVERY_FOURTH, np.diff(ranked.offsets))
    assert not np.asarray(clear.base.excluded[row, ranked.songs]).any()
    first = ranked.songs[ranked.offsets[:-1]]
    assert (clear.group_of_song[first] == clear.group_of_user[EVERY_FOURTH]).mean() > 0.6


def all_baselines(base: TasteMatrix) -> dict[str, list[list[int]]]:
    recent = np.diff(base.strength.tocsc().indptr)
    found = recommend_baselines(BASELINES, base, EVERY_FOURTH, recent=recent, seed=3)
    return {name: lists_of(ranking) for name, ranking in found.items()}


def test_no_baseline_recommends_what_was_heard_or_twice() -> None:
    """More is excluded than is held to: what was heard and not liked, as for our own model."""
    clear = world()
    more = np.random.default_rng(1).random(clear.base.strength.shape) < 0.3
    base = matrix_of(clear.base.strength.toarray(), excluded=more)
    baselines = all_baselines(base)
    assert tuple(baselines) == BASELINES
    for name, lists in baselines.items():
        assert max(map(len, lists)) == 30, name
        for user, songs in zip(EVERY_FOURTH, lists, strict=True):
            assert len(set(songs)) == len(songs), name
            assert not base.excluded[user, songs].toarray().any(), name


def test_what_was_saved_and_never_heard_may_be_recommended() -> None:
    """Held to but not excluded: our own model may rank it, and so may every baseline."""
    clear = world()
    nothing = clear.base.excluded.copy()
    nothing.data[:] = False
    nothing.eliminate_zeros()
    base = type(clear.base)(**{**vars(clear.base), "excluded": nothing})
    for name, lists in all_baselines(base).items():
        held = [
            clear.base.strength[u, s].sum() > 0 for u, s in zip(EVERY_FOURTH, lists, strict=True)
        ]
        assert any(held), name


def test_baselines_are_the_same_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    base = matrix_of(sparse_strength(1, 240, 150, 0.15))
    found = []
    for cores in (1, 2, 3):
        monkeypatch.setattr(_rankers, "cores", lambda cores=cores: cores)
        found.append(all_baselines(base))
    assert found[0] == found[1] == found[2]


@pytest.mark.filterwarnings(f"ignore::{ParameterWarning.__module__}.ParameterWarning")
def test_item_knn_is_implicits_cosine_recommender() -> None:
    base = world().base
    theirs = CosineRecommender()
    theirs.fit(base.strength.astype(np.float64), show_progress=False)
    ids, scores = theirs.recommend(
        EVERY_FOURTH, base.strength[EVERY_FOURTH].astype(np.float64), N=30
    )
    for ours, song, score in zip(
        lists_of(recommend_neighbours(base, EVERY_FOURTH)), ids, scores, strict=True
    ):
        assert ours == song[np.lexsort((song, -score.round(6)))][: len(ours)].tolist()


def test_als_defaults_is_the_model_of_implicits_defaults() -> None:
    theirs = AlternatingLeastSquares(random_state=3, calculate_training_loss=True)
    for name, value in _rankers._IMPLICIT_DEFAULTS.items():
        assert getattr(theirs, name) == value, name
    events = _rankers.events(world().base)
    ours = ImplicitALS(random_state=3, **_rankers._IMPLICIT_DEFAULTS)
    with one_blas_thread():
        theirs.fit(events, show_progress=False)
    ours.fit(events, show_progress=False)
    judge = ImplicitALS(**_rankers._IMPLICIT_DEFAULTS)
    judge.user_factors, judge.item_factors = theirs.user_factors, theirs.item_factors
    assert ours.loss(events) <= 1.001 * judge.loss(events)


def test_clear_taste_is_found_by_all_but_popularity() -> None:
    clear = world()
    for name, lists in all_baselines(clear.base).items():
        first = np.array([songs[0] for songs in lists])
        share = (clear.group_of_song[first] == clear.group_of_user[EVERY_FOURTH]).mean()
        assert share > 0.5 if name in ("item_knn", "als_defaults") else share < 0.3, name
