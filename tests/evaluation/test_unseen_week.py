"""The week that no model has seen: what is in it, and that nobody who knows it is judged by it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import artefact, schemas
from recsys.artefact import Artefact
from recsys.errors import ArtefactError
from recsys.evaluation import recommend, score, truth
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.model_evaluation import evaluate_week, evidence_of, means_of
from recsys.models import rank, train
from recsys.plan import Plan, days_digest
from recsys.plays import DAILY_PLAYS
from recsys.settings import EvaluationSettings, Settings, load_settings
from recsys.unseen_week import (
    UnseenWeek,
    earlier_playlists,
    plays_of,
    recent_listeners,
    unseen_since,
)
from recsys.weeks import Week
from tests.models.worlds import SETTINGS, matrix_of, world
from tests.sorted_tables import CUTOFF, DAYS, Row, read_by, write_plays

BEGIN, END = date(2026, 11, 8), date(2026, 11, 15)


def day_of(path: Path, *rows: tuple[str, str, date, str]) -> Path:
    """A day's plays: user, track, when listened, and what it came to."""
    table = [
        dict.fromkeys(DAILY_PLAYS.names, 0)
        | {"user_id": user, "track_id": track, "listened_on": day, kind: 1}
        for user, track, day, kind in rows
    ]
    pq.write_table(pa.Table.from_pylist(table, DAILY_PLAYS), path)
    return path


def test_the_week_is_half_open_and_goes_by_the_day_of_the_listen(tmp_path: Path) -> None:
    before, last = BEGIN - timedelta(days=1), END - timedelta(days=1)
    one = day_of(
        tmp_path / "one.parquet",
        ("ann", "begin", BEGIN, "plays"),
        ("ann", "late", before, "plays"),  # arrived in the week, heard before it
        ("ann", "late again", before, "skips"),
        ("bob", "skipped", BEGIN, "skips"),
        ("bob", "saved", BEGIN, "saves"),
        ("bob", "part", BEGIN, "part_plays"),
        ("bob", "skipped and played", BEGIN, "skips"),
    )
    two = day_of(
        tmp_path / "two.parquet",
        ("ann", "begin", last, "plays"),
        ("ann", "late again", last, "plays"),
        ("bob", "last", last, "plays"),
        ("bob", "end", END, "plays"),
        ("bob", "skipped and played", last, "plays"),
    )
    found = plays_of([one, two], BEGIN, END, tmp_path)
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("ann", "begin", True), ("bob", "last", True), ("bob", "part", True),
        ("bob", "skipped", False), ("bob", "skipped and played", True),
    ]  # fmt: skip
    assert plays_of([], BEGIN, END, tmp_path).num_rows == 0


def test_recent_listeners_are_those_of_four_weeks(tmp_path: Path) -> None:
    base = matrix_of([[1, 1, 0], [0, 1, 1], [1, 1, 1]], users=["ann", "bob", "cyd"])
    base = replace(base, tracks=pa.concat_tables([base.tracks, pa.table(
        {"track_id": ["other"], "song": pa.array([0], pa.int32())})]))  # fmt: skip
    recent, old = BEGIN - timedelta(days=28), BEGIN - timedelta(days=29)
    heard = [
        ("ann", "track-song00000", recent),
        ("ann", "other", recent),  # the same song
        ("ann", "track-song00001", recent),
        ("bob", "track-song00001", BEGIN - timedelta(days=1)),
        ("bob", "track-song00002", old),
        ("cyd", "track-song00000", None),  # saved, never played
        ("gone", "track-song00002", recent),  # asked to be forgotten
    ]
    rows = [
        dict.fromkeys(schemas.TASTE.names, 0.0)
        | {"user_id": user, "track_id": track, "last_heard": day, "heard": True, "disliked": False}
        for user, track, day in heard
    ]
    pq.write_table(pa.Table.from_pylist(rows, schemas.TASTE), tmp_path / "taste.parquet")
    found = recent_listeners(base, tmp_path / "taste.parquet", BEGIN, tmp_path)
    assert found.tolist() == [1, 2, 0]


@given(st.lists(DAYS, max_size=4), st.integers(1, 40))
def test_plays_of_a_week_are_those_of_every_row(days: list[list[Row]], rows: int) -> None:
    begin, end = CUTOFF - timedelta(7), CUTOFF
    with tempfile.TemporaryDirectory() as name, read_by(rows):
        folder = Path(name)
        tables = [write_plays(day, folder / f"{n}.parquet") for n, day in enumerate(days)]
        found = plays_of(tables, begin, end, folder)
    pairs: dict[tuple[str, str], list[Row]] = {}
    for row in (row for day in days for row in day):
        if row["plays"] + row["part_plays"] + row["skips"]:
            pairs.setdefault((row["user_id"], row["track_id"]), []).append(row)
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        (*pair, any(row["plays"] + row["part_plays"] and row["listened_on"] < end for row in them))
        for pair, them in sorted(pairs.items())
        if begin <= min(row["listened_on"] for row in them) < end
    ]


