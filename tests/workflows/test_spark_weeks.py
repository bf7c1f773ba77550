"""Weeks on Spark, from the log to the store, and whoever reads what they left."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from recsys.artefact import Artefact, exists
from recsys.home import Home
from recsys.store import open_store
from recsys.weeks import Week
from tests.engines.here import need_spark
from tests.workflows.conftest import Deployment, listen
from tests.workflows.spark_cluster import Cluster, drafts, gone, running, wait_until

FIRST, SECOND = "2026-W47", "2026-W48"
TRIBES, MEMBERS, SONGS, HISTORY = 3, 14, 240, 3


def deliver(deployment: Deployment, arrived: date) -> None:
    """A week of listens that came on one day: three songs a day of each listener's own tribe."""
    deployment.write_day(
        arrived,
        [
            listen(
                f"t{tribe}m{member:02d}",
                f"track {tribe * 1000 + song:04d}",
                arrived - timedelta(days=back),
                second=member * 600 + k * 200,
            )
            for back in range(7)
            for tribe in range(TRIBES)
            for member in range(MEMBERS)
            for k, song in enumerate(
                random.Random(f"{tribe} {member} {arrived} {back}").sample(range(SONGS), 3)
            )
        ],
    )


@pytest.fixture
def weeks(deployment: Deployment) -> Deployment:
    """A deployment whose log comes once a week, so that there are few days to read."""
    last = Week.parse(FIRST).last_day(24)
    for back in range(HISTORY + 1):
        deliver(deployment, last - timedelta(weeks=back))
    deployment.configure(
        listens={"missing_day": "continue", "odd_day": "continue"},
        spark={
            "master": "local[2]",
            "spark.driver.memory": "1g",
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",  # it runs for a minute
            "spark.sql.shuffle.partitions": 2,
        },
    )
    need_spark(deployment.load())
    return deployment


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A master and two workers, started as docs/spark.md says."""
    made = Cluster(tmp_path)
    yield made
    made.stop()


def first_week(weeks: Deployment, engine: str) -> None:
    """Make a week, and deliver the log of the next."""
    weeks.configure(engine={"name": engine})
    ran = weeks.weekly("--week", FIRST)
    assert ran.returncode == 0, ran.stderr
    deliver(weeks, Week.parse(SECOND).last_day(24))
    weeks.configure(engine={"name": "spark"})


@pytest.mark.parametrize(
    ("first", "killed"),
    [
        ("local", False),
        pytest.param("local", True, marks=pytest.mark.soak),
        pytest.param("spark", True, marks=pytest.mark.soak),
    ],
)
def test_a_week_goes_on_from_the_one_before(weeks: Deployment, first: str, killed: bool) -> None:
    """Whichever engine made it; also where the driver is killed on the way, and it runs again."""
    first_week(weeks, first)
    days = {path: path.stat().st_mtime_ns for path in (weeks.home / "days").rglob("*.json")}

    if killed:
        with running(weeks, "WeeklyPlaylists", "--week", SECOND) as driver:
            wait_until(lambda: exists(weeks.edition(SECOND) / "matrix"), driver, weeks)
        assert served(weeks) == FIRST
    ran = weeks.weekly("--week", SECOND)

    assert ran.returncode == 0, ran.stderr
    assert served(weeks) == SECOND
    assert {path: path.stat().st_mtime_ns for path in days} == days
    edition = weeks.edition(SECOND)
    choice = json.loads(Artefact.open(edition / "model_choice").file("verdict.json").read_text())
    assert (choice["way"], choice["because"]) == (
        "cold", "Spark's ALS cannot go on from a model"
    )  # fmt: skip
    model = Artefact.open(edition / "als_model")
    assert np.load(model.file("user_factors.npy")).shape == (0, 8)
    assert_by_tribe(weeks)

    assert f"edition {SECOND} revision 1 is served" in weeks.recsys("status").stdout
    for asked in (["summary"], ["verify"], ["show", "t1m03"], ["explain", "t1m03"]):
        said = weeks.recsys(*asked)
        assert said.returncode == 0, (asked, said.stdout, said.stderr)
    assert "Song track 1" in said.stdout
    assert (edition / "report.html").exists()
    assert not [path for path in weeks.home.rglob(".*") if path.is_dir()]


def assert_by_tribe(weeks: Deployment) -> None:
    lists = weeks.playlists(SECOND)
    assert len(lists) == TRIBES * MEMBERS
    own = [row["user_id"][1] == one["track_id"][6] for row in lists for one in row["tracks"]]
    assert np.mean(own) > 0.9


def served(deployment: Deployment) -> str:
    with open_store(deployment.load().store_url) as store:
        return store.playlist("t0m00").edition


@pytest.mark.soak
def test_an_executor_dies_while_a_day_is_cleaned(weeks: Deployment, cluster: Cluster) -> None:
    day = Week.parse(FIRST).last_day(24) - timedelta(weeks=HISTORY)  # before it there is none
    tables = Home.of(weeks.load()).plays(day)
    rows = []
    for engine in ("local", "spark"):
        shutil.rmtree(weeks.home, ignore_errors=True)
        weeks.configure(engine={"name": engine}, spark={"master": cluster.url})
        with running(weeks, "DailyPlays", "--day", str(day)) as driver:
            if engine == "spark":
                wait_until(lambda: bool(at_work(weeks, cluster)), driver, weeks)
                left = psutil.Process(driver.pid).children(recursive=True)
                at_work(weeks, cluster)[0].kill()
                assert drafts(weeks.home)
            assert driver.wait(600) == 0, (weeks.folder / "run.log").read_text()
        rows.append(pq.read_table(Artefact.open(tables).file("plays.parquet")).to_pylist())
    assert len(rows[0]) > 100
    assert rows[1] == rows[0]
    assert gone([*left, *cluster.executors()])


#: Opens a session, is told that all workers are gone, asks for work, and says how that ended.
_ASK = """
import sys
from pathlib import Path
from recsys.settings import load_settings
from recsys.spark import SparkEngine, _session, _watch

