"""A run killed at any instruction: what was served stays served, and the same command goes on."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recsys.errors import StoreError
from recsys.store import open_store
from tests.workflows.conftest import ROOT, WEEK, Deployment, tribe_log

BEFORE = "2026-W46"

#: Runs a week again and again in forks of itself, each of which kills itself at one moment. Every
#: change to the disk that outlives a crash is such a moment, just before it and just after it:
#: an artefact or a folder of the store renamed, a file replaced, a call of the store.
DRIVER = """
import os, signal, sys
from pathlib import Path

import luigi

import workflows
import recsys.matrix, recsys.model_evaluation, recsys.playlists.making, recsys.tracking
import mlflow.store
import recsys.verification
from recsys.store._sqlite import SqliteStore

moment = 0

def watched(owner, name, last):
    right = getattr(owner, name)
    def pass_by():
        global moment
        moment += 1
        if moment == last:
            os.kill(os.getpid(), signal.SIGKILL)
    def call(*arguments, **named):
        pass_by()
        result = right(*arguments, **named)
        pass_by()
        return result
    setattr(owner, name, call)

def run(folder, week, last):
    os.chdir(folder)
    os.environ["LUIGI_CONFIG_PATH"] = folder + "/overlay.cfg"
    for owner, name in (
        (Path, "rename"), (Path, "replace"), (SqliteStore, "stage"), (SqliteStore, "activate"),
    ):
        watched(owner, name, last)
    task = workflows.WeeklyPlaylists(week=week)
    done = luigi.build([task], local_scheduler=True, log_level="ERROR", logging_conf_file="")
    print("done" if done else "failed", moment, flush=True)

print("ready", flush=True)
for line in sys.stdin:
    folder, week, last = line.split()
    child = os.fork()
    if not child:
        run(folder, week, int(last))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        print("killed", last, flush=True)
"""


class Driver:
    """Runs weeks that are killed at a given moment."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert self._line() == "ready"

    def run(self, deployment: Deployment, last: int) -> tuple[str, int]:
        """Run the week; ``done`` and the number of moments, or ``killed`` and the last one."""
        assert self._process.stdin is not None
        print(deployment.folder, WEEK, last, file=self._process.stdin, flush=True)
        outcome, moment = self._line().split()
        return outcome, int(moment)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield Driver(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a deployment that serves 2026-W46, with the log of one week more."""
    made = Deployment(tmp_path_factory.mktemp("published"))
    made.configure(
        recsys={"home": made.home, "seed": 1},
        listens={"source": "log", "format": "jsonl"},
        als={"factors": 4, "iterations": 2},
        mlflow={"tracking_uri": "http://127.0.0.1:9"},
    )
    tribe_log(made, days=9, members=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        patch.setenv("LUIGI_CONFIG_PATH", str(made.config))
        assert made.run(BEFORE)
    return made.folder


@pytest.fixture
def served(deployment: Deployment, published: Path) -> Deployment:
    """A deployment of one's own that serves 2026-W46."""
    deployment.configure(listens={"source": "log"}, als={"factors": 4, "iterations": 2})
    begin_again(deployment, published)
    return deployment


def begin_again(deployment: Deployment, published: Path) -> None:
    shutil.rmtree(deployment.home, ignore_errors=True)
    shutil.rmtree(deployment.log, ignore_errors=True)
    shutil.copytree(published / "home", deployment.home)
    shutil.copytree(published / "log", deployment.log)


def made(deployment: Deployment) -> dict[str, str]:
    """The digest of every artefact and of the edition in the store."""
    digests = {
        str(path.parent.relative_to(deployment.home)): path.read_text("utf-8").split('"')[3]
        for path in deployment.home.rglob("manifest.json")
    }
    # These hold how long the stages took.
    digests = {name: one for name, one in digests.items() if not name.endswith("record")}
    with deployment.store() as store:
        current = store.current()
        assert current is not None
        return {**digests, "store": current.digest}


class Listener(threading.Thread):
    """Reads a playlist of whatever is served, all the time."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__()
        self._url = deployment.load().store_url
        self._over = threading.Event()
        self.seen: list[str] = []
        self.faults: list[str] = []

    def run(self) -> None:
        with open_store(self._url) as store:
            while not self._over.is_set():
                try:
                    playlist = store.playlist("t0m00")
                except StoreError as error:
                    self.faults.append(str(error))
                    continue
                if len(playlist.tracks) != 30:
                    self.faults.append(f"{len(playlist.tracks)} tracks of {playlist.edition}")
                if self.seen[-1:] != [playlist.edition]:
                    self.seen.append(playlist.edition)
                self._over.wait(0.001)

    def stop(self) -> None:
        self._over.set()
        self.join()


@contextmanager
def listening(deployment: Deployment) -> Iterator[Listener]:
    listener = Listener(deployment)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()


def spread(parts: int, moments: int) -> list[int]:
    """So many of the moments 1...n, the first and the last two among them."""
    evenly = {1 + round(n * (moments - 1) / (parts - 1)) for n in range(parts - 1)}
    return sorted({*evenly, moments - 1, moments})


@pytest.mark.parametrize("points", [3, pytest.param(1000, marks=pytest.mark.soak)])
def test_killed_between_any_two_steps(
    served: Deployment, published: Path, driver: Driver, points: int
) -> None:
    outcome, moments = driver.run(served, 0)
    assert outcome == "done"
    assert moments > 40
    undisturbed = made(served)
    for last in spread(points, moments):
        begin_again(served, published)
        with listening(served) as listener:
            assert driver.run(served, last) == ("killed", last)
            with served.store() as store:
                current = store.current()
                assert current is not None
                assert current.edition == (
                    BEFORE if current.digest != undisturbed["store"] else WEEK
                )
            assert driver.run(served, 0)[0] == "done"
        assert listener.faults == []
        assert listener.seen in ([BEFORE, WEEK], [WEEK]), "back to an older edition, or to none"
        assert made(served) == undisturbed, f"killed at moment {last} of {moments}"
        ended = served.last_run()
        assert (ended["outcome"], ended["verdict"]) == ("succeeded", "unproven")


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(n, marks=pytest.mark.soak) for n in range(2, 30))]
)
def test_killed_with_all_its_workers_at_any_time(served: Deployment, seed: int) -> None:
    """The whole process group, by SIGKILL, wherever it happens to be; then by the same command."""
    delay = random.Random(seed).uniform(1, 8)
    command = [sys.executable, "-m", "luigi", "--module", "workflows", "WeeklyPlaylists"]
    command += ["--local-scheduler", "--workers", "2", "--week", WEEK]
    with listening(served) as listener:
        with subprocess.Popen(
            command,
            cwd=served.folder,
            env=served.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                process.wait(delay)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        ended = served.weekly("--week", WEEK)
        assert ended.returncode == 0, ended.stderr
    assert listener.faults == []
    assert listener.seen == [BEFORE, WEEK]
    finished = made(served)
    shutil.rmtree(served.edition())
    shutil.rmtree(served.home / "store")
    assert served.run()
    assert made(served)["store"] == finished["store"]


def test_a_killed_run_is_told_of(served: Deployment, driver: Driver) -> None:
    assert driver.run(served, 21) == ("killed", 21)
    assert served.last_run()["outcome"] == "running"
    said = served.recsys("status").stdout
    assert "was killed before it ended" in said
