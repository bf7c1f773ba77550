"""A standalone Spark cluster on loopback, and runs in which somebody dies."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyspark
import pytest

from tests.workflows.conftest import Deployment

_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
_DEPLOY = "org.apache.spark.deploy"
_DRAFT = re.compile(r"\.(.+)\.[0-9a-f]{12}")
_PATIENCE_S = 120


class Cluster:
    """A master and two workers, each with a core for one executor.

    Attributes:
        url: of the master.
    """

    def __init__(self, folder: Path) -> None:
        self._stack = contextlib.ExitStack()
        master = self._started("master.Master", "--host", "127.0.0.1", "--port", "0")
        self.url = _said(master, r"Starting Spark master at (\S+)")
        _said(master, "I have been elected leader")
        options = ("--host", "127.0.0.1", "--cores", "1", "--memory", "1g")
        self.workers = [
            self._started("worker.Worker", *options, "--work-dir", str(folder / str(n)), self.url)
            for n in range(2)
        ]
        for worker in self.workers:
            _said(worker, "Successfully registered with master")

    def executors(self) -> list[psutil.Process]:
        """The Java processes that the workers have started."""
        alive = [psutil.Process(worker.pid) for worker in self.workers if worker.poll() is None]
        return [child for worker in alive for child in worker.children() if _name(child) == "java"]

    def busy(self) -> list[psutil.Process]:
        """The executors that have started Python."""
        found = []
        for executor in self.executors():
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(_name(child).startswith("python") for child in executor.children()):
                    found.append(executor)
        return found

    def lose_a_worker(self) -> None:
        """For good, and its executor with it."""
        worker = self.workers[0]
        for process in (*psutil.Process(worker.pid).children(recursive=True), worker):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        worker.wait(_PATIENCE_S)

    def lose_all_workers(self) -> None:
        """For good."""
        while self.workers:
            self.lose_a_worker()
            del self.workers[0]

    def stop(self) -> None:
        self._stack.close()

    def _started(self, name: str, *options: str) -> subprocess.Popen[str]:
        command = [_CLASS, f"{_DEPLOY}.{name}", "--webui-port", "0", *options]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"},
        )  # fmt: skip
        self._stack.callback(_stop, process)
        return process


def _name(process: psutil.Process) -> str:
    """What a process is called; nothing if it has ended."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def _said(process: subprocess.Popen[str], what: str) -> str:
    """Wait until a process says something; what it said."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if found := re.search(what, line):
            return found[found.lastindex or 0]
    pytest.fail("".join(lines))


def _stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=_PATIENCE_S)


@contextlib.contextmanager
def running(deployment: Deployment, *task: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run on its way."""
    said = deployment.folder / "run.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "luigi", "--module", "workflows", "--local-scheduler", *task],
            cwd=deployment.folder, env=deployment.environment(), stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait(_PATIENCE_S)


def wait_until(
    happened: Callable[[], bool], process: subprocess.Popen[bytes], deployment: Deployment
) -> None:
    """Look again and again while a run is on its way; it must not end before."""
    while not happened():
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(0.02)
            pytest.fail(f"{code}: {(deployment.folder / 'run.log').read_text()}")


def drafts(home: Path) -> set[Path]:
    """The artefacts that are being written."""
    folders = (Path(root, name) for root, names, _ in os.walk(home) for name in names)
    return {
        folder.with_name(found[1]) for folder in folders if (found := _DRAFT.fullmatch(folder.name))
    }


def gone(processes: list[psutil.Process]) -> bool:
    """Whether processes end."""
    return not psutil.wait_procs(processes, timeout=_PATIENCE_S)[1]
