"""MLflow in a process of its own: it answers, it may die, and it never outlives the run."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ParamSpec

import psutil
import pytest

from recsys import tracking_process
from recsys.tracking import log_training, make_champion

Given = ParamSpec("Given")

DOWN = "http://127.0.0.1:9"

#: Begins the process, says its number and waits to be killed.
RUN = """
import sys
from recsys import tracking_process

tracking_process.begin(sys.argv[1])
print(tracking_process._process._process.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a database that is not there yet; no process is begun."""
    monkeypatch.setattr(tracking_process, "_process", None)
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    yield f"sqlite:///{tmp_path / 'mlflow.db'}"
    if tracking_process._process is not None:
        tracking_process._process.end()


def child() -> psutil.Process:
    assert tracking_process._process is not None
    return psutil.Process(tracking_process._process._process.pid)


def answer(
    work: Callable[Given, str | None], *given: Given.args, **named: Given.kwargs
) -> str | None:
    """What the process says in the end."""
    failures: list[str] = []
    tracking_process.ask(failures.append, work, *given, **named)
    tracking_process.settle()
    return failures[0] if failures else None


def train(uri: str, folder: Path) -> str | None:
    failures: list[str] = []
    ask_to_train(uri, folder, 1, failures.append)
    tracking_process.settle()
    return failures[0] if failures else None


def ask_to_train(uri: str, folder: Path, number: int, told: Callable[[str], None]) -> None:
    model = folder / "items.npy"
    model.write_bytes(b"factors")
    tracking_process.ask(
        told,
        log_training,
        uri,
        name="2026-W47 r1",
        settings={"als": {"factors": 8}},
        tags={"artefact": f"sha256:{number}"},
        metrics={"parent_ndcg": 0.1},
        losses=[0.2, 0.1],
        documents={"plan.json": {"week": "2026-W47"}},
        files=[model],
        local_files=folder / "mlflow",
    )


def test_a_training_is_logged_and_its_model_made_champion_without_importing_mlflow_here(
    uri: str, tmp_path: Path
) -> None:
    tracking_process.begin(uri)
    first = child().pid
    tracking_process.begin(uri)
    assert train(uri, tmp_path) is None
    assert answer(make_champion, uri, "sha256:1") is None
    failures: list[str] = []
    with ThreadPoolExecutor(4) as threads:
        ask = partial(tracking_process.ask, failures.append, make_champion, uri)
        list(threads.map(ask, map(str, range(9))))
    assert failures == []
    tracking_process.settle()
    assert failures == ["the model was not registered when it was trained"] * 9
    assert child().pid == first
    assert "mlflow" not in sys.modules
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        aliases = database.execute("SELECT alias, version FROM registered_model_aliases")
        assert sorted(aliases) == [("challenger", 1), ("champion", 1)]
    database.close()


def test_a_process_that_was_killed_is_told_of_and_begun_anew(uri: str, tmp_path: Path) -> None:
    tracking_process.begin(uri)
    child().kill()
    assert train(uri, tmp_path) == "its process has ended with code -9"
    tracking_process.begin(uri)
    assert train(uri, tmp_path) is None


def test_a_password_is_on_no_command_line(uri: str) -> None:
    tracking_process.begin("postgresql+psycopg://ada:s3cr3t@127.0.0.1:9/mlflow")
    assert not any("s3cr3t" in word for word in child().cmdline())


def test_a_run_that_fails_meanwhile_is_told_too(uri: str) -> None:
    tracking_process.begin(DOWN)
    failures: list[str] = []
    tracking_process.ask(failures.append, make_champion, DOWN, "sha256:1")
    process = tracking_process._process
    assert process is not None
    process.end()
    (failure,) = failures
    assert "127.0.0.1" in failure


def test_who_is_never_answered_is_told_so(uri: str, mute: socket.socket) -> None:
    failures: list[str] = []
    tracking_process.begin(uri_of(mute))
    for _ in range(2):
        tracking_process.ask(failures.append, make_champion, uri_of(mute), "sha256:1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking_process, "_PATIENCE_S", 0.1)
        tracking_process.settle()
    assert failures[0] == "no answer within 0 s"
    assert failures[1].startswith("its process has ended")
    assert answer(make_champion, DOWN, "sha256:1") == failures[1]
    tracking_process.begin(DOWN)
    assert "127.0.0.1" in str(answer(make_champion, DOWN, "sha256:1"))


def test_all_that_a_killed_run_has_asked_for_is_done(uri: str, tmp_path: Path) -> None:
    tracking_process.begin(uri)
    assert train(uri, tmp_path) is None
    for number in (2, 3):
        ask_to_train(uri, tmp_path, number, print)
    process = tracking_process._process
    assert process is not None
    process._leave()  # as when it is killed: its ends of the pipes close
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("SELECT count(*) FROM model_versions").fetchone() == (3,)
    database.close()


def test_a_machine_that_has_no_room_for_it_is_no_harm(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", full)
    assert not tracking_process.begin(uri)
    assert answer(lambda: "in here") == "in here"


def test_without_a_process_the_work_is_done_here(uri: str) -> None:
    assert answer(lambda: f"in {os.getpid()}") == f"in {os.getpid()}"


def test_a_fork_does_not_speak_into_the_pipe_of_its_parent(uri: str) -> None:
    tracking_process.begin(DOWN)
    reader, writer = os.pipe()
    if (fork := os.fork()) == 0:
        os.write(writer, str(answer(lambda: f"in {os.getpid()}")).encode())
        os._exit(0)
    os.waitpid(fork, 0)
    assert os.read(reader, 100).decode() == f"in {fork}"
    os.close(reader)
    os.close(writer)
    assert "127.0.0.1" in str(answer(make_champion, DOWN, "sha256:1"))


@contextmanager
def begun_by_a_run(uri: str) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A run, and the process that it has begun."""
    command = [sys.executable, "-c", RUN, uri]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        yield run, psutil.Process(int(run.stdout.readline()))


def gone(process: psutil.Process) -> bool:
    return not psutil.wait_procs([process], timeout=60)[1]


def test_it_ends_with_the_run(uri: str) -> None:
    with begun_by_a_run(uri) as (run, process):
        assert run.stdin is not None
        run.stdin.close()
        assert run.wait(60) == 0
        assert gone(process)


def test_it_ends_with_a_run_that_is_killed(uri: str) -> None:
    with begun_by_a_run(uri) as (run, process):
        run.kill()
        assert gone(process)


@pytest.fixture
def mute() -> Iterator[socket.socket]:
    """A database that is spoken to and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)
        yield server


def uri_of(server: socket.socket) -> str:
    return f"postgresql+psycopg://ada@127.0.0.1:{server.getsockname()[1]}/mlflow"


def test_a_run_that_ends_waits_for_no_database(uri: str, mute: socket.socket) -> None:
    tracking_process.begin(uri_of(mute))
    with mute.accept()[0]:
        process = tracking_process._process
        assert process is not None
        process.end()
        # By the end of its input or by the signal, whichever it sees first: never by force.
        assert process._process.returncode in {0, -signal.SIGTERM}


def test_a_run_that_is_killed_leaves_nobody_waiting_for_a_database(mute: socket.socket) -> None:
    with begun_by_a_run(uri_of(mute)) as (run, process), mute.accept()[0]:
        run.kill()
        assert gone(process)


def test_a_file_beside_the_run_is_not_taken_for_mlflow(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.py").write_text("raise SystemExit('this is not MLflow')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    tracking_process.begin(DOWN)
    assert "127.0.0.1" in str(answer(make_champion, DOWN, "sha256:1"))


def test_an_mlflow_that_cannot_be_imported_says_why(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.py").write_text("raise ImportError('no libfoo')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    tracking_process.begin(DOWN)
    said = answer(make_champion, DOWN, "sha256:1")
    assert said == "ImportError: no libfoo"
