"""The one call: any frame, any model, and nothing of the week known before it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import CosineRecommender
from scipy.sparse import csr_matrix

from recsys._threads import one_blas_thread
from recsys.errors import BadLogError, MissingDataError, SettingsError
from recsys.evaluation import Comparison, evaluate
from recsys.settings import AlsSettings

CUTOFF = date(2026, 11, 8)
MIDNIGHT = datetime(2026, 11, 8, tzinfo=UTC)
CHEAP = ("popularity",)


def tribes(users: int = 90, songs: int = 120, tribes: int = 3, days: int = 14) -> pa.Table:
    """Each listener plays four songs of their tribe a day, drawn by a seed."""
    rng = np.random.default_rng(1)
    user = np.repeat(np.arange(users), 4 * days)
    day = np.tile(np.repeat(np.arange(days), 4), users)
    song = user % tribes + tribes * (songs // tribes * rng.beta(1, 2, len(user))).astype(int)
    start = np.datetime64(CUTOFF - timedelta(days=7), "us")
    return pa.table(
        {
            "user_id": pa.array([f"u{n:03}" for n in user]),
            "track_id": pa.array([f"t{n:03}" for n in song]),
            "listened_at": start + day * np.timedelta64(1, "D") + np.timedelta64(3600, "s"),
            "artist_ids": pa.array([[f"a{n // 6}"] for n in song]),
        }
    )


def listens_of(*rows: tuple[str, str, datetime]) -> pa.Table:
    user, track, moment = zip(*rows, strict=True)
    moments = pa.array(moment, pa.timestamp("us", tz="UTC"))
    return pa.table({"user_id": user, "track_id": track, "listened_at": moments})


class Recorder:
    """A model that keeps what it was fitted on, and ranks by a table of its own."""

    def __init__(self, best: Callable[[int, int], list[int]] | None = None) -> None:
        self.best = best or (lambda row, songs: list(range(songs)))
        self.seen: list[csr_matrix] = []

    def fit(self, user_items: csr_matrix) -> None:
        self.seen.append(user_items)

    def recommend(
        self,
        userid: npt.NDArray[Any],
        user_items: csr_matrix,
        *,
        N: int,  # noqa: N803 - implicit's name
        **named: Any,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        ids = np.full((len(userid), N), -1)
        for place, row in enumerate(userid):
            songs = self.best(int(row), user_items.shape[1])[:N]
            ids[place, : len(songs)] = songs
        return ids, np.broadcast_to(np.arange(N, 0, -1.0), ids.shape)


def test_models_of_implicit_and_ours_and_baselines_in_one_table() -> None:
    with one_blas_thread():
        als = AlternatingLeastSquares(factors=8, random_state=1)
    found = evaluate(
        tribes(),
        {"als": als, "knn": CosineRecommender(), "ours": AlsSettings(factors=8)},
        cutoff=CUTOFF,
    )
    assert list(found.metrics) == [
        "popularity", "recent_popularity", "item_knn", "als_defaults", "als", "knn", "ours"
    ]  # fmt: skip
    assert found.listeners == 90
    for name in ("als", "knn", "ours"):
        assert found.paired[f"{name}_over_popularity"].low > 0.1
    assert found.metrics["knn"]["ndcg_at_30"].mean == pytest.approx(
        found.metrics["item_knn"]["ndcg_at_30"].mean, abs=0.05
    )
    assert found.beyond["ours"]["unheard_artists"] is not None


def same(one: Comparison, other: Comparison) -> bool:
    return one.to_dict() == other.to_dict()


class OnlyArrow:
    """Nothing but the one method."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def test_any_frame_will_do_in_any_order() -> None:
    listens = tribes()
    models = {"ours": AlsSettings(factors=4, iterations=3)}

    def scored(frame: Any) -> Comparison:
        return evaluate(frame, models, cutoff=CUTOFF, baselines=CHEAP)

    expected = scored(listens)
    assert same(scored(listens.take(np.random.default_rng(0).permutation(len(listens)))), expected)
    assert same(scored(OnlyArrow(listens)), expected)
    assert same(
        scored(pa.RecordBatchReader.from_batches(listens.schema, listens.to_batches(500))), expected
    )
    assert same(scored(duckdb.sql("SELECT * FROM listens")), expected)
    text = pa.large_string()
    large = listens.set_column(0, "user_id", listens["user_id"].cast(text).dictionary_encode())
    assert same(scored(large), expected)


