"""The simulated log: what it holds, and how much of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from recsys import schemas
from recsys.errors import SettingsError
from recsys.simulate import Simulation, World, simulate
from recsys.songs import song_keys

WORLD = World(listeners=400, artists=120, tracks=1500, days=42, robots=0.01)
CONTRACT = {
    "user_id": pa.string(),
    "track_id": pa.string(),
    "listened_at": pa.timestamp("us", tz="UTC"),
    "artist_ids": pa.list_(pa.string()),
    "ms_played": pa.int64(),
    "duration_ms": pa.int64(),
    "skipped": pa.bool_(),
    "event": pa.string(),
    "private": pa.bool_(),
    "track_name": pa.string(),
    "artist_name": pa.string(),
    "album_name": pa.string(),
}


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(WORLD)


@pytest.fixture(scope="module")
def days(simulation: Simulation) -> list[tuple[date, pa.Table]]:
    return list(simulation.days())


@pytest.fixture(scope="module")
def log(days: list[tuple[date, pa.Table]]) -> pa.Table:
    """All rows, with the day they arrived on."""
    return pa.concat_tables(
        table.append_column("arrived_on", pa.array([day] * len(table), pa.date32()))
        for day, table in days
    )


@pytest.fixture(scope="module")
def plays(log: pa.Table) -> pa.Table:
    """Plays by people, each once."""
    unique = log.group_by(["user_id", "track_id", "listened_at"], use_threads=False).aggregate(
        [(name, "first") for name in ("event", "skipped", "ms_played", "duration_ms", "private")]
    )
    kind = pc.not_equal(unique["user_id"], "")
    for robot in _users(WORLD, "robot"):
        kind = pc.and_(kind, pc.not_equal(unique["user_id"], robot))
    return unique.filter(pc.and_(kind, pc.equal(unique["event_first"], "play")))


def _users(world: World, kind: str) -> list[str]:
    listeners = simulate(world).truth.listeners
    return listeners.filter(pc.equal(listeners["kind"], kind))["user_id"].to_pylist()


def gini(counts: np.ndarray) -> float:
    ordered = np.sort(counts)
    rank = np.arange(1, len(ordered) + 1)
    return float(2 * (rank * ordered).sum() / (len(ordered) * ordered.sum()) - 1 - 1 / len(ordered))


def counts(table: pa.Table, column: str) -> np.ndarray:
    return pc.value_counts(table[column]).field("counts").to_numpy()


def test_every_day_has_the_columns_of_a_listen(days: list[tuple[date, pa.Table]]) -> None:
    assert [day for day, _ in days] == [
        WORLD.last_day - timedelta(days=back) for back in range(41, -1, -1)
    ]
    for _, table in days:
        assert dict(zip(table.column_names, table.schema.types, strict=True)) == CONTRACT
        assert len(table) > 100
        for column in ("user_id", "track_id", "listened_at", "event", "track_name"):
            assert table[column].null_count == 0


def test_nothing_arrives_before_it_was_heard(days: list[tuple[date, pa.Table]]) -> None:
    for day, table in days:
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        assert pc.max(table["listened_at"]).as_py() < end


def test_listens_are_about_as_many_as_asked_for(plays: pa.Table) -> None:
    here = WORLD.listeners * WORLD.days * (1 - WORLD.visitors - WORLD.newcomers * 0.75)
    assert len(plays) == pytest.approx(here * WORLD.listens_per_day, rel=0.2)


def test_late_events_and_duplicates_come_at_their_rates(log: pa.Table) -> None:
    lag = (log["arrived_on"].to_numpy() - log["listened_at"].to_numpy().astype("M8[D]")).astype(int)
    assert lag.min() == 0
    assert lag.max() <= 5 + 1 + 7
    keys = ["user_id", "track_id", "listened_at"]
    times = log.group_by(keys).aggregate(
        [([], "count_all"), ("arrived_on", "min"), ("arrived_on", "max")]
    )
    copies = times["count_all"].to_numpy()
    assert copies.max() == 2
    assert (copies == 2).mean() == pytest.approx(WORLD.duplicates, rel=0.2)
    apart = (times["arrived_on_max"].to_numpy() - times["arrived_on_min"].to_numpy()).astype(int)
    assert apart.max() == 7
    assert (apart[copies == 2] == 0).mean() == pytest.approx(0.5, abs=0.1)
    first_lag = times["arrived_on_min"].to_numpy() - times["listened_at"].to_numpy().astype("M8[D]")
    # A track that ends after midnight arrives a day on; that is not what is counted here.
    assert (first_lag.astype(int) >= 2).mean() == pytest.approx(WORLD.late * 0.55, rel=0.3)


def test_a_person_hears_one_track_at_a_time(plays: pa.Table) -> None:
    ordered = plays.sort_by([("user_id", "ascending"), ("listened_at", "ascending")])
    start = ordered["listened_at"].to_numpy().astype("M8[ms]").astype(np.int64)
    user = ordered["user_id"].to_numpy(zero_copy_only=False)
    end = start + ordered["ms_played_first"].to_numpy()
    assert (start[1:] >= end[:-1])[user[1:] == user[:-1]].all()


def test_popularity_and_activity_have_long_tails(plays: pa.Table) -> None:
    assert gini(counts(plays, "track_id")) > 0.6
    assert gini(counts(plays, "user_id")) > 0.4


def test_people_repeat_skip_and_react(plays: pa.Table, log: pa.Table) -> None:
    pairs = plays.group_by(["user_id", "track_id"]).aggregate([([], "count_all")])
    assert 0.5 < 1 - len(pairs) / len(plays) < 0.85
    skipped = plays["skipped_first"].to_numpy(zero_copy_only=False).astype(bool)
    assert 0.08 < skipped.mean() < 0.35
    share = plays["ms_played_first"].to_numpy() / plays["duration_ms_first"].to_numpy()
    assert share.max() <= 1
    assert np.median(share[skipped]) < 0.3
    assert np.median(share[~skipped]) == 1
    events = dict(zip(*_value_counts(log["event"]), strict=True))
    assert set(events) == {"play", "save", "like", "dislike"}
    for event in ("save", "like", "dislike"):
        assert 0.0005 < events[event] / events["play"] < 0.05
    reactions = log.filter(pc.not_equal(log["event"], "play"))
    assert reactions["ms_played"].null_count == reactions["skipped"].null_count == len(reactions)


def test_private_sessions_come_at_their_rate(plays: pa.Table) -> None:
    private = plays["private_first"].to_numpy(zero_copy_only=False).astype(bool)
    assert private.mean() == pytest.approx(WORLD.private, rel=0.3)


def test_machines_never_sleep_and_want_little(log: pa.Table) -> None:
    robots = _users(WORLD, "robot")
    assert len(robots) == 4
    for user in robots:
        rows = log.filter(pc.equal(log["user_id"], user))
        assert len(rows) > 300 * WORLD.days * 0.9
        assert len(pc.unique(rows["track_id"])) <= 5
        assert set(pc.hour(rows["listened_at"]).to_pylist()) == set(range(24))
    people = log.filter(pc.invert(pc.is_in(log["user_id"], pa.array(robots))))
    busiest_person = counts(people, "user_id").max()
    assert busiest_person < 300 * WORLD.days


def test_newcomers_visitors_and_the_lapsed_keep_their_days(
    simulation: Simulation, plays: pa.Table
) -> None:
    listeners = simulation.truth.listeners.to_pylist()
    kinds = [row["kind"] for row in listeners]
    assert kinds.count("newcomer") == 48
    assert kinds.count("visitor") == 12
    assert kinds.count("lapsed") == 20
    heard = plays.group_by("user_id").aggregate(
        [
            ("listened_at", "min"),
            ("listened_at", "max"),
            ([], "count_all"),
            ("skipped_first", "min"),
        ]
    )
    by_user = {row["user_id"]: row for row in heard.to_pylist()}
    only_skips = 0
    for row in listeners:
        told = by_user.get(row["user_id"])
        if told is None or row["kind"] == "robot":
            continue
        assert told["listened_at_min"].date() >= row["joined_on"]
        assert told["listened_at_max"].date() <= row["left_on"]
        if row["kind"] == "visitor":
            assert told["count_all"] <= 3
            assert row["joined_on"] > WORLD.last_day - timedelta(days=7)
            only_skips += told["skipped_first_min"]
    assert only_skips >= 2


def test_the_catalogue_is_what_a_label_would_deliver(simulation: Simulation) -> None:
    catalogue = simulation.catalogue
    for field in schemas.CATALOGUE:
        if field.name != "song_key":
            assert catalogue.schema.field(field.name).equals(field)
    assert len(catalogue) == len(pc.unique(catalogue["track_id"])) == WORLD.tracks
    artists = catalogue["artist_ids"].to_pylist()
    assert len({ids[0] for ids in artists}) == WORLD.artists
    assert len(pc.unique(catalogue["artist_name"])) == WORLD.artists
    versions = WORLD.tracks - len(pc.unique(catalogue["song_id"]))
    assert versions == round(WORLD.versions * WORLD.tracks)
    together = np.array([len(ids) for ids in artists])
    assert together.max() == 3
    assert (together > 1).mean() == pytest.approx(WORLD.collaborations, rel=0.35)
    names = " ".join(catalogue["track_name"].to_pylist() + catalogue["artist_name"].to_pylist())
    for part in ("(feat. ", "Remaster", "(Bonus Track)", "é", "н", "の"):
        assert part in names


def test_the_song_key_finds_the_true_songs(simulation: Simulation) -> None:
    catalogue = simulation.catalogue
    keys = song_keys(
        catalogue["track_id"],
        catalogue["track_name"],
        pc.list_element(catalogue["artist_ids"], 0),
    ).to_pylist()
    songs = catalogue["song_id"].to_pylist()
    assert len(set(keys)) == len(set(songs)) == len(set(zip(keys, songs, strict=True)))


def test_nothing_is_heard_before_it_is_out(simulation: Simulation, log: pa.Table) -> None:
    catalogue = simulation.catalogue
    out = dict(
        zip(catalogue["track_id"].to_pylist(), catalogue["released_on"].to_pylist(), strict=True)
    )
    new = {track for track, day in out.items() if day >= WORLD.first_day}
    assert len(new) / len(out) == pytest.approx(WORLD.releases, rel=0.3)
    first = log.group_by("track_id").aggregate([("listened_at", "min")])
    for track, when in zip(*(first[name].to_pylist() for name in first.column_names), strict=True):
        assert when.date() >= out[track]
    assert new & set(first["track_id"].to_pylist())


def test_days_and_seeds(days: list[tuple[date, pa.Table]]) -> None:
    again = simulate(WORLD).days()
    assert [next(again) for _ in range(3)] == days[:3]
    other = simulate(World(**{**WORLD.settings(), "last_day": WORLD.last_day, "seed": 8})).days()
    assert next(other)[1] != days[0][1]


@pytest.mark.parametrize(("listeners", "artists", "tracks", "days"), [(1, 1, 1, 9), (40, 5, 5, 1)])
def test_small_worlds_work(listeners: int, artists: int, tracks: int, days: int) -> None:
    world = World(listeners=listeners, artists=artists, tracks=tracks, days=days, releases=0)
    assert sum(len(table) for _, table in simulate(world).days()) > 0


def test_a_world_without_rates_has_none_of_it() -> None:
    calm = simulate(
        World(
            listeners=60,
            artists=10,
            tracks=80,
            days=5,
            late=0,
            duplicates=0,
            robots=0,
            private=0,
            versions=0,
            collaborations=0,
        )
    )
    log = pa.concat_tables(table for _, table in calm.days())
    assert not pc.any(log["private"]).as_py()
    keys = log.group_by(["user_id", "track_id", "listened_at"]).aggregate([])
    assert len(keys) == len(log)
    assert len(pc.unique(calm.catalogue["song_id"])) == 80
    assert pc.max(pc.list_value_length(calm.catalogue["artist_ids"])).as_py() == 1


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        World(listeners=0, artists=9, tracks=3, late=float("nan"), robots=0.9, newcomers=0.9)
    for part in ("listeners = 0", "late = nan", "tracks = 3", "at most 1"):
        assert part in str(raised.value)


def _value_counts(column: pa.ChunkedArray) -> tuple[list[str], list[int]]:
    counted = pc.value_counts(column)
    return counted.field("values").to_pylist(), counted.field("counts").to_pylist()
