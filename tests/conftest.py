"""A home with a few editions of a simulated log, made once a session for whoever only looks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import hypothesis
import luigi
import pytest

from recsys import home

# `make soak` has the other one, by --hypothesis-profile.
hypothesis.settings.register_profile("soak", deadline=None, max_examples=300)
hypothesis.settings.register_profile("test", deadline=None, max_examples=25)
if hypothesis.settings.get_current_profile_name() != "soak":
    hypothesis.settings.load_profile("test")

#: The editions of the simulated home, oldest first.
SIMULATED_WEEKS = ("2026-W45", "2026-W46", "2026-W47")

_OVERLAY = """\
[recsys]
home = {folder}/home
seed = 1

[listens]
source = {folder}/simulation/log
format = jsonl

[als]
factors = 8
iterations = 5

[evaluation]
baselines = popularity, item_knn

[mlflow]
tracking_uri = http://127.0.0.1:9

[tuning]
trials = 4
"""


_LUIGI = {"local_scheduler": True, "log_level": "WARNING", "logging_conf_file": ""}


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``simulation``, ``home`` and the ``overlay.cfg`` that names them: read only.

    All workers of a session share it; the first to come makes it.
    """
    shared = tmp_path_factory.getbasetemp()
    if shared.name.startswith("popen-"):
        shared = shared.parent
    folder = shared / "simulated"
    with (shared / "simulated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder)
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def tuned(simulated: Path) -> Path:
    """The same folder, tuned for the newest week."""
    from workflows import TuneModel

    with (simulated.parent / "simulated.lock").open("w") as lock, working_in(simulated):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (simulated / "home" / "tuning").exists():
            _work(simulated, TuneModel(week=SIMULATED_WEEKS[-1]))
    return simulated


def _make(folder: Path) -> None:
    from recsys.simulate import World, simulate
    from workflows import BackfillPlaylists

    world = World(
        listeners=150, tracks=1200, artists=150, days=49, last_day=date(2026, 11, 14), seed=5
    )
    folder.mkdir()
    simulate(world).write(folder / "simulation", "jsonl")
    (folder / "overlay.cfg").write_text(_OVERLAY.format(folder=folder), encoding="utf-8")
    with working_in(folder):
        weeks = BackfillPlaylists(first=SIMULATED_WEEKS[0], last=SIMULATED_WEEKS[-1])
        _work(folder, weeks)


def _work(folder: Path, task: luigi.Task) -> None:
    """Run a task and let go of the home, which a run holds until its process ends."""
    assert luigi.build([task], **_LUIGI)
    os.close(home._LOCKS.pop(folder / "home" / ".lock"))


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """In the folder, with its settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LUIGI_CONFIG_PATH", str(folder / "overlay.cfg"))
        patch.setitem(luigi.configuration.get_config()["worker"], "keep_alive", "false")
        yield
