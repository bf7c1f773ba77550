"""Processes that read, publish, and die: ``python -m tests.store.children COMMAND URL …``.

Each talks by lines: it says ``ready``, and goes on when a line comes in.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import recsys.store
from recsys.errors import StoreError
from recsys.store import Store, open_store
from tests.store.making import USERS, make

PACKAGE: Final = str(Path(recsys.store.__file__).parent)

#: What a victim does when it is killed, and what finishes the work afterwards.
MOVES: Final[dict[str, Callable[[Store], object]]] = {
    "publish": lambda store: make("2026-W47").publish(store),
    "rollback": lambda store: store.rollback(),
    "erase": lambda store: store.erase(),
    "prune": lambda store: store.prune(2),
}


def check_whole(store: Store, users: Iterable[str] = USERS) -> str:
    """The edition served, after every playlist was found whole, of one edition, under its user."""
    for user in (*users, None):
        playlist = store.default_playlist() if user is None else store.playlist(user)
        tracks = [track.track_id for track in playlist.tracks]
        wanted = [f"{playlist.edition}/{user or ''}/{n}" for n in (1, 2, 3)]
        if tracks != wanted:
            raise AssertionError(f"{playlist.edition}: {tracks}")
    return playlist.edition


def read(url: str) -> None:
    """Read over and over until a line comes in; then print what was seen."""
    seen: list[str] = []
    reads = 0
    with open_store(url) as store:
        seen.append(check_whole(store))
        say("ready")
        while not select.select([sys.stdin], [], [], 0)[0]:
            edition = check_whole(store)
            reads += 1
            if edition != seen[-1]:
                seen.append(edition)
        seen.append(check_whole(store))
    say(json.dumps({"reads": reads, "seen": seen}))


def publish(url: str, edition: str, salt: str) -> None:
    """Wait for a line, publish once, print how it went."""
    made = make(edition, salt=salt)
    with open_store(url) as store:
        say("ready")
        sys.stdin.readline()
        try:
            made.publish(store)
        except StoreError as error:
            say(f"refused: {error}")
        else:
            say("published")


def victim(url: str) -> None:
    """For each line ``MOVE KILL_AT``: make the move in a process that is killed on its way.

    It is killed at that line event of the package, 0 for never. Says ``killed``, or how many
    events there were.
    """
    say("ready")
    for line in sys.stdin:
        move, kill_at = line.split()
        answer, question = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(question, str(traced(MOVES[move], url, int(kill_at))).encode())
            finally:
                os._exit(0)
        os.close(question)
        with os.fdopen(answer) as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        say("killed" if killed else told or "failed")


def traced(move: Callable[[Store], object], url: str, kill_at: int) -> int:
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    with open_store(url) as store:
        sys.settrace(trace)
        move(store)
        sys.settrace(None)
    return count


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"read": read, "publish": publish, "victim": victim}[command](*arguments)
