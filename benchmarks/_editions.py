"""Whole editions, as an operator makes them, and where their seconds go."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from benchmarks._logs import Log
from benchmarks._measure import Run, run

#: ``configs/production.cfg``: baselines that cost as much as a training each are left out.
_AS_IN_PRODUCTION: Final = "[evaluation]\nbaselines = popularity, recent_popularity\n"


def make_edition(
    log: Log,
    home: Path,
    week: str,
    settings: str = "",
    threads: int = 0,
    luigi: str = "luigi",
) -> Run:
    """Make one week's edition in ``home``: everything from the log to the store.

    Args:
        log: to make it from.
        home: to make it in.
        week: the edition.
        settings: sections beside ``[recsys]`` and ``[listens]``.
        threads: cores that it may use; 0 for all.
        luigi: the module that runs it, by Luigi's arguments.
    """
    config = home.parent / f"{home.name}.cfg"
    config.write_text(
        f"[recsys]\nhome = {home}\n[listens]\nsource = {log.source}\nformat = parquet\n"
        f"{_AS_IN_PRODUCTION}{settings}"
    )
    pinned = ["taskset", "--cpu-list", f"0-{threads - 1}"] if threads else []
    command = [*pinned, sys.executable, "-m", luigi, "--module", "workflows", "WeeklyPlaylists"]
    done = run([*command, "--local-scheduler", "--week", week], {"LUIGI_CONFIG_PATH": str(config)})
    record = json.loads((_folder(home, week) / "record" / "record.json").read_text())
    done.said["steps"] = record["seconds"]
    return done


def playlists(home: Path, week: str) -> Path:
    """The playlists of an edition."""
    return _folder(home, week) / "playlists" / "playlists.parquet"


def _folder(home: Path, week: str) -> Path:
    return home / "editions" / week / "r1"
