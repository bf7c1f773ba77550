"""A log on disk in any format, and one day of it cleaned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.listens import CleanReport, clean_day, list_log
from recsys.settings import ListensSettings

DAY = date(2026, 11, 16)
NOON = "2026-11-16T12:00:00Z"


class Cleaned:
    """A cleaned day: the report, and both tables as lists of rows."""

    def __init__(self, report: CleanReport, out: Path) -> None:
        self.report = report
        self.bytes = (out / "listens.parquet").read_bytes()
        self.path = out / "listens.parquet"
        self.table = pq.read_table(out / "listens.parquet")
        self.listens: list[dict[str, Any]] = self.table.to_pylist()
        self.quarantine: list[dict[str, Any]] = pq.read_table(
            out / "quarantine.parquet"
        ).to_pylist()
        assert report.read == report.kept + report.duplicates + sum(report.quarantined.values())
        assert report.kept == len(self.listens)
        assert sum(report.quarantined.values()) == len(self.quarantine)

    @property
    def reasons(self) -> list[str]:
        return [row["reason"] for row in self.quarantine]


class Lab:
    """Writes logs under a folder, and cleans them."""

    DAY = DAY

    def __init__(self, root: Path) -> None:
        self.root = root
        self._runs = 0

    @staticmethod
    def listen(**changes: Any) -> dict[str, Any]:
        """A row that is kept as it is, but for ``changes``."""
        return {"user_id": "u", "track_id": "t", "listened_at": NOON} | changes

    def partition(self, day: date = DAY) -> Path:
        folder = self.root / "log" / f"date={day}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def jsonl(self, *rows: Mapping[str, Any] | str, name: str = "a.jsonl") -> Path:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path = self.partition() / name
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return path

    def parquet(
        self, columns: Mapping[str, Any] | pa.Table, name: str = "a.parquet", **options: Any
    ) -> Path:
        table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
        path = self.partition() / name
        pq.write_table(table, path, **options)
        return path

    def settings(self, format_: str, **more: Any) -> ListensSettings:
        return ListensSettings(source=str(self.root / "log"), format=format_, **more)

    def clean(
        self, format_: str, *, earlier: Sequence[Path] = (), day: date = DAY, **more: Any
    ) -> Cleaned:
        self._runs += 1
        settings = self.settings(format_, **more)
        out = self.root / f"out-{self._runs}"
        inventory = list_log(settings)
        return Cleaned(clean_day(settings, day, inventory.days[day], earlier, out), out)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)
