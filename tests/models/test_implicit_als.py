"""ImplicitALS: an `implicit` model under another objective; against float64 NumPy."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from recsys.errors import RecsysError
from recsys.models import ImplicitALS
from tests.models.dense import Floats, dense_loss, dense_rows, dense_system
from tests.models.worlds import sparse_strength

#: As `implicit` has it; as Rendle et al. have it; and a confidence below the unobserved weight.
OBJECTIVES = {
    "implicit": {"regularization": 2.0},
    "frequency": {
        "regularization": 0.02, "unobserved_weight": 0.1, "regularization_exponent": 1.0,
    },
    "light": {"regularization": 0.5, "unobserved_weight": 3.0, "regularization_exponent": 0.5},
}  # fmt: skip


def observed(seed: int = 1, users: int = 90, items: int = 60) -> csr_matrix:
    return csr_matrix(sparse_strength(seed, users, items) * np.float32(3))


def made(name: str = "frequency", **more: float) -> ImplicitALS:
    return ImplicitALS(
        **{"factors": 6, "random_state": 5, "iterations": 12} | OBJECTIVES[name] | more
    )


@pytest.fixture(params=OBJECTIVES)
def fitted(request: pytest.FixtureRequest) -> tuple[ImplicitALS, csr_matrix, Floats]:
    model, data = made(request.param), observed()
    model.fit(data, show_progress=False)
    return model, data, data.toarray().astype(np.float64)


def converged(model: ImplicitALS, data: csr_matrix) -> tuple[Floats, Floats]:
    """Dense ALS, each row solved, from the same first factors."""
    rng = np.random.default_rng(5)
    rng.random((data.shape[0], model.factors), np.float32)  # the users', which come first
    y = rng.random((data.shape[1], model.factors), np.float32).astype(np.float64) * 0.01
    weights = data.toarray().astype(np.float64)
    x = np.zeros((data.shape[0], model.factors))
    for _ in range(model.iterations):
        x = dense_rows(weights, y, model.objective)
        y = dense_rows(weights.T, x, model.objective)
    return x, y


def test_it_gets_as_low_as_exact_sweeps(fitted: tuple[ImplicitALS, csr_matrix, Floats]) -> None:
    model, data, weights = fitted
    x, y = converged(model, data)
    lowest = dense_loss(weights, x, y, model.objective)
    assert model.loss(data) < 1.01 * lowest


def test_a_sweep_with_steps_enough_is_the_exact_minimum() -> None:
    """Conjugate gradients of as many steps as factors end at the solution."""
    model, data = made(iterations=1), observed()
    model.cg_steps = 12
    model.fit(data, show_progress=False)
    exact = dense_rows(data.T.toarray().astype(np.float64), model.user_factors, model.objective)
    np.testing.assert_allclose(model.item_factors, exact, atol=1e-4 * np.abs(exact).max())


@pytest.mark.parametrize("factors", [1, 5, 40, 131])
def test_any_number_of_factors_and_rows_longer_than_what_is_gathered(
    factors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = (made(factors=factors, iterations=3) for _ in range(2))
    short.fit(observed(), show_progress=False)
    monkeypatch.setattr("recsys.models._sweep._GATHERED", 11)
    long.fit(observed(), show_progress=False)
    assert short.item_factors.tobytes() == long.item_factors.tobytes()
    assert np.isfinite(short.item_factors).all()


def test_loss_is_the_objective(fitted: tuple[ImplicitALS, csr_matrix, Floats]) -> None:
    model, data, weights = fitted
    dense = dense_loss(weights, model.user_factors, model.item_factors, model.objective)
    assert model.loss(data) == pytest.approx(dense, rel=1e-12)


def test_folding_in_is_exact(fitted: tuple[ImplicitALS, csr_matrix, Floats]) -> None:
    model, data, weights = fitted
    users = dense_rows(weights, model.item_factors, model.objective)
    items = dense_rows(weights.T, model.user_factors, model.objective)
    close = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(model.recalculate_user(range(90), data), users, **close)
    np.testing.assert_allclose(model.recalculate_item(range(60), data.T.tocsr()), items, **close)
    assert model.recalculate_user(3, data[3]).shape == (6,)
    with pytest.raises(ValueError, match="one row for each of 2 ids"):
        model.recalculate_user([1, 2], data[:3])


def test_new_users_and_items_are_taken_in(
    fitted: tuple[ImplicitALS, csr_matrix, Floats],
) -> None:
    model, data, weights = fitted
    before = model.item_factors.copy()
    model.partial_fit_users([4, 92], data[:2])
    exact = dense_rows(weights[:2], before, model.objective)
    np.testing.assert_allclose(model.user_factors[[4, 92]], exact, rtol=1e-5, atol=1e-6)
    assert not model.user_factors[90].any()
    assert model.item_factors.tobytes() == before.tobytes()
    model.partial_fit_items([61], csr_matrix((1, 93), dtype=np.float32))
    assert not model.item_factors[61].any()


def test_explain_takes_a_score_apart(
    fitted: tuple[ImplicitALS, csr_matrix, Floats],
) -> None:
    model, data, weights = fitted
    items = model.item_factors.astype(np.float64)
    system = dense_system(weights[7], items, model.objective)
    parts = items[11] @ np.linalg.solve(system, items.T * weights[7])
    score, top, prepared = model.explain(7, data, 11, N=4)
    assert score == pytest.approx(parts.sum(), rel=1e-9)
    order = np.argsort(-parts[weights[7] > 0])[:4]
    assert [item for item, _ in top] == np.flatnonzero(weights[7])[order].tolist()
    assert [part for _, part in top] == pytest.approx(parts[weights[7] > 0][order], abs=1e-9)
    assert model.explain(8, data, 11, prepared)[0] == pytest.approx(model.explain(8, data, 11)[0])


def test_alpha_multiplies_everywhere() -> None:
    plain, scaled = made(), made(alpha=0.5)
    plain.fit(observed(), show_progress=False)
    scaled.fit(observed() * 2, show_progress=False)
    assert scaled.item_factors.tobytes() == plain.item_factors.tobytes()
    data, twice = observed(2), observed(2) * 2
    assert scaled.loss(twice) == plain.loss(data)
    assert scaled.explain(1, twice, 2)[:2] == plain.explain(1, data, 2)[:2]
    assert (scaled.recalculate_user(1, twice[1]) == plain.recalculate_user(1, data[1])).all()


def test_under_implicits_objective_it_is_implicits_model() -> None:
    data = observed(3, 300, 200)
    ours = made("implicit", calculate_training_loss=True)
    with threadpool_limits(1, "blas"):
        theirs = AlternatingLeastSquares(
            6, 2.0, random_state=5, iterations=12, calculate_training_loss=True, num_threads=1
        )
        losses: list[list[float]] = [[], []]
        for model, told in zip((ours, theirs), losses, strict=True):
            model.fit(data, show_progress=False, callback=lambda *a, t=told: t.append(a[2]))
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    ids, scores = ours.recommend(9, data[9], N=5)
    total, _, _ = theirs.explain(9, data, ids[0])
    assert scores[0] == pytest.approx(total, abs=0.05)
    assert len(ours.similar_items(4, N=3)[0]) == 3
    assert not set(ids) & set(data[9].indices)


def test_same_bytes_for_any_number_of_threads() -> None:
    data = observed(4, 1500, 700)
    found = set()
    for threads in (1, 2, 5):
        model = made(factors=24, iterations=3, num_threads=threads)
        model.fit(data, show_progress=False)
        found.add(model.item_factors.tobytes() + model.user_factors.tobytes())
    assert len(found) == 1


@given(st.data())
def test_it_ends_near_the_lowest_loss_on_its_way(drawn: st.DataObject) -> None:
    seed = drawn.draw(st.integers(0, 1000))
    data = observed(seed, drawn.draw(st.integers(1, 40)), drawn.draw(st.integers(1, 40)))
    regularization = drawn.draw(st.sampled_from([1e-3, 0.1, 10.0]))
    near = 1e-3 if regularization == 1e-3 else 1e-5
    model = made(
        unobserved_weight=drawn.draw(st.sampled_from([0.1, 0.3, 1.0])),
        regularization=regularization,
        regularization_exponent=drawn.draw(st.sampled_from([0.0, 0.5, 1.0])),
        calculate_training_loss=True,
    )
    losses: list[float] = []

    def told(_: int, __: float, loss: float | None) -> None:
        assert loss == pytest.approx(model.loss(data), rel=near, abs=1e-6)
        losses.append(loss)

    model.fit(data, show_progress=False, callback=told)
    assert losses[-1] <= 1.01 * min(losses) + 1e-4  # as the gate has it


def test_training_ends_where_iterations_no_longer_matter() -> None:
    losses: dict[float, list[float]] = {0.0: [], 1e-4: []}
    for tolerance, found in losses.items():
        model = made(calculate_training_loss=True, iterations=100, tolerance=tolerance)
        model.fit(observed(), show_progress=False, callback=lambda *a, to=found: to.append(a[2]))
    whole, short = losses.values()
    assert len(short) < 50 < len(whole) == 100
    assert short == whole[: len(short)]
    assert short[-1] < 1.002 * whole[-1]
    assert short[-3] - short[-2] < 1e-4 * short[-2] > short[-2] - short[-1] >= 0


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_confidence_that_is_none_is_named(value: float) -> None:
    data = observed()
    data.data[data.indptr[2]] = value
    with pytest.raises(RecsysError, match=f"Row 2, column {data.indices[data.indptr[2]]} "):
        made().fit(data, show_progress=False)


def untidied(plain: csr_matrix) -> csr_matrix:
    """The same matrix, each entry in two halves, and an explicit zero."""
    entries = plain.tocoo()
    data: npt.NDArray[np.float32] = np.concatenate([entries.data / 2, entries.data / 2, [0.0]])
    rows = np.concatenate([entries.row, entries.row, [0]])
    columns = np.concatenate([entries.col, entries.col, [int((plain[0].toarray() == 0).argmax())]])
    order = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=90))])
    return csr_matrix((data[order].astype(np.float32), columns[order], indptr), plain.shape)


def test_zeros_and_duplicates_are_put_in_order() -> None:
    plain = observed()
    a, b = made(), made()
    a.fit(plain, show_progress=False)
    b.fit(untidied(plain), show_progress=False)
    assert a.item_factors.tobytes() == b.item_factors.tobytes()
    assert a.loss(untidied(plain)) == a.loss(plain.tocoo()) == a.loss(plain)


def test_the_loss_is_that_of_a_matrix_that_fits() -> None:
    model = made(iterations=1)
    model.fit(observed(), show_progress=False)
    with pytest.raises(RecsysError, match="are of 90 x 60 users and items, the matrix of 90 x 59"):
        model.loss(observed()[:, :59])
    with pytest.raises(RecsysError, match="expected a confidence"):
        model.loss(-observed())


@pytest.mark.parametrize("shape", [(91, 60), (90, 61), (89, 60), (90, 59)])
def test_factors_of_another_matrix_are_not_trained_on(shape: tuple[int, int]) -> None:
    model = made(iterations=1)
    model.fit(observed(), show_progress=False)
    with pytest.raises(RecsysError, match=f"90 x 60 .* {shape[0]} x {shape[1]}: make a new model"):
        model.fit(observed(1, *shape), show_progress=False)


def test_what_needs_factors_says_so() -> None:
    for needs in (
        lambda model: model.loss(observed()),
        lambda model: model.explain(0, observed(), 1),
        lambda model: model.recalculate_user(0, observed()[0]),
    ):
        with pytest.raises(RecsysError, match="no factors yet"):
            needs(made())


def test_what_cannot_be_explained_is_named(
    fitted: tuple[ImplicitALS, csr_matrix, Floats],
) -> None:
    model, data, _ = fitted
    for user, item, said in ((0, -1, "no item -1"), (0, 60, "item 60"), (90, 1, "no user 90")):
        with pytest.raises(RecsysError, match=said):
            model.explain(user, data, item)
    with pytest.raises(RecsysError, match="59 columns: expected 60"):
        model.explain(0, data[:, :59], 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("factors", 0), ("regularization", -0.1), ("regularization", np.nan), ("alpha", 0.0),
        ("unobserved_weight", 0.0), ("unobserved_weight", np.inf),
    ],
)  # fmt: skip
def test_a_setting_out_of_its_range_is_named(name: str, value: float) -> None:
    with pytest.raises(RecsysError, match=f"{name} is {value}: expected a finite number"):
        made(**{name: value})


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = made("light", alpha=1.5)
    model.fit(observed(), show_progress=False)
    model.save(str(tmp_path / "model"))
    back = ImplicitALS.load(str(tmp_path / "model"))
    assert back.item_factors.tobytes() == model.item_factors.tobytes()
    assert back.user_factors.tobytes() == model.user_factors.tobytes()
    assert (back.objective, back.alpha, back.factors) == (model.objective, 1.5, 6)
    assert back.random_state == 5
    assert back.loss(observed()) == model.loss(observed())
    made(random_state=np.int64(7)).save(tmp_path / "path")
    assert ImplicitALS.load(tmp_path / "path").random_state == 7
    handle = io.BytesIO()
    made(random_state=np.random.default_rng(1)).save(handle)
    handle.seek(0)
    assert ImplicitALS.load(handle).item_factors is None


def test_a_model_of_implicit_is_not_taken_for_ours(tmp_path: Path) -> None:
    with threadpool_limits(1, "blas"):
        AlternatingLeastSquares(4).save(str(tmp_path / "theirs"))
    with pytest.raises(RecsysError, match="unobserved_weight, regularization_exponent"):
        ImplicitALS.load(str(tmp_path / "theirs.npz"))