_watch._LOOK_EVERY_S, _watch._SAY_EVERY_S, _watch.GIVE_UP_S = 0.1, 1.0, 3.0
engine = SparkEngine(load_settings([Path(sys.argv[1])]))
engine.preflight()
print("open", flush=True)
sys.stdin.readline()
try:
    engine.session.range(3).count()
except Exception as error:
    raise engine.explained(error) from None
"""


@pytest.mark.soak
def test_work_that_nobody_is_left_for_ends(weeks: Deployment, cluster: Cluster) -> None:
    weeks.configure(engine={"name": "spark"}, spark={"master": cluster.url})
    with subprocess.Popen(
        [sys.executable, "-c", _ASK, str(weeks.config)],
        cwd=weeks.folder, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as asking:  # fmt: skip
        assert asking.stdout is not None
        assert asking.stdout.readline() == "open\n"
        cluster.lose_all_workers()
        _, said = asking.communicate("\n", timeout=300)
    assert "the work waits for one" in said
    last = said.splitlines()[-1]
    assert last.startswith("recsys.errors.ResourceError: ")
    assert f"{cluster.url} had no executor for" in last


def at_work(weeks: Deployment, cluster: Cluster) -> list[psutil.Process]:
    """The executors that work on an artefact: that they can was looked at before."""
    looking = any(weeks.home.glob(".seen-by-executors-*"))
    return [] if looking else cluster.busy()


@pytest.mark.soak
@pytest.mark.parametrize(
    ("fault", "training"),
    [
        ("executors", "implicit"),
        ("worker", "implicit"),
        ("driver", "implicit"),
        ("executors", "spark"),
    ],
)
def test_whoever_dies_the_edition_is_the_same(
    weeks: Deployment, cluster: Cluster, fault: str, training: str
) -> None:
    """An executor in every stage, a worker for good, or the driver in every stage."""
    first_week(weeks, "local")
    weeks.configure(spark={"master": cluster.url, "training": training})
    before = weeks.folder / "before"
    shutil.copytree(weeks.home, before)
    ran = weeks.weekly("--week", SECOND)
    assert ran.returncode == 0, ran.stderr
    undisturbed = made(weeks, training)
    shutil.rmtree(weeks.home)
    before.rename(weeks.home)

    struck: set[Path] = set()
    code = None
    while code is None:
        with running(weeks, "WeeklyPlaylists", "--week", SECOND) as driver:
            code = strike(weeks, cluster, fault, driver, struck)
            left = psutil.Process(driver.pid).children(recursive=True) if code is None else []
        assert gone([*left, *cluster.executors()])
        if code is not None or exists(weeks.edition(SECOND) / "published"):
            assert served(weeks) == SECOND
        elif weeks.edition(SECOND) / "published" not in struck:
            assert served(weeks) == FIRST

    assert code == 0, (weeks.folder / "run.log").read_text()
    assert len(struck) >= (1 if fault == "worker" else 8)
    assert made(weeks, training) == undisturbed
    assert_by_tribe(weeks)
    assert not drafts(weeks.home)


def strike(
    weeks: Deployment,
    cluster: Cluster,
    fault: str,
    driver: subprocess.Popen[bytes],
    struck: set[Path],
) -> int | None:
    """Let somebody die in each artefact that nobody died in before; None if the driver is to."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return driver.wait(0.02)
        fresh, victims = drafts(weeks.home) - struck, at_work(weeks, cluster)
        if not fresh or not victims:
            continue
        if fault == "driver":
            struck |= fresh
            return None
        if fault == "executors":
            try:
                victims[0].kill()
            except psutil.NoSuchProcess:  # its work was done
                continue
        elif not struck:
            cluster.lose_a_worker()
        struck |= fresh


def made(weeks: Deployment, training: str) -> dict[str, str]:
    """The digests of an edition's artefacts, but for those that say when.

    Sums of Spark's ALS are rounded as blocks come in: what follows it is the same within that.
    """
    stages = ["catalogue", "matrix"]
    if training == "implicit":
        stages += ["als_model", "candidates", "playlists"]
    return {name: Artefact.open(weeks.edition(SECOND) / name).digest for name in stages}
