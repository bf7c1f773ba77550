"""The benchmark runs, and notices what it must: no time is judged here."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import run, warm
from benchmarks._logs import CUTOFF, open_log
from benchmarks._measure import Ratio
from benchmarks._quality import check_alike, check_lists, recall
from benchmarks.ours import read
from benchmarks.stages import check_reasons
from recsys.models import train
from recsys.reasons import reasons
from tests.engines.here import need_spark
from tests.models.worlds import SETTINGS, matrix_of, sparse_strength
from tests.test_reasons import lists_of


def test_a_small_one_runs_and_its_lists_are_as_they_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "CACHE", tmp_path)
    monkeypatch.setattr(run, "LATEST", tmp_path / "latest.json")
    run.main(["--size", "smoke", "--rounds", "1"])
    printed = capsys.readouterr().err
    for contender in ("ours", "pandas + implicit", "product", "candidates"):
        assert f"| {contender} |" in printed
    assert not (tmp_path / "latest.json").exists()


@pytest.mark.soak
@pytest.mark.parametrize(
    ("benchmark", "stage"),
    [
        ("spark-candidates", "on Spark, candidates"),
        ("spark", "on Spark, the peers' work"),
    ],
)
def test_spark_beside_spark(
    benchmark: str,
    stage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from benchmarks.ours_spark import settings_of

    need_spark(settings_of(tmp_path, tmp_path))
    monkeypatch.setattr(run, "CACHE", tmp_path)
    monkeypatch.setattr(run, "LATEST", tmp_path / "latest.json")
    run.main(["--size", "smoke", "--rounds", "1", "--only", benchmark])
    printed = capsys.readouterr().err
    for contender in ("ours", "spark"):
        assert f"| {stage} | smoke | {contender} |" in printed


def test_a_ratio_is_of_the_same_round() -> None:
    assert Ratio.of([1.0, 2.0, 4.0], [3.0, 4.0, 20.0]) == Ratio(3.0, 2.0, 5.0)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


def test_ours_counts_the_listens_that_count(smoke: Path) -> None:
    import duckdb

    log = open_log("smoke", smoke)
    duckdb.sql(
        f"""
        CREATE TEMP TABLE sound AS
        FROM read_parquet('{log.source}/*/*.parquet', hive_partitioning = true)
        WHERE event = 'play' AND private IS NOT TRUE AND date < '{CUTOFF}'
            AND user_id IS NOT NULL AND track_id IS NOT NULL AND listened_at IS NOT NULL
        """
    )
    counted = duckdb.sql(
        "SELECT user_id, track_id, count(*) FROM sound GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    active = duckdb.sql(
        f"""
        SELECT DISTINCT user_id FROM sound
        WHERE listened_at >= TIMESTAMPTZ '{CUTOFF - timedelta(28)} 00:00:00+00' ORDER BY ALL
        """
    ).fetchall()
    matrix = read(log.source, str(CUTOFF))
    users, tracks = matrix.users["user_id"].to_pylist(), matrix.tracks["track_id"].to_pylist()
    plays = matrix.strength.tocoo()
    times = np.rint(np.expm1(plays.data)).astype(int)
    found = zip(plays.row, plays.col, times, strict=True)
    assert [(users[row], tracks[column], times) for row, column, times in found] == counted
    eligible = matrix.users["eligible"].to_pylist()
    assert [user for user, late in zip(users, eligible, strict=True) if late] == [
        user for (user,) in active
    ]
    assert set(tracks) == {track for _, track, _ in counted}


def test_momentum_needs_two_thirds_of_the_iterations(
    smoke: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(warm, "CACHE", smoke)
    warm.main(["--size", "smoke"])
    assert re.search("is reached from nothing after (9|10|11),", capsys.readouterr().out)


def oracle(smoke: Path) -> pa.Table:
    """Each active listener with 30 tracks that are not heard before the cutoff."""
    import duckdb

    log = open_log("smoke", smoke)
    return duckdb.sql(
        f"""
        WITH heard AS (
            SELECT user_id, track_id, max(listened_at) AS last
            FROM read_parquet('{log.source}/*/*.parquet', hive_partitioning = true)
            WHERE event = 'play' AND private IS NOT TRUE AND date < '{CUTOFF}'
                AND user_id IS NOT NULL AND track_id IS NOT NULL AND listened_at IS NOT NULL
            GROUP BY ALL
        ), active AS (
            SELECT user_id FROM heard GROUP BY user_id
            HAVING max(last) >= TIMESTAMPTZ '{CUTOFF - timedelta(28)} 00:00:00+00'
        )
        SELECT user_id, list_slice(list(track_id ORDER BY track_id), 1, 30) AS track_ids
        FROM (SELECT user_id, track_id FROM active CROSS JOIN '{log.songs}')
            ANTI JOIN heard USING (user_id, track_id)
        GROUP BY user_id ORDER BY user_id
        """
    ).to_arrow_table()


def test_lists_that_are_not_as_they_should_be_are_noticed(smoke: Path) -> None:
    log, right = open_log("smoke", smoke), oracle(smoke)
    out = smoke / "lists.parquet"
    pq.write_table(right, out)
    check_lists(log, CUTOFF, out)
    shifted = pa.concat_arrays([right["track_ids"].chunk(0)[1:], right["track_ids"].chunk(0)[:1]])
    wrong = {
        "without a list": right.slice(1),
        "heard before": right.set_column(1, "track_ids", shifted),
        "second lists": pa.concat_tables([right, right.slice(0, 1)]),
    }
    for what, table in wrong.items():
        pq.write_table(table, out)
        with pytest.raises(RuntimeError, match=what):
            check_lists(log, CUTOFF, out)


def test_recall_is_of_the_songs_first_heard_in_the_week(smoke: Path) -> None:
    """Lists made of the answers score nearly all of them, and next to nothing under other names."""
    log = open_log("smoke", smoke)
    tracks = dict(
        zip(*(pq.read_table(log.songs)[name].to_pylist() for name in ("song_id", "track_id")),
            strict=True)
    )  # fmt: skip
    answers: dict[str, list[str]] = {}
    for row in pq.read_table(log.new_songs).to_pylist():
        answers.setdefault(row["user_id"], []).append(tracks[row["song_id"]])
    out = smoke / "answers.parquet"
    pq.write_table(pa.table({"user_id": list(answers), "track_ids": list(answers.values())}), out)
    found = recall(log, out)
    assert found["recall"] == 1
    assert found["shifted"] < 0.2
    playlists = {
        "user_id": list(answers),
        "tracks": [[{"track_id": one} for one in each] for each in answers.values()],
    }
    pq.write_table(pa.table(playlists), out)
    assert recall(log, out) == found
    same_for_all = [[tracks[song] for song in list(tracks)[:30]]] * len(answers)
    pq.write_table(pa.table({"user_id": list(answers), "track_ids": same_for_all}), out)
    with pytest.raises(RuntimeError, match="with lists of others"):
        recall(log, out)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"pairs and plays": [9, 20]}, {"pairs and plays": [9, 21]}),
        ({"loss": 0.0102}, {"loss": 0.01}),
        ({"best": [[1, 2], [3, 4]]}, {"best": [[2, 1], [3, 5]]}),
    ],
)
def test_contenders_that_did_not_do_the_same_are_noticed(
    ours: dict[str, object], theirs: dict[str, object]
) -> None:
    nothing = dict.fromkeys(ours)
    check_alike({"ours": ours, "peer": ours, "reading": nothing, "other": {}})
    with pytest.raises(RuntimeError, match="peer"):
        check_alike({"ours": ours, "peer": theirs})


def test_a_reason_that_is_not_the_strongest_is_noticed() -> None:
    matrix = matrix_of(sparse_strength(1, 60, 120, 0.12))
    model = train(matrix, SETTINGS, seed=1)
    lists = lists_of(model, matrix)
    found = reasons(model, matrix, lists)
    check_reasons(model, matrix, lists, found)
    found[7] = next(song for song in matrix.strength[lists.users[1]].indices if song != found[7])
    with pytest.raises(RuntimeError, match="list 1: another song"):
        check_reasons(model, matrix, lists, found)
