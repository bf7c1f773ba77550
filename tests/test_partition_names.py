"""A home in a folder that is named as a partition of Hive, such as ``user_id=42``."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

import recsys
from recsys.listens import clean_day, list_log, split_dump
from recsys.plays import daily_plays
from recsys.settings import ListensSettings
from recsys.taste import roll_taste

DAY = date(2026, 11, 16)
#: SQL that reads files by their paths.
READ = re.compile(
    r"(?:FROM|JOIN)\s+(?:'[{/]|\{literal|(?:read_parquet|parquet_scan|read_json|read_csv)\w*\()"
)


def write_log(folder: Path) -> ListensSettings:
    rows = [
        {"user_id": f"u{n % 3}", "track_id": f"t{n}", "listened_at": f"2026-11-1{n % 4 + 4} 12:00"}
        for n in range(40)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in [*rows, {"user_id": "u", "track_id": "t"}])
    (folder / "a.jsonl").write_text(text)
    return ListensSettings(source=str(folder), format="jsonl")


def states(home: Path, log: Path) -> list[Any]:
    """What a dump and two days that hold the same come to, with all that is made of them."""
    dump = split_dump(write_log(log / "dump"), list_log(write_log(log / "dump")), home / "split")
    settings = write_log(log / "days" / f"date={DAY}")
    files = list_log(settings).days[DAY]
    reports: list[Any] = [dump.read, dump.undated, dump.days]
    earlier: list[Path] = []
    for at, source in enumerate([home / "split" / "date=2026-11-15", files, files]):
        out = home / f"clean-{at}"
        reports.append(clean_day(settings, DAY + timedelta(at), source, earlier, out))
        earlier.append(out / "listens.parquet")
    plays = home / "plays"
    daily_plays(earlier[1], plays)
    taste = home / "taste.parquet"
    roll_taste(None, [plays / "plays.parquet"], DAY + timedelta(7), 30.0, taste)
    return reports


@pytest.mark.parametrize("folder", ["user_id=42", "day=2020-01-01", "listened_at=1", "reason=x"])
def test_a_home_in_a_folder_named_as_a_partition_is_a_home_as_any_other(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.listens._sorter.RUN_BYTES", 100)
    log, plain, named = tmp_path / "log", tmp_path / "plain", tmp_path / folder / "home"
    assert states(named, log) == states(plain, log)
    for path in plain.rglob("*.parquet"):
        other = named / path.relative_to(plain)
        assert other.read_bytes() == path.read_bytes(), path.name


def test_every_query_of_files_leaves_their_folders_names_alone() -> None:
    package = Path(recsys.__file__).parent
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for found in READ.finditer(text):
            query = text[found.start() : found.start() + 300]
            assert "hive_partitioning = false" in query, f"{path}: use recsys._tables.read_parquet"