# --- leaks -----------------------------------------------------------------------------------


def plan_of(cutoff: date = END, **more: Any) -> Plan:
    days = {str(BEGIN + timedelta(days=n)): f"digest {n}" for n in range(-7, 7)}
    return Plan({"edition": "2026-W47", "cutoff": str(cutoff), "days": days, "cooling": []} | more)


def write(folder: Path, files: Mapping[str, Any], **inputs: Any) -> Artefact:
    with artefact.write(folder, stage=folder.name, version=1) as draft:
        for name, value in files.items():
            artefact.write_json(draft.path / name, value)
        draft.inputs = dict(inputs)
    return Artefact.open(folder)


def model_of(folder: Path, cutoff: date) -> Artefact:
    write(folder / "plan", {"plan.json": {"cutoff": str(cutoff)}})
    return write(folder / "als_model", {})


def test_a_base_made_from_days_of_the_week_is_refused(tmp_path: Path) -> None:
    plan = plan_of()
    honest = write(tmp_path / "taste", {}, days=plan.days_digest(BEGIN))
    assert unseen_since(honest, plan, []) == BEGIN
    for leak in (days_digest(plan.days, BEGIN + timedelta(days=1)), plan.days_digest(END)):
        leaky = write(tmp_path / "taste", {}, days=leak)
        with pytest.raises(ArtefactError, match="not made from the plan's days before 2026-11-08"):
            unseen_since(leaky, plan, [])


def test_the_week_begins_where_the_newest_model_ends(tmp_path: Path) -> None:
    """With another lead_hours the parent may have seen a day or two of it."""
    plan = plan_of()
    base = write(tmp_path / "taste", {}, days=plan.days_digest(BEGIN))
    older = model_of(tmp_path / "r1", BEGIN - timedelta(days=7))
    newer = model_of(tmp_path / "r2", BEGIN + timedelta(days=2))
    assert unseen_since(base, plan, [older]) == BEGIN
    assert unseen_since(base, plan, [older, newer]) == BEGIN + timedelta(days=2)


def settings_of(tmp_path: Path, seed: int = 1, **more: Any) -> Settings:
    config = tmp_path / "some.cfg"
    config.write_text(f"[listens]\nsource = log\n[recsys]\nseed = {seed}\n", encoding="utf-8")
    return replace(load_settings([config]), als=SETTINGS, **more)


def evaluated(tmp_path: Path, base: TasteMatrix, plays: pa.Table, **more: Any) -> dict[str, Any]:
    recent = np.diff(base.strength.tocsc().indptr)
    begin, previous = more.pop("begin", BEGIN), more.pop("previous", ())
    arguments: dict[str, Any] = {
        "week": Week.parse("2026-W47"), "pinned": {}, "settings": settings_of(tmp_path),
        "out": Path(tempfile.mkdtemp(dir=tmp_path)),
    }  # fmt: skip
    unseen = UnseenWeek(base, plays, begin, END, recent, previous)
    return evaluate_week(unseen, **arguments | more)


def seen_from(base: TasteMatrix) -> TasteMatrix:
    """With artists, which an evaluation asks for."""
    artists = pa.array([[f"artist {n % 40}"] for n in range(len(base.songs))])
    return replace(base, songs=base.songs.append_column("artist_ids", artists))


def test_a_base_that_knows_of_a_listen_in_the_week_is_refused(tmp_path: Path) -> None:
    clear = world()
    days = [BEGIN - timedelta(days=1)] * 239 + [BEGIN]
    base = seen_from(clear.base)
    leaky = replace(base, users=base.users.set_column(1, "last_heard", pa.array(days)))
    with pytest.raises(ArtefactError, match="knows of a listen on 2026-11-08"):
        evaluated(tmp_path, leaky, clear.plays)
    assert evaluated(tmp_path, leaky, clear.plays, begin=BEGIN + timedelta(days=1))["listeners"]


def with_the_week(base: TasteMatrix, plays: pa.Table) -> TasteMatrix:
    """The base with the week's listens planted in it."""
    heard = truth(base, plays)
    strength = base.strength.toarray()
    strength[heard.users] += 3 * heard.songs.toarray()
    return seen_from(matrix_of(strength))


def test_listens_of_the_week_planted_in_the_base_leave_nothing_to_predict(tmp_path: Path) -> None:
    """Were both guards gone: what the base knows is excluded, so there is nobody to score."""
    clear = world()
    base = seen_from(clear.base)
    honest = evaluated(tmp_path, base, clear.plays)
    assert honest["listeners"] == 240
    leaky = evaluated(tmp_path, with_the_week(base, clear.plays), clear.plays)
    assert leaky["listeners"] == 0
    assert leaky["dropped"]["excluded"] == len(clear.plays)
    assert (
        leaky["metrics"]
        == leaky["beyond"]
        == leaky["beyond_intervals"]
        == leaky["segments"]
        == leaky["paired"]
        == {}
    )


