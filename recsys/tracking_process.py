"""MLflow in a process of its own, so that a run never waits for its import.

Importing MLflow and opening its store takes seconds of a processor. The process begins with the run
and does so beside it; then it is asked for what :mod:`recsys.tracking` does, one call at a time.
Whatever becomes of it, the run goes on; however the run ends, it ends too, for its standard input
closes: at once, but for what it writes to a local database, which could be left half made.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from threading import Lock, Thread
from typing import Final, ParamSpec

from recsys import tracking

Given = ParamSpec("Given")

#: The longest that a run waits for a local database to be written, when it ends.
_LAST_WORDS_S: Final = 60.0


class _Process:
    def __init__(self, uri: str) -> None:
        self.owner = os.getpid()
        self._one_call = Lock()
        self._pipe, theirs = Pipe()
        # Not from the directory that the run is in, where anything may be called mlflow.py.
        command = [sys.executable, "-P", "-m", __name__, str(theirs.fileno())]
        paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(  # noqa: S603 - this module
            command,
            stdin=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            process_group=0,  # Ctrl-C is for the run
        )
        theirs.close()
        self._pipe.send(uri)  # not an argument: it may hold a password

    def call(self, work: Callable[..., str | None], *given: object, **named: object) -> str | None:
        try:
            with self._one_call:
                self._pipe.send((work, given, named))
                said: str | None = self._pipe.recv()
        except (EOFError, OSError):
            return f"its process has ended with code {self._process.wait()}"
        return said

    @property
    def serves(self) -> bool:
        return self.owner == os.getpid() and self._process.poll() is None

    def end(self) -> None:
        if os.getpid() != self.owner:
            return
        self._pipe.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_process: _Process | None = None


def begin(uri: str) -> None:
    """Begin the process, unless this one has one or has MLflow imported.

    Args:
        uri: of the tracking store, which the process opens at once. What is wrong with it the first
            call will say.
    """
    global _process
    if "mlflow" in sys.modules or (_process is not None and _process.serves):
        return
    _process = _Process(uri)
    atexit.register(_process.end)


def call(
    work: Callable[Given, str | None], *given: Given.args, **named: Given.kwargs
) -> str | None:
    """Call a function of :mod:`recsys.tracking` in the process, or here where there is none.

    Returns:
        What it returns: None, or why it could not do its work; also where the process has died.
    """
    if _process is None or _process.owner != os.getpid():
        return work(*given, **named)
    return _process.call(work, *given, **named)


def _serve(pipe: Connection) -> None:
    """Answer calls until the pipe ends."""
    try:
        uri = pipe.recv()
        local = uri.startswith("sqlite:")
        if not local:
            Thread(target=_leave_with_the_run, daemon=True).start()
        with contextlib.suppress(Exception):  # whoever calls is told why
            tracking.import_mlflow()
        if local:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from here on it writes
        if not pipe.poll():  # neither asked for anything yet, nor ended
            tracking.open_tracking(uri)
        while True:
            work, given, named = pipe.recv()
            pipe.send(work(*given, **named))
    except (EOFError, OSError):
        return


def _leave_with_the_run() -> None:
    """End this process when the run has ended, whatever it is waiting for."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
