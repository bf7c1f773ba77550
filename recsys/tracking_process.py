"""MLflow in a process of its own, so that a run never waits for its import.

Importing MLflow and opening its store takes seconds of a processor. The process begins with the run
and does so beside it; then it is asked for what :mod:`recsys.tracking` does, one call at a time.
Whatever becomes of it, the run goes on; however the run ends, it ends too, for its pipe closes.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from threading import Lock
from typing import ParamSpec

from recsys import tracking

Given = ParamSpec("Given")


class _Process:
    def __init__(self, uri: str) -> None:
        self.owner = os.getpid()
        self._one_call = Lock()
        self._pipe, theirs = Pipe()
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        self._process = subprocess.Popen(  # noqa: S603 - this module
            command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
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
        if os.getpid() == self.owner:
            self._pipe.close()
            self._process.terminate()
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run decides, and closes the pipe
    try:
        uri = pipe.recv()
        tracking.import_mlflow()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from here on it writes
        if not pipe.poll():  # neither asked for anything yet, nor ended
            tracking.open_tracking(uri)
        while True:
            work, given, named = pipe.recv()
            pipe.send(work(*given, **named))
    except (EOFError, OSError):
        return


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