def test_a_model_trained_on_the_week_would_be_absurdly_good(tmp_path: Path) -> None:
    """What a leak through the factors looks like, and that the challenger's score is not that."""
    clear = world()
    base = seen_from(clear.base)
    heard = truth(base, clear.plays)
    leaky = train(with_the_week(base, clear.plays), SETTINGS, seed=1)
    ranking = rank(
        leaky.user_factors[heard.users],
        leaky.item_factors,
        limits=np.full(len(heard.users), 30),
        allowed=leaky.learnt,
        excluded=base.excluded,
        rows=heard.users,
    )
    honest = score(recommend(train(base, SETTINGS, seed=1), base, heard.users), heard)
    found = evaluated(tmp_path, base, clear.plays, settings=settings_of(tmp_path))
    challenger = found["metrics"]["challenger"]["ndcg_at_30"]
    assert score(ranking, heard).ndcg.mean() > challenger["high"] + 0.1
    assert challenger["mean"] == pytest.approx(honest.ndcg.mean(), abs=1e-6)


# --- the document ----------------------------------------------------------------------------


def test_the_document_has_everything_and_the_choice_can_read_it(tmp_path: Path) -> None:
    clear = world()
    found = evaluated(tmp_path, seen_from(clear.base), clear.plays)
    assert list(found) == [
        "listeners", "of_listeners", "week", "dropped", "challenger", "evidence",
        "metrics", "beyond", "beyond_intervals", "segments", "paired",
    ]  # fmt: skip
    models = ["popularity", "recent_popularity", "item_knn", "als_defaults", "challenger"]
    assert list(found["metrics"]) == list(found["beyond"]) == models
    assert set(found["paired"]) == {f"challenger_over_{name}" for name in models[:-1]}
    evidence = evidence_of(found)
    assert evidence.challenger_popularity is not None
    assert evidence.challenger_popularity.low > 0
    assert evidence.challenger_popularity.mean == pytest.approx(
        found["paired"]["challenger_over_popularity"]["mean"], abs=1e-6
    )
    assert (
        means_of(found)["challenger"]["map_at_30"]
        == (found["metrics"]["challenger"]["map_at_30"]["mean"])
    )
    assert found["beyond"]["popularity"]["overlap_previous"] is None


def test_the_settings_say_how_many_and_against_what(tmp_path: Path) -> None:
    clear = world()
    few = settings_of(tmp_path, evaluation=EvaluationSettings(listeners=50, baselines="item_knn"))
    found = evaluated(tmp_path, seen_from(clear.base), clear.plays, settings=few)
    assert (found["listeners"], found["of_listeners"]) == (50, 240)
    assert list(found["metrics"]) == ["popularity", "item_knn", "challenger"]


def test_overlap_is_with_the_edition_before_the_week(tmp_path: Path) -> None:
    clear = world()
    base = seen_from(clear.base)
    first = evaluated(tmp_path, base, clear.plays)
    rows = [
        {
            "edition": "2026-W45", "user_id": user, "kind": "personal", "relaxed": [],
            "tracks": [{"position": n + 1, "track_id": f"track-song{n:05}", "artist_names": [],
                        "score": 0.0, "source": "als"} for n in range(200)],
            "valid_from": BEGIN, "valid_until": BEGIN,
        }
        for user in base.users["user_id"].to_pylist()
    ]  # fmt: skip
    path = tmp_path / "playlists.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schemas.PLAYLISTS), path)
    found = evaluated(tmp_path, base, clear.plays, previous=[path])
    assert {one["overlap_previous"] for one in found["beyond"].values()} == {1.0}
    assert found["metrics"] == first["metrics"]


def test_the_earlier_edition_is_the_newest_that_the_base_did_not_make(tmp_path: Path) -> None:
    home = Home(tmp_path, "days", "states")
    digests = {}
    for edition, revision in (("2026-W44", 1), ("2026-W45", 1), ("2026-W45", 2), ("2026-W46", 1)):
        folder = home.edition(Week.parse(edition), revision) / "playlists"
        digests[edition, revision] = write(
            folder, {"playlists.parquet": [edition, revision]}
        ).digest
    cooling = [
        {"edition": edition, "revision": revision, "digest": digest}
        for (edition, revision), digest in digests.items()
    ]
    (path,) = earlier_playlists(plan_of(cooling=cooling), home)
    assert path.parent == home.edition(Week.parse("2026-W45"), 2) / "playlists"
    assert earlier_playlists(plan_of(cooling=cooling[-1:]), home) == []
    assert earlier_playlists(plan_of(), home) == []
