"""Processes that read, publish, and die: ``python -m tests.store.children COMMAND URL …``."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import recsys.store
from recsys.errors import StoreError
from recsys.store import Store, open_store
from tests.store.making import USERS, make

PACKAGE = str(Path(recsys.store.__file__).parent)


def check_whole(store: Store) -> str:
    """The edition served, after every playlist was found whole and under its user."""
    for user in (*USERS, None):
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


def die(url: str, folder: str, points: int) -> None:
    """Publish in a child that is killed, at ``points`` lines of the package, one after another.

    Each time, what readers see must be whole, and publishing again must finish the work.
    """
    template, victim = Path(folder), Path(folder).with_name("victim")
    with open_store(url) as store:
        make("2026-W46").publish(store)
    made = make("2026-W47")
    lines = int(in_child(template, victim, url, made, kill_at=0))
    outcomes = set()
    step = max(1, lines // points)
    for kill_at in range(1, lines + 1, step):
        in_child(template, victim, url, made, kill_at=kill_at)
        with open_store(url.replace(folder, str(victim))) as store:
            outcomes.add(check_whole(store))
            made.publish(store)
            if check_whole(store) != "2026-W47" or len(store.editions()) != 2:
                raise AssertionError(f"not finished after a kill at line event {kill_at}")
        left = [entry.name for entry in (victim / "editions").iterdir()]
        if len(left) != 2:
            raise AssertionError(f"left behind after a kill at line event {kill_at}: {left}")
    say(json.dumps({"lines": lines, "outcomes": sorted(outcomes)}))


def in_child(template: Path, victim: Path, url: str, made: Any, *, kill_at: int) -> str:
    """Publish into a copy of the store; SIGKILL at the given line event, 0 for never."""
    shutil.rmtree(victim, ignore_errors=True)
    shutil.copytree(template, victim)
    answer, question = os.pipe()
    child = os.fork()
    if child == 0:
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

        store = open_store(url.replace(str(template), str(victim)))
        sys.settrace(trace)
        made.publish(store)
        sys.settrace(None)
        os.write(question, str(count).encode())
        os._exit(0)
    os.close(question)
    with os.fdopen(answer) as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if kill_at and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
        raise AssertionError(f"not killed at line event {kill_at}, but ended with {status}")
    return told


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    command, url, *rest = sys.argv[1:]
    if command == "read":
        read(url)
    elif command == "publish":
        publish(url, *rest)
    else:
        die(url, rest[0], int(rest[1]))
