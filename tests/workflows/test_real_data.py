"""Real listening, from the log to the store, held against the contract by a check of its own."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.artefact import Artefact
from recsys.home import Home
from recsys.weeks import Week
from tests.workflows.conftest import ROOT, Deployment

DATA = Path(os.environ.get("RECSYS_REAL_DATA", ROOT.parent / "shared" / "data"))
LASTFM = DATA / "lastfm-1k-excerpt"
HETREC = DATA / "hetrec2011-lastfm-2k"


def needs(folder: Path) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not folder.is_dir(), reason=f"no real data in {folder}; RECSYS_REAL_DATA names its parent"
    )


def facts_of(deployment: Deployment, stage: str, week: str) -> Mapping[str, Any]:
    return Artefact.open(deployment.edition(week) / stage).facts


@needs(LASTFM)
def test_lastfm_listeners_get_a_playlist_or_a_reason(deployment: Deployment) -> None:
    deployment.configure(listens={"source": LASTFM, "format": "lastfm"})
    # The file ends on Monday 2009-05-04; the edition whose books close next is of 2009-05-11.
    week = "2009-W20"
    done = deployment.weekly("--week", week)
    assert done.returncode == 0, done.stderr[-3000:]

    home = Home.of(deployment.load())
    (split,) = (home.days / "split").glob("*")
    cleaned = Counter[str]()
    for folder in (home.days / "clean").glob("date=*"):
        cleaned.update(Artefact.open(folder).manifest["rows"])
    undated = Artefact.open(split).manifest["rows"]["undated"]
    assert Artefact.open(split).manifest["rows"]["read"] == 5000
    assert cleaned["read"] + undated == 5000
    assert cleaned["kept"] + cleaned["duplicates"] + cleaned["quarantined"] == cleaned["read"]
    assert cleaned["kept"] > 4900

    shown = deployment.recsys("show", "user_000001", "--json")
    assert shown.returncode == 0, shown.stderr
    playlist = json.loads(shown.stdout)
    heard = names_heard("user_000001")
    assert playlist["tracks"]
    for track in playlist["tracks"]:
        assert (track["artist_names"][0], track["track_name"]) not in heard

    shown = deployment.recsys("show", "user_000002")
    assert shown.returncode == 30
    said = " ".join(shown.stderr.split())
    assert "last listened on 2008-12-08" in said
    assert "28 days before 2009-05-10" in said


def names_heard(user: str) -> set[tuple[str, str]]:
    (path,) = LASTFM.glob("*.tsv")
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line)
    return {(row[3], row[5]) for row in rows if row[0] == user}


@dataclass(frozen=True)
class Listening:
    """HetRec's play counts, thinned and spread over days: one entry per listen."""

    user: np.ndarray
    artist: np.ndarray
    day: np.ndarray
    first_day: date

    def heard_before(self, end: date) -> dict[str, set[str]]:
        """The artists that each user had heard before a day."""
        before = self.day < (end - self.first_day).days
        heard: dict[str, set[str]] = {}
        for user, artist in zip(self.user[before], self.artist[before], strict=True):
            heard.setdefault(f"user {user}", set()).add(f"artist {artist}")
        return heard

    def users_between(self, begin: date, end: date) -> set[str]:
        """The users with a listen from ``begin`` up to, and not on, ``end``."""
        offset = (self.day >= (begin - self.first_day).days) & (
            self.day < (end - self.first_day).days
        )
        return {f"user {user}" for user in np.unique(self.user[offset])}


def spread_hetrec(deployment: Deployment, first_day: date, days: int, plays: int) -> Listening:
    """Write HetRec as a log of ``days`` days, an artist as a track by itself.

    The users, the artists and who plays whom how much are real. The days are not: HetRec has no
    clock. A seed thins each count binomially to some ``plays`` listens in all, at least one for
    each pair, and deals these out over the days; a third of the pairs begin in the last three
    weeks.
    """
    rng = np.random.default_rng(20110511)
    table = np.loadtxt(HETREC / "user_artists.dat", np.int64, skiprows=1, delimiter="\t")
    counts = np.maximum(rng.binomial(table[:, 2], plays / table[:, 2].sum()), 1)
    begins = np.where(rng.random(len(table)) < 1 / 3, rng.integers(days - 21, days, len(table)), 0)
    user, artist, begin = (
        np.repeat(column, counts) for column in (table[:, 0], table[:, 1], begins)
    )
    day = begin + (rng.random(len(user)) * (days - begin)).astype(int)
    second = rng.permutation(len(user)) % 86_400
    lines = (HETREC / "artists.dat").read_text(encoding="utf-8").split("\n")
    names = {int(row[0]): row[1] for row in (line.split("\t") for line in lines) if len(row) > 1}
    midnight = np.datetime64(first_day, "us")
    for n in range(days):
        of_day = day == n
        ids = pa.array([f"artist {one}" for one in artist[of_day]])
        titles = pa.array([names[one] for one in artist[of_day]])
        moments = midnight + n * np.timedelta64(1, "D") + second[of_day] * np.timedelta64(1, "s")
        folder = deployment.log / f"date={first_day + timedelta(days=n)}"
        folder.mkdir(parents=True)
        rows = {
            "user_id": pa.array([f"user {one}" for one in user[of_day]]),
            "track_id": ids,
            "artist_ids": ids,
            "track_name": titles,
            "artist_name": titles,
            "listened_at": pa.array(moments, pa.timestamp("us", tz="UTC")),
        }
        pq.write_table(pa.table(rows), folder / "listens.parquet")
    return Listening(user, artist, day, first_day)


