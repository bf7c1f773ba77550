"""A deployment in a temporary folder, and ways to run a week in it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import luigi
import pytest

from recsys.artefact import Artefact
from recsys.cli import main
from recsys.home import read_last_run
from recsys.settings import Settings, load_settings
from recsys.store import Store, open_store
from recsys.weeks import Week
from workflows import WeeklyPlaylists

ROOT = Path(__file__).parents[2]
WEEK = "2026-W47"
#: The weeks of ``served``: the one that is published, and two that can be made.
BEFORE, NOW, NEXT = "2026-W46", "2026-W47", "2026-W48"
LAST_DAYS = {week: Week.parse(week).last_day(24) for week in (BEFORE, NOW, NEXT)}
#: The last arrival day that edition 2026-W47 counts.
LAST_DAY = date(2026, 11, 14)


@dataclass
class Deployment:
    """A home, a log and the settings that name them."""

    folder: Path
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def config(self) -> Path:
        return self.folder / "overlay.cfg"

    def configure(self, **sections: Mapping[str, Any]) -> None:
        """Set settings over those before and write the overlay."""
        for section, values in sections.items():
            self.settings.setdefault(section, {}).update(values)
        lines = []
        for section, values in self.settings.items():
            lines += [f"[{section}]", *(f"{key} = {value}" for key, value in values.items())]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def load(self) -> Settings:
        return load_settings([self.config])

    def write_day(
        self, day: date, rows: Iterable[Mapping[str, Any]], name: str = "listens"
    ) -> Path:
        """Deliver a day of the log as JSON Lines."""
        folder = self.log / f"date={day}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        return path

    def run(self, week: str = WEEK, *, revision: int = 0, backfill: bool = False) -> bool:
        """Run a week in this process; whether it succeeded."""
        task = WeeklyPlaylists(week=week, revision=revision, backfill=backfill)
        return build(task)

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run luigi as an operator would, in a process of its own."""
        return self.process([sys.executable, "-m", "luigi", *arguments], **environment)

    def weekly(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run WeeklyPlaylists as an operator would."""
        return self.command(
            "--module",
            "workflows",
            "WeeklyPlaylists",
            "--local-scheduler",
            *arguments,
            **environment,
        )

    def recsys(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line as an operator would."""
        code = "import sys; from recsys.cli import main; sys.exit(main())"
        return self.process([sys.executable, "-c", code, *arguments])

    def process(self, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def environment(self, **extra: str) -> dict[str, str]:
        paths = {"LUIGI_CONFIG_PATH": str(self.config), "PYTHONPATH": str(ROOT)}
        return {**os.environ, **paths, "COLUMNS": "160", **extra}

    def edition(self, week: str = WEEK, revision: int = 1) -> Path:
        return self.home / "editions" / week / f"r{revision}"

    def playlists(self, week: str = WEEK, revision: int = 1) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        folder = self.edition(week, revision) / "playlists"
        rows: list[dict[str, Any]] = pq.read_table(
            Artefact.open(folder).file("playlists.parquet")
        ).to_pylist()
        return rows

    def store(self) -> Store:
        return open_store(self.load().store_url)

    def digest(self, week: str = NOW) -> str:
        """Of the edition in the store."""
        with self.store() as store:
            return next(one.digest for one in store.editions() if one.edition == week)

    def remove_day(self, day: date) -> None:
        """Take a day out of the log."""
        shutil.rmtree(self.log / f"date={day}")

    def last_run(self) -> Mapping[str, Any]:
        return read_last_run(self.home) or {}


def build(task: luigi.Task) -> bool:
    """Run a task in this process; whether it succeeded."""
    # From a test's own folder luigi.cfg's path to its log format leads nowhere.
    options = {"log_level": "WARNING", "logging_conf_file": ""}
    return bool(luigi.build([task], local_scheduler=True, **options))


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment with small factors and a tracking server that is down, which runs survive."""
    made = Deployment(tmp_path)
    made.configure(
        recsys={"home": made.home, "seed": 1},
        listens={"source": made.log, "format": "jsonl"},
        als={"factors": 8, "iterations": 5},
        mlflow={"tracking_uri": "http://127.0.0.1:9"},
    )
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(made.config))
    monkeypatch.chdir(tmp_path)
    # What fails in a test is not tried again a minute later.
    monkeypatch.setitem(luigi.configuration.get_config()["worker"], "keep_alive", "false")
    return made


def at(day: date, second: int = 0) -> str:
    """A moment of a day, as the log spells it."""
    return (
        datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=second)
    ).strftime("%Y-%m-%dT%H:%M:%SZ")


def listen(user: str, track: str, day: date, second: int = 0, **fields: Any) -> dict[str, Any]:
    """A listen of a track by one artist per two tracks."""
    number = int("".join(filter(str.isdigit, track)) or 0)
    return {
        "user_id": user,
        "track_id": track,
        "listened_at": at(day, second),
        "artist_ids": [f"artist {number // 2}"],
        "artist_name": f"Artist {number // 2}",
        "track_name": f"Song {track}",
        "ms_played": 200_000,
        "duration_ms": 210_000,
    } | fields


def tribe_log(
    deployment: Deployment,
    *,
    last_day: date = LAST_DAY,
    days: int = 21,
    tribes: int = 3,
    members: int = 14,
    songs: int = 80,
) -> None:
    """Write a log of tribes, each of which plays nothing but its own songs.

    A member plays three of the tribe's songs a day, drawn by a seed: what one member has not
    heard yet others have.
    """
    for n in range(days):
        day = last_day - timedelta(days=days - 1 - n)
        deployment.write_day(
            day,
            [
                listen(
                    f"t{tribe}m{member:02d}",
                    f"track {tribe * 1000 + song:04d}",
                    day,
                    second=member * 600 + k * 200,
                )
                for tribe in range(tribes)
                for member in range(members)
                for k, song in enumerate(
                    random.Random(f"{tribe} {member} {n}").sample(range(songs), 3)
                )
            ],
        )


@pytest.fixture
def tribes(deployment: Deployment) -> Deployment:
    """A deployment with the log of three tribes."""
    tribe_log(deployment)
    return deployment


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a deployment that serves 2026-W46, with the log of two weeks more."""
    made = Deployment(tmp_path_factory.mktemp("published"))
    made.configure(
        recsys={"home": made.home, "seed": 1},
        listens={"source": "log", "format": "jsonl"},
        als={"factors": 8, "iterations": 5},
        mlflow={"tracking_uri": "http://127.0.0.1:9"},
    )
    tribe_log(made, last_day=LAST_DAYS[NEXT], days=23, members=12)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        patch.setenv("LUIGI_CONFIG_PATH", str(made.config))
        assert made.run(BEFORE)
    return made.folder


@pytest.fixture
def served(deployment: Deployment, published: Path) -> Deployment:
    """A deployment of one's own that serves 2026-W46."""
    for name in ("log", "home"):
        shutil.copytree(published / name, deployment.folder / name)
    deployment.configure(listens={"source": "log"})
    return deployment


def serves(deployment: Deployment) -> str:
    """The edition served, once a whole playlist of it was read."""
    with deployment.store() as store:
        playlist = store.playlist("t0m00")
        assert len(playlist.tracks) == 30
        return playlist.edition


@pytest.fixture
def whole_when_over(deployment: Deployment) -> Iterator[None]:
    """Whatever a test broke, no run that ended by itself leaves a half-written folder."""
    yield
    aside = [path for path in deployment.folder.rglob(".*.????????????") if path.is_dir()]
    assert not aside
    assert main(["verify"]) == 0
