"""Some files of a day, judged by themselves: what each of many machines does of cleaning it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from recsys._coded import spelled
from recsys._tables import database_when_asked
from recsys.listens._inventory import LogFile
from recsys.listens._judge import Judge, Window
from recsys.listens._tables import JUDGED, SPELLED_BYTES
from recsys.settings import ListensSettings

#: Files come block by block; the memory beside them is DuckDB's.
_MEMORY = "512MB"
_ROWS = 1 << 16


class FilesApart:
    """Reads some of a day's files and judges their rows.

    Attributes:
        sources: name, bytes, sha256 and rows of each file, once it has been read.
        found: the log's own column names, as far as they were looked for.
    """

    def __init__(self, settings: ListensSettings, day: date, files: Sequence[LogFile]) -> None:
        self._settings = settings
        self._day = day
        self._files = files
        self.sources: list[dict[str, Any]] = []
        self.found: set[str] = set()

    def judged(self) -> Iterator[pa.RecordBatch]:
        """Yield the judged rows (`JUDGED`).

        Raises:
            BadLogError: a file cannot be read as a whole, has changed since it was listed, or
                lacks a column that it needs.
            ResourceError: memory or disk ran out.
        """
        with tempfile.TemporaryDirectory() as name:
            scratch = Path(name)
            with database_when_asked(scratch / "spill", _MEMORY) as database:
                window = Window.of_arrival(self._day)
                judge = Judge(database, self._settings, window, scratch)
                for rows in judge.judged(self._files, whole=False):
                    for some in spelled(rows, JUDGED, SPELLED_BYTES):
                        yield from some.combine_chunks().to_batches(_ROWS)
            self.sources, self.found = judge.sources, judge.found
