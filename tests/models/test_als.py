"""The model: trained, continued, folded in; against float64 NumPy."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from recsys.candidates import find_candidates
from recsys.errors import ArtefactError, GateRefusedError, MissingDataError, RecsysError
from recsys.evaluation import Interval, paired, recommend, recommend_popular, score, truth
from recsys.models import ALSModel, check_factors, load, save, train
from recsys.models._objective import Objective
from recsys.settings import GatesSettings
from tests.models.dense import dense_confidence, dense_loss, dense_parts, dense_users
from tests.models.worlds import SETTINGS, World, as_format_1, matrix_of, sparse_strength, world


@pytest.fixture(scope="module")
def clear() -> World:
    return world()


@pytest.fixture(scope="module")
def model(clear: World) -> ALSModel:
    return train(clear.base, SETTINGS, seed=3)


def same_bytes(a: ALSModel, b: ALSModel) -> bool:
    return (
        a.item_factors.tobytes() == b.item_factors.tobytes()
        and a.user_factors.tobytes() == b.user_factors.tobytes()
        and a.loss == b.loss
    )


@pytest.mark.parametrize("factors", [1, 8, 300])  # fewer and more than songs heard by a user
def test_user_factors_are_the_exact_minimum(clear: World, factors: int) -> None:
    settings = dataclasses.replace(SETTINGS, factors=factors, iterations=2)
    model = train(clear.base, settings, seed=1)
    assert model.item_factors.dtype == np.float32
    np.testing.assert_allclose(
        model.user_factors[:20], dense_users(clear.base, model, 20), rtol=1e-7, atol=1e-9
    )


def test_a_heavy_listener_is_solved_exactly_too() -> None:
    matrix = matrix_of(sparse_strength(2, 12, 400, share=0.7))
    model = train(matrix, dataclasses.replace(SETTINGS, factors=5), seed=1)
    np.testing.assert_allclose(model.user_factors, dense_users(matrix, model), rtol=1e-7, atol=1e-9)


def test_loss_is_the_objective_and_falls(clear: World) -> None:
    told: list[tuple[int, float, float]] = []
    model = train(
        clear.base, SETTINGS, seed=3, on_iteration=lambda i, loss, s: told.append((i, loss, s))
    )
    assert [row[0] for row in told] == list(range(SETTINGS.iterations))
    assert tuple(row[1] for row in told) == model.loss
    assert all(row[2] >= 0 for row in told)
    assert all(b <= a * 1.001 for a, b in zip(model.loss, model.loss[1:], strict=False))
    # Exact user factors can only lie below the last sweep's.
    exact = dense_loss(
        dense_confidence(clear.base, SETTINGS),
        model.user_factors,
        model.item_factors,
        Objective.of(SETTINGS),
    )
    assert exact <= model.loss[-1] <= exact * 1.05


def test_same_bytes_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = matrix_of(sparse_strength(5, 1500, 300, share=0.1))
    settings = dataclasses.replace(SETTINGS, factors=24, iterations=3)
    models = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=threads: set(range(n)))
        first = train(matrix, settings, seed=9)
        models.append(train(matrix, settings, seed=9, parent=first))
    assert same_bytes(models[0], models[1])
    assert same_bytes(models[0], models[2])
    assert not same_bytes(models[0], train(matrix, settings, seed=10))


def test_a_model_comes_back_from_disk_as_it_was(model: ALSModel, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    save(model, tmp_path / "a")
    back = load(tmp_path / "a")
    assert same_bytes(model, back)
    assert back.song_keys.equals(model.song_keys)
    assert back.user_ids.equals(model.user_ids)
    assert (back.settings, back.seed, back.warm) == (model.settings, model.seed, model.warm)
    save(back, tmp_path / "b")
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


@pytest.mark.parametrize("broken", ["gone", "cut", "not a model", "pickled", "other shape"])
def test_a_broken_file_is_named(model: ALSModel, tmp_path: Path, broken: str) -> None:
    save(model, tmp_path)
    file = tmp_path / "item_factors.npy"
    if broken == "gone":
        file.unlink()
    elif broken == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    elif broken == "not a model":
        (tmp_path / "model.json").write_text("{}")
    elif broken == "pickled":
        np.save(file, np.array([{"a": 1}], object), allow_pickle=True)
    else:
        np.save(file, model.item_factors[:-1])
    with pytest.raises(ArtefactError, match=str(tmp_path)):
        load(tmp_path)


def test_a_model_of_format_1_is_of_the_objective_it_was_trained_by(tmp_path: Path) -> None:
    matrix = matrix_of(sparse_strength(1, 30, 20))
    settings = dataclasses.replace(SETTINGS, unobserved_weight=1.0, regularization_exponent=0.0)
    model = train(matrix, settings, seed=1)
    save(model, tmp_path)
    as_format_1(tmp_path)
    back = load(tmp_path)
    assert back.settings == settings
    assert back.refolded(matrix).user_factors.tobytes() == model.user_factors.tobytes()
    (tmp_path / "model.json").write_text('{"format": 3}')
    with pytest.raises(ArtefactError, match="format 3, and this version reads formats 1 and 2"):
        load(tmp_path)


def test_a_parent_is_aligned_by_id_and_new_rows_are_folded_in(clear: World) -> None:
    """Users and songs come and go between two weeks; the order of the rows changes with them."""
    strength = clear.base.strength.toarray()
    users, songs = strength.shape
    was = matrix_of(
        strength[1:, 1:],
        users=[f"user{u:05}" for u in range(1, users)],
        songs=[f"song{s:05}" for s in range(1, songs)],
    )
    parent = train(was, SETTINGS, seed=3)
    now = train(clear.base, SETTINGS, seed=99, parent=parent)
    assert now.warm
    assert len(now.loss) == SETTINGS.warm_iterations
    assert now.loss[-1] <= parent.loss[-1] * 1.05
    # What was known stays close to where it was, although every row has moved by one.
    a, b = now.item_factors[1:], parent.item_factors
    cosine = (a * b).sum(axis=1) / np.maximum(
        np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12
    )
    assert np.median(cosine) > 0.95
    # The new listener is served songs of their own group, the new song stands by its group.
    own = clear.group_of_song == clear.group_of_user[0]
    scores = now.user_factors[0] @ now.item_factors.T
    assert scores[own].mean() > 3 * scores[~own].mean()
    same_group = clear.group_of_user == clear.group_of_song[0]
    fans = now.user_factors @ now.item_factors[0]
    assert fans[same_group].mean() > 3 * fans[~same_group].mean()


def test_a_warm_start_reaches_the_cold_loss_sooner(clear: World) -> None:
    cold = train(clear.base, SETTINGS, seed=3)
    warm = train(clear.base, SETTINGS, seed=4, parent=cold)
    assert warm.loss[0] <= cold.loss[-1]


def test_a_parent_of_another_size_is_refused(clear: World, model: ALSModel) -> None:
    with pytest.raises(RecsysError, match=r"8 factors and \[als\] factors = 9"):
        train(clear.base, dataclasses.replace(SETTINGS, factors=9), seed=1, parent=model)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_an_empty_matrix_is_missing_data(shape: tuple[int, int]) -> None:
    with pytest.raises(MissingDataError, match=f"{shape[0]} users and {shape[1]} songs"):
        train(matrix_of(np.zeros(shape)), SETTINGS, seed=1)


def test_nothing_held_to_gives_a_model_that_ranks_nothing() -> None:
    matrix = matrix_of(np.zeros((2, 3)))
    model = train(matrix, SETTINGS, seed=1)
    assert not model.item_factors.any()
    assert not model.user_factors.any()
    assert len(find_candidates(model, matrix, np.array([0, 1], np.int32)).songs) == 0
    continued = train(matrix, SETTINGS, seed=1, parent=model)
    assert not continued.item_factors.any()


@pytest.mark.parametrize("factors", [1, 64, 1024])
def test_one_user_and_one_track(factors: int) -> None:
    settings = dataclasses.replace(SETTINGS, factors=factors, regularization=0.05, alpha=20.0)
    matrix = matrix_of([[0.7]])
    model = train(matrix, settings, seed=1)
    assert check_factors(model, matrix, GatesSettings(), parent=None, seed=1).passed
    assert float(model.user_factors[0] @ model.item_factors[0]) == pytest.approx(1, abs=0.05)
    assert len(find_candidates(model, matrix, np.array([0], np.int32)).songs) == 0


def test_training_that_is_no_longer_finite_says_what_to_do() -> None:
    with pytest.raises(GateRefusedError, match=r"higher \[als\] regularization"):
        train(matrix_of([[1e37, 1.0], [1.0, 1.0]]), SETTINGS, seed=1)


def test_songs_and_users_without_strength_have_zero_factors() -> None:
    strength = sparse_strength(8, 30, 20)
    strength[4] = 0
    strength[:, 7] = 0
    model = train(matrix_of(strength), SETTINGS, seed=1)
    assert not model.user_factors[4].any()
    assert not model.item_factors[7].any()
    assert not model.learnt[7]


def test_many_factors_work(clear: World) -> None:
    settings = dataclasses.replace(SETTINGS, factors=1024, iterations=1)
    model = train(clear.base, settings, seed=1)
    assert model.user_factors.shape == (240, 1024)
    np.testing.assert_allclose(
        model.user_factors[:2], dense_users(clear.base, model, 2), rtol=1e-6, atol=1e-8
    )


def test_to_implicit_and_its_methods(clear: World, model: ALSModel) -> None:
    theirs = model.implicit
    confidence = model.confidences(clear.base.strength)
    ids, scores = theirs.recommend(5, confidence[5], N=4)
    exact = model.user_factors[5] @ model.item_factors[ids].T
    np.testing.assert_allclose(scores, exact, atol=1e-5)
    total, parts, _ = theirs.explain(5, confidence, ids[0])
    assert total == pytest.approx(exact[0], abs=1e-9)
    dense = dense_parts(clear.base, model, 5, ids[0])
    assert parts[0] == (int(dense.argmax()), pytest.approx(dense.max(), abs=1e-9))
    same = clear.group_of_song[theirs.similar_items(9, N=6)[0]] == clear.group_of_song[9]
    assert same.mean() > 0.8


def against_popularity(model: ALSModel, clear: World) -> Interval:
    wanted = truth(clear.base, clear.plays)
    ours = score(recommend(model, clear.base, wanted.users), wanted)
    popular = score(recommend_popular(clear.base, wanted.users), wanted)
    return paired(ours.ndcg, popular.ndcg, seed=1)


def test_clear_taste_is_learnt(clear: World, model: ALSModel) -> None:
    assert against_popularity(model, clear).low > 0.02


def test_shuffled_factors_are_worse_than_popularity(clear: World, model: ALSModel) -> None:
    order = np.random.default_rng(0).permutation(len(model.item_factors))
    shuffled = dataclasses.replace(model, item_factors=model.item_factors[order])
    assert against_popularity(shuffled, clear).high < 0
