"""Nobody gets another's playlist: users of unmistakable taste, followed from the log to the store.

Everyone belongs to a tribe whose songs nobody else plays; neighbours in the order of user ids
belong to different ones. A playlist that went astray shows songs of another tribe, songs that its
reader has heard, or reasons that its reader never played.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.artefact import Artefact
from recsys.gate import check_playlists
from recsys.home import Home
from recsys.weeks import Week
from tests.workflows.conftest import LAST_DAY, WEEK, Deployment, at

DAYS = 10
SONGS = 100
#: Ids that quoting, splitting, trimming, normalising, shortening or another order would confuse.
STRANGE = [
    *("'", '"', "\\", "a'b", 'a"b', "a,b", "a\nb", "a\r\nb", "a\tb", "a b", "ab", " ab", "ab "),
    *("Z", "a", "B", "z", "ä", "a\u0308", "Ä", "ß", "ss", "İ", "i", "1", "01", "1.0", "10", "9"),
    *("\uff5e", "\U0001f600", "\U0001f600\u200d", "\u202eab", "NULL", "None", "nan", "true", "%s"),
    *("x" * 10_000, "x" * 10_000 + "y", "é" * 5_000, "{}", "user_id", "date=2026-11-14", "../ab"),
]


@dataclass(frozen=True)
class Planted:
    """The planted users: tribe, and the tracks played."""

    tribe: Mapping[str, int]
    heard: Mapping[str, frozenset[str]]

    def astray(self, playlists: Iterable[Mapping[str, Any]]) -> set[str]:
        """The users whose playlist cannot be their own."""
        return {one["user_id"] for one in playlists if not self._own(one)}

    def _own(self, playlist: Mapping[str, Any]) -> bool:
        heard = self.heard[playlist["user_id"]]
        own = f"tribe {self.tribe[playlist['user_id']]} "
        return (playlist["kind"], len(playlist["tracks"])) == ("personal", 30) and all(
            track["track_id"].startswith(own)
            and track["track_id"] not in heard
            and track["because_track_id"] in heard
            for track in playlist["tracks"]
        )


def plant(deployment: Deployment, users: int, tribes: int, listens_a_day: int) -> Planted:
    """Write the log of ``users`` users, the strange ones first."""
    rng = random.Random(users)
    ids = (STRANGE + [f"user {n}" for n in range(users)])[:users]
    tribe = {user: n % tribes for n, user in enumerate(sorted(ids))}
    songs = {
        user: rng.sample(range(SONGS), DAYS * listens_a_day) for user in rng.sample(ids, users)
    }
    for n in range(DAYS):
        day = LAST_DAY - timedelta(days=DAYS - 1 - n)
        deployment.write_day(
            day,
            [
                {
                    "user_id": user,
                    "track_id": f"tribe {tribe[user]} song {song}",
                    "artist_ids": [f"tribe {tribe[user]} artist {song // 2}"],
                    "listened_at": at(day, 600 * k),
                }
                for user, of_user in songs.items()
                for k, song in enumerate(of_user[n * listens_a_day : (n + 1) * listens_a_day])
            ],
        )
    deployment.configure(als={"factors": tribes, "iterations": 15})
    heard = {
        user: frozenset(f"tribe {tribe[user]} song {song}" for song in of_user)
        for user, of_user in songs.items()
    }
    return Planted(tribe, heard)


def run_on_cores(deployment: Deployment, cores: int, *arguments: str) -> None:
    """Run a task by command line, on so many cores."""
    code = (
        "import os, sys; from luigi.cmdline import luigi_run;"
        f"os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{cores}]);"
        "luigi_run(sys.argv[1:])"
    )
    luigi = [sys.executable, "-c", code, "--module", "workflows", "--local-scheduler"]
    done = deployment.process([*luigi, *arguments])
    assert done.returncode == 0, done.stderr[-3000:]


def check_all(deployment: Deployment, planted: Planted) -> None:
    """Everyone has a playlist of their own, in the Parquet and in the store."""
    made = deployment.playlists()
    assert {one["user_id"] for one in made} == planted.tribe.keys()
    assert len(made) == len(planted.tribe)
    assert planted.astray(made) == set()
    with deployment.store() as store:
        stored = [store.playlist(user).to_dict() for user in planted.tribe]
    assert [one["user_id"] for one in stored] == list(planted.tribe)
    assert planted.astray(stored) == set()


def test_every_user_gets_their_own_playlist(deployment: Deployment) -> None:
    planted = plant(deployment, users=60, tribes=4, listens_a_day=3)
    assert deployment.run()
    check_all(deployment, planted)
    for user in ("a\nb", "\U0001f600", "'", "x" * 10_000):
        shown = json.loads(deployment.recsys("show", user, "--json").stdout)
        assert shown["user_id"] == user
        assert planted.astray([shown]) == set()


@pytest.mark.parametrize(
    ("users", "tribes", "listens_a_day", "cores", "workers"),
    [
        (40, 4, 3, [2], 2),
        (500, 12, 2, [1], 1),
        pytest.param(4200, 24, 1, [2], 1, marks=pytest.mark.soak),
        pytest.param(9000, 24, 1, [1, 2], 1, marks=pytest.mark.soak),
    ],
)
def test_at_any_size_on_any_number_of_cores(
    deployment: Deployment,
    users: int,
    tribes: int,
    listens_a_day: int,
    cores: list[int],
    workers: int,
) -> None:
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < max(cores):
        pytest.skip(f"a process cannot be held to {max(cores)} cores here")
    planted = plant(deployment, users, tribes, listens_a_day)
    digests = set()
    week = ("WeeklyPlaylists", "--week", WEEK, "--workers", str(workers))
    for number in cores:
        run_on_cores(deployment, number, *week)
        check_all(deployment, planted)
        digests.add(Artefact.open(deployment.edition() / "playlists").facts["digest"])
        deployment.home.rename(deployment.folder / f"on {number} cores")
    assert len(digests) == 1


def test_two_playlists_that_changed_places_are_seen(deployment: Deployment) -> None:
    planted = plant(deployment, users=60, tribes=4, listens_a_day=3)
    assert deployment.run()
    sound = Artefact.open(deployment.edition() / "playlists").file("playlists.parquet")
    assert verdict_on(deployment, sound) == "passed"

    table = pq.read_table(sound)
    users = table["user_id"].to_pylist()
    first, other = users[10], users[11]
    twin = next(user for user in users[12:] if planted.tribe[user] == planted.tribe[first])
    for stranger in (other, twin):
        order = list(range(len(users)))
        here, there = users.index(first), users.index(stranger)
        order[here], order[there] = there, here
        moved = table.take(pa.array(order)).set_column(1, table.schema.field(1), table["user_id"])
        swapped = deployment.folder / "swapped.parquet"
        pq.write_table(moved, swapped)
        assert planted.astray(moved.to_pylist()) == {first, stranger}
        assert verdict_on(deployment, swapped) == "refused"


def verdict_on(deployment: Deployment, playlists: Path) -> str:
    """What the gate says when the edition's playlists are those of this file."""
    home, week = Home.of(deployment.load()), Week.parse(WEEK)
    made = Artefact.open(deployment.edition() / "playlists")
    return check_playlists(
        playlists=playlists,
        default=made.file("default.parquet"),
        refused=made.file("refused.parquet"),
        taste=home.taste(week) / "taste.parquet",
        catalogue=home.catalogue(week) / "catalogue.parquet",
        eligible=deployment.edition() / "matrix" / "eligible.parquet",
        model=deployment.edition() / "als_model",
        cooling=[],
        blocked=[],
        week=week,
        settings=deployment.load().playlists,
    ).outcome
