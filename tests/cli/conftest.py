"""A deployment that published two weeks, and the command line in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from recsys.cli import main
from tests.workflows.conftest import Deployment, listen, tribe_log

BEFORE, NOW = "2026-W46", "2026-W47"
MONDAY = date(2026, 11, 16)

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a deployment that published two weeks."""
    made = Deployment(tmp_path_factory.mktemp("published"))
    made.configure(
        recsys={"home": made.home, "seed": 1},
        listens={"source": "log", "format": "jsonl"},
        als={"factors": 4, "iterations": 2},
        mlflow={"tracking_uri": "http://127.0.0.1:9"},
    )
    tribe_log(made, days=9, members=4)
    # Heard five weeks ago and not since, in a log that began then.
    made.write_day(date(2026, 10, 9), [listen("sleeper", "track 0001", date(2026, 10, 9))])
    made.configure(listens={"missing_day": "continue"})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        patch.setenv("LUIGI_CONFIG_PATH", str(made.config))
        assert made.run(BEFORE)
        assert made.run(NOW)
    return made.folder


@pytest.fixture
def deployment(tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment of one's own that published two weeks."""
    made = Deployment(tmp_path)
    shutil.copytree(published / "home", made.home)
    made.configure(
        recsys={"home": made.home, "seed": 1},
        listens={"source": "log", "format": "jsonl", "missing_day": "continue"},
        als={"factors": 4, "iterations": 2},
        mlflow={"tracking_uri": "http://127.0.0.1:9"},
    )
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(made.config))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def recsys(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command: its exit code, what it printed, what it printed to standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        return code, *capsys.readouterr()

    return call
