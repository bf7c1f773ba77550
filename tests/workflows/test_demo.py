"""The simulated world, week by week: playlists that its listeners would really like."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from recsys.simulate import Truth, World, simulate
from recsys.weeks import Week
from tests.workflows.conftest import WEEK, Deployment

WEEKS = [Week.parse(WEEK) - 2, Week.parse(WEEK) - 1, Week.parse(WEEK)]

_PLAYED = """
    SELECT DISTINCT user_id, track_id
    FROM read_json('{log}/*/*.jsonl.gz', format = 'newline_delimited', ignore_errors = true,
        columns = {{user_id: 'VARCHAR', track_id: 'VARCHAR', event: 'VARCHAR', private: 'BOOLEAN',
            listened_at: 'TIMESTAMP'}})
    WHERE coalesce(event, 'play') = 'play' AND NOT coalesce(private, false)
        AND track_id IS NOT NULL AND listened_at IS NOT NULL
"""


def reveal(world: Path, log: Path, before: Week) -> None:
    """Deliver the days of the world that arrive before a week's cutoff."""
    for day in sorted((world / "log").glob("date=*")):
        if day.name <= f"date={before.last_day(24)}" and not (log / day.name).exists():
            shutil.copytree(day, log / day.name)


def test_three_weeks_of_the_demo(deployment: Deployment, tmp_path: Path) -> None:
    world = tmp_path / "world"
    simulate(World(listeners=400, artists=150, tracks=2000, days=42)).write(world)
    truth = Truth.open(world / "truth")
    rows = pq.read_table(world / "truth" / "catalogue.parquet").to_pylist()
    catalogue = {row["track_id"]: row for row in rows}
    deployment.configure(als={"factors": 32, "iterations": 10})

    got: dict[str, set[str]] = {}
    for week in map(str, WEEKS):
        reveal(world, deployment.log, Week.parse(week))
        assert deployment.run(week), deployment.last_run()

        made = deployment.edition(week) / "playlists" / "playlists.parquet"
        score = truth.score(pq.read_table(made))
        assert score.listeners > 300
        assert score.affinity > 2.5 * max(score.popular, score.random), str(score)

        heard: dict[str, set[str]] = {}
        for user, track in duckdb.execute(_PLAYED.format(log=deployment.log)).fetchall():
            if track in catalogue:
                heard.setdefault(user, set()).add(catalogue[track]["song_id"])
        for row in deployment.playlists(week):
            songs = check_rules(row, catalogue)
            assert songs.isdisjoint(heard.get(row["user_id"], ()))
            assert songs.isdisjoint(got.get(row["user_id"], ()))
            got.setdefault(row["user_id"], set()).update(songs)


def check_rules(playlist: dict[str, Any], catalogue: dict[str, Any]) -> set[str]:
    """Hold a playlist against the true songs and credits of the world; its songs."""
    tracks = [catalogue[track["track_id"]] for track in playlist["tracks"]]
    songs = {track["song_id"] for track in tracks}
    credited = [set(track["artist_ids"]) for track in tracks]
    assert playlist["relaxed"] == []
    assert len(songs) == len(tracks) == 30
    assert max(Counter(artist for artists in credited for artist in artists).values()) <= 2
    assert all(one.isdisjoint(following) for one, following in pairwise(credited))
    return songs
