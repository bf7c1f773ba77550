"""A log through both engines, and their tables held against each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys import schemas
from recsys._local import LocalEngine
from recsys.engine import Engine
from recsys.listens import CleanReport, LogFile, list_log
from recsys.plays import DAILY_PLAYS, DAILY_TRACKS
from recsys.settings import ListensSettings

#: The tables of a day.
DAY_TABLES = {
    "listens.parquet": schemas.LISTENS,
    "quarantine.parquet": schemas.QUARANTINE,
    "plays.parquet": DAILY_PLAYS,
    "tracks.parquet": DAILY_TRACKS,
}


def same(ours: Path, theirs: Path, schema: pa.Schema) -> pa.Table:
    """The rows of a table, which are the same in both, and in the same order."""
    rows = pq.read_table(ours).cast(schema)
    assert rows.to_pylist() == pq.read_table(theirs).cast(schema).to_pylist()
    return rows


@dataclass
class Both:
    """Runs what it is told on one machine and on Spark, below a folder of each."""

    root: Path
    spark: Engine
    local: Engine = field(default_factory=LocalEngine)

    def __post_init__(self) -> None:
        self.engines = {"local": self.local, "spark": self.spark}

    def folder(self, engine: str, name: object) -> Path:
        path = self.root / engine / str(name)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def folders(self, name: object) -> tuple[Path, Path]:
        return self.folder("local", name), self.folder("spark", name)

    def clean(
        self,
        settings: ListensSettings,
        day: date,
        *,
        source: Sequence[LogFile] | Path | None = None,
        earlier: Sequence[date] = (),
        requeued: Sequence[Path] = (),
    ) -> CleanReport:
        """Clean a day and count its plays; what both say of it."""
        files = source or list_log(settings).days[day]
        reports = {}
        for name, engine in self.engines.items():
            out = self.folder(name, day)
            before = [self.folder(name, one) / "listens.parquet" for one in earlier]
            reports[name] = engine.clean_day(settings, day, files, before, out, requeued)
            counted = engine.daily_plays(out / "listens.parquet", out)
            assert counted["plays"] == pq.read_table(out / "plays.parquet").num_rows
        assert reports["spark"] == reports["local"]
        local, spark = self.folders(day)
        for table, schema in DAY_TABLES.items():
            same(spark / table, local / table, schema)
        assert sorted(path.name for path in spark.iterdir()) == sorted(DAY_TABLES)
        return reports["spark"]

    def rows(self, day: date, table: str = "listens.parquet") -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(self.folder("spark", day) / table).to_pylist()
        return rows


def write_jsonl(log: Path, day: date, rows: Sequence[Mapping[str, Any] | str], name: str) -> None:
    """Deliver a file of a day; a row that is text stands in it as it is."""
    path = log / f"date={day}" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
