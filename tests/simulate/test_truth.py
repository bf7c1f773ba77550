"""The truth: what listeners would like, and playlists scored against it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy import sparse
from threadpoolctl import threadpool_limits

from recsys import schemas
from recsys.errors import ArtefactError
from recsys.simulate import Simulation, Truth, World, simulate

WORLD = World(listeners=500, artists=120, tracks=1500, days=56, robots=0.004)
MONDAY = WORLD.last_day - timedelta(days=6)


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(WORLD)


@pytest.fixture(scope="module")
def truth(simulation: Simulation) -> Truth:
    return simulation.truth


@pytest.fixture(scope="module")
def plays(simulation: Simulation) -> pa.Table:
    log = pa.concat_tables(table for _, table in simulation.days())
    return log.filter(pc.and_(pc.equal(log["event"], "play"), pc.invert(log["private"])))


def playlists(lists: dict[str, Sequence[str]], monday: date = MONDAY) -> pa.Table:
    rows = [
        {
            "edition": "2026-W46",
            "user_id": user,
            "kind": "personal",
            "tracks": [
                {
                    "position": place,
                    "track_id": track,
                    "track_name": None,
                    "artist_names": [],
                    "score": 0.0,
                    "source": "personal",
                    "because_track_id": None,
                }
                for place, track in enumerate(tracks, start=1)
            ],
            "relaxed": [],
            "valid_from": monday,
            "valid_until": monday + timedelta(days=6),
        }
        for user, tracks in lists.items()
    ]
    return pa.Table.from_pylist(rows, schema=schemas.PLAYLISTS)


def test_affinity_is_a_probability_and_foretells_skips(truth: Truth, plays: pa.Table) -> None:
    listeners = truth.listeners
    people = listeners.filter(pc.equal(listeners["kind"], "regular"))["user_id"].to_pylist()[:80]
    kept, skipped = [], []
    for user in people:
        rows = plays.filter(pc.equal(plays["user_id"], user))
        if not len(rows):
            continue
        liking = truth.affinity(user, rows["track_id"].to_pylist(), on=MONDAY)
        assert liking.dtype == np.float64
        assert ((liking >= 0) & (liking <= 1)).all()
        was = rows["skipped"].to_numpy(zero_copy_only=False).astype(bool)
        kept.append(liking[~was])
        skipped.append(liking[was])
    tracks = simulate(WORLD).catalogue["track_id"].to_pylist()
    anything = np.mean([truth.affinity(user, tracks, on=MONDAY).mean() for user in people])
    assert np.concatenate(kept).mean() > np.concatenate(skipped).mean() + 0.2
    assert np.concatenate(skipped).mean() > anything


def test_tastes_drift_slowly(truth: Truth) -> None:
    user = truth.listeners["user_id"][0].as_py()
    tracks = simulate(WORLD).catalogue["track_id"].to_pylist()
    today, tomorrow, later = (
        truth.affinity(user, tracks, on=WORLD.first_day + timedelta(days=days))
        for days in (0, 1, 55)
    )
    assert 0 < np.abs(tomorrow - today).mean() < np.abs(later - today).mean() / 10


def test_versions_of_a_song_are_liked_alike_and_machines_like_nothing(truth: Truth) -> None:
    catalogue = simulate(WORLD).catalogue
    tracks, songs = (catalogue[name].to_pylist() for name in ("track_id", "song_id"))
    listeners = truth.listeners
    user = listeners["user_id"][1].as_py()
    liking = truth.affinity(user, tracks, on=MONDAY)
    by_song: dict[str, set[float]] = {}
    for song, value in zip(songs, liking.tolist(), strict=True):
        by_song.setdefault(song, set()).add(value)
    assert all(len(values) == 1 for values in by_song.values())
    robot = listeners.filter(pc.equal(listeners["kind"], "robot"))["user_id"][0].as_py()
    assert truth.affinity(robot, tracks, on=MONDAY).max() == 0


def test_the_best_playlist_scores_best(truth: Truth, plays: pa.Table) -> None:
    """Brute force, one listener at a time, agrees with the block-wise score."""
    catalogue = simulate(WORLD).catalogue
    rows = catalogue.filter(
        pc.and_(catalogue["available"], pc.less_equal(catalogue["released_on"], MONDAY))
    ).to_pylist()
    song_of = dict(
        zip(catalogue["track_id"].to_pylist(), catalogue["song_id"].to_pylist(), strict=True)
    )
    tracks = list({row["song_id"]: row["track_id"] for row in rows}.values())
    before = plays.filter(pc.less(plays["listened_at"].cast(pa.date32()), MONDAY))
    lists = {}
    unheard_means = []
    for user in truth.listeners["user_id"].to_pylist()[:20]:
        heard = before.filter(pc.equal(before["user_id"], user))["track_id"].to_pylist()
        known = {song_of[track] for track in heard}
        new = [track for track in tracks if song_of[track] not in known]
        liking = truth.affinity(user, new, on=MONDAY)
        lists[user] = [new[at] for at in np.argsort(-liking)[:30]]
        unheard_means.append(liking.mean())
    score = truth.score(playlists(lists))
    assert score.listeners == 20
    assert score.tracks == 600
    # Events that a listener heard, and that never reached the log, are known to the truth alone.
    assert score.affinity == pytest.approx(score.best, abs=2e-3)
    assert score.random == pytest.approx(np.mean(unheard_means), abs=2e-3)
    assert score.random < score.best
    assert score.popular < score.best
    assert score.attained == pytest.approx(1, abs=0.01)
    assert "best possible" in str(score)


def test_truth_opened_from_its_files_is_the_same(
    simulation: Simulation, truth: Truth, tmp_path: Path
) -> None:
    path = simulation.write(tmp_path / "demo").path
    opened = Truth.open(path / "truth")
    users = truth.listeners["user_id"].to_pylist()[:50]
    tracks = simulation.catalogue["track_id"].to_pylist()[:30]
    lists = playlists(dict.fromkeys(users, tracks))
    assert opened.score(lists) == truth.score(lists)

    changed = pq.read_table(path / "truth/listeners.parquet").slice(1)
    pq.write_table(changed, path / "truth/listeners.parquet")
    with pytest.raises(ArtefactError, match="another version"):
        Truth.open(path / "truth")
    with pytest.raises(ArtefactError, match="holds no truth"):
        Truth.open(tmp_path)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"u_999999": ["t_000001"]}, "name no listener"),
        ({"u_000001": ["t_999999"]}, "name no track of this world t_999999"),
        ({}, "no playlist of a person"),
    ],
)
def test_playlists_of_another_log_are_refused(
    truth: Truth, lists: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(ArtefactError, match=message) as raised:
        truth.score(playlists(lists))
    assert "u_999999" not in str(raised.value)


def test_playlists_of_two_editions_are_refused(truth: Truth) -> None:
    one = playlists({"u_000001": ["t_000001"]})
    two = playlists({"u_000001": ["t_000001"]}, MONDAY + timedelta(days=7))
    with pytest.raises(ArtefactError, match="2 editions"):
        truth.score(pa.concat_tables([one, two]))


def test_learning_tastes_beats_popularity(
    simulation: Simulation, truth: Truth, plays: pa.Table
) -> None:
    """ALS on all weeks but the last finds the unheard songs of the last, and what is liked."""
    song_of = dict(
        zip(
            *(simulation.catalogue[name].to_pylist() for name in ("track_id", "song_id")),
            strict=True,
        )
    )
    users, user = np.unique(plays["user_id"].to_pylist(), return_inverse=True)
    tracks = plays["track_id"].to_pylist()
    songs, song = np.unique([song_of[track] for track in tracks], return_inverse=True)
    sound = ~plays["skipped"].to_numpy(zero_copy_only=False).astype(bool)
    past = plays["listened_at"].to_numpy() < np.datetime64(MONDAY)
    heard = _matrix(user[past], song[past], len(users), len(songs))
    later = _matrix(user[~past & sound], song[~past & sound], len(users), len(songs))
    new = (later > 0) > (heard > 0)
    who = np.flatnonzero((np.diff(new.indptr) > 0) & (np.diff(heard.indptr) > 4))
    assert len(who) > 200

    from implicit.als import AlternatingLeastSquares

    log_plays = heard.astype(np.float32).log1p()
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(factors=32, alpha=5.0, iterations=10, random_state=1)
        model.fit(log_plays, show_progress=False)
        learned = model.recommend(who, log_plays[who], N=30)[0]
    chart = np.argsort(-np.bincount(song[past & sound], minlength=len(songs)), kind="stable")
    popular = [chart[~np.isin(chart, heard[row].indices)][:30] for row in who]

    def recall(lists: Sequence[np.ndarray]) -> float:
        hits = [
            np.isin(new[row].indices, found).sum() / min(30, new[row].nnz)
            for row, found in zip(who, lists, strict=True)
        ]
        return float(np.mean(hits))

    assert recall(learned) > 2 * recall(popular)

    representative = {song_of[track]: track for track in tracks}

    def attained(lists: Sequence[np.ndarray]) -> float:
        table = playlists(
            {
                str(users[row]): [representative[songs[at]] for at in found]
                for row, found in zip(who, lists, strict=True)
            }
        )
        return truth.score(table).attained

    assert attained(learned) > 0.4 > attained(popular) + 0.2


def _matrix(rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> sparse.csr_matrix:
    ones = np.ones(len(rows), np.float32)
    return sparse.csr_matrix((ones, (rows, columns)), shape=(height, width))