def test_pandas_will_do() -> None:
    listens = tribes()
    frame = pd.DataFrame({name: listens[name].to_pylist() for name in listens.column_names})
    models = {"ours": AlsSettings(factors=4, iterations=3)}
    assert same(
        evaluate(frame, models, cutoff=CUTOFF, baselines=CHEAP),
        evaluate(listens, models, cutoff=CUTOFF, baselines=CHEAP),
    )


def test_the_model_is_given_what_was_known_and_nothing_of_the_week() -> None:
    second = timedelta(seconds=1)
    model = Recorder()
    found = evaluate(
        listens_of(
            ("ann", "old", MIDNIGHT - second),
            ("ann", "old", MIDNIGHT - 2 * second),
            ("ann", "at", MIDNIGHT),  # the very moment: the first of the week
            ("ann", "last", MIDNIGHT + timedelta(days=7) - second),
            ("ann", "after", MIDNIGHT + timedelta(days=7)),  # no longer in it
            ("ann", "old", MIDNIGHT + second),  # heard before
            ("bob", "at", MIDNIGHT - second),
            ("bob", "last", MIDNIGHT - second),
            ("bob", "after", MIDNIGHT - second),
            ("bob", "unknown", MIDNIGHT + second),  # nobody had played it
            ("eve", "old", MIDNIGHT + second),  # came in the week
        ),
        {"mine": model},
        cutoff=CUTOFF,
        baselines=CHEAP,
    )
    (seen,) = model.seen
    # Users ann and bob; songs after, at, last, old.
    assert seen.toarray().tolist() == [[0, 0, 0, 2], [1, 1, 1, 0]]
    # Recommended to ann: after, at, last; to bob: old. Both of ann's are hits, bob's is not.
    assert found.metrics["mine"]["recall_at_30"].mean == 0.5
    assert found.metrics["mine"]["map_at_30"].mean == pytest.approx((1 / 2 + 2 / 3) / 2 / 2)


def test_a_planted_leak_shows() -> None:
    """A model that has seen the week is absurdly good, and no honest one comes near it."""
    listens = tribes()
    week: dict[str, set[str]] = {}
    heard: dict[str, set[str]] = {}
    for row in listens.to_pylist():
        before = row["listened_at"].replace(tzinfo=UTC) < MIDNIGHT
        (heard if before else week).setdefault(row["user_id"], set()).add(row["track_id"])
    users = sorted(heard)
    songs = sorted(set().union(*heard.values()))

    def answers(row: int, _: int) -> list[int]:
        return [songs.index(song) for song in week[users[row]] - heard[users[row]] if song in songs]

    found = evaluate(
        listens, {"leak": Recorder(answers), "ours": AlsSettings(factors=8)}, cutoff=CUTOFF
    )
    leak = found.metrics["leak"]["ndcg_at_30"]
    assert leak.mean > 0.95
    for name, metrics in found.metrics.items():
        assert name == "leak" or metrics["ndcg_at_30"].high < leak.low - 0.1, name


def test_no_progress_bar_is_drawn(capfd: pytest.CaptureFixture[str]) -> None:
    evaluate(tribes(), {"knn": CosineRecommender()}, cutoff=CUTOFF, baselines=CHEAP)
    assert capfd.readouterr() == ("", "")