@needs(HETREC)
def test_hetrec_for_three_weeks_keeps_every_promise_to_every_user(deployment: Deployment) -> None:
    check_hetrec(deployment, plays=250_000)


@needs(HETREC)
@pytest.mark.soak
def test_hetrec_at_full_length(deployment: Deployment) -> None:
    # The days are drawn: their volume says nothing.
    deployment.configure(gates={"most_volume": 100})
    check_hetrec(deployment, plays=5_000_000, days=120)


def check_hetrec(deployment: Deployment, plays: int, days: int = 35) -> None:
    weeks = ["2011-W17", "2011-W18", "2011-W19"]
    last_day = Week.parse(weeks[-1]).last_day(24)
    deployment.configure(listens={"format": "parquet"}, als={"factors": 32, "iterations": 10})
    listening = spread_hetrec(deployment, last_day - timedelta(days=days - 1), days, plays)
    assert len(np.unique(listening.user)) == 1892

    earlier: list[dict[str, set[str]]] = []
    for week in weeks:
        assert deployment.run(week), deployment.last_run()
        earlier.append(check_week(deployment, listening, week, earlier))

    assert [facts_of(deployment, "model_choice", week) for week in weeks] == [
        {"way": "cold", "outcome": "passed"},
        {"way": "continue", "outcome": "passed"},
        {"way": "continue", "outcome": "passed"},
    ]
    for week, before in zip(weeks[1:], weeks, strict=False):
        plan = facts_of(deployment, "plan", week)
        assert (plan["parent"]["edition"], plan["parent"]["revision"]) == (before, 1)
        metrics = facts_of(deployment, "evaluation", week)["metrics"]
        assert metrics["parent"]["ndcg_at_30"] > 1.5 * metrics["popularity"]["ndcg_at_30"]
    verified = deployment.recsys("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def check_week(
    deployment: Deployment, listening: Listening, week: str, earlier: list[dict[str, set[str]]]
) -> dict[str, set[str]]:
    """Hold every playlist of a week against the log; the artists that each user got."""
    monday = Week.parse(week).monday
    cutoff = monday - timedelta(days=1)
    heard = listening.heard_before(cutoff)
    known = set().union(*heard.values())
    rows = deployment.playlists(week)
    refused = pq.read_table(deployment.edition(week) / "playlists" / "refused.parquet").to_pylist()

    eligible = listening.users_between(cutoff - timedelta(days=28), cutoff)
    assert len(eligible) > 1800
    accounted = [row["user_id"] for row in [*rows, *refused]]
    assert sorted(accounted) == sorted(eligible)
    facts = facts_of(deployment, "playlists", week)
    assert facts["eligible"] == len(eligible)
    assert facts["kinds"] == {
        kind: sum(row["kind"] == kind for row in rows)
        for kind in ("personal", "blended", "popular")
    }
    # Every song is left to nearly everyone: nobody can be refused, and no list may be short.
    assert not refused

    with deployment.store() as store:
        for row in rows:
            user, tracks = row["user_id"], row["tracks"]
            artists = [track["track_id"] for track in tracks]
            resting = set().union(*(edition.get(user, set()) for edition in earlier))
            assert (row["edition"], row["relaxed"]) == (week, [])
            assert [track["position"] for track in tracks] == list(range(1, 31))
            assert len(set(artists)) == 30
            assert known.issuperset(artists)
            assert heard[user].isdisjoint(artists)
            assert resting.isdisjoint(artists)
            # A track is an artist here: none twice is also the rule on artists and neighbours.
            for track in tracks:
                assert np.isfinite(track["score"])
                assert abs(track["score"]) < 1e9
                assert (track["because_track_id"] in heard[user]) == (track["source"] == "als")
            personal = sum(track["source"] == "als" for track in tracks)
            assert row["kind"] == {30: "personal", 0: "popular"}.get(personal, "blended")
            assert store.playlist(user, edition=week).to_dict() == as_stored(row)
    return {row["user_id"]: {track["track_id"] for track in row["tracks"]} for row in rows}


def as_stored(row: dict[str, Any]) -> dict[str, Any]:
    dates = {name: row[name].isoformat() for name in ("valid_from", "valid_until")}
    return {name: value for name, value in row.items() if name != "spares"} | dates
