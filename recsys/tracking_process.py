"""MLflow in a process of its own, so that a run never waits for its import.

Importing MLflow and opening its store takes seconds of a processor. The process begins with the run
and does so beside it; then it is asked for what :mod:`recsys.tracking` does, one thing after
another, and the run hears later how that went. Whatever becomes of it, the run goes on; however the
run ends, it ends too, for its standard input closes: at once, but for what it writes to a local
database, which could be left half made.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from threading import Lock, Thread
from typing import Final, ParamSpec

from recsys import tracking

Given = ParamSpec("Given")
Told = Callable[[str], None]

#: The longest that a run waits for answers when all else is done: a database that is down is tried
#: for two minutes each time.
_PATIENCE_S: Final = 300.0
#: The longest that a run waits for them when it fails, and for a local database to be written.
_LAST_WORDS_S: Final = 60.0


class _Process:
    def __init__(self, uri: str) -> None:
        self.owner = os.getpid()
        self._one_at_a_time = Lock()
        self._unheard: deque[Told] = deque()
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

    def ask(
        self, told: Told, work: Callable[..., str | None], *given: object, **named: object
    ) -> None:
        with self._one_at_a_time:
            with contextlib.suppress(OSError):  # of a process that has ended: hearing says so
                self._pipe.send((work, given, named))
            self._unheard.append(told)

    def settle(self, longest: float) -> None:
        """Hear all answers; of those that take too long the process is ended."""
        deadline = time.monotonic() + longest
        with self._one_at_a_time:
            while self._unheard:
                told, failure = self._unheard.popleft(), f"no answer within {longest:.0f} s"
                try:
                    if self._pipe.poll(max(deadline - time.monotonic(), 0.0)):
                        failure = self._pipe.recv()
                    else:
                        self._leave()
                except (EOFError, OSError):
                    failure = f"its process has ended with code {self._process.wait()}"
                if failure is not None:
                    told(failure)

    @property
    def serves(self) -> bool:
        return self.owner == os.getpid() and self._process.poll() is None

    def end(self) -> None:
        if os.getpid() != self.owner:
            return
        self.settle(_LAST_WORDS_S)
        self._leave()

    def _leave(self) -> None:
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


def begin(uri: str) -> bool:
    """Begin the process, unless this one has one or has MLflow imported.

    Args:
        uri: of the tracking store, which the process opens at once. What is wrong with it whoever
            asks will be told.

    Returns:
        Whether one was begun.
    """
    global _process
    if "mlflow" in sys.modules or (_process is not None and _process.serves):
        return False
    try:
        _process = _Process(uri)
    except OSError:  # the machine has no room for it
        return False
    atexit.register(_process.end)
    return True


def ask(
    told: Told, work: Callable[Given, str | None], *given: Given.args, **named: Given.kwargs
) -> None:
    """Ask the process for a function of :mod:`recsys.tracking`; without one it is called here.

    Args:
        told: called with why it could not be done, also where the process has died: by
            :func:`settle`, or when the run ends.
        work: what is asked for; it returns None, or why it could not be done.
        given: its arguments.
        named: its arguments by name.
    """
    if _process is not None and _process.owner == os.getpid():
        _process.ask(told, work, *given, **named)
    elif (failure := work(*given, **named)) is not None:
        told(failure)


def settle() -> None:
    """Wait until what was asked for is done, or has taken five minutes."""
    if _process is not None and _process.owner == os.getpid():
        _process.settle(_PATIENCE_S)


def _serve(pipe: Connection) -> None:
    """Do what is asked for until the pipe ends."""
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
            said = work(*given, **named)
            with contextlib.suppress(BrokenPipeError):  # of a run that was killed: what is left of
                pipe.send(said)  # what it has asked for is done
    except (EOFError, OSError):
        return


def _leave_with_the_run() -> None:
    """End this process when the run has ended, whatever it is waiting for."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
    os._exit(0)  # all is written; to take MLflow down takes a second more, for which the run waits
