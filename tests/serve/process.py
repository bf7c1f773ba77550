"""A process of `recsys serve`, as an operator starts it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = "import sys; from recsys.cli import main; sys.exit(main(sys.argv[1:]))"


@contextmanager
def serving(
    folder: Path, store_url: str, **settings: object
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A process that serves a store, and its URL."""
    with reached(start(folder, store_url, **{"port": 0, **settings})) as found:
        yield found


@contextmanager
def reached(process: subprocess.Popen[str]) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A process once it listens, and its URL; ended when the block ends."""
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"port (\d+)", line)
        assert found, line + process.stderr.read()
        yield f"http://127.0.0.1:{found[1]}", process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def start(folder: Path, store_url: str, **settings: object) -> subprocess.Popen[str]:
    """A process that serves a store under some settings, which ``serve.cfg`` keeps."""
    return start_with(write_settings(folder, store_url, **settings))


def write_settings(folder: Path, store_url: str, **settings: object) -> Path:
    """Write ``serve.cfg``."""
    overlay = folder / "serve.cfg"
    lines = [f"{key} = {value}" for key, value in settings.items()]
    overlay.write_text(
        f"[listens]\nsource = log\n[store]\nurl = {store_url}\n[serve]\n" + "\n".join(lines) + "\n"
    )
    return overlay


def start_with(overlay: Path, *arguments: str) -> subprocess.Popen[str]:
    """A process that serves under the settings of a file, in its folder."""
    environment = {"LUIGI_CONFIG_PATH": str(overlay), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", CODE, "serve", *arguments],
        cwd=overlay.parent,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
