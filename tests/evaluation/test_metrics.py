"""Accuracy, against examples worked by hand and against trec_eval."""

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import AP, R, Success, nDCG
from scipy.sparse import csr_matrix

from recsys.evaluation import Truth, score
from recsys.models import rank
from tests.evaluation.worlds import ranking_of, truth_of


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
    assert metrics.hit.tolist() == [1, 0, 1]
    assert metrics.average_precision.tolist() == [pytest.approx((1 + 2 / 3) / 3), 0.0, 0.25]


def test_a_perfect_list_of_30_where_more_was_heard() -> None:
    """nDCG is 1, since no list of 30 is better; recall and MAP say what is missing."""
    metrics = score(ranking_of([list(range(40))]), truth_of([set(range(60))], 60))
    assert metrics.ndcg.tolist() == [pytest.approx(1)]
    assert metrics.recall.tolist() == [0.5]
    assert metrics.average_precision.tolist() == [0.5]
    assert list(metrics.named()) == [
        "recall_at_30", "ndcg_at_30", "hit_rate_at_30", "map_at_30"
    ]  # fmt: skip


SONGS = 20


@given(
    seed=st.integers(0, 2**31),
    users=st.integers(1, 12),
    levels=st.integers(1, 4),
    k=st.integers(1, 25),
)
def test_metrics_are_those_of_trec_eval(seed: int, users: int, levels: int, k: int) -> None:
    """The lists come from scores with many ties; some are short or empty, some truths are empty.

    trec_eval puts equal scores in descending order of the document's name, and we in ascending
    order of the song, so songs are named backwards.
    """
    rng = np.random.default_rng(seed)
    scores = rng.integers(1, levels + 1, (users, SONGS)).astype(np.float64)
    excluded = rng.random((users, SONGS)) < rng.random((users, 1)) ** 0.3
    wanted = rng.random((users, SONGS)) < rng.random((users, 1)) * 0.5
    wanted[rng.random(users) < 0.2] = False
    ranking = rank(
        scores,
        np.eye(SONGS),
        limits=np.full(users, k),
        allowed=np.ones(SONGS, bool),
        excluded=csr_matrix(excluded),
        rows=np.arange(users, dtype=np.int32),
    )
    ours = score(ranking, Truth(np.arange(users, dtype=np.int32), csr_matrix(wanted), {}), k)

    name = [f"song{SONGS - song:03}" for song in range(SONGS)]
    relevant = {
        str(user): {name[song]: 1 for song in np.flatnonzero(wanted[user])}
        for user in range(users)
        if wanted[user].any()
    }
    run = {
        user: {name[s]: scores[int(user), s] for s in range(SONGS) if not excluded[int(user), s]}
        for user in relevant
    }
    asked = {"recall": R @ k, "ndcg": nDCG @ k, "hit": Success @ k, "average_precision": AP @ k}
    theirs = {metric: np.zeros(users) for metric in asked}
    if any(run.values()):
        for one in ir_measures.iter_calc(asked.values(), relevant, run):
            metric = next(n for n, measure in asked.items() if measure == one.measure)
            theirs[metric][int(one.query_id)] = one.value
    for metric, values in theirs.items():
        np.testing.assert_allclose(getattr(ours, metric), values, atol=1e-9, err_msg=metric)
