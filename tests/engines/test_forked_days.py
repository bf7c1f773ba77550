"""Processes that are forked for a day of the log each have little to set up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

#: Makes a day's tables as a forked process does, and says what that imported.
DAY = """
import json, sys
from datetime import date
from pathlib import Path

import workflows
from recsys._local import LocalEngine
from recsys.listens import list_log
from recsys.settings import ListensSettings

engine, out = LocalEngine(), Path(sys.argv[2])
engine.preflight()
before = set(sys.modules)
settings = ListensSettings(source=sys.argv[1], format="jsonl")
((day, files),) = list_log(settings).days.items()
engine.clean_day(settings, day, files, [], out / "listens")
engine.daily_plays(out / "listens" / "listens.parquet", out / "plays")
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
"""


def test_a_day_imports_no_large_library_that_was_not_there_before(tmp_path: Path) -> None:
    day = tmp_path / "log" / "date=2026-11-14"
    day.mkdir(parents=True)
    listen = {"user_id": "u", "track_id": "t", "listened_at": "2026-11-14T12:00:00Z"}
    (day / "listens.jsonl").write_text(json.dumps(listen) + "\n", encoding="utf-8")
    command = [sys.executable, "-c", DAY, str(tmp_path / "log"), str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (tmp_path / "plays" / "plays.parquet").exists()
    large = {"duckdb", "numba", "llvmlite", "numpy", "pandas", "pyarrow", "scipy"}
    assert large & set(json.loads(said)) <= {"duckdb"}  # its odds and ends take no time
