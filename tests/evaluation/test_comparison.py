"""Several models in one table: segments, pairs, and what leaves as JSON, Arrow and text."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recsys.evaluation import Comparison, compare, paired, recommend_popular, score
from recsys.evaluation._segments import listener_segments, song_segments
from tests.evaluation.worlds import ranking_of, truth_of, with_artists
from tests.models.worlds import matrix_of


def heard_by(counts: list[int], songs: int) -> np.ndarray:
    heard = np.zeros((len(counts), songs), np.float32)
    for row, count in zip(heard, counts, strict=True):
        row[:count] = 1
    return heard


def test_listeners_are_new_light_or_heavy() -> None:
    base = matrix_of(heard_by([3, 19, 20, 25, 30, 60, 90], 90))
    users = np.arange(7, dtype=np.int32)
    found = {
        name: np.flatnonzero(who).tolist() for name, who in listener_segments(base, users).items()
    }
    assert found == {"new": [0, 1], "light": [2, 3, 4], "heavy": [5, 6]}
    some = listener_segments(base, np.array([1, 4], np.int32))
    assert {name: np.flatnonzero(who).tolist() for name, who in some.items()} == {
        "new": [0], "light": [1], "heavy": []
    }  # fmt: skip
    none = listener_segments(base, np.array([0, 1], np.int32))
    assert none["new"].all()


def test_the_head_has_half_of_all_pairs() -> None:
    strength = np.zeros((8, 6), np.float32)
    for song, listeners in enumerate([1, 8, 2, 4, 1, 0]):
        strength[:listeners, song] = 1
    parts = song_segments(matrix_of(strength))
    assert np.flatnonzero(parts["head"]).tolist() == [1]  # 8 of 16
    assert (parts["tail"] == ~parts["head"]).all()


def comparison() -> Comparison:
    """Popularity and a model that knows, for 40 listeners of 60 songs: 0-29 are the head."""
    strength = np.zeros((40, 60), np.float32)
    strength[:, :10] = 1
    for user in range(40):
        strength[user, 10 + user] = 1
    base = with_artists(strength, [[f"{n}"] for n in range(60)])
    wanted = [{(10 + user + 1) % 50 + 10, 59} for user in range(40)]
    heard = truth_of(wanted, 60)
    right = ranking_of([[*sorted(songs), 50 + user % 5] for user, songs in enumerate(wanted)])
    popular = recommend_popular(base, heard.users)
    return compare(
        base, heard, {"popularity": popular, "right": right},
        pairs=[("right", "popularity"), ("right", "absent")], seed=1,
    )  # fmt: skip


def test_every_measure_of_every_model_is_there() -> None:
    found = comparison()
    assert found.listeners == 40
    assert set(found.metrics["right"]) == {
        "recall_at_30", "ndcg_at_30", "hit_rate_at_30", "map_at_30"
    }  # fmt: skip
    assert found.metrics["right"]["recall_at_30"].mean == pytest.approx(1)
    assert found.metrics["popularity"]["recall_at_30"].mean < 0.9
    assert list(found.paired) == ["right_over_popularity"]
    one = found.paired["right_over_popularity"]
    assert 0 < one.low <= one.mean <= one.high <= 1
    assert found.segments["new"].listeners == 40
    assert "heavy" not in found.segments
    assert set(found.beyond["right"]) == set(found.beyond["popularity"])


def test_a_pair_has_the_interval_that_the_choice_sees() -> None:
    base = matrix_of(heard_by([5] * 30, 20))
    base = with_artists(base.strength.toarray(), [["a"]] * 20)
    heard = truth_of([{6 + n % 3} for n in range(30)], 20)
    one, two = ranking_of([[6]] * 30), recommend_popular(base, heard.users)
    found = compare(
        base, heard, {"popularity": two, "one": one}, pairs=[("one", "popularity")], seed=4
    ).paired["one_over_popularity"]
    again = paired(score(one, heard).ndcg, score(two, heard).ndcg, seed=4)
    assert (found.mean, found.low, found.high) == pytest.approx((again.mean, again.low, again.high))


def test_segments_of_songs_are_scored_on_their_part_of_the_truth() -> None:
    found = comparison()
    tail = found.segments["tail"]
    assert tail.metrics["right"]["recall_at_30"].mean == pytest.approx(1)
    assert all(one.users == tail.listeners for one in tail.metrics["right"].values())
    assert (
        sum(found.segments[name].listeners for name in ("head", "tail") if name in found.segments)
        >= 40
    )


def test_it_leaves_as_plain_json_and_as_one_row_a_number() -> None:
    found = comparison()
    document = json.loads(json.dumps(found.to_dict()))
    assert set(document) == {"metrics", "beyond", "beyond_intervals", "segments", "paired"}
    assert set(document["metrics"]["right"]["ndcg_at_30"]) == {"mean", "low", "high", "users"}
    assert document["segments"]["new"]["listeners"] == 40
    rows = found.to_arrow().to_pylist()
    assert len(rows) == 2 * 4 * (1 + len(found.segments)) + 2 * len(found.beyond["right"])
    assert {
        "segment": "all", "model": "right", "measure": "recall_at_30", "mean": 1.0, "low": 1.0,
        "high": 1.0, "users": 40,
    } in rows  # fmt: skip
    assert next(row for row in rows if row["measure"] == "gini")["low"] is None


def test_it_prints_as_tables() -> None:
    lines = str(comparison()).splitlines()
    assert lines[0].split() == [
        "model", "recall@30", "ndcg@30", "hit", "rate@30", "map@30"
    ]  # fmt: skip
    assert lines[2].startswith("right       1.0000 ± 0.0000")
    assert len({len(line) for line in lines[:3]}) == 1


def test_nobody_to_score_leaves_every_table_empty() -> None:
    base = matrix_of(heard_by([5], 20))
    heard = truth_of([{1}], 20).sample(0, seed=1)
    found = compare(base, heard, {}, pairs=[], seed=1)
    assert not any(found.to_dict().values())
    assert found.to_arrow().num_rows == 0
    assert "0 listeners" in str(found)


def test_what_is_a_mean_over_listeners_has_an_interval_around_it() -> None:
    found = comparison()
    for model, measures in found.beyond.items():
        sure = found.beyond_intervals[model]
        assert {*measures} - {*sure} >= {"coverage", "gini"}
        for name, interval in sure.items():
            assert interval.low - 1e-9 <= interval.mean <= interval.high + 1e-9
            assert interval.mean == pytest.approx(measures[name], abs=1e-5)
            assert interval.users <= found.listeners