def test_heard_repeated_and_padded_songs_gain_nothing() -> None:
    listens = tribes()

    def cheats(row: int, songs: int) -> list[int]:
        return [7] * 5 + [songs + 3, -1] + list(range(songs))

    fair = evaluate(
        listens,
        {"mine": Recorder(lambda row, songs: [7, *range(20)])},
        cutoff=CUTOFF,
        baselines=CHEAP,
    )
    unfair = evaluate(
        listens, {"mine": Recorder(lambda r, n: cheats(r, n)[:27])}, cutoff=CUTOFF, baselines=CHEAP
    )
    assert unfair.metrics["mine"] == fair.metrics["mine"]
    assert unfair.beyond["mine"] == fair.beyond["mine"]


def test_a_sample_is_scored_where_there_are_more() -> None:
    models = {"ours": AlsSettings(factors=4, iterations=3)}
    found = evaluate(tribes(), models, cutoff=CUTOFF, baselines=CHEAP, listeners=40, seed=1)
    assert found.listeners == 40
    again = evaluate(tribes(), models, cutoff=CUTOFF, baselines=CHEAP, listeners=40, seed=1)
    assert same(found, again)


def test_the_cutoff_is_in_utc_whatever_the_zone_of_the_log() -> None:
    rows = (
        ("ann", "one", MIDNIGHT - timedelta(hours=1)),
        ("bob", "two", MIDNIGHT - timedelta(hours=1)),
        ("ann", "two", MIDNIGHT + timedelta(minutes=30)),
    )
    utc = listens_of(*rows)
    for zone in ("Pacific/Auckland", "America/Los_Angeles"):
        moments = utc["listened_at"].cast(pa.timestamp("us", tz=zone))
        model = Recorder()
        evaluate(
            utc.set_column(2, "listened_at", moments), {"m": model}, cutoff=CUTOFF, baselines=CHEAP
        )
        assert model.seen[0].toarray().tolist() == [[1, 0], [0, 1]]
    naive = utc.set_column(2, "listened_at", utc["listened_at"].cast(pa.timestamp("us")))
    model = Recorder()
    evaluate(naive, {"m": model}, cutoff=MIDNIGHT + timedelta(minutes=15), baselines=CHEAP)
    assert model.seen[0].shape == (2, 2)


def test_what_is_wrong_is_said() -> None:
    listens = tribes()
    models = {"ours": AlsSettings(factors=4)}
    with pytest.raises(
        BadLogError, match="no column listened_at; they have user_id, track_id, art"
    ):
        evaluate(listens.drop_columns("listened_at"), models, cutoff=CUTOFF)
    seconds = pa.array(range(len(listens)))
    with pytest.raises(BadLogError, match="listened_at is int64; expected a timestamp"):
        evaluate(listens.set_column(2, "listened_at", seconds), models, cutoff=CUTOFF)
    nobody = pa.array([None, *listens["user_id"].to_pylist()[1:]])
    with pytest.raises(BadLogError, match="nulls in user_id"):
        evaluate(listens.set_column(0, "user_id", nobody), models, cutoff=CUTOFF)
    with pytest.raises(MissingDataError, match="Is the cutoff within the log"):
        evaluate(listens, models, cutoff=date(2027, 1, 1))
    with pytest.raises(MissingDataError, match="None of the 0 listeners"):
        evaluate(listens, models, cutoff=date(2020, 1, 1))
    with pytest.raises(SettingsError, match="item_knn: a baseline has that name"):
        evaluate(listens, {"item_knn": AlsSettings()}, cutoff=CUTOFF)
    with pytest.raises(SettingsError, match="als: no such baseline"):
        evaluate(listens, models, cutoff=CUTOFF, baselines=["als"])


def test_models_of_mine_are_held_against_each_other_and_a_cutoff_must_be_a_date() -> None:
    models = {"few": AlsSettings(factors=2), "many": AlsSettings(factors=8)}
    found = evaluate(tribes(), models, cutoff=CUTOFF, baselines=CHEAP)
    assert "many_over_few" in found.paired
    assert "few_over_many" not in found.paired
    with pytest.raises(SettingsError, match=r"cutoff = '2026-11-08': expected a datetime\.date"):
        evaluate(tribes(), models, cutoff="2026-11-08")  # type: ignore[arg-type]
